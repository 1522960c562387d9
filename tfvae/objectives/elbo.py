"""The evidence lower bound, and its two terms as pieces to compose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import keras
import tensorflow as tf

from tfvae.objectives.base import (
    Capability,
    Objective,
    batch_mean,
    check_choice,
    check_number,
    check_samples,
    with_gradient_of,
)
from tfvae.objectives.schedules import Schedule, at, check_weight
from tfvae.trace import Trace


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class ELBO(Objective):
    r"""The evidence lower bound, with its KL weighed by beta.

    .. math:: -\frac1S \sum_s \log p(x|z_s) + \sum_g \beta_g \max\bigl(\lambda_g,\,
        \mathrm{KL}(q(z_g|x) \| p(z_g))\bigr)

    Args:
        beta: weight of the KL, a number or a schedule; 1 gives the bound itself, more the
            beta-VAE. Of a hierarchy, one for all levels or a tuple of one for each, that of z_0
            first: a warm-up for each level.
        samples: posterior samples of each example, S.
        kl: ``"closed_form"`` is estimator B of Kingma and Welling (Monte Carlo where the pair
            of distributions has no closed form); ``"monte_carlo"`` is estimator A.
        free_bits: lambda, in nats for each group of latents g: of a flat VAE's one group, of
            each level of a hierarchy. A group whose KL, *averaged over the batch*, is below
            lambda counts as lambda and has no gradient. 0 switches it off. Or a tuple of one for
            each group.
        free_bits_per: what has lambda nats free, each ``"group"`` or each ``"dimension"`` of z;
            the latter where posterior and prior are independent over the dimensions.
        gradient: ``"plain"`` is the gradient of the estimate. ``"stl"``, sticking the landing,
            takes estimator A's without the score of log q(z|x), whose expectation is zero: its
            variance vanishes as the posterior becomes exact. The loss is the same number.

    Raises:
        ValueError: if `beta` or `free_bits` is negative, not finite or an empty tuple,
            samples < 1, `kl`, `free_bits_per` or `gradient` is unknown, or they exclude each other.
        TypeError: with free bits for each dimension, if posterior or prior is not independent.

    References:
        Kingma and Welling (2014), Auto-encoding variational Bayes, arXiv:1312.6114.
        Higgins et al. (2017), beta-VAE, ICLR.
        Kingma et al. (2016), Improved variational inference with inverse autoregressive flow,
        arXiv:1606.04934 (free bits).
        Roeder, Wu and Duvenaud (2017), Sticking the landing, arXiv:1703.09194.
    """

    beta: float | Schedule | tuple[float | Schedule, ...] = 1.0
    samples: int = 1
    kl: Literal["closed_form", "monte_carlo"] = "closed_form"
    free_bits: float | tuple[float, ...] = 0.0
    free_bits_per: Literal["group", "dimension"] = "group"
    gradient: Literal["plain", "stl"] = "plain"

    def __post_init__(self) -> None:
        for weight in _each("beta", self.beta):
            check_weight("beta", weight)
        check_samples(self.samples)
        check_choice("kl", self.kl, ("closed_form", "monte_carlo"))
        for bits in _each("free_bits", self.free_bits):
            check_number("free_bits", bits, minimum=0)
        check_choice("free_bits_per", self.free_bits_per, ("group", "dimension"))
        check_choice("gradient", self.gradient, ("plain", "stl"))
        if self.free_bits_per == "dimension" and (
            self.kl != "closed_form" or self.gradient != "plain"
        ):
            raise ValueError(
                'Expected `free_bits_per="dimension"` with kl="closed_form" and gradient="plain". '
                f"Received: kl={self.kl!r}, gradient={self.gradient!r}."
            )

    @property
    def requires(self) -> frozenset[Capability]:
        """Reparameterised draws; sticking the landing, densities at fixed ones too."""
        return super().requires | ({"pointwise"} if self.gradient == "stl" else set())

    @property
    def latent_groups(self) -> frozenset[int]:
        """As many as there are weights or free bits, where there is one for each group."""
        given = (self.beta, self.free_bits)
        return frozenset(len(each) for each in given if isinstance(each, tuple))

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the negative bound, [B]."""
        bits = _for_groups("free_bits", self.free_bits, trace)
        betas = _for_groups("beta", self.beta, trace)
        if any(bits) and self.free_bits_per == "dimension":
            kls = [latent.kl_per_dimension for latent in trace.latents]
        else:
            kls = tf.split(self._kl(trace), len(betas), axis=-1)
        weighted = []
        for parts, beta, free in zip(kls, betas, bits, strict=True):  # [B, parts of a group]
            kl = tf.maximum(batch_mean(trace, parts), free) if free else parts
            weighted.append(at(beta, trace.step, kl) * tf.reduce_sum(kl, axis=-1))
        return sum(weighted) - tf.reduce_mean(trace.log_likelihood, axis=0)

    def _kl(self, trace: Trace) -> tf.Tensor:
        """Return the KL of each group, [B, groups]."""
        if self.kl == "closed_form":
            value = trace.kl_per_latent
        else:
            value = tf.stack([latent.kl_monte_carlo for latent in trace.latents], axis=-1)
        if self.gradient == "plain":
            return value
        paths = [
            latent.log_posterior - detached.log_posterior - latent.log_prior
            for latent, detached in zip(trace.latents, trace.detached.latents, strict=True)
        ]
        return with_gradient_of(value, tf.reduce_mean(tf.stack(paths, axis=-1), axis=0))


