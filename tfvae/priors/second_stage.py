"""A prior that is itself the generator of another VAE."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tfvae import random
from tfvae.layers.base import DistributionLayer, tfd
from tfvae.priors.base import Prior


@keras.saving.register_keras_serializable("tfvae.priors")
class SecondStage(Prior):
    r"""The prior that a second VAE makes, :math:`p(z) = \int p(z|u)\, p(u)\, du`.

    A first VAE's aggregate posterior is not its prior; a second one, trained on the first one's
    latents, draws from it. There is no density in closed form, so no ELBO is reported of a model
    with this prior, and no gradient reaches its weights. :meth:`tfvae.VAE.fit_prior` trains one.

    Args:
        prior: the second VAE's, p(u).
        decoder: its decoder, u to the parameters of p(z|u).
        likelihood: its likelihood, p(z|u); this prior has its event shape.
        name: the layer's name.
        dtype: a Keras dtype policy.

    Raises:
        ValueError: if prior and likelihood are not maps of one kind of base noise, or the
            likelihood's draws involve choices, of a component or of a proposal.

    Example:
        >>> vae = tfvae.zoo.vae((4,), 4, hidden=(8,), likelihood="Normal")
        >>> prior = tfvae.priors.SecondStage(vae.prior, vae.decoder, vae.likelihood)
        >>> prior.sample(3, seed=0).shape
        TensorShape([3, 4])

    References:
        Dai and Wipf (2019), Diagnosing and enhancing VAE models, arXiv:1903.05789.
    """

    has_density = False
    parts = ("prior", "decoder", "likelihood")

    def __init__(
        self,
        prior: Prior,
        decoder: keras.Model,
        likelihood: DistributionLayer,
        *,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ) -> None:
        if prior.noise is None or prior.noise != likelihood.noise or likelihood.choices:
            raise ValueError(
                "Expected `prior` and `likelihood` to be maps of one kind of noise, the likelihood "
                "no mixture and not drawn by rejection. Received: "
                f"{type(prior).__name__} of {prior.noise} noise, {type(likelihood).__name__} of "
                f"{likelihood.noise} noise with {likelihood.choices} choices."
            )
        super().__init__(likelihood.event_shape, name=name, dtype=dtype, trainable=trainable)
        # The parts and not the VAE, whose metrics would turn up in the logs of the model that
        # this is the prior of.
        self.prior, self.decoder, self.likelihood = prior, decoder, likelihood
        self.support = likelihood.support
        self.noise, self.choices, self.quantiles = prior.noise, prior.choices, prior.quantiles

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """The noise of u, then that of z given u."""
        return (math.prod(self.prior.noise_shape) + math.prod(self.likelihood.noise_shape),)

    def call(self, condition: tf.Tensor | None = None) -> Any:
        """Return a distribution that can be drawn from and has no density."""
        return _Drawn(self)

    def transform(self, noise: tf.Tensor, params: tf.Tensor | None = None) -> tf.Tensor:
        """Generate as the second VAE does, from noise [B, *noise_shape]."""
        shapes = (self.prior.noise_shape, self.likelihood.noise_shape)
        parts = tf.split(noise, [math.prod(shape) for shape in shapes], axis=-1)
        first, rest = (
            tf.reshape(part, [-1, *shape]) for part, shape in zip(parts, shapes, strict=True)
        )
        u = self.prior.transform(first, params)
        return self.likelihood.transform(rest, self.decoder(u, training=False))

    def sample(self, n: int, seed: Any) -> tf.Tensor:
        """Return n latents, [n, *event_shape]."""
        assert self.noise is not None
        noise = random.noise(self.noise, seed, 1, n, self.noise_shape, self.choices)[0]
        return self.transform(noise)


class _Drawn(tfd.Distribution):  # type: ignore[misc, name-defined]
    """What TFP's distributions offer, of a prior that can only be drawn from."""

    def __init__(self, prior: SecondStage) -> None:
        self._prior = prior
        super().__init__(
            dtype=tf.as_dtype(prior.compute_dtype),
            reparameterization_type=tfd.FULLY_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            name="SecondStage",
        )

    def _batch_shape(self) -> tf.TensorShape:
        return tf.TensorShape([])

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape(self._prior.event_shape)

    def _sample_n(self, n: int, seed: Any = None) -> tf.Tensor:
        return self._prior.sample(n, seed)
