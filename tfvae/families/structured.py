"""Posteriors of a path of latents: one that follows the chain, one that filters."""

from __future__ import annotations

from typing import Any, Self

import keras
import tensorflow as tf

from tfvae.families.paths import (
    Chain,
    Leading,
    as_before,
    as_rows,
    check_emits,
    check_step_layer,
    under_every,
)
from tfvae.families.repeated import check_steps, over_steps, take_after
from tfvae.families.scan import scan
from tfvae.layers.base import DistributionLayer


class Combined(DistributionLayer):
    """A posterior whose steps are what a combiner makes of something before, and of features."""

    reads = ("z_{t-1}", "h_t")

    def __init__(
        self,
        combiner: keras.Model,
        layer: DistributionLayer,
        steps: int,
        *,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        check_step_layer(layer, "layer")
        check_emits(combiner, "combiner", list(self.reads), layer, first=self._first(layer))
        shape = (check_steps(steps), *layer.event_shape)
        super().__init__(shape, name=name, dtype=dtype, trainable=trainable)
        self.combiner = combiner
        self.layer = layer
        self.steps = steps
        take_after(self, layer)

    @staticmethod
    def _first(layer: DistributionLayer) -> int | None:
        return layer.event_shape[0]

    @property
    def params_shape(self) -> tuple[int, ...]:
        """The features of each step, (T, k)."""
        return (self.steps, *self.combiner.inputs[1].shape[1:])

    def parameters(self, params: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the features of each step, of which the posterior is a function."""
        return {"features": tf.cast(params, self.compute_dtype)}

    def combined(self, before: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """Return the parameters of each step, of rows [R, T, n] and [R, T, k]."""
        flat = [tf.reshape(each, [-1, each.shape[-1]]) for each in (before, features)]
        out = tf.cast(self.combiner(flat), self.compute_dtype)
        return tf.reshape(out, [-1, features.shape[1], *self.layer.params_shape])

    def features(self, params: tf.Tensor, leading: Leading) -> tf.Tensor:
        """Repeat features [..., T, k] for draws of a leading shape, as rows [R, T, k]."""
        params = tf.cast(params, self.compute_dtype)
        whole = tf.broadcast_to(params, [*leading, *self.params_shape])
        return tf.reshape(whole, [-1, *self.params_shape])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config = super().get_config()
        del config["event_shape"]
        parts = {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in ("combiner", "layer")
        }
        return config | parts | {"steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Rebuild a layer from :meth:`get_config`."""
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("combiner", "layer")
        }
        return cls(**config | parts)


@keras.saving.register_keras_serializable("tfvae")
class Structured(Combined):
    r"""A posterior that follows the chain, :math:`\prod_t q(z_t | z_{t-1}, h_t)`.

    The features h_t of each step are what the inference network makes of the whole sequence; a
    combiner puts them together with the latent before, of which the first step has a learned one.

    Args:
        combiner: a Keras model of two inputs, z_{t-1} [B, d] and h_t [B, k], to the parameters of
            z_t. One that does not use its first input makes the steps independent (mean field).
        layer: the distribution layer of each step.
        steps: the length of the chain, T.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        TypeError: if `combiner` is not a Keras model.
        ValueError: if steps < 1, or `combiner` emits other parameters than the layer takes.

    References:
        Krishnan, Shalit and Sontag (2017), Structured inference networks for nonlinear state
        space models, arXiv:1609.09869.
    """

    def __init__(
        self, combiner: keras.Model, layer: DistributionLayer, steps: int, **kwargs: Any
    ) -> None:
        super().__init__(combiner, layer, steps, **kwargs)
        self.start = self.add_weight(shape=layer.event_shape, initializer="zeros", name="start")

    def call(self, params: tf.Tensor, valid: tf.Tensor | None = None) -> Any:
        """Return the posterior; steps that are not `valid` [B, T] count for nothing."""
        params = tf.cast(params, self.compute_dtype)
        return Chain(
            lambda z: over_steps(self.layer(self.following(z, params)), valid),
            lambda noise: self.transform(noise, params),
            self.event_shape,
            params.shape[:-2],
            self.compute_dtype,
        )

    def following(self, z: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Return the parameters of each step of paths z [..., T, d], given the step before."""
        rows, leading = as_rows(under_every(tf.convert_to_tensor(z), params))
        features = self.features(params, leading)
        start = tf.broadcast_to(self._start, [tf.shape(rows)[0], 1, *self.layer.event_shape])
        before = tf.concat([start, rows[:, :-1]], axis=1)
        return as_before(self.combined(before, features), leading)

    def transform(self, noise: tf.Tensor, params: tf.Tensor) -> tf.Tensor:
        """Map base noise [..., T, d] to paths."""
        rows, leading = as_rows(tf.cast(noise, self.compute_dtype))
        return as_before(self._walk(rows, self.features(params, leading)), leading)

    def mean(self, params: tf.Tensor) -> tf.Tensor:
        """Return the path of means, each step's given that of the step before.

        It is the mean of q where the combiner's means are linear in z, and near to it otherwise.
        """
        rows, leading = as_rows(tf.cast(params, self.compute_dtype))
        return as_before(self._walk(None, rows), leading)

    def _walk(self, noise: tf.Tensor | None, features: tf.Tensor) -> tf.Tensor:
        def step(state: tuple[tf.Tensor, ...], now: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor]:
            params = tf.cast(self.combiner([state[0], now[-1]]), self.compute_dtype)
            if noise is None:
                return (self.layer.mean(params),)
            return (self.layer.transform(now[0], params),)

        start = tf.broadcast_to(self._start, [tf.shape(features)[0], *self.layer.event_shape])
        return scan(step, (start,), [features] if noise is None else [noise, features])

    @property
    def _start(self) -> tf.Tensor:
        return tf.cast(tf.convert_to_tensor(self.start), self.compute_dtype)


@keras.saving.register_keras_serializable("tfvae")
class Filtered(Combined):
    r"""A posterior that knows the past, :math:`\prod_t q(z_t | h_{t-1}, x_t)`.

    Args:
        combiner: a Keras model of two inputs, the state h_{t-1} [B, n] and the features of x_t
            [B, k], to the parameters of z_t.
        layer: the distribution layer of each step.
        steps: the length of the sequence, T.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        TypeError: if `combiner` is not a Keras model.
        ValueError: if steps < 1, or `combiner` emits other parameters than the layer takes.

    References:
        Chung et al. (2015), A recurrent latent variable model for sequential data,
        arXiv:1506.02216.
    """

    reads = ("h_{t-1}", "x_t")

    @staticmethod
    def _first(layer: DistributionLayer) -> int | None:
        return None

    def call(self, params: tf.Tensor) -> Any:
        """Refuse features alone: q(z_t) depends on the state before each step too."""
        raise ValueError(
            "Expected the states before each step beside the features of x. Received: features "
            "alone. Use the posterior of a pass: vae.encode(x)."
        )
