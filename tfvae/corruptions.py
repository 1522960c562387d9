"""Corruptions: what a denoising model is shown in training instead of the data.

A corruption is a frozen dataclass: its fields are its configuration. What it does to an example
is a function of a seed and of the example's place in the batch, like all noise in training.

Example:
    >>> from tfvae import corruptions
    >>> vae = tfvae.zoo.vae((8, 8), 2, corruption=corruptions.Masking(0.3))
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import tensorflow as tf

from tfvae import random
from tfvae.objectives.base import Serialisable, check_number


@dataclass(frozen=True)
class Corruption(Serialisable):
    """Makes what the encoder sees of a batch, in training."""

    def __call__(
        self, x: tf.Tensor, seed: tf.Tensor | int, position: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Corrupt a batch.

        Args:
            x: floats [B, *data].
            seed: an integer or a seed of shape [2].
            position: index of the first example in a larger batch, of which this is a part.
        """
        raise NotImplementedError


def _noise(
    kind: random.Noise, x: tf.Tensor, seed: tf.Tensor | int, position: tf.Tensor | None
) -> tf.Tensor:
    drawn = random.noise(kind, seed, 1, tf.shape(x)[0], x.shape[1:], position=position)[0]
    return tf.cast(drawn, x.dtype)


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class GaussianNoise(Corruption):
    r"""Adds normal noise, :math:`x + \sigma \epsilon`.

    Args:
        stddev: the scale of the noise.

    Raises:
        ValueError: for a `stddev` that is negative.

    References:
        Vincent et al. (2010), Stacked denoising autoencoders, JMLR 11.
    """

    stddev: float = 0.3

    def __post_init__(self) -> None:
        check_number("stddev", self.stddev, 0)

    def __call__(
        self, x: tf.Tensor, seed: tf.Tensor | int, position: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Return x with noise."""
        return x + self.stddev * _noise("normal", x, seed, position)


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class Masking(Corruption):
    """Sets values to 0, each with the same probability.

    Args:
        rate: the probability.

    Raises:
        ValueError: for a `rate` that is not in [0, 1].

    References:
        Vincent et al. (2008), Extracting and composing robust features with denoising
        autoencoders, ICML.
    """

    rate: float = 0.3

    def __post_init__(self) -> None:
        check_number("rate", self.rate, 0, 1)

    def __call__(
        self, x: tf.Tensor, seed: tf.Tensor | int, position: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Return x without some of its values."""
        return tf.where(_noise("uniform", x, seed, position) < self.rate, tf.zeros_like(x), x)


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class SaltAndPepper(Corruption):
    """Sets values to the lowest or the highest there are, each with the same probability.

    Args:
        rate: the probability that a value is set; half of these become `low`, half `high`.
        low: the lowest value.
        high: the highest value.

    Raises:
        ValueError: for a `rate` that is not in [0, 1], or `low` and `high` that are not in order.

    References:
        Vincent et al. (2010), Stacked denoising autoencoders, JMLR 11.
    """

    rate: float = 0.3
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        check_number("rate", self.rate, 0, 1)
        check_number("low", self.low)
        check_number("high", self.high)
        if not self.low < self.high:
            raise ValueError(
                "Expected `low` to be less than `high`. "
                f"Received: low={self.low}, high={self.high}."
            )

    def __call__(
        self, x: tf.Tensor, seed: tf.Tensor | int, position: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Return x with some values at the ends of their range."""
        u = _noise("uniform", x, seed, position)
        ends = tf.where(u < 0.5 * self.rate, self.low, self.high)
        return tf.where(u < self.rate, tf.cast(ends, x.dtype), x)
