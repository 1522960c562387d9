"""The prior of a path of latents: a Markov chain."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfvae.families.paths import Chain, as_before, as_rows, check_emits, check_step_layer
from tfvae.families.repeated import check_steps, over_steps, take_after
from tfvae.families.scan import scan
from tfvae.layers.base import DistributionLayer
from tfvae.priors import Parametric, Prior


@keras.saving.register_keras_serializable("tfvae.priors")
class Markov(Prior):
    r"""A Markov chain of latents, :math:`p(z_1) \prod_{t=2}^T p(z_t | z_{t-1})`.

    Args:
        initial: p(z_1); its layer's family is that of all steps.
        transition: a Keras model, z_{t-1} [B, d] to the parameters of z_t.
        steps: the length of the chain, T.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        TypeError: if `initial` is no ``Parametric`` prior, or `transition` not a Keras model.
        ValueError: if steps < 1, or `transition` emits other parameters than the layer takes.

    Example:
        >>> initial = tfvae.priors.Parametric(tfvae.layers.Normal((2,)), values={"scale": 1.0})
        >>> transition = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
        >>> prior = tfvae.families.Markov(initial, transition, steps=5)
        >>> prior(None).log_prob(tf.zeros([3, 5, 2])).shape
        TensorShape([3])
    """

    parts = ("initial", "transition")

    def __init__(
        self,
        initial: Parametric,
        transition: keras.Model,
        steps: int,
        *,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        if not isinstance(initial, Parametric):
            raise TypeError(
                "Expected `initial` to be the prior of the first latent, such as "
                "tfvae.priors.Parametric(tfvae.layers.Normal((8,))). "
                f"Received: initial={initial!r}."
            )
        check_step_layer(initial.layer, "initial")
        size = initial.event_shape[0]
        check_emits(transition, "transition", ["z_{t-1}"], initial.layer, first=size)
        shape = (check_steps(steps), *initial.event_shape)
        super().__init__(shape, name=name, dtype=dtype, trainable=trainable)
        self.initial = initial
        self.transition = transition
        self.steps = steps
        take_after(self, initial.layer)

    @property
    def layer(self) -> DistributionLayer:
        """The distribution layer of each step."""
        layer: DistributionLayer = self.initial.layer
        return layer

    def call(self, condition: tf.Tensor | None = None, valid: tf.Tensor | None = None) -> Any:
        """Return the chain's distribution; steps that are not `valid` [B, T] count for nothing."""
        return Chain(
            lambda z: over_steps(self.layer(self.following(z)), valid),
            self.transform,
            self.event_shape,
            tf.TensorShape([] if valid is None else valid.shape[:1]),
            self.compute_dtype,
        )

    def following(self, z: tf.Tensor) -> tf.Tensor:
        """Return the parameters of each step of paths z [..., T, d], given the step before."""
        z = tf.convert_to_tensor(z)
        rows, leading = as_rows(z)
        first = tf.broadcast_to(self._initial, [tf.shape(rows)[0], 1, *self.layer.params_shape])
        if z.shape[-2] == 1:
            return as_before(first, leading)
        before = tf.reshape(rows[:, :-1], [-1, *self.layer.event_shape])
        params = tf.cast(self.transition(before), self.compute_dtype)
        rest = tf.reshape(params, [-1, z.shape[-2] - 1, *self.layer.params_shape])
        return as_before(tf.concat([first, rest], axis=1), leading)

    def transform(self, noise: tf.Tensor, params: tf.Tensor | None = None) -> tf.Tensor:
        """Map base noise [..., T, d] to paths."""
        rows, leading = as_rows(tf.cast(noise, self.compute_dtype))
        first = self.layer.transform(rows[:, 0], self._initial)
        path = first[:, None]
        if self.steps > 1:
            path = tf.concat([path, self.advance(first, rows[:, 1:])], axis=1)
        return as_before(path, leading)

    def advance(self, z: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """Go on from latents z [B, d] for as many steps as there is noise [B, H, d]."""

        def step(state: tuple[tf.Tensor, ...], now: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor]:
            params = tf.cast(self.transition(state[0]), self.compute_dtype)
            return (self.layer.transform(now[0], params),)

        return scan(step, (z,), [tf.cast(noise, self.compute_dtype)])

    def continued(self, z: tf.Tensor, valid: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """Go on with paths z [S, B, T, d] where they end: after the valid steps [B, T]."""
        rows, leading = as_rows(z)
        noise, _ = as_rows(tf.cast(noise, self.compute_dtype))
        there = tf.cast(tf.broadcast_to(valid, [*leading, self.steps]), rows.dtype)
        there = tf.reshape(there, [-1, self.steps, 1])

        def step(state: tuple[tf.Tensor, ...], now: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor]:
            params = tf.cast(self.transition(state[0]), self.compute_dtype)
            drawn = self.layer.transform(now[1], params)
            return (tf.where(now[2] > 0, now[0], drawn),)

        # Of a path of no steps all are drawn: what nothing is known of is a draw from the chain.
        drawn = self.layer.transform(noise[:, 0], self._initial)
        first = tf.where(there[:, 0] > 0, rows[:, 0], drawn)
        path = first[:, None]
        if self.steps > 1:
            rest = scan(step, (first,), [each[:, 1:] for each in (rows, noise, there)])
            path = tf.concat([path, rest], axis=1)
        return as_before(path, leading)

    @property
    def _initial(self) -> tf.Tensor:
        return tf.cast(tf.convert_to_tensor(self.initial.raw), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().get_config() | {"steps": self.steps}
