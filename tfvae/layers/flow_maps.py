"""Increasing maps of one number, whose parameters another number's network may set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import tensorflow as tf

from tfvae.layers.numerics import Bound

LOG_SCALE = Bound(high=3.0)
SLOPE = Bound(0.01, 20.0)
# What the least bin has of an even share.
_LEAST = 0.01


class Map(Protocol):
    """An increasing map, element by element, that is the identity at raw numbers 0."""

    @property
    def size(self) -> int:
        """How many raw numbers one element takes."""

    def forward(self, x: tf.Tensor, raw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return y and log dy/dx, shaped as x, for raw numbers [*x.shape, size]."""

    def inverse(self, y: tf.Tensor, raw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the x that is mapped to y, and log dy/dx there."""


@dataclass(frozen=True)
class Affine:
    r"""The affine map :math:`y = e^s x + t`, with a log scale s in (-3, 3)."""

    size = 2

    def forward(self, x: tf.Tensor, raw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Scale, then shift."""
        shift, log_scale = tf.unstack(raw, axis=-1)
        log_scale = LOG_SCALE(log_scale)
        return x * tf.exp(log_scale) + shift, log_scale

    def inverse(self, y: tf.Tensor, raw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Shift back, then scale."""
        shift, log_scale = tf.unstack(raw, axis=-1)
        log_scale = LOG_SCALE(log_scale)
        return (y - shift) * tf.exp(-log_scale), log_scale


class _Piece(NamedTuple):
    """One bin of a spline: its lower left corner, its size, and the slopes at its ends."""

    left: tf.Tensor
    low: tf.Tensor
    width: tf.Tensor
    height: tf.Tensor
    first: tf.Tensor
    last: tf.Tensor

    def at(self, theta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return y and log dy/dx at a share theta of the bin's width, in sums of no sign."""
        slope, rest = self.height / self.width, 1.0 - theta
        both = theta * rest
        scale = slope * (1.0 - 2.0 * both) + (self.first + self.last) * both
        y = self.low + self.height * theta * (slope * theta + self.first * rest) / scale
        gain = self.last * theta**2 + 2.0 * slope * both + self.first * rest**2
        return y, 2.0 * tf.math.log(slope / scale) + tf.math.log(gain)

    def root(self, y: tf.Tensor) -> tf.Tensor:
        """Solve for theta, a root of a quadratic polynomial."""
        slope, share = self.height / self.width, (y - self.low) / self.height
        bend = share * (self.first + self.last - 2.0 * slope)
        b = self.first - bend
        square = tf.maximum(b**2 + 4.0 * share * slope * (slope - self.first + bend), 0.0)
        return _share(2.0 * share * slope / (b + tf.sqrt(square)))


@dataclass(frozen=True)
class RationalQuadratic:
    """A spline of quotients of quadratic polynomials on [-bound, bound], the identity outside.

    A bin is at least a hundredth of an even share wide and high, and slopes lie in (0.01, 20).
    The sums over bins in place of a search and a gather are what ONNX can run.

    Attributes:
        bins: the number of bins, at least 2.
        bound: half the length of the interval.

    References:
        Gregory and Delbourgo (1982), Piecewise rational quadratic interpolation to monotonic data.
        Durkan et al. (2019), Neural spline flows, arXiv:1906.04032.
    """

    bins: int
    bound: float

    @property
    def size(self) -> int:
        """Widths, heights, and slopes at the inner knots."""
        return 3 * self.bins - 1

    def forward(self, x: tf.Tensor, raw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Evaluate the piece in which x lies."""
        inner, inside = self._inside(x)
        piece = self._piece(raw, inner, by_height=False)
        y, log_slope = piece.at(_share((inner - piece.left) / piece.width))
        return tf.where(inside, y, x), tf.where(inside, log_slope, tf.zeros_like(x))

    def inverse(self, y: tf.Tensor, raw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Solve the piece in which y lies."""
        inner, inside = self._inside(y)
        piece = self._piece(raw, inner, by_height=True)
        # A step of Newton's method from the solution mends its rounding, and its derivatives are
        # those of the implicit function, without a square root that may be 0.
        theta = tf.stop_gradient(piece.root(inner))
        near, log_slope = piece.at(theta)
        theta = _share(theta - (near - inner) * tf.stop_gradient(tf.exp(-log_slope) / piece.width))
        x = piece.left + piece.width * theta
        _, log_slope = piece.at(theta)
        return tf.where(inside, x, y), tf.where(inside, log_slope, tf.zeros_like(y))

    def _inside(self, value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Where a value is not used it must still have finite gradients.
        inner = tf.clip_by_value(value, -self.bound, self.bound)
        return inner, tf.abs(value) <= self.bound

    def _piece(self, raw: tf.Tensor, value: tf.Tensor, *, by_height: bool) -> _Piece:
        widths, heights, slopes = tf.split(raw, [self.bins, self.bins, self.bins - 1], axis=-1)
        left, width = self._bins(widths)
        low, height = self._bins(heights)
        # softplus(raw + shift) + 0.01 is 1 at 0: the spline is then the identity.
        inner = SLOPE(slopes + math.log(math.expm1(1.0 - SLOPE.low)))
        end = tf.ones_like(inner[..., :1])
        first, last = tf.concat([end, inner], axis=-1), tf.concat([inner, end], axis=-1)
        knots = (low if by_height else left)[..., 1:]
        above = tf.cast(value[..., tf.newaxis] >= knots, value.dtype)
        chosen = tf.concat([end, above], axis=-1) - tf.concat([above, tf.zeros_like(end)], axis=-1)
        every = (left, low, width, height, first, last)
        return _Piece(*(tf.reduce_sum(chosen * each, axis=-1) for each in every))

    def _bins(self, raw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return where bins start and how long they are, along the last axis."""
        share = _LEAST / self.bins + (1.0 - _LEAST) * tf.nn.softmax(raw)
        start = 2.0 * self.bound * tf.cumsum(share, axis=-1, exclusive=True) - self.bound
        return start, 2.0 * self.bound * share


def _share(theta: tf.Tensor) -> tf.Tensor:
    """Keep a share of a bin's width in [0, 1], which it leaves by its rounding only."""
    return tf.clip_by_value(theta, 0.0, 1.0)
