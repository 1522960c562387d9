"""The one abstraction behind priors, posteriors and likelihoods."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfvae.layers import kl  # noqa: F401, it registers the closed forms that TFP lacks
from tfvae.layers.numerics import Bound, bounded
from tfvae.layers.support import Support
from tfvae.random import Noise

tfd = tfp.distributions


class DistributionLayer(keras.layers.Layer):
    """A Keras layer that turns a tensor of parameters into a distribution.

    A subclass states its capabilities in class attributes, names its parameters in `bounds` and
    writes :meth:`distribution` and, where a draw can be written as a map of base noise,
    :meth:`transform`. One whose parameters are not one number for each value writes
    :meth:`parameters` itself.

    Networks stay ordinary Keras models that emit *parameter tensors*; this layer is called on
    them inside :class:`tfvae.VAE`. It computes in float32 whatever the dtype policy (float64
    under a float64 policy): a float16 log-density is noise.

    Args:
        event_shape: the shape of one draw, without samples and batch.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Attributes:
        bounds: the distribution's parameters in order, each with the map of raw outputs into
            the range in which it stays finite.
        blocks: how many values the network emits for each value of an event. They lie in
            blocks along the last axis: ``[..., block 0 | block 1]``.
        reparameterised: gradients flow through draws to the parameters.
        has_density: ``log_prob`` is a density (or mass) and may enter a bound.
        pointwise: ``log_prob`` can be asked of any value, and not only of a draw just made.
        support: where draws lie.
        noise: the base noise that ``transform`` takes, or None where there is no such map.
        slow_under_xla: XLA makes training with this layer slower on CPU.
        choices: how many leading values of the base noise are uniforms, whatever the kind of the
            others: they pick a component, say, or accept a proposal. Where there are some,
            ``noise_shape`` is flat.
        quantiles: how many of the choices, the last ones, a temperature draws in to their middle.

    Example:
        >>> layer = tfvae.layers.Normal(event_shape=(2,))
        >>> layer.params_shape
        (4,)
        >>> distribution = layer(tf.zeros([3, 4]))
        >>> distribution.batch_shape, distribution.event_shape
        (TensorShape([3]), TensorShape([2]))
    """

    bounds: ClassVar[Mapping[str, Bound]] = bounded()
    blocks: int = 1
    reparameterised: bool = True
    has_density: bool = True
    pointwise: bool = True
    support: Support = Support.REAL
    noise: Noise | None = None
    choices: int = 0
    quantiles: int = 0
    slow_under_xla: bool = False

    def __init__(
        self,
        event_shape: tuple[int, ...] | int,
        *,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=_at_least_float32(dtype), trainable=trainable)
        self.event_shape = check_event_shape(event_shape)
        if self.bounds:
            self.blocks = len(self.bounds)
        # There is nothing to build from an input: weights, if any, are made in __init__.
        self.built = True

    @property
    def block_sizes(self) -> tuple[int, ...]:
        """The lengths of the blocks along the last axis of what the network emits."""
        return (self.event_shape[-1],) * self.blocks

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the network must emit for one event."""
        return (*self.event_shape[:-1], sum(self.block_sizes))

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """The shape of the base noise of one draw; that of the event unless a draw needs more."""
        return self.event_shape

    def parameters(self, params: tf.Tensor) -> dict[str, tf.Tensor]:
        """Name the distribution's parameters: ``[..., *params_shape]`` to ``[..., *event_shape]``.

        In plain TensorFlow ops, for this is what the ``decode`` endpoint of an export returns.
        """
        if not self.bounds:
            raise NotImplementedError(f"{type(self).__name__} names no parameters.")
        raw = self._split(params)
        return {
            name: bound(value)
            for (name, bound), value in zip(self.bounds.items(), raw, strict=True)
        }

    def distribution(self, **parameters: tf.Tensor) -> Any:
        """Return the TFP distribution of the named parameters: of one value, or of a last axis."""
        raise NotImplementedError

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return the mean, ``[..., *event_shape]``, in ops that every export can run."""
        return self.distribution(**self.parameters(params)).mean()

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Map base noise ``[..., *noise_shape]`` to a draw: the reparameterisation.

        Training and exports draw through this one map.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no map from noise to draws. Draw with "
            "`layer(params).sample(seed=...)`."
        )

    def call(self, params: tf.Tensor) -> Any:
        """Return the distribution: batch shape ``[...]``, event shape ``event_shape``."""
        return self._independent(self.distribution(**self.parameters(params)))

    def draw(self, noise: tf.Tensor, params: tf.Tensor) -> tuple[tf.Tensor, Any]:
        """Return a draw and the distribution it is from.

        A layer whose distribution can make use of how a draw came about (the log-density of a
        flow at its own draw needs no inverse) returns one that knows it.
        """
        return self.transform(noise, params), self(params)

    def observe(self, params: tf.Tensor) -> None:
        """Take note of the parameters of a training batch, for state such as moving averages."""

    def check_examples(self, count: int) -> None:
        """Refuse a training set of `count` examples if it is too small for what is to be fitted."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse symbolic tensors, whose error in Keras would be hard to read."""
        if any(isinstance(value, keras.KerasTensor) for value in (*args, *kwargs.values())):
            raise TypeError(
                f"Expected a tensor of parameters. Received: a symbolic Keras tensor, in the call "
                f"of {type(self).__name__}. A Functional or Sequential model can only pass "
                "tensors, not distributions: let the network end in a parameter tensor of shape "
                f"[batch, {', '.join(map(str, self.params_shape))}] and give this layer to "
                "tfvae.VAE as prior, posterior or likelihood."
            )
        return super().__call__(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "event_shape": self.event_shape}

    def _independent(self, distribution: Any) -> Any:
        axes = len(self.event_shape) - distribution.event_shape.rank
        # A distribution over all of the event stays itself: closed forms know it by its class.
        return (
            tfd.Independent(distribution, reinterpreted_batch_ndims=axes) if axes else distribution
        )

    def _split(self, params: tf.Tensor) -> list[tf.Tensor]:
        """Check the trailing shape of `params` and split its last axis into blocks."""
        params = tf.cast(params, self.compute_dtype)
        trailing = params.shape[-len(self.params_shape) :]
        if not trailing.is_compatible_with(self.params_shape):
            raise ValueError(
                f"Expected `params` of shape [..., {', '.join(map(str, self.params_shape))}] for "
                f"{type(self).__name__}(event_shape={self.event_shape}). "
                f"Received: params of shape {tuple(params.shape)}."
            )
        sizes = self.block_sizes
        return [params] if len(sizes) == 1 else tf.split(params, sizes, axis=-1)


