"""This library, as its users call it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfvae
from contenders import COMPARED, HIDDEN, LATENT, SHAPE, Task


def trainer(task: Task, x: np.ndarray) -> Callable[[], float]:
    return _trainer(task, x)


def streamer(task: Task, folder: Path) -> Callable[[], float]:
    """Train on as many records as the task has examples, an epoch."""
    records = tfvae.data.load(folder).train
    return _trainer(task, records, steps_per_epoch=-(-task.examples // task.batch_size))


def _trainer(task: Task, x: Any, **options: int) -> Callable[[], float]:
    vae = model(task)
    vae.compile("adam")

    def run() -> float:
        stop = keras.callbacks.EarlyStopping("loss", patience=task.epochs)
        history = vae.fit(
            x,
            batch_size=task.batch_size,
            epochs=task.epochs,
            callbacks=[stop],
            verbose=1,
            **options,
        )
        return float(history.history["loss"][-1])

    return run


def evaluator(task: Task, data: Mapping[str, np.ndarray]) -> Callable[[], float]:
    """Evaluate all images, and return the mean over those that are compared."""
    vae, x = model(task), data["x"][: task.examples]
    for index, weight in enumerate(networks_weights(vae)):
        weight.assign(data[f"weight_{index}"])

    def run() -> float:
        bounds = tfvae.evaluate.log_marginal(
            vae, x, task.samples, batch_size=task.batch_size, progress=True
        )
        return float(bounds[:COMPARED].mean())

    return run


def networks_weights(vae: tfvae.VAE) -> list[keras.Variable]:
    return [*vae.encoder.weights, *vae.decoder.weights]


def model(task: Task) -> tfvae.VAE:
    hidden = (HIDDEN,) if task.network == "mlp" else None
    iwae = task.epochs and task.samples > 1
    objective = tfvae.objectives.IWAE(task.samples) if iwae else None
    return tfvae.zoo.vae(SHAPE, LATENT, network=task.network, hidden=hidden, objective=objective)
