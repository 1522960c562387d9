"""Objectives for posteriors whose draws no gradient flows through, such as Bernoulli's.

They need only a density. Draws are taken as fixed, so they are right for reparameterised
posteriors as well, with more noise than the objectives that use the path.
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
    check_samples,
    with_gradient_of,
)
from tfvae.objectives.importance import log_mean_exp
from tfvae.trace import Trace


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class ScoreFunction(Objective):
    r"""The Monte-Carlo ELBO, with score-function (REINFORCE) gradients for the posterior.

    .. math:: \nabla_\phi = \frac1S \sum_s (f_s - b_s) \nabla_\phi \log q(z_s|x), \qquad
        f = \log p(x|z) + \log p(z) - \log q(z|x)

    A baseline b that does not depend on its own sample lowers the variance and not the mean:
    ``"leave_one_out"``, the mean f of the example's other samples; ``"batch"``, the mean f of
    the batch's other examples (with one example in a batch, zero); or ``"none"``.

    Args:
        samples: posterior samples of each example, S; at least 2 for ``"leave_one_out"``.
        baseline: ``"leave_one_out"``, ``"batch"`` or ``"none"``.

    Raises:
        ValueError: if there are too few samples or `baseline` is unknown.

    References:
        Williams (1992), Simple statistical gradient-following algorithms, Machine Learning 8.
        Mnih and Gregor (2014), Neural variational inference and learning, arXiv:1402.0030.
        Kool, van Hoof and Welling (2019), Buy 4 REINFORCE samples, get a baseline for free!
    """

    samples: int = 4
    baseline: Literal["leave_one_out", "batch", "none"] = "leave_one_out"

    def __post_init__(self) -> None:
        check_choice("baseline", self.baseline, ("leave_one_out", "batch", "none"))
        check_samples(self.samples, minimum=2 if self.baseline == "leave_one_out" else 1)

    @property
    def requires(self) -> frozenset[Capability]:
        """A density, which is asked of draws that are taken as fixed."""
        return frozenset({"has_density", "pointwise"})

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the negative ELBO, [B]."""
        detached = trace.detached
        signal = tf.stop_gradient(detached.log_weight)
        advantage = signal - self._baseline(signal)
        score = advantage * detached.log_posterior
        joint = detached.log_likelihood + detached.log_prior
        loss = -with_gradient_of(signal, score + joint)
        return tf.reduce_mean(loss, axis=0)

    def _baseline(self, signal: tf.Tensor) -> tf.Tensor:
        if self.baseline == "none":
            return tf.zeros_like(signal)
        axis = 0 if self.baseline == "leave_one_out" else 1
        others = tf.cast(tf.maximum(tf.shape(signal)[axis] - 1, 1), signal.dtype)
        return (tf.reduce_sum(signal, axis=axis, keepdims=True) - signal) / others


@keras.saving.register_keras_serializable("tfvae")
@dataclass(frozen=True)
class VIMCO(Objective):
    r"""The importance weighted bound, with score-function gradients for the posterior.

    .. math:: \nabla = \sum_i (L - L_{-i}) \nabla \log q(z_i|x)
        + \sum_i \tilde w_i \nabla \log w_i, \qquad L = \log \frac1k \sum_i w_i

    The baseline L_-i of sample i is L with w_i replaced by the geometric mean of the others.

    Args:
        samples: importance samples of each example, k, at least 2.

    Raises:
        ValueError: if samples < 2.

    References:
        Mnih and Rezende (2016), Variational inference for Monte Carlo objectives,
        arXiv:1602.06725.
    """

    samples: int = 5

    def __post_init__(self) -> None:
        check_samples(self.samples, minimum=2)

    @property
    def requires(self) -> frozenset[Capability]:
        """A density, which is asked of draws that are taken as fixed."""
        return frozenset({"has_density", "pointwise"})

    def __call__(self, trace: Trace) -> tf.Tensor:
        """Return the negative bound, [B]."""
        detached = trace.detached
        bound = log_mean_exp(detached.log_weight)
        signal = tf.stop_gradient(bound - _leave_one_out(detached.log_weight))
        score = tf.reduce_sum(signal * detached.log_posterior, axis=0)
        return -with_gradient_of(bound, bound + score)


def _leave_one_out(log_weight: tf.Tensor) -> tf.Tensor:
    """Return the bound with each weight in turn replaced by the others' geometric mean, [S, B]."""
    count = log_weight.shape[0]
    if count < 2:
        raise ValueError(
            f"Expected a pass with at least 2 posterior samples of each example. Received: {count}."
        )
    others = (tf.reduce_sum(log_weight, axis=0) - log_weight) / (count - 1)
    own = tf.eye(count, dtype=tf.bool)[:, :, None]
    replaced = tf.where(own, others[:, None], log_weight[None])  # [S left out, S, B]
    return tf.reduce_logsumexp(replaced, axis=1) - math.log(count)
