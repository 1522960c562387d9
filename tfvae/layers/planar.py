"""Planar and radial flows: steps whose few numbers all come from the encoder network."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae.layers.base import check_event_shape
from tfvae.layers.flow import FlowLayer, FlowStep, Mapped, check_count
from tfvae.layers.numerics import Bound

TILT = Bound(high=10.0)
RADIUS = Bound(0.05, 50.0)
STRETCH = Bound(0.01, 50.0)
_NEWTON_STEPS = 24


class PlanarStep(FlowStep):
    r"""One planar step, :math:`f(x) = x + \hat u \tanh(w^\top x + b)`.

    It is invertible if :math:`w^\top \hat u > -1`. For that, u is shortened by
    :math:`1 + \operatorname{softplus}(-w^\top u)`: every :math:`\hat u` that is allowed can be
    reached, and unlike a shift along w it has no pole at w = 0.

    Args:
        size: the length of the last axis, d. The step reads ``[u | w | b]``, 2 d + 1 numbers; u
            is bounded to (-10, 10), and w to that around a unit vector.
        index: which step of a flow it is. Each has a unit vector of its own, for where u and w
            are both 0, so are all gradients.
        dtype: a Keras dtype policy.

    References:
        Rezende and Mohamed (2015), Variational inference with normalizing flows,
        arXiv:1505.05770.
    """

    def __init__(self, size: int, *, index: int = 0, dtype: Any = None) -> None:
        super().__init__(dtype=dtype)
        self.params_size = 2 * size + 1
        self.sizes = [size, size, 1]
        self.direction = _direction(size, index, self.compute_dtype)

    def forward(self, x: tf.Tensor, params: tf.Tensor | None) -> Mapped:
        """Push along u, by how far x lies on one side of a plane."""
        push, w, b, gain, above = self._read(params)
        a = tf.reduce_sum(w * x, axis=-1, keepdims=True) + b
        return x + push * tf.tanh(a), _log_slope(a, gain, above)

    def inverse(self, y: tf.Tensor, params: tf.Tensor | None) -> Mapped:
        r"""Solve :math:`a + w^\top \hat u \tanh a = w^\top y + b` for a number, and subtract."""
        push, w, b, gain, above = self._read(params)
        target = tf.reduce_sum(w * y, axis=-1, keepdims=True) + b
        a = _solve(*map(tf.stop_gradient, (target, gain, above)))
        # One more step, whose derivatives are those of the implicit function.
        slope = tf.stop_gradient(_slope(a, above))
        a -= (a + gain * tf.tanh(a) - target) / slope
        return y - push * tf.tanh(a), _log_slope(a, gain, above)

    def _read(self, params: Any) -> tuple[tf.Tensor, ...]:
        r"""Return :math:`\hat u`, w, b, :math:`w^\top \hat u` and :math:`1 + w^\top \hat u`."""
        u, w, b = tf.split(params[..., : self.params_size], self.sizes, axis=-1)
        u, w = TILT(u), TILT(w) + self.direction
        dot = tf.reduce_sum(u * w, axis=-1, keepdims=True)
        shorter = 1.0 / (1.0 + tf.nn.softplus(-dot))
        # softplus(-x) + x = softplus(x): no digit is lost near -1.
        return u * shorter, w, b, dot * shorter, (1.0 + tf.nn.softplus(dot)) * shorter


class RadialStep(FlowStep):
    r"""One radial step, :math:`f(x) = x + \beta (x - z_0) / (\alpha + |x - z_0|)`.

    It is invertible if :math:`\beta > -\alpha`; the inverse is a root of a quadratic polynomial.

    Args:
        size: the length of the last axis, d. The step reads ``[z_0 | raw alpha | raw beta]``,
            d + 2 numbers: alpha lies in (0.05, 50) and 1 + beta / alpha in (0.01, 50).
        index: which step of a flow it is. The centre is counted from a unit vector of its own,
            so that steps differ at raw outputs 0.
        dtype: a Keras dtype policy.

    References:
        Rezende and Mohamed (2015), Variational inference with normalizing flows,
        arXiv:1505.05770.
    """

    def __init__(self, size: int, *, index: int = 0, dtype: Any = None) -> None:
        super().__init__(dtype=dtype)
        self.params_size = size + 2
        self.sizes = [size, 1, 1]
        self.centre = _direction(size, index, self.compute_dtype)

    def forward(self, x: tf.Tensor, params: tf.Tensor | None) -> Mapped:
        """Push away from the centre, or draw in to it."""
        centre, alpha, stretch = self._read(params)
        offset = x - centre
        near = alpha / (alpha + _length(offset))
        factor = self._factor(near, stretch)
        return centre + factor * offset, self._log_det(near, stretch)

    def inverse(self, y: tf.Tensor, params: tf.Tensor | None) -> Mapped:
        """Solve for the distance from the centre."""
        centre, alpha, stretch = self._read(params)
        offset = y - centre
        distance = _length(offset)
        p = distance - alpha * stretch
        root = tf.sqrt(tf.square(p) + 4.0 * alpha * distance)
        # Of the two ways to write the positive root, the one that adds what has one sign.
        plus = p >= 0.0
        safe = tf.where(plus, tf.ones_like(p), root - p)
        distance = tf.where(plus, 0.5 * (p + root), 2.0 * alpha * distance / safe)
        near = alpha / (alpha + distance)
        factor = self._factor(near, stretch)
        return centre + offset / factor, self._log_det(near, stretch)

    def _read(self, params: Any) -> tuple[tf.Tensor, ...]:
        """Return the centre, alpha, and 1 + beta / alpha."""
        centre, alpha, stretch = tf.split(params[..., : self.params_size], self.sizes, axis=-1)
        # 1 at 0: the step is then the identity.
        stretch = STRETCH(stretch + math.log(math.expm1(1.0 - STRETCH.low)))
        return centre + self.centre, RADIUS(alpha), stretch

    def _factor(self, near: tf.Tensor, stretch: tf.Tensor) -> tf.Tensor:
        return 1.0 - near + stretch * near

    def _log_det(self, near: tf.Tensor, stretch: tf.Tensor) -> tf.Tensor:
        """Return the logarithms across and along the radius: d - 1 of them, and 1."""
        across = tf.math.log(self._factor(near, stretch))
        along = tf.math.log(self._factor(tf.square(near), stretch))
        return ((self.sizes[0] - 1) * across + along)[..., 0]


@keras.saving.register_keras_serializable("tfvae")
class Planar(FlowLayer):
    r"""Planar flow: the encoder sets the steps :math:`x + u \tanh(w^\top x + b)`.

    Each step makes the density denser or thinner along a plane. Draws and densities cost little;
    a posterior far from Gaussian takes many steps.

    Args:
        event_shape: the shape of one draw, its last axis d long. The network emits
            ``[loc | raw scale | u, w, b of each step]``, 2 d + steps (2 d + 1) values; u is
            bounded to (-10, 10), and shortened so that each step is invertible, and w to (-10, 10)
            around a unit vector of each step. At raw outputs 0 it is the Normal.
        steps: how many, at least 1.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if `steps` < 1.

    Example:
        >>> tfvae.layers.Planar((2,), steps=3).params_shape
        (19,)

    References:
        Rezende and Mohamed (2015), Variational inference with normalizing flows,
        arXiv:1505.05770.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        steps: int = 4,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        size = check_event_shape(event_shape)[-1]
        flow = [
            PlanarStep(size, index=index, dtype=dtype)
            for index in range(check_count("steps", steps))
        ]
        super().__init__(event_shape, flow=flow, name=name, dtype=dtype, trainable=trainable)
        self.steps = steps

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "steps": self.steps}


