"""ELBO surgery: what of the KL is information about x, and what is a mismatch with the prior."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_probability as tfp

from tfvae import random
from tfvae.evaluate.batches import Batches, Estimate, UndefinedError, read
from tfvae.layers.kl import AnyIndependent
from tfvae.model import VAE
from tfvae.objectives import check_samples
from tfvae.sources import permutation
from tfvae.trace import Latent

tfd = tfp.distributions
Array = npt.NDArray[Any]

_VALUES = 1 << 22
"""Values of log q(z_d|x_n) in memory at a time."""
_GAUSSIAN = (
    tfd.MultivariateNormalLinearOperator,
    tfd.MultivariateNormalDiagPlusLowRankCovariance,
)


class Surgery(NamedTuple):
    """The KL of N examples, taken apart; in nats. What is not defined for a model is None.

    Attributes:
        kl: the mean of KL(q(z|x)‖p(z)); it is the sum of the next two.
        mutual_information: I_q(n; z), of an example's number and its code; log N at most.
        marginal_kl: KL(q(z)‖p(z)) of the aggregate posterior; where posterior and prior are
            independent over the latents it is the sum of the next two.
        total_correlation: KL(q(z)‖∏_d q(z_d)).
        dimension_kl: Σ_d KL(q(z_d)‖p(z_d)).
        each_dimension: its terms, [d].
        examples: N, of which q(z) is the mixture. Where the information is near log N, every z
            tells its example from all others: of more examples it would be higher, and the
            mismatch lower.
        draws: of z, over which the means are taken.
        components: posteriors among which log q(z) is computed; where fewer than N, it is
            estimated, and the information too high and the mismatch too low by that.
    """

    kl: Estimate
    mutual_information: Estimate
    marginal_kl: Estimate
    total_correlation: Estimate | None
    dimension_kl: Estimate | None
    each_dimension: Array | None
    examples: int
    draws: int
    components: int

    @property
    def saturated(self) -> bool:
        """Whether the information is all that so few examples could show, up to a tenth of it."""
        return self.mutual_information.mean > 0.9 * math.log(self.examples)


def obstacle(vae: VAE) -> str:
    """Say why a model has no such terms, or nothing."""
    pairs = [("prior", prior) for prior in vae.latent_priors]
    pairs += [("posterior", each) for each in getattr(vae, "posteriors", [vae.posterior])]
    for slot, layer in pairs:
        if not layer.has_density:
            return f"the {slot} {type(layer).__name__} has no density"
        if not layer.pointwise:
            return (
                f"the density of the {slot} {type(layer).__name__} is known at its own draws only"
            )
    if vae.prior.conditional:
        return (
            f"the prior {type(vae.prior).__name__} is another one for each condition, while q(z) "
            "is of all examples"
        )
    if vae.group_count != len(vae.latent_priors):
        return "a class is summed over, so that an example has no one posterior"
    if hasattr(vae, "steps"):
        return "latents are paths, of sequences that differ in length"
    return ""


def surgery(
    vae: VAE,
    x: Any,
    *,
    draws: int = 2048,
    components: int = 1 << 16,
    seed: int = 0,
    condition: Any = None,
    batch_size: int = 256,
    progress: Callable[[int, int], object] | None = None,
) -> Surgery:
    r"""Take the KL of the ELBO apart.

    .. math:: \frac1N \sum_n \mathrm{KL}(q(z|x_n) \| p(z))
        &= I_q(n; z) + \mathrm{KL}(q(z) \| p(z)), \qquad q(z) = \frac1N \sum_n q(z|x_n) \\
        \mathrm{KL}(q(z) \| p(z)) &= \mathrm{KL}\Bigl(q(z) \Big\| \prod_d q(z_d)\Bigr)
        + \sum_d \mathrm{KL}(q(z_d) \| p(z_d))

    All are of the N examples that are given: of more, there is more to tell apart, and the
    information is higher. log q(z) is that of the mixture itself where N is at most `components`,
    and the only error is that of means over draws. Above, it is of the draw's own example and of
    random others, :math:`\tfrac1N q(z|x_n) + \tfrac{N-1}{N} \overline{q(z|x_m)}`: unbiased for
    q(z), so that its logarithm is too low.

    Args:
        vae: the model.
        x: [N, *data], or Examples.
        draws: of z, spread evenly over the examples in a random order.
        components: examples among which log q(z) is computed, at most.
        seed: of draws and order.
        condition: for a conditional model, one for each example; Examples bring theirs as y.
        batch_size: examples at a time.
        progress: called with the number of examples that are done and that of all.

    Returns:
        All terms, with their standard errors over draws. The total correlation is defined for
        models with one group of latents whose posterior is independent over them or Gaussian.

    Raises:
        ValueError: for draws < 2 or components < 2, data that do not fit the model, and models that
            have no such terms, with the reason.

    Example:
        >>> vae = tfvae.zoo.vae((8, 8), latent_dim=2, hidden=(16,))
        >>> x = np.random.default_rng(0).integers(0, 2, (64, 8, 8))
        >>> found = tfvae.evaluate.surgery(vae, x, draws=64)
        >>> parts = found.mutual_information.mean + found.marginal_kl.mean
        >>> round(found.kl.mean - parts, 4)
        0.0

    References:
        Hoffman and Johnson (2016), ELBO surgery: yet another way to carve up the variational
        evidence lower bound. Chen et al. (2018), Isolating sources of disentanglement in VAEs,
        arXiv:1802.04942 (the second line).
    """
    check_samples(draws, minimum=2, argument="draws")
    check_samples(components, minimum=2, argument="components")
    if reason := obstacle(vae):
        raise UndefinedError(
            f"Expected a model whose latents have an aggregate posterior and one prior. Received: "
            f"a {type(vae).__name__}, where {reason}."
        )
    data = read(vae, x, condition, "surgery", batch_size=batch_size)
    count = len(data)
    order = permutation(count, seed)
    own = np.resize(order, draws)
    # Others than the draws' own examples first where there is no room for all.
    chosen = np.sort(np.roll(order, -draws)[: min(count, components)])
    total = len(own) + len(chosen)

    def step(done: int) -> None:
        if progress is not None:
            progress(done, total)

    drawn = _draw(data, own, seed, batch_size, step)
    joint, each, others = _mixture(data, drawn, own, chosen, batch_size, step)
    # Of one example there are no others.
    share = math.log1p(-1 / count) if count > 1 else -math.inf
    rest = share - np.log(np.maximum(others, 1))
    log_q = np.logaddexp(drawn.log_posterior - math.log(count), joint + rest)
    information, mismatch = drawn.log_posterior - log_q, log_q - drawn.log_prior
    correlation = dimension = one_by_one = None
    if drawn.each_posterior is not None and each is not None:
        log_each = np.logaddexp(drawn.each_posterior - math.log(count), each + rest[:, None])
        correlation = Estimate.of(log_q - log_each.sum(axis=1))
        if drawn.each_prior is not None:
            dimension = Estimate.of((log_each - drawn.each_prior).sum(axis=1))
            one_by_one = (log_each - drawn.each_prior).mean(axis=0)
    return Surgery(
        kl=Estimate.of(drawn.log_posterior - drawn.log_prior),
        mutual_information=Estimate.of(information),
        marginal_kl=Estimate.of(mismatch),
        total_correlation=correlation,
        dimension_kl=dimension,
        each_dimension=one_by_one,
        examples=count,
        draws=draws,
        components=len(chosen),
    )


class _Drawn(NamedTuple):
    """Draws z, [M, *event] of each group; log-densities [M], and of each latent [M, d]."""

    z: tuple[Array, ...]
    log_posterior: Array
    log_prior: Array
    each_posterior: Array | None
    each_prior: Array | None


def _draw(
    data: Batches, own: Array, seed: int, batch_size: int, step: Callable[[int], None]
) -> _Drawn:
    """Draw from the posteriors of rows `own`, one each."""
    parts, done = [], 0
    for rows in data.parts(batch_size, own):
        batch = data.rows(rows)
        folded = random.fold(seed, random.TEST, done)
        trace = data.vae.trace(batch.seen, 1, folded, condition=batch.condition)
        alone = trace.latents[0] if len(trace.latents) == 1 else None
        terms = [
            *(latent.z[0] for latent in trace.latents),
            trace.log_posterior[0],
            # A prior of no batch is one for all.
            tf.broadcast_to(trace.log_prior, [1, len(rows)])[0],
            _each(alone, "posterior"),
            _each(alone, "prior"),
        ]
        parts.append([None if term is None else np.asarray(term) for term in terms])
        done += len(rows)
        step(done)
    columns = [
        None if column[0] is None else np.concatenate(column) for column in zip(*parts, strict=True)
    ]
    *z, posterior, prior, each_posterior, each_prior = columns
    return _Drawn(tuple(z), *map(_wide, (posterior, prior, each_posterior, each_prior)))  # type: ignore[arg-type]


def _wide(array: Array | None) -> Array | None:
    return None if array is None else array.astype(np.float64)


def _each(latent: Latent | None, slot: str) -> tf.Tensor | None:
    """Return the log-density of each value of the one draw, [B, d], where marginals are known."""
    if latent is None:
        return None
    found = marginals(getattr(latent, slot), latent.z)
    return None if found is None else found[0]


def marginals(distribution: Any, z: tf.Tensor) -> tf.Tensor | None:
    """Return the log-densities of the marginals at z [S, B, *event], [S, B', d]; or None."""
    if isinstance(distribution, AnyIndependent) and not distribution.distribution.event_shape.rank:
        each = distribution.distribution.log_prob(z)
    elif isinstance(distribution, _GAUSSIAN) and z.shape.rank == 3:
        each = tfd.Normal(distribution.mean(), distribution.stddev()).log_prob(z)
    else:
        return None
    return tf.reshape(each, [tf.shape(each)[0], tf.shape(each)[1], math.prod(z.shape[2:])])


def _mixture(
    data: Batches,
    drawn: _Drawn,
    own: Array,
    chosen: Array,
    batch_size: int,
    step: Callable[[int], None],
) -> tuple[Array, Array | None, Array]:
    """Return log Σ q(z_m|x_n) over the chosen n that are not m's own, joint [M] and [M, d].

    And how many they were, [M].
    """
    vae, draws = data.vae, len(own)
    z = tuple(tf.constant(each)[:, None] for each in drawn.z)
    width = max(1, sum(math.prod(each.shape[1:]) for each in drawn.z))
    size = min(batch_size, max(1, _VALUES // (draws * width)))
    wanted = drawn.each_posterior is not None

    @tf.function(autograph=False)
    def add(
        seen: tf.Tensor, condition: tf.Tensor | None, same: tf.Tensor, *sums: tf.Tensor
    ) -> list[tf.Tensor]:
        trace = vae.trace(seen, 1, 0, condition=condition).given(z)
        # Of a level that sees the level below alone, all examples share a density.
        terms = [functools.reduce(tf.add, [latent.log_posterior for latent in trace.latents])]
        if wanted:
            terms.append(marginals(trace.latents[0].posterior, z[0]))
        added = []
        for total, term in zip(sums, terms, strict=True):
            mask = same if term.shape.rank == 2 else same[..., None]
            value = tf.where(mask, tf.constant(-np.inf, tf.float64), tf.cast(term, tf.float64))
            both = tf.stack([total, tf.reduce_logsumexp(value, axis=1)])
            added.append(tf.reduce_logsumexp(both, axis=0))
        return added

    def nothing(*shape: int) -> tf.Tensor:
        return tf.fill(shape, tf.constant(-np.inf, tf.float64))

    sums = [nothing(draws), *([nothing(draws, width)] if wanted else [])]
    others = np.zeros(draws, np.int64)
    done = draws
    for rows in data.parts(size, chosen):
        same = own[:, None] == rows
        others += np.count_nonzero(~same, axis=1)
        batch = data.rows(rows)
        sums = add(batch.seen, batch.condition, tf.constant(same), *sums)
        done += len(rows)
        step(done)
    found = [each.numpy() for each in sums]
    return found[0], found[1] if wanted else None, others
