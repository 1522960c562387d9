r"""Normalising flows: a diagonal Normal bent by invertible maps with known Jacobians.

.. math:: z = f_K \circ \dots \circ f_1(z_0), \qquad
    \log q(z) = \log q_0(z_0) - \sum_k \log |\det \partial f_k|
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfvae.layers.base import DistributionLayer, _at_least_float32, tfd
from tfvae.layers.numerics import SCALE

Named = dict[str, tf.Tensor]
Mapped = tuple[tf.Tensor, tf.Tensor]
"""Values, and the log-determinants of the Jacobians that made them."""


class FlowStep(keras.layers.Layer):
    r"""One invertible map :math:`y = f(x; \lambda)` over the last axis, of length d.

    A subclass writes :meth:`forward` and :meth:`inverse`. Weights, if any, are made in
    ``__init__`` with ``autocast=False``, so that no dtype policy rounds them.

    Args:
        name: the step's name.
        dtype: a Keras dtype policy; float64 if it computes in float64, else float32.

    Attributes:
        params_size: how many numbers the step reads of each last axis, from the encoder network.
        invertible: there is an inverse; False, or no :meth:`inverse`, where there is none.
            Without one, densities are known of own draws only.

    Example:
        >>> class Shift(tfvae.layers.FlowStep):
        ...     params_size = 1
        ...     def forward(self, x, params):
        ...         return x + params, tf.zeros_like(x[..., 0])
        ...     def inverse(self, y, params):
        ...         return y - params, tf.zeros_like(y[..., 0])
        >>> y, log_det = Shift().forward(tf.zeros([5, 2]), tf.ones([5, 1]))
        >>> y.shape, log_det.shape
        (TensorShape([5, 2]), TensorShape([5]))
    """

    params_size: int = 0
    invertible: bool = True

    def __init__(self, *, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name=name, dtype=_at_least_float32(dtype))
        self.built = True

    def forward(self, x: tf.Tensor, params: tf.Tensor | None) -> Mapped:
        """Map x to y.

        Args:
            x: [S.., B.., d].
            params: [B.., p], the `params_size` numbers of this step followed by the context that
                all steps share, or None where there are neither.

        Returns:
            y, as x, and the log-determinant of dy/dx, [S.., B..].
        """
        raise NotImplementedError

    def inverse(self, y: tf.Tensor, params: tf.Tensor | None) -> Mapped:
        """Return the x that :meth:`forward` maps to y, and the log-determinant of dy/dx there."""
        raise NotImplementedError

    def call(self, x: tf.Tensor, params: tf.Tensor | None = None) -> Mapped:
        """Map x to y, as :meth:`forward`."""
        return self.forward(x, params)


class FlowLayer(DistributionLayer):
    r"""A diagonal Normal, by way of invertible steps: what every flow is built on.

    *Composition*: :math:`f_K \circ \dots \circ f_1(\mu + \sigma \varepsilon)`. Steps act on the
    last axis of an event; the axes before it are independent of each other.

    The log-density of an own draw comes with it (:meth:`draw`) and costs nothing more. Of any
    other value it is computed by the steps' inverses.

    Args:
        event_shape: the shape of one draw, its last axis d long. The network emits
            ``[loc | raw scale | flow]``, 2 d + p values: the scale is ``softplus(raw) + 1e-4``,
            and ``flow`` holds the numbers of each step in order, then the context.
        flow: the steps, from the base to the draw, at least one.
        context: how many numbers of each last axis the network passes to all steps.
        name: the layer's name.
        dtype: a Keras dtype policy; the steps are given the same one.

    Raises:
        ValueError: if there is no step, or `context` is not a whole number of at least 0.
        TypeError: if a step is not a :class:`FlowStep`.

    Example:
        >>> from tfvae.layers.planar import PlanarStep, RadialStep
        >>> class PlanarThenRadial(tfvae.layers.FlowLayer):
        ...     def __init__(self, event_shape, **options):
        ...         flow = [PlanarStep(event_shape[-1]), RadialStep(event_shape[-1])]
        ...         super().__init__(event_shape, flow=flow, **options)
        >>> layer = PlanarThenRadial((2,))
        >>> layer.params_shape
        (13,)
        >>> layer(tf.zeros([3, 13])).log_prob(tf.zeros([3, 2])).shape
        TensorShape([3])

    References:
        Rezende and Mohamed (2015), Variational inference with normalizing flows,
        arXiv:1505.05770.
        Papamakarios et al. (2021), Normalizing flows for probabilistic modeling and inference,
        arXiv:1912.02762.
    """

    noise = "normal"

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        flow: Sequence[FlowStep],
        context: int = 0,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        for step in flow:
            if not isinstance(step, FlowStep):
                raise TypeError(f"Expected `flow` to hold FlowSteps. Received: {step!r}.")
        if not flow:
            raise ValueError("Expected `flow` to hold at least one step. Received: none.")
        self.context = check_count("context", context, minimum=0)
        self.flow = list(flow)
        for step in self.flow:  # a frozen layer that is loaded has frozen steps
            step.trainable = trainable
        self.pointwise = all(_has_inverse(step) for step in flow)

    @property
    def block_sizes(self) -> tuple[int, ...]:
        """Location, scale, and what steps and context need, if anything."""
        size = self.event_shape[-1]
        rest = sum(step.params_size for step in self.flow) + self.context
        return (size, size, rest) if rest else (size, size)

    def parameters(self, params: tf.Tensor) -> Named:
        """Return the base's ``loc`` and ``scale``, and ``flow`` [..., p] if the steps read any."""
        loc, raw, *flow = self._split(params)
        return {"loc": loc, "scale": SCALE(raw), **({"flow": flow[0]} if flow else {})}

    def distribution(self, **parameters: tf.Tensor) -> FlowDistribution:
        """Return a :class:`FlowDistribution`."""
        return FlowDistribution(self, parameters)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return the image of the base's mean; the mean of a flow has no closed form.

        In one dimension it is the median.
        """
        named = self.parameters(params)
        z = named["loc"]
        for step, own in self._steps(named):
            z, _ = step.forward(z, own)
        return z

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return ``loc + scale * noise``, sent through the steps."""
        return self.push(noise, self.parameters(params))[0]

    def draw(self, noise: tf.Tensor, params: tf.Tensor) -> tuple[tf.Tensor, FlowDistribution]:
        """Return a draw, and a distribution that knows its log-density without an inverse."""
        named = self.parameters(params)
        z, log_prob = self.push(noise, named)
        return z, FlowDistribution(self, named, own=(z, log_prob))

    def push(self, noise: tf.Tensor, named: Named) -> Mapped:
        """Map base noise [S.., B, *event] to draws and their log-densities [S.., B]."""
        noise = tf.cast(noise, named["loc"].dtype)
        z = named["loc"] + named["scale"] * noise
        log_prob = _log_normal(noise, named["scale"])
        for step, own in self._steps(named):
            z, log_det = step.forward(z, own)
            log_prob -= log_det
        return z, self._over_event(log_prob)

    def log_prob(self, z: tf.Tensor, named: Named) -> tf.Tensor:
        """Return the log-density at any z [S.., B, *event], by the inverses."""
        # Steps split and join the last axis: all of the batch must be there.
        z += tf.zeros_like(named["loc"])
        total = tf.zeros_like(z[..., 0])
        for step, own in reversed(list(self._steps(named))):
            z, log_det = step.inverse(z, own)
            total += log_det
        noise = (z - named["loc"]) / named["scale"]
        return self._over_event(_log_normal(noise, named["scale"]) - total)

    def _steps(self, named: Named) -> Iterator[tuple[FlowStep, tf.Tensor | None]]:
        """Yield each step with what it reads: its own numbers, then the context."""
        start = 0
        for step in self.flow:
            parts = []
            if step.params_size:
                parts.append(named["flow"][..., start : start + step.params_size])
                start += step.params_size
            if self.context:
                parts.append(named["flow"][..., -self.context :])
            yield step, (tf.concat(parts, axis=-1) if len(parts) > 1 else [*parts, None][0])

    def _over_event(self, log_prob: tf.Tensor) -> tf.Tensor:
        """Sum over the axes before the last, which are independent."""
        return tf.reduce_sum(log_prob, axis=list(range(1 - len(self.event_shape), 0)))


