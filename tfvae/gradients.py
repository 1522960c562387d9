"""How noisy gradients are: the variance of an estimator of the bound's gradient, measured."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfvae import intake, random
from tfvae.checks import check_slots
from tfvae.model import VAE
from tfvae.objectives import ELBO, Objective, ScoreFunction, check_samples

__all__ = ["GROUPS", "GradientNoise", "Noise", "estimators", "gradient_meter", "gradient_noise"]

GROUPS = ("variational", "generative")
"""The parameters of q(z|x), and those of p(z) and p(x|z)."""


class Noise(NamedTuple):
    """The spread of a random vector g about its mean, with standard errors.

    Attributes:
        variance: the trace of its covariance, E‖g - E g‖².
        error: the standard error of `variance`.
        signal: ‖E g‖², unbiased, so that it may be below zero where noise hides it.
        signal_error: the standard error of `signal`.
    """

    variance: float
    error: float
    signal: float
    signal_error: float


class GradientNoise(NamedTuple):
    """The noise of a gradient, for each group of parameters, and the loss it is the gradient of.

    Attributes:
        variational: of the parameters of q(z|x).
        generative: of those of p(z) and p(x|z); what both have in common is counted above.
        loss: the mean of the objective over draws and examples, in nats.
        loss_error: its standard error over draws.
    """

    variational: Noise
    generative: Noise
    loss: float
    loss_error: float


def estimators(samples: int = 1) -> dict[str, Objective]:
    """Return estimators of the ELBO's gradient, by name, each of so many posterior samples.

    Estimators A and B are reparameterised. The score function's baseline is the mean over the
    batch's other examples or, of several samples, over the example's other samples.

    Example:
        >>> list(estimators())
        ['score function', 'score function, baseline', 'A: Monte-Carlo KL', 'B: closed-form KL']
    """
    check_samples(samples)
    baseline: Any = "batch" if samples == 1 else "leave_one_out"
    return {
        "score function": ScoreFunction(samples, baseline="none"),
        "score function, baseline": ScoreFunction(samples, baseline=baseline),
        "A: Monte-Carlo KL": ELBO(samples=samples, kl="monte_carlo"),
        "B: closed-form KL": ELBO(samples=samples, kl="closed_form"),
    }


def gradient_noise(
    vae: VAE,
    x: Any,
    objective: Objective,
    draws: int = 200,
    seed: int = 0,
    *,
    condition: Any = None,
) -> GradientNoise:
    r"""Measure the noise of an objective's gradient on a fixed batch, over draws of z.

    .. math:: \operatorname{tr} \operatorname{Cov} g
        = \tfrac12\, \mathrm E \lVert g - g' \rVert^2, \qquad
        \lVert \mathrm E g \rVert^2 = \mathrm E\, g^\top g'

    of independent draws g, g' of the gradient of the batch's mean loss. Draws are taken in pairs,
    each of which gives an unbiased value of both, so that standard errors are those of a mean.
    Networks run as in evaluation (no dropout), and penalties on weights, which have no noise, are
    left out. The same seed gives all objectives the same draws of z.

    Args:
        vae: the model; it stays as it is.
        x: the batch, [B, *data], or Examples.
        objective: whose gradient; it need not be the model's own.
        draws: of the gradient, an even number.
        seed: of the draws.
        condition: for a conditional model, one for each example; Examples bring theirs as y.

    Returns:
        Variances in squared nats per squared unit of weight.

    Raises:
        ValueError: for data that does not fit, fewer than 4 draws or an odd number of them, or an
            objective that asks for what a slot lacks.

    Example:
        >>> vae = tfvae.zoo.vae((8, 8), latent_dim=2, hidden=(16,))
        >>> x = np.random.default_rng(0).integers(0, 2, (20, 8, 8)).astype("float32")
        >>> A, B = (tfvae.objectives.ELBO(kl=kl) for kl in ("monte_carlo", "closed_form"))
        >>> noise = [tfvae.gradients.gradient_noise(vae, x, each, 50) for each in (A, B)]
        >>> [each.variational.variance > 0 for each in noise]
        [True, True]
    """
    return gradient_meter(vae, x, objective, draws, condition=condition)(seed)


def gradient_meter(
    vae: VAE, x: Any, objective: Objective, draws: int = 200, *, condition: Any = None
) -> Callable[[int], GradientNoise]:
    """Return what measures as :func:`gradient_noise` does, from the seed, again and again.

    Compiled once, it sees the weights as they are when it is called. Arguments and errors are those
    of :func:`gradient_noise`.
    """
    check_slots(vae.prior, vae.posterior, vae.likelihood, objective, vae.corruption)
    check_samples(draws, minimum=4, argument="draws")
    if draws % 2:
        raise ValueError(f"Expected `draws` to be even, in pairs. Received: draws={draws}.")
    examples = intake.examples(vae.likelihood, *vae.beside(x, condition))
    vae.check_condition(examples, "gradient_noise(vae, x, objective, condition=c)")
    groups = _groups(vae)
    beside = tf.constant(examples.y) if vae.reads_y and examples.y is not None else None
    batch = vae.unpack((tf.constant(examples.values()), beside))

    def gradient(folded: tf.Tensor) -> tuple[tf.Tensor, list[list[tf.Tensor]]]:
        with tf.GradientTape() as tape:
            trace = vae.trace(
                batch.seen, objective.samples, folded, condition=batch.condition, mask=batch.mask
            )
            loss = tf.reduce_mean(objective(trace))
        flat = [variable for group in groups for variable in group]
        found = tape.gradient(loss, flat, unconnected_gradients="zero")
        cut = len(groups[0])
        return loss, [found[:cut], found[cut:]]

    def one_pair(key: tf.Tensor, pair: tf.Tensor) -> tf.Tensor:
        (one, first), (two, second) = (gradient(random.fold(key, pair, i)) for i in range(2))
        found = [tf.cast(one + two, tf.float64) / 2]
        for a, b in zip(first, second, strict=True):
            found += [
                _sum([tf.square(u - v) / 2 for u, v in zip(a, b, strict=True)]),
                _sum([u * v for u, v in zip(a, b, strict=True)]),
            ]
        return tf.stack(found)

    @tf.function(autograph=False)
    def all_pairs(key: tf.Tensor) -> tf.Tensor:
        # One at a time: a gradient is as large as the model.
        return tf.map_fn(
            functools.partial(one_pair, key),
            tf.range(draws // 2),
            fn_output_signature=tf.float64,
            parallel_iterations=1,
        )

    def measure(seed: int) -> GradientNoise:
        rows = all_pairs(random.fold(seed, random.TEST)).numpy()
        mean = rows.mean(axis=0).tolist()
        error = (rows.std(axis=0, ddof=1) / np.sqrt(len(rows))).tolist()
        variational, generative = (
            Noise(mean[i], error[i], mean[i + 1], error[i + 1]) for i in (1, 3)
        )
        return GradientNoise(variational, generative, mean[0], error[0])

    return measure


def _groups(vae: VAE) -> list[list[Any]]:
    """Return the trainable variables of q(z|x), and the others."""
    own = [*vae.encoder.trainable_variables, *vae.posterior.trainable_variables]
    ours = {id(variable) for variable in own}
    rest = [variable for variable in vae.trainable_variables if id(variable) not in ours]
    return [[variable.value for variable in group] for group in (own, rest)]


def _sum(parts: Sequence[Any]) -> tf.Tensor:
    """Add up all values of some tensors, in float64."""
    dense = [tf.cast(tf.convert_to_tensor(part), tf.float64) for part in parts]
    return tf.add_n([tf.reduce_sum(part) for part in dense]) if dense else tf.zeros([], tf.float64)
