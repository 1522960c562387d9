"""What the processes of `test_replicas.py` run: the same trainings, on one device or on several.

``python replica_process.py mirrored OUT`` trains each case on one device and on two replicas;
``worker OUT``, on the machines of TF_CONFIG; ``waiting SECONDS`` only waits for the other machines.
Histories and weights go to OUT, an npz file of ``case/what`` to an array.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

import tfvae
from tfvae import cluster, replicas
from tfvae.data import Examples
from tfvae.feeds import Feed
from tfvae.objectives import ELBO, IWAE
from tfvae.text.tokeniser import SPECIAL

optimizers = keras.optimizers
SHAPE = (6, 5)
BATCH = 16


def grey(count: int) -> Any:
    """Grey images with structure: each row is a bar of one width."""
    width = np.random.default_rng(0).integers(0, 6, (count, 6, 1))
    return (np.arange(5) < width).astype("float32") * 0.9


def binary(count: int) -> Any:
    return (grey(count) > 0).astype("float32")


def pipeline(count: int) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(binary(count)).batch(BATCH)


def vae(**options: Any) -> tfvae.VAE:
    return tfvae.zoo.vae(SHAPE, 2, hidden=(8,), **options)


def weights_drawn() -> tfvae.VAE:
    """A model whose weights are drawn in both ways, for two posterior samples of each example."""
    plain, convert = vae(), tfvae.bayesian.to_bayesian
    return vae(
        encoder=convert(plain.encoder, estimator="local", initial_scale=0.1),
        decoder=convert(plain.decoder, estimator="flipout", initial_scale=0.1),
        objective=ELBO(samples=2),
    )


def words(count: int) -> Any:
    """Sentences of one to four of three words, as tokens."""
    lengths = np.arange(count)[:, None] % 4 + 1
    kinds = np.random.default_rng(0).integers(4, 7, (count, 5))
    ends = np.where(np.arange(5) == lengths, 2, 0)
    return np.where(np.arange(5) < lengths, kinds, ends)


def sentence_model() -> tfvae.VAE:
    vocabulary = (*SPECIAL, "a", "b", "c")
    return tfvae.zoo.sentence_vae((5,), 2, vocabulary=vocabulary, units=8, embedding=4)


def normalised(*, synchronized: bool) -> tfvae.VAE:
    """A model with statistics of a batch: of all of it, or of the part that a replica has."""
    layers = keras.layers
    encoder = [
        keras.Input(SHAPE),
        layers.Flatten(),
        layers.BatchNormalization(synchronized=synchronized),
        layers.Dense(4, kernel_initializer=keras.initializers.GlorotUniform(0)),
    ]
    return vae(encoder=keras.Sequential(encoder))


class Case(NamedTuple):
    """A training that is to come out the same on any number of replicas.

    Attributes:
        model: builds it.
        optimizer: builds its optimizer.
        data: of how many examples; the last of them are a batch of their own, of 1 or 3, unless
            they are 64.
        options: further arguments of `fit`.
        compile: further arguments of `compile`.
        evaluate: call that too.
    """

    model: Callable[[], tfvae.VAE] = vae
    optimizer: Callable[[], Any] = lambda: optimizers.SGD(1e-2)
    data: Callable[[], Any] = lambda: Examples(grey(65), binarize="dynamic")
    options: Callable[[], dict[str, Any]] = dict
    compile: dict[str, Any] = {}  # noqa: RUF012
    evaluate: bool = False


def weighted() -> dict[str, Any]:
    return {"sample_weight": np.linspace(0.0, 2.0, 67).astype("float32")}


def held_out() -> dict[str, Any]:
    return {"validation_data": Examples(grey(33), binarize="threshold")}


CASES = {
    "sgd": Case(options=held_out),
    "adam": Case(
        optimizer=lambda: optimizers.Adam(1e-2, clipnorm=0.5),
        data=lambda: binary(67),
        options=weighted,
        evaluate=True,
    ),
    "ema": Case(
        optimizer=lambda: optimizers.SGD(1e-2, global_clipnorm=1.0, use_ema=True, ema_momentum=0.9),
    ),
    "iwae": Case(
        model=lambda: vae(objective=IWAE(samples=3)),
        optimizer=lambda: optimizers.LossScaleOptimizer(optimizers.SGD(1e-2)),
    ),
    "vamp": Case(
        model=lambda: tfvae.zoo.vamp_vae(SHAPE, 2, components=3, hidden=(8,)),
        data=lambda: binary(67),
        compile={"slot_rates": {"prior": 0.5}, "nonfinite": "skip"},
    ),
    "corrupted": Case(
        model=lambda: tfvae.zoo.denoising_autoencoder(
            SHAPE, 2, hidden=(8,), corruption="gaussian", amount=0.3
        ),
        data=lambda: binary(65),
    ),
    "labels": Case(
        model=lambda: tfvae.zoo.semi_supervised_vae(SHAPE, 2, classes=3, hidden=(8,)),
        data=lambda: Examples(binary(67), np.arange(67) % 4 - 1),
        evaluate=True,
    ),
    "codes": Case(
        model=lambda: tfvae.zoo.vq_vae(SHAPE, 2, codes=4, positions=2, hidden=(8,)),
        data=lambda: binary(67),
        evaluate=True,
    ),
    # Whole batches: of parts of one, which take as long again to trace, there are enough above.
    "bayesian": Case(model=weights_drawn, data=lambda: binary(64), evaluate=True),
    "levels": Case(
        model=lambda: tfvae.zoo.hierarchical_vae(SHAPE, (3, 2), hidden=(8,), kl_warmup=(5,)),
        data=lambda: binary(67),
        evaluate=True,
    ),
    "steps": Case(
        model=lambda: tfvae.zoo.deep_markov_model(SHAPE, 2, hidden=(8,)),
        data=lambda: Examples(binary(64), np.arange(6) <= np.arange(64)[:, None] % 6),
        evaluate=True,
    ),
    "sentences": Case(model=sentence_model, data=lambda: words(67), evaluate=True),
    "conv": Case(
        model=lambda: tfvae.zoo.vae((8, 8, 1), 2, network="conv", filters=(2, 2), hidden=(4,)),
        data=lambda: np.kron(binary(65), np.ones((2, 2)))[:, 2:10, 2:, None].astype("float32"),
    ),
    "tf.data": Case(data=lambda: pipeline(65), options=lambda: {"validation_data": pipeline(33)}),
    "synchronized": Case(model=lambda: normalised(synchronized=True), data=lambda: binary(67)),
    "batch norm": Case(model=lambda: normalised(synchronized=False), data=lambda: binary(64)),
}
EPOCHS = 2
WORKERS_CASES = ("sgd", "ema", "tf.data")


class Types(keras.callbacks.Callback):
    """Notes what logs are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen |= {type(value).__name__ for value in logs.values()}

    on_test_batch_end = on_train_batch_end
    on_epoch_end = on_train_batch_end


