"""Initial weights: functions of a seed, of what a network is for, and of a kernel's position.

No global random state is read or advanced, and networks of one seed share no stream unless they
are for the same.
"""

from __future__ import annotations

import enum
from typing import Any

import keras
import numpy as np

_RECTIFIERS = frozenset(
    {"relu", "relu6", "leaky_relu", "elu", "celu", "gelu", "silu", "swish", "mish", "squareplus"}
    | {"softplus", "sparse_plus"}
)


class Role(enum.IntEnum):
    """What a network is for. A number once given stays, for weights follow from it."""

    ENCODER = 0
    DECODER = 1
    SENTENCE_ENCODER = 2
    SENTENCE_DECODER = 3
    SEQUENCE_ENCODER = 10
    COMBINER = 11
    TRANSITION = 12
    EMISSION = 13
    READER = 14
    CELL = 15


class Initialisers:
    """Hands out one seeded initialiser for each kernel of a network, in order of position.

    Args:
        seed: an integer of at least 0.
        role: what the network is for.
        consecutive: take consecutive words of one stream, not the first of a stream for each
            position. Sequence networks do: what a seed once gave stays.

    Raises:
        ValueError: if the seed is no such integer.
    """

    def __init__(self, seed: int, role: Role, *, consecutive: bool = False) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise ValueError(
                f"Expected seed to be an integer of at least 0. Received: seed={seed!r}; pass one."
            )
        self.seed, self.role = int(seed), int(role)
        self.consecutive = consecutive
        self.position = 0

    def next_seed(self) -> int:
        """Return the seed of the next kernel."""
        key = [self.seed, self.role, *([] if self.consecutive else [self.position])]
        count = self.position + 1 if self.consecutive else 1
        words = np.random.SeedSequence(key).generate_state(count)
        self.position += 1
        return int(words[-1]) >> 1

    def kernel(self, gain: float = 1.0, mode: str = "fan_in") -> Any:
        """Keep the variance of what flows through: Var[w] = gain / n of n terms."""
        return keras.initializers.VarianceScaling(
            gain, mode, "truncated_normal", seed=self.next_seed()
        )

    def glorot(self) -> Any:
        """Keep the variance on the way there and back, as well as both can be."""
        return keras.initializers.GlorotUniform(self.next_seed())

    def orthogonal(self) -> Any:
        """Keep the length of a recurrent state."""
        return keras.initializers.Orthogonal(seed=self.next_seed())

    def normal(self, stddev: float) -> Any:
        """Draw each value alike, as of the vectors of an embedding."""
        return keras.initializers.RandomNormal(stddev, seed=self.next_seed())


def gain_of(activation: str) -> float:
    """Return 2 for a rectifier, which halves what flows through it, and 1 for others.

    He et al. (2015), Delving deep into rectifiers, arXiv:1502.01852.
    """
    return 2.0 if activation in _RECTIFIERS else 1.0
