"""Bounds on log p(x) from several importance samples, and their gradients.

Written with the importance weights w = p(x|z) p(z) / q(z|x) of a pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import keras
import tensorflow as tf

from tfvae.objectives.base import (
    Capability,
    Objective,
    check_choice,
    check_number,
    check_samples,
    with_gradient_of,
)
from tfvae.trace import Trace


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class IWAE(Objective):
    r"""The importance weighted bound on log p(x).

    .. math:: -\log \frac1k \sum_{i=1}^k \frac{p(x|z_i)\, p(z_i)}{q(z_i|x)}

    Equal to the (Monte-Carlo) ELBO at k = 1, and rising to log p(x) with k. The encoder's plain
    gradient drowns in noise as k grows; two others have the same loss and less noise:

    - ``"dreg"``, doubly reparameterised: the path through z alone, each sample weighed by the
      square of its normalised weight. Unbiased, also where prior and encoder share weights.
    - ``"stl"``, sticking the landing: the score of log q(z|x) is left out. Unbiased at k = 1,
      and *biased* for k > 1.

    ``"dreg"`` runs the decoder a second time.

    Args:
        samples: importance samples of each example, k.
        gradient: ``"plain"``, ``"dreg"`` or ``"stl"``.

    Raises:
        ValueError: if samples < 1 or `gradient` is unknown.

    References:
        Burda, Grosse and Salakhutdinov (2016), Importance weighted autoencoders,
        arXiv:1509.00519.
        Tucker et al. (2019), Doubly reparameterized gradient estimators, arXiv:1810.04152.
        Roeder, Wu and Duvenaud (2017), Sticking the landing, arXiv:1703.09194.
    """

    samples: int = 5
    gradient: Literal["plain", "dreg", "stl"] = "plain"

    def __post_init__(self) -> None:
        check_samples(self.samples)
        check_choice("gradient", self.gradient, ("plain", "dreg", "stl"))

    @property
    def requires(self) -> frozenset[Capability]:
        """Reparameterised draws; but for the plain gradient, densities at fixed ones too."""
        return super().requires | ({"pointwise"} if self.gradient != "plain" else set())

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the negative bound, [B]."""
        bound = log_mean_exp(trace.log_weight)
        if self.gradient == "plain":
            return -bound
        share = tf.stop_gradient(tf.nn.softmax(trace.log_weight, axis=0))
        path = trace.log_posterior - trace.detached.log_posterior
        if self.gradient == "stl":
            each = share * (trace.log_likelihood + trace.log_prior - path)
        else:
            # The gradient through z is damped by the sample's share, and then weighed by it.
            damped = trace.at(lambda z: _damped(z, share))
            each = share * (damped.log_likelihood + damped.log_prior - share * path)
        return -with_gradient_of(bound, tf.reduce_sum(each, axis=0))


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class MIWAE(Objective):
    r"""The mean of m importance weighted bounds of k samples each.

    .. math:: -\frac1m \sum_{j=1}^m \log \frac1k \sum_{i=1}^k w_{ij}

    One group makes it the IWAE, as many groups as samples the ELBO.

    Args:
        samples: importance samples of each example in all, m k.
        groups: the number of bounds, m, which divides `samples`.

    Raises:
        ValueError: if samples < 1, groups < 1, or `groups` does not divide `samples`.

    References:
        Rainforth et al. (2018), Tighter variational bounds are not necessarily better,
        arXiv:1802.04537.
    """

    samples: int = 8
    groups: int = 2

    def __post_init__(self) -> None:
        _check_groups(self.samples, self.groups)

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the negative bound, [B]."""
        return -_mean_of_bounds(_first(trace.log_weight, self.samples), self.groups)


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class CIWAE(Objective):
    r"""A convex combination of the ELBO and the IWAE, of the same samples.

    .. math:: -\frac\beta k \sum_i \log w_i - (1 - \beta) \log \frac1k \sum_i w_i

    Args:
        beta: the ELBO's part, from 0 (the IWAE) to 1 (the Monte-Carlo ELBO).
        samples: importance samples of each example, k.

    Raises:
        ValueError: if `beta` is not in [0, 1] or samples < 1.

    References:
        Rainforth et al. (2018), Tighter variational bounds are not necessarily better,
        arXiv:1802.04537.
    """

    beta: float = 0.5
    samples: int = 5

    def __post_init__(self) -> None:
        check_number("beta", self.beta, 0, 1)
        check_samples(self.samples)

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the negative bound, [B]."""
        elbo = tf.reduce_mean(trace.log_weight, axis=0)
        return -self.beta * elbo - (1 - self.beta) * log_mean_exp(trace.log_weight)


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class PIWAE(Objective):
    r"""Two targets: the IWAE of all samples for p, the MIWAE of groups for q.

    The generative model follows the tighter bound, the posterior the one whose gradient has the
    better signal-to-noise ratio. The loss is the negative IWAE.

    Gradients are told apart by how they reach the weights and not by which weights they reach:
    what flows through p(x|z) and p(z) at a fixed z is the IWAE's, what flows through z and
    q(z|x) the MIWAE's. It runs the decoder a second time.

    Args:
        samples: importance samples of each example in all.
        groups: the MIWAE's number of bounds, which divides `samples`.

    Raises:
        ValueError: if samples < 1, groups < 1, or `groups` does not divide `samples`.

    References:
        Rainforth et al. (2018), Tighter variational bounds are not necessarily better,
        arXiv:1802.04537.
    """

    samples: int = 8
    groups: int = 4

    def __post_init__(self) -> None:
        _check_groups(self.samples, self.groups)

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the negative IWAE bound, [B]."""
        log_weight = _first(trace.log_weight, self.samples)
        detached = trace.detached
        joint = _first(detached.log_likelihood + detached.log_prior, self.samples)
        generative = log_mean_exp(with_gradient_of(log_weight, joint))
        inference = with_gradient_of(log_weight, log_weight - joint)
        return -with_gradient_of(generative, generative + _mean_of_bounds(inference, self.groups))


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class Renyi(Objective):
    r"""The variational Rényi bound.

    .. math:: -\frac1{1 - \alpha} \log \frac1k \sum_{i=1}^k w_i^{1 - \alpha}

    It falls with alpha: 0 is the IWAE, 1 (the limit) the ELBO. Below 0 it estimates an *upper*
    bound of log p(x), from below: with few samples it may lie on either side.

    Args:
        alpha: the order of the divergence, any finite number.
        samples: importance samples of each example, k.

    Raises:
        ValueError: if `alpha` is not finite or samples < 1.

    References:
        Li and Turner (2016), Rényi divergence variational inference, arXiv:1602.02311.
    """

    alpha: float = 0.5
    samples: int = 5

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha)
        check_samples(self.samples)

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the negative bound, [B]."""
        power = 1 - self.alpha
        if power == 0:
            return -tf.reduce_mean(trace.log_weight, axis=0)
        scaled = power * trace.log_weight
        largest = tf.stop_gradient(tf.reduce_max(scaled, axis=0))
        # expm1 and log1p keep their digits near alpha = 1, where the mean is close to 1.
        mean = tf.math.log1p(tf.reduce_mean(tf.math.expm1(scaled - largest), axis=0))
        return -(largest + mean) / power