class FlowDistribution(tfd.Distribution):  # type: ignore[misc, name-defined]
    """The distribution of a flow layer's draws, at some parameters.

    Args:
        layer: the flow layer.
        named: its parameters.
        own: a draw of it with its log-density, if there is one. ``log_prob`` of that very tensor
            needs no inverse, and its gradients are those of the draw's path. A copy of it, such
            as ``tf.stop_gradient(z)``, is a value like any other.
    """

    def __init__(self, layer: FlowLayer, named: Named, own: Mapped | None = None) -> None:
        super().__init__(
            dtype=named["loc"].dtype,
            reparameterization_type=tfd.FULLY_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=dict(named),
            name=type(layer).__name__,
        )
        self._layer = layer
        self._named = named
        self._own = own

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape(self._layer.event_shape)

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant(self._layer.event_shape, tf.int32)

    def _batch_shape(self) -> tf.TensorShape:
        return self._named["loc"].shape[: -len(self._layer.event_shape)]

    def _batch_shape_tensor(self) -> tf.Tensor:
        return tf.shape(self._named["loc"])[: -len(self._layer.event_shape)]

    def _sample_n(self, n: tf.Tensor, seed: Any = None) -> tf.Tensor:
        loc = self._named["loc"]
        shape = tf.concat([[n], tf.shape(loc)], axis=0)
        noise = tf.random.stateless_normal(shape, tfp.random.sanitize_seed(seed), dtype=loc.dtype)
        return self._layer.push(noise, self._named)[0]

    def _log_prob(self, value: tf.Tensor) -> tf.Tensor:
        if self._own is not None and value is self._own[0]:
            return self._own[1]
        if not self._layer.pointwise:
            lost = next(step for step in self._layer.flow if not _has_inverse(step))
            raise NotImplementedError(
                f"Expected a draw of {type(self._layer).__name__} as its `draw` returned it, for "
                f"its step {type(lost).__name__} has no inverse. Received: another value. Use a "
                "flow whose steps are invertible, or an objective that asks for own draws only."
            )
        return self._layer.log_prob(value, self._named)


def check_count(argument: str, value: int, minimum: int = 1) -> int:
    """Return `value`, or raise a ``ValueError`` if it is no whole number from `minimum` on."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(
            f"Expected `{argument}` to be a whole number of at least {minimum}. "
            f"Received: {argument}={value!r}."
        )
    return value


def _has_inverse(step: FlowStep) -> bool:
    return step.invertible and type(step).inverse is not FlowStep.inverse


def _log_normal(noise: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    each = 0.5 * (tf.square(noise) + math.log(2.0 * math.pi)) + tf.math.log(scale)
    return -tf.reduce_sum(each, axis=-1)