def train(case: Case, strategy: tf.distribute.Strategy | None = None) -> dict[str, Any]:
    """Return the history, the evaluation and the weights of a case, on one device or on all."""
    with (strategy or tf.distribute.get_strategy()).scope():
        model = case.model()
        model.compile(case.optimizer(), jit_compile=False, **case.compile)
    types = Types()
    batch = None if isinstance(case.data(), tf.data.Dataset) else BATCH
    history = model.fit(
        case.data(), batch_size=batch, epochs=EPOCHS, verbose=0, callbacks=[types], **case.options()
    ).history
    found = {f"log {name}": np.array(values) for name, values in history.items()}
    if case.evaluate:
        evaluated = model.evaluate(case.data(), batch_size=batch, verbose=0, return_dict=True)
        found |= {f"log evaluated {name}": np.array(value) for name, value in evaluated.items()}
    found["weights"] = flat(model)
    if getattr(model.optimizer, "use_ema", False):
        with model.averaged():
            found["averages"] = flat(model)
    return found | {"types": np.array(sorted(types.seen))}


def flat(model: tfvae.VAE) -> Any:
    return np.concatenate([np.ravel(variable) for variable in model.get_weights()])


def mirrored(out: str) -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = cluster.strategy("mirrored")
    found = {}
    for name, case in CASES.items():
        for kind, where in (("one", None), ("many", strategy)):
            found |= {f"{name}/{kind}/{key}": v for key, v in train(case, where).items()}
    np.savez(out, **found)


def read_here(strategy: tf.distribute.Strategy) -> Any:
    """Return the examples, by number, that this machine reads in a pass."""
    feed = Feed(Examples(np.arange(65.0)[:, None]), BATCH, seed=0)
    dataset = strategy.distribute_datasets_from_function(
        lambda context: replicas._dataset(feed, 0, 0, context)
    )
    parts = iter(dataset)
    rows = []
    for _ in range(feed.steps):
        (x,), _, fraction = next(parts)
        here = map(strategy.experimental_local_results, (x, fraction))
        for values, share in zip(*here, strict=True):
            rows += list(values.numpy()[:, 0]) if share > 0 else []
    return np.array(rows)


def worker(out: str) -> None:
    strategy = cluster.strategy("multiworker", timeout=120.0, heartbeat=5.0)
    with strategy.scope():
        found = {"chief": np.array(replicas.is_chief()), "rows": read_here(strategy)}
    for name in WORKERS_CASES:
        found |= {f"{name}/{key}": v for key, v in train(CASES[name], strategy).items()}
    np.savez(out, **found)

    class Dies(keras.callbacks.Callback):
        hears_chunks = True

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                os.kill(os.getpid(), signal.SIGKILL)

    with strategy.scope():
        model = vae()
        model.compile("sgd")
    last = [Dies()] if strategy.cluster_resolver.task_id else []
    with cluster.translated():
        model.fit(binary(65), batch_size=BATCH, epochs=10**6, verbose=0, callbacks=last)


def waiting(seconds: str) -> None:
    began = time.monotonic()
    try:
        cluster.strategy("multiworker", timeout=float(seconds))
    finally:
        print(time.monotonic() - began)


if __name__ == "__main__":
    {"mirrored": mirrored, "worker": worker, "waiting": waiting}[sys.argv[1]](sys.argv[2])