def log_mean_exp(log_weight: tf.Tensor) -> tf.Tensor:
    """Return the logarithm of the mean over the first axis of exp."""
    return tf.reduce_logsumexp(log_weight, axis=0) - math.log(log_weight.shape[0])


def _damped(z: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Return the same draws, the gradient of each multiplied by its share [S, B]."""
    share = tf.reshape(share, [*share.shape[:1], -1, *[1] * (z.shape.rank - 2)])
    return with_gradient_of(z, share * z)


def _mean_of_bounds(log_weight: tf.Tensor, groups: int) -> tf.Tensor:
    """Split the samples of [S, B] into groups and return the mean of their bounds, [B]."""
    return tf.reduce_mean(tf.stack([log_mean_exp(w) for w in tf.split(log_weight, groups)]), axis=0)


def _first(term: tf.Tensor, samples: int) -> tf.Tensor:
    if term.shape[0] < samples:
        raise ValueError(
            f"Expected a pass with at least {samples} posterior samples of each example, as the "
            f"objective's `samples` says. Received: {term.shape[0]}."
        )
    return term[:samples]


def _check_groups(samples: int, groups: int) -> None:
    check_samples(samples)
    check_samples(groups, argument="groups")
    if samples % groups:
        raise ValueError(
            "Expected `groups` to divide `samples`, the number of samples in all. "
            f"Received: samples={samples}, groups={groups}."
        )
