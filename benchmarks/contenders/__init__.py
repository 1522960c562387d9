"""Who is compared in `training.py`, `evaluation.py` and `records.py`, and on what.

A contender is a function of a task and the data that returns another: one that runs a block of
the task, through whatever its users call, and returns what came out of it in nats. Of training
that is the last epoch's loss. Each runs in a process of its own; see `process.py` and
`__main__.py`. All of the peers' code is written here as their users write it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np

SHAPE = (28, 28, 1)
LATENT, HIDDEN = 20, 200
FILTERS, DENSE = (32, 64), 128
RATE = 1e-3
COMPARED = 4
"""Images of which evaluations must agree: Pythae takes its time."""

CONTENDERS = {
    "tfvae": "ours:trainer",
    "keras": "plain_keras:trainer",
    "torch": "hand_torch:eager",
    "torch.compile": "hand_torch:compiled",
    "pythae": "pythae_peer:trainer",
    "jax": "jax_scan:trainer",
    "matmul": "matmul:multiplier",
    "records": "ours:streamer",
    "log_marginal": "ours:evaluator",
    "get_nll": "pythae_peer:evaluator",
}
PACKAGES = {
    "torch.compile": "torch",
    "matmul": "tensorflow",
    "records": "tfvae",
    "log_marginal": "tfvae",
    "get_nll": "pythae",
}
"""What a contender needs, where it is not called that."""


@dataclasses.dataclass(frozen=True)
class Task:
    """A model, and what one measured block of training or evaluating it is."""

    name: str
    network: Literal["mlp", "conv"]
    batch_size: int
    examples: int
    samples: int = 1
    epochs: int = 2  # 0: evaluated and not trained


# IWAE's decoder sees 50 times as many rows: fewer examples make a block.
TASKS = (
    Task("dense, batch 128", "mlp", 128, 60_000),
    Task("dense, batch 1024", "mlp", 1024, 60_000),
    Task("conv, batch 128", "conv", 128, 20_000, epochs=1),
    Task("IWAE-50, batch 128", "mlp", 128, 10_000, samples=50, epochs=1),
)


def images(count: int, seed: int = 0) -> np.ndarray:
    """Return binary images [N, 28, 28, 1] of ten smooth factors: something to learn, from a seed.

    Each pixel is a coin whose logit is a sum of plane waves with random weights. The waves are
    always the same.
    """
    rng = np.random.default_rng(0)
    height, width = np.mgrid[0:28, 0:28] / 28
    angles = rng.uniform(0, 2 * math.pi, 10)
    waves = [
        np.cos(2 * math.pi * (a * height + b * width) + angle)
        for (a, b), angle in zip(rng.uniform(-1.5, 1.5, (10, 2)), angles, strict=True)
    ]
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((count, 10)) @ np.reshape(waves, (10, -1)) - 1.5
    coins = rng.random(logits.shape) < 1 / (1 + np.exp(-logits))
    return coins.astype(np.float32).reshape(-1, *SHAPE)