def check_event_shape(event_shape: tuple[int, ...] | int) -> tuple[int, ...]:
    """Return a shape as a tuple of positive integers, or say what is wrong with it."""
    shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
    if not shape or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(
            "Expected `event_shape` to be a tuple of positive integers, such as (32,) or "
            f"(28, 28, 1). Received: event_shape={event_shape!r}."
        )
    return shape


def get(
    identifier: str | DistributionLayer, event_shape: tuple[int, ...], argument: str
) -> DistributionLayer:
    """Return a distribution layer from its class name, or check the layer that is given.

    Args:
        identifier: a name such as ``"Bernoulli"``, in any case, or a layer.
        event_shape: the event shape the layer must have.
        argument: the name of the caller's argument, for messages.

    Raises:
        ValueError: for an unknown name (the nearest is suggested) or another event shape.
        TypeError: for anything else than a name or a layer.
    """
    from tfvae import layers

    if isinstance(identifier, str):
        classes = {
            name.lower(): value
            for name in dir(layers)
            if inspect.isclass(value := getattr(layers, name))
            and issubclass(value, DistributionLayer)
            and value not in (DistributionLayer, layers.FlowLayer)
        }
        if identifier.lower() not in classes:
            near = difflib.get_close_matches(identifier.lower(), classes, n=1)
            names = ", ".join(cls.__name__ for cls in classes.values())
            hint = f" Did you mean {classes[near[0]].__name__!r}?" if near else ""
            raise ValueError(
                f"Expected `{argument}` to be one of {names}, or a DistributionLayer. "
                f"Received: {argument}={identifier!r}.{hint}"
            )
        layer: DistributionLayer = classes[identifier.lower()](event_shape, name=argument)
        return layer
    if not isinstance(identifier, DistributionLayer):
        raise TypeError(
            f"Expected `{argument}` to be the name of a distribution layer or a "
            f"DistributionLayer. Received: {argument}={identifier!r}."
        )
    if identifier.event_shape != tuple(event_shape):
        raise ValueError(
            f"Expected `{argument}` to have event_shape={tuple(event_shape)}. "
            f"Received: {type(identifier).__name__}(event_shape={identifier.event_shape})."
        )
    return identifier


def _at_least_float32(dtype: Any) -> str:
    policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
    return "float64" if policy.compute_dtype == "float64" else "float32"