def _each(argument: str, value: Any) -> tuple[Any, ...]:
    """Return what is given for each group, or once for all of them."""
    if value == ():
        raise ValueError(
            f"Expected `{argument}` to be one value, or one for each group of latents. "
            f"Received: {argument}=()."
        )
    return value if isinstance(value, tuple) else (value,)


def _for_groups(argument: str, value: Any, trace: Trace) -> tuple[Any, ...]:
    """Return a value for each group of a trace's latents."""
    values, groups = _each(argument, value), len(trace.latents)
    if isinstance(value, tuple) and len(value) != groups:
        raise ValueError(
            f"Expected `{argument}` to be one value, or one for each of the {groups} groups of "
            f"latents. Received: {argument}={value}."
        )
    return values if isinstance(value, tuple) else values * groups


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class Reconstruction(Objective):
    r"""The reconstruction term alone, which is all of a plain autoencoder's loss.

    .. math:: -\frac1S \sum_s \log p(x|z_s)

    It asks nothing of the posterior's density, which may be a point. With
    :class:`MMD` it makes a Wasserstein autoencoder, with :class:`Capacity` Burgess et al.'s
    annealed beta-VAE.

    Args:
        samples: posterior samples of each example, S.

    Raises:
        ValueError: if samples < 1.

    Example:
        >>> from tfvae import objectives
        >>> wae = objectives.Reconstruction() + 10.0 * objectives.MMD("imq")
        >>> sorted(wae.requires)
        ['reparameterised']
    """

    samples: int = 1

    def __post_init__(self) -> None:
        check_samples(self.samples)

    @property
    def requires(self) -> frozenset[Capability]:
        """Draws that gradients flow through; no density."""
        return frozenset({"reparameterised"})

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the mean over samples of -log p(x|z), [B]."""
        return -tf.reduce_mean(trace.log_likelihood, axis=0)


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class Capacity(Objective):
    r"""How far the KL is from a capacity C, which is usually raised during training.

    .. math:: \Bigl| \frac1B \sum_b \mathrm{KL}(q(z|x_b) \| p(z)) - C \Bigr|

    Args:
        capacity: C in nats, a number or a schedule.

    Raises:
        ValueError: if `capacity` is negative or not finite.

    Example:
        >>> from tfvae.objectives import Capacity, LinearWarmup, Reconstruction
        >>> objective = Reconstruction() + 1000.0 * Capacity(LinearWarmup(100_000, end=25.0))

    References:
        Burgess et al. (2018), Understanding disentangling in beta-VAE, arXiv:1804.03599.
    """

    capacity: float | Schedule

    def __post_init__(self) -> None:
        check_weight("capacity", self.capacity)

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the distance, a scalar."""
        kl = batch_mean(trace, trace.kl)
        return tf.abs(kl - at(self.capacity, trace.step, kl))
