"""Objectives: from a trace to a loss in nats. They add and scale.

An objective is a frozen dataclass: its fields are its configuration, and calling it on a
:class:`tfvae.Trace` gives the loss of each example, [B], or a scalar where the quantity belongs
to the whole batch. Losses are summed over the event; the model takes the mean over examples.

Example:
    >>> objective = ELBO(beta=4.0) + 0.5 * IWAE(samples=8)
    >>> objective.samples
    8
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal

import keras
import tensorflow as tf

from tfvae.trace import Trace

Capability = Literal["reparameterised", "has_density"]


@dataclass(frozen=True)
class Objective:
    """What a VAE minimises."""

    @property
    def samples(self) -> int:
        """How many posterior samples of each example a pass should draw."""
        return 1

    @property
    def requires(self) -> frozenset[Capability]:
        """What every posterior must be capable of, checked when a VAE is built."""
        return frozenset({"reparameterised", "has_density"})

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the loss in nats, [B] or a scalar."""
        raise NotImplementedError

    def __add__(self, other: Objective) -> WeightedSum:
        """Return the objective whose loss is the sum of both losses."""
        if not isinstance(other, Objective):
            return NotImplemented
        return WeightedSum((*_terms(self), *_terms(other)))

    def __mul__(self, weight: float) -> WeightedSum:
        """Return the objective whose loss is `weight` times this one's."""
        if not isinstance(weight, int | float):
            return NotImplemented
        return WeightedSum(tuple((weight * scale, term) for scale, term in _terms(self)))

    __rmul__ = __mul__

    def get_config(self) -> dict[str, Any]:
        """Return the fields, nested objectives serialised by Keras."""
        return {
            field.name: keras.saving.serialize_keras_object(getattr(self, field.name))
            for field in fields(self)
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Objective:
        """Rebuild an objective from :meth:`get_config`."""
        values = {
            name: keras.saving.deserialize_keras_object(value) for name, value in config.items()
        }
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class ELBO(Objective):
    r"""The evidence lower bound, with its KL weighed by beta.

    .. math:: -\frac1S \sum_s \log p(x|z_s) + \beta\, \mathrm{KL}(q(z|x) \| p(z))

    Args:
        beta: weight of the KL; 1 gives the bound itself, more the beta-VAE.
        samples: posterior samples of each example, S.
        kl: ``"closed_form"`` is estimator B of Kingma and Welling (Monte Carlo where the pair
            of distributions has no closed form); ``"monte_carlo"`` is estimator A.

    Raises:
        ValueError: if beta is negative or not finite, samples < 1, or `kl` is neither.

    References:
        Kingma and Welling (2014), Auto-encoding variational Bayes, arXiv:1312.6114.
        Higgins et al. (2017), beta-VAE, ICLR.
    """

    beta: float = 1.0
    samples: int = 1
    kl: Literal["closed_form", "monte_carlo"] = "closed_form"

    def __post_init__(self) -> None:
        check_samples(self.samples)
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise ValueError(
                f"Expected `beta` to be a number that is not negative. Received: beta={self.beta}."
            )
        if self.kl not in ("closed_form", "monte_carlo"):
            raise ValueError(
                f'Expected `kl` to be "closed_form" or "monte_carlo". Received: kl={self.kl!r}.'
            )

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the negative bound, [B]."""
        kl = trace.kl if self.kl == "closed_form" else trace.kl_monte_carlo
        return self.beta * kl - tf.reduce_mean(trace.log_likelihood, axis=0)


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class IWAE(Objective):
    r"""The importance weighted bound on log p(x).

    .. math:: -\log \frac1k \sum_{i=1}^k \frac{p(x|z_i)\, p(z_i)}{q(z_i|x)}

    Equal to the (Monte-Carlo) ELBO at k = 1, and rising to log p(x) with k.

    Args:
        samples: importance samples of each example, k.

    Raises:
        ValueError: if samples < 1.

    References:
        Burda, Grosse and Salakhutdinov (2016), Importance weighted autoencoders,
        arXiv:1509.00519.
    """

    samples: int = 5

    def __post_init__(self) -> None:
        check_samples(self.samples)

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the negative bound, [B]."""
        return math.log(trace.samples) - tf.reduce_logsumexp(trace.log_weight, axis=0)


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class WeightedSum(Objective):
    """A sum of objectives, each with its weight: what ``a + 0.1 * b`` makes.

    All terms see the same samples: as many as the term that wants most.

    Args:
        terms: pairs of weight and objective.
    """

    terms: tuple[tuple[float, Objective], ...]

    def __post_init__(self) -> None:
        # From a configuration the pairs come back as lists.
        object.__setattr__(self, "terms", tuple((w, term) for w, term in self.terms))
        if not self.terms:
            raise ValueError("Expected `terms` to hold at least one objective. Received: ().")

    @property
    def samples(self) -> int:
        """The largest number of samples that a term wants."""
        return max(term.samples for _, term in self.terms)

    @property
    def requires(self) -> frozenset[Capability]:
        """What any of the terms requires."""
        return frozenset().union(*(term.requires for _, term in self.terms))

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the weighted sum of the losses, [B] or a scalar."""
        return sum(weight * term(trace) for weight, term in self.terms)


def check_samples(samples: int) -> None:
    """Raise a ``ValueError`` unless `samples` is a whole number of at least 1."""
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise ValueError(
            f"Expected `samples` to be a whole number of at least 1. Received: samples={samples!r}."
        )


def _terms(objective: Objective) -> tuple[tuple[float, Objective], ...]:
    return objective.terms if isinstance(objective, WeightedSum) else ((1.0, objective),)
