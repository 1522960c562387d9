"""What is wrong with a model's latents, in words: rules on measured numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfvae import random
from tfvae.evaluate.active import DRAWS, THRESHOLD, active_units, criterion
from tfvae.evaluate.batches import Batches, Estimate, read
from tfvae.evaluate.divergence import check_densities
from tfvae.model import VAE
from tfvae.objectives import ELBO, Objective, Reconstruction
from tfvae.objectives.schedules import at

_IGNORED = 0.1
"""Of the KL: a decoder that gains less than this share of it from z makes no use of z."""
_NOTICED = 0.1
"""Nats of KL below which there is nothing in z to be ignored."""


class Facts(NamedTuple):
    """What a diagnosis rests on.

    Attributes:
        active: latents that follow the data, of all groups.
        latents: how many there are.
        kl: the mean of KL(q(z|x)‖p(z)), in nats.
        gain: how much better z of the example itself explains it than z of another one, in nats:
            E log p(x|z) - E log p(x|z'), 0 where the decoder ignores z. None where it is not
            known.
        beta: the weight of the KL in the objective, at the end of training; None where the
            objective has no KL.
        threshold: the variance of E[z|x] above which a latent is active.
    """

    active: int
    latents: int
    kl: float
    gain: Estimate | None
    beta: float | None
    threshold: float = THRESHOLD


class Rule(NamedTuple):
    """A fault: when it is there, what it looks like, and what to try."""

    name: str
    applies: Callable[[Facts], bool]
    finding: Callable[[Facts], str]
    advice: Callable[[Facts], str]


class Diagnosis(NamedTuple):
    """The first rule that applies.

    Attributes:
        verdict: its name, ``"healthy"`` where there is no fault.
        finding: what was measured, and what it means.
        advice: what to try; empty where nothing need be done.
        facts: the numbers.
    """

    verdict: str
    finding: str
    advice: str
    facts: Facts


def _of(facts: Facts) -> str:
    verb = "is" if facts.active == 1 else "are"
    known = f"{facts.active} of {facts.latents} latents {verb} active"
    return f"{known} ({criterion(facts.threshold)})"


def _heavy(facts: Facts) -> bool:
    return facts.beta is not None and facts.beta > 1


RULES = (
    Rule(
        "ignored",
        lambda f: (
            f.gain is not None
            and f.kl > _NOTICED
            and f.gain.mean + 2 * f.gain.error < _IGNORED * f.kl
        ),
        lambda f: (
            f"The KL is {f.kl:.2f} nats, yet another example's z explains x as well as its own "
            f"({f.gain.mean if f.gain else 0:.2f} nats worse): the decoder ignores z."
        ),
        lambda f: (
            "Check that z reaches the output: an untrained or frozen decoder, much dropout, or a "
            "decoder that sees x itself is the usual cause. Train longer, or weaken what the "
            "decoder has beside z (word_dropout= of sentences)."
        ),
    ),
    Rule(
        "beta",
        lambda f: _heavy(f) and f.active < f.latents,
        lambda f: (
            f"{_of(f)}: with β = {f.beta:g} a latent must explain {f.beta:g} nats for each nat "
            "that it costs, and the others do not."
        ),
        lambda f: (
            "Try a smaller β, a capacity that is raised in training (zoo.annealed_vae), or a "
            "penalty on the total correlation alone (zoo.beta_tcvae)."
        ),
    ),
    Rule(
        "collapsed",
        lambda f: f.active == 0,
        lambda f: (
            f"{_of(f)}: q(z|x) is nearly p(z) whatever x is, and the model does without z "
            "(posterior collapse)."
        ),
        lambda f: (
            "A decoder too strong, or a KL that is charged in full from the first step, is the "
            "usual cause. Try a warm-up, ELBO(beta=LinearWarmup(10_000)); free bits, "
            "ELBO(free_bits=0.1, free_bits_per='dimension'); a smaller decoder; or train longer, "
            "where training has only begun."
        ),
    ),
    Rule(
        "partial",
        lambda f: f.active < f.latents,
        lambda f: (
            f"{_of(f)}: the others are worth less to this decoder than they cost, or were switched "
            "off early in training."
        ),
        lambda f: (
            "Where log_marginal is as good with fewer latents, nothing is wrong: build the model "
            f"with latent_dim={f.active}. Otherwise try a warm-up of the KL, free bits, or a "
            "decoder that is less strong."
        ),
    ),
    Rule(
        "healthy",
        lambda f: True,
        lambda f: f"{_of(f)}, and the decoder makes use of them.",
        lambda f: "",
    ),
)
"""In order: the first that applies is the diagnosis."""


def diagnose(facts: Facts) -> Diagnosis:
    """Return the first rule that applies to some facts.

    Example:
        >>> facts = tfvae.evaluate.faults.Facts(12, 50, 18.0, None, 1.0)
        >>> tfvae.evaluate.faults.diagnose(facts).finding[:27]
        '12 of 50 latents are active'
    """
    rule = next(rule for rule in RULES if rule.applies(facts))
    return Diagnosis(rule.name, rule.finding(facts), rule.advice(facts), facts)


def diagnosis(
    vae: VAE,
    x: Any,
    *,
    threshold: float = THRESHOLD,
    samples: int = DRAWS,
    seed: int = 0,
    condition: Any = None,
    batch_size: int = 256,
) -> Diagnosis:
    """Say whether latents are used, and what to try where they are not.

    Args:
        vae: a trained model.
        x: [N, *data], or Examples, of which there are at least two.
        threshold: of the variance of a latent's mean, above which it is active.
        samples: draws of each example for its active units, as of :func:`active_units`.
        seed: of the draws.
        condition: for a conditional model, one for each example; Examples bring theirs as y.
        batch_size: examples at a time.

    Raises:
        ValueError: for fewer than two examples, data that do not fit, or a model without
            densities.

    Example:
        >>> vae = tfvae.zoo.vae((8, 8), latent_dim=3, hidden=(16,))
        >>> x = np.random.default_rng(0).integers(0, 2, (64, 8, 8))
        >>> tfvae.evaluate.diagnosis(vae, x).facts.latents
        3
    """
    check_densities(vae)
    data = read(vae, x, condition, "diagnosis", least=2, batch_size=batch_size)
    units = active_units(
        vae,
        x,
        threshold,
        samples=samples,
        seed=seed,
        condition=condition,
        batch_size=batch_size,
    )
    kl, gain = _kl_and_gain(data, seed, batch_size)
    facts = Facts(
        active=sum(units.counts),
        latents=sum(variance.size for variance in units.variances),
        kl=kl,
        gain=gain,
        beta=beta_of(vae.objective, vae.step),
        threshold=threshold,
    )
    return diagnose(facts)


def _kl_and_gain(data: Batches, seed: int, batch_size: int) -> tuple[float, Estimate | None]:
    vae, kls, gains = data.vae, [], []
    # Of a sum over classes, draws belong to classes, and are no draws of another example.
    known = vae.group_count == len(vae.latent_priors)
    for rows in data.parts(batch_size):
        batch = data.rows(rows)
        folded = random.fold(seed, random.TEST, int(rows[0]))
        trace = vae.trace(batch.seen, 1, folded, condition=batch.condition, mask=batch.mask)
        kls.append(np.asarray(trace.kl, np.float64))
        if known and len(rows) > 1:  # a last one alone has no other
            others = trace.at(lambda z: tf.roll(z, 1, axis=1))
            gains.append(np.asarray(trace.log_likelihood - others.log_likelihood, np.float64)[0])
    return float(np.concatenate(kls).mean()), Estimate.of(np.concatenate(gains)) if gains else None


def beta_of(objective: Objective, step: Any) -> float | None:
    """Return the weight of the KL against that of log p(x|z), or None where there is none.

    Of several weights, for levels of a hierarchy, their mean.

    Example:
        >>> o = tfvae.objectives
        >>> tfvae.evaluate.faults.beta_of(o.ELBO(beta=4.0) + 2.0 * o.TotalCorrelation(), 0)
        4.0
    """
    terms = getattr(objective, "terms", ((1.0, objective),))
    cost = worth = 0.0
    for scale, term in terms:
        if isinstance(term, ELBO):
            betas = term.beta if isinstance(term.beta, tuple) else (term.beta,)
            like = tf.zeros([], tf.float64)
            cost += scale * float(
                np.mean([at(beta, tf.cast(step, tf.int64), like) for beta in betas])
            )
            worth += scale
        elif isinstance(term, Reconstruction):
            worth += scale
    return cost / worth if cost and worth and math.isfinite(cost) else None