@keras.saving.register_keras_serializable("tfvae")
class Radial(FlowLayer):
    r"""Radial flow: the encoder sets the steps :math:`x + \beta (x - z_0) / (\alpha + |x - z_0|)`.

    Each step makes the density denser or thinner around a point.

    Args:
        event_shape: the shape of one draw, its last axis d long. The network emits
            ``[loc | raw scale | z_0, raw alpha, raw beta of each step]``, 2 d + steps (d + 2)
            values: alpha lies in (0.05, 50) and 1 + beta / alpha in (0.01, 50). At raw outputs 0
            it is the Normal.
        steps: how many, at least 1.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if `steps` < 1.

    Example:
        >>> tfvae.layers.Radial((2,), steps=3).params_shape
        (16,)

    References:
        Rezende and Mohamed (2015), Variational inference with normalizing flows,
        arXiv:1505.05770.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        steps: int = 4,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        size = check_event_shape(event_shape)[-1]
        flow = [
            RadialStep(size, index=index, dtype=dtype)
            for index in range(check_count("steps", steps))
        ]
        super().__init__(event_shape, flow=flow, name=name, dtype=dtype, trainable=trainable)
        self.steps = steps

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "steps": self.steps}


def _slope(a: tf.Tensor, above: tf.Tensor) -> tf.Tensor:
    """Return 1 + gain / cosh² a as a sum of positive terms, `above` being 1 + gain."""
    fall = tf.exp(-2.0 * tf.abs(a))
    return above * 4.0 * fall / tf.square(1.0 + fall) + tf.square(tf.tanh(a))


def _log_slope(a: tf.Tensor, gain: tf.Tensor, above: tf.Tensor) -> tf.Tensor:
    return tf.math.log(_slope(a, above))[..., 0]


def _solve(target: tf.Tensor, gain: tf.Tensor, above: tf.Tensor) -> tf.Tensor:
    """Return the root a of a + gain tanh a = target, by Newton's method without overshooting.

    The function is odd. Above 0 it is concave for gain > 0 and convex for gain < 0: tangents lie
    on one side of it, so that from a start below the root, or above it, steps only come nearer.
    """
    size = tf.abs(target)
    below = tf.maximum(size / above, size - gain)
    a = tf.where(gain > 0.0, below, size - gain)

    def nearer(step: tf.Tensor, a: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return step + 1, a - (a + gain * tf.tanh(a) - size) / _slope(a, above)

    _, a = tf.while_loop(lambda step, _: step < _NEWTON_STEPS, nearer, (0, a))
    return tf.sign(target) * a


def _direction(size: int, index: int, dtype: str) -> npt.NDArray[Any]:
    """Return a unit vector [d], another one for each step."""
    direction = np.random.default_rng(index).normal(size=size)
    return (direction / np.linalg.norm(direction)).astype(dtype)


def _length(offset: tf.Tensor) -> tf.Tensor:
    """Return the length along the last axis, [..., 1], with gradient 0 at 0."""
    square = tf.reduce_sum(tf.square(offset), axis=-1, keepdims=True)
    zero = square == 0.0
    root = tf.sqrt(tf.where(zero, tf.ones_like(square), square))
    return tf.where(zero, tf.zeros_like(root), root)
