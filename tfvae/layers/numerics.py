"""Bounds for what a network emits, and functions that ONNX lacks, in plain operations.

A network may emit anything. A shape parameter may not: a Weibull's concentration near 0 takes
its draws out of the range of floats. :class:`Bound` maps a raw output smoothly into an interval
in which draws, log-densities and gradients are finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import tensorflow as tf


@dataclass(frozen=True)
class Bound:
    """A smooth, increasing map of raw outputs into the interval from `low` to `high`.

    With a finite `low` it is a softplus with a floor and a soft ceiling,
    ``low + softplus(raw) - softplus(raw - (high - low))``. Between ``-high`` and `high` it is
    the identity that bends at its ends. Without either it is the identity.

    Attributes:
        low: the floor, or minus infinity.
        high: the ceiling, or infinity.

    Example:
        >>> from tfvae.layers.numerics import Bound
        >>> np.round(Bound(0.1, 20.0)(tf.constant([-30.0, 0.0, 5.0, 30.0])), 3)
        array([ 0.1  ,  0.793,  5.107, 20.   ], dtype=float32)
        >>> np.round(Bound(high=10.0)(tf.constant([-30.0, 0.0, 5.0, 30.0])), 3)
        array([-10.   ,   0.   ,   4.993,  10.   ], dtype=float32)
    """

    low: float = -math.inf
    high: float = math.inf

    def __call__(self, raw: tf.Tensor) -> tf.Tensor:
        """Return the bounded parameter."""
        if math.isfinite(self.low):
            value = self.low + tf.nn.softplus(raw)
            width = self.high - self.low
            return value - tf.nn.softplus(raw - width) if math.isfinite(width) else value
        if math.isfinite(self.high):
            return raw - tf.nn.softplus(raw - self.high) + tf.nn.softplus(-self.high - raw)
        return raw

    def inverse(self, value: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the raw outputs at which a parameter has these values, by bisection.

        Values outside the bounds give the raw outputs of the nearest inside, up to ±1000.
        """
        wanted = np.asarray(value, np.float64)
        low, high = np.full(wanted.shape, -1e3), np.full(wanted.shape, 1e3)
        for _ in range(64):  # 2000 / 2^64 is below a float64's spacing at 1
            middle = 0.5 * (low + high)
            less = self(tf.constant(middle)).numpy() < wanted
            low, high = np.where(less, middle, low), np.where(less, high, middle)
        raw: npt.NDArray[np.float64] = 0.5 * (low + high)
        return raw


FREE = Bound()
SCALE = Bound(1e-4)


def bounded(**bounds: Bound) -> Mapping[str, Bound]:
    """Return the parameters of a distribution in order, each with its bound; read-only."""
    return MappingProxyType(bounds)


def expm1(x: tf.Tensor) -> tf.Tensor:
    r"""Return :math:`e^x - 1` to its relative precision near 0, by the hyperbolic sine."""
    return 2.0 * tf.exp(0.5 * x) * tf.sinh(0.5 * x)


def log1p(x: tf.Tensor) -> tf.Tensor:
    r"""Return :math:`\log(1 + x)` to its relative precision near 0, by the artanh, for x > -1."""
    near = tf.abs(x) < 0.5
    ratio = tf.where(near, x / (2.0 + x), tf.zeros_like(x))
    return tf.where(near, 2.0 * tf.atanh(ratio), tf.math.log(tf.where(near, 1.0, 1.0 + x)))


@tf.custom_gradient
def softplus(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    r"""Return :math:`\log(1 + e^x)` to the rounding of a sum that it is a term of.

    Where it is below 1e-7 it may be 0. On a CPU it is half as dear as ``tf.nn.softplus``.
    """
    value = tf.maximum(x, 0.0) + tf.math.log(1.0 + tf.exp(-tf.abs(x)))
    return value, lambda upstream: upstream * tf.sigmoid(x)


def log_gamma(x: tf.Tensor) -> tf.Tensor:
    r"""Return :math:`\log \Gamma(x)` for x > 0, by Stirling's series of x + 8, to 1e-13."""
    product = x
    for k in range(1, 8):
        product *= x + float(k)
    y = x + 8.0
    z = 1.0 / tf.square(y)
    series = (1 / 12 + z * (-1 / 360 + z * (1 / 1260 + z * (-1 / 1680 + z / 1188)))) / y
    stirling = (y - 0.5) * tf.math.log(y) - y + 0.5 * math.log(2.0 * math.pi) + series
    return stirling - tf.math.log(product)


def scaled_exponential_integral(x: tf.Tensor) -> tf.Tensor:
    r"""Return :math:`e^x E_1(x)` for x > 0, to 3e-7.

    References:
        Abramowitz and Stegun (1964), Handbook of mathematical functions, 5.1.53 and 5.1.56.
    """
    small, large = tf.minimum(x, 1.0), tf.maximum(x, 1.0)
    near = (-0.57721566, 0.99999193, -0.24991055, 0.05519968, -0.00976004, 0.00107857)
    above = (1.0, 8.5733287401, 18.0590169730, 8.6347608925, 0.2677737343)
    below = (1.0, 9.5733223454, 25.6329561486, 21.0996530827, 3.9584969228)
    series = tf.exp(small) * (polynomial(small, near[::-1]) - tf.math.log(small))
    ratio = polynomial(large, above) / (polynomial(large, below) * large)
    return tf.where(x < 1.0, series, ratio)


def normal_quantile(uniform: tf.Tensor) -> tf.Tensor:
    """Return the standard normal's quantile of values from 1e-11 to 1 - 1e-11, to 1e-7.

    References:
        Wichura (1988), Algorithm AS 241: the percentage points of the normal distribution (PPND7).
    """
    centre = uniform - 0.5
    square = 0.180625 - tf.square(centre)
    middle = centre * (
        polynomial(square, (59.10937472, 159.29113202, 50.434271938, 3.3871327179))
        / polynomial(square, (67.187563600, 78.757757664, 17.895169469, 1.0))
    )
    depth = tf.sqrt(-tf.math.log(tf.minimum(uniform, 1.0 - uniform))) - 1.6
    tail = polynomial(depth, (0.17023821103, 1.3067284816, 2.75681539, 1.4234372777)) / polynomial(
        depth, (0.12021132975, 0.7370016425, 1.0)
    )
    return tf.where(tf.abs(centre) < 0.425, middle, tf.sign(centre) * tail)


def polynomial(x: tf.Tensor, coefficients: tuple[float, ...]) -> tf.Tensor:
    """Return a polynomial of x, its coefficients given from the highest power down."""
    value = tf.zeros_like(x) + coefficients[0]
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value
