"""Annealed importance sampling: log p(x) without help from the encoder, to check its bounds by."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae import random
from tfvae.evaluate.batches import Batches, read
from tfvae.evaluate.spaces import Space, space_of
from tfvae.loop import xla_pays
from tfvae.model import VAE
from tfvae.objectives import check_samples
from tfvae.trace import Trace
from tfvae.training import Unpacked

Array = npt.NDArray[Any]

ACCEPTANCE = 0.7
"""The share of proposals that step sizes are set to have accepted."""
_RATE = 0.5
_SHARPNESS = 4.0
_LEAST = 1e-4


class AIS(NamedTuple):
    """What :func:`annealed` found of each example.

    Attributes:
        log_marginal: the logarithm of the mean weight, [N], in nats: a lower bound on log p(x) in
            expectation.
        effective: how many of the chains the weights are worth, (Σ w)² / Σ w², [N]. Near 1, the
            bound rests on one chain, and is loose: take more temperatures.
        acceptance: the mean share of proposals that were accepted, [N].
        chains: of each example.
        temperatures: how many there were between prior and posterior.
    """

    log_marginal: npt.NDArray[np.float64]
    effective: npt.NDArray[np.float64]
    acceptance: npt.NDArray[np.float64]
    chains: int
    temperatures: int


def annealed(
    vae: VAE,
    x: Any,
    *,
    chains: int = 16,
    temperatures: int = 500,
    leapfrog: int = 10,
    seed: int = 0,
    condition: Any = None,
    batch_size: int = 64,
    progress: Callable[[int, int], object] | None = None,
) -> AIS:
    r"""Estimate log p(x) by annealed importance sampling, from the prior to the posterior.

    Along the geometric path :math:`p_t(z) \propto p(z)\, p(x|z)^{\beta_t}`, with
    :math:`0 = \beta_0 < \dots < \beta_T = 1`, Hamiltonian Monte Carlo moves each chain by a
    transition that leaves :math:`p_t` as it is, and its weight is

    .. math:: w = \prod_{t=1}^T p(x|z_{t-1})^{\beta_t - \beta_{t-1}}, \qquad \mathrm E\, w = p(x)

    The mean of w over chains is unbiased whatever the transitions, so its logarithm is a
    stochastic *lower* bound on log p(x), which rises with temperatures and chains. It owes nothing
    to q(z|x): where it is far above the importance weighted bound, that bound is loose.

    A step size for each example and temperature is found by a run of other chains beforehand,
    with other noise, and is fixed: chains that set their own would not leave :math:`p_t` as it is.
    Chains move in the base noise that the prior is a map of, so that priors of any shape, flows
    and hierarchies among them, begin as a standard normal; priors that pick among components move
    in z, by their density.

    Args:
        vae: the model.
        x: [N, *data], or Examples.
        chains: of each example, C.
        temperatures: T.
        leapfrog: steps of each proposal.
        seed: of everything random.
        condition: for a conditional model, one for each example; of sequences, what was observed
            of them. Examples bring theirs as y.
        batch_size: examples at a time; `chains` times as many are decoded.
        progress: called with the number of examples that are done and that of all.

    Raises:
        ValueError: for numbers below 1, data that do not fit the model, and discrete latents, over
            which there is no gradient.

    Example:
        >>> vae = tfvae.zoo.vae((8, 8), latent_dim=2, hidden=(16,))
        >>> x = np.random.default_rng(0).integers(0, 2, (3, 8, 8))
        >>> found = tfvae.evaluate.annealed(vae, x, temperatures=20)
        >>> found.log_marginal.shape, bool(found.effective.min() >= 1)
        ((3,), True)

    References:
        Neal (2001), Annealed importance sampling, arXiv:physics/9803008. Wu, Burda, Salakhutdinov
        and Grosse (2017), On the quantitative analysis of decoder-based generative models,
        arXiv:1611.04273.
    """
    for name, value in (("chains", chains), ("temperatures", temperatures), ("leapfrog", leapfrog)):
        check_samples(value, argument=name)
    space = space_of(vae)
    data = read(vae, x, condition, "annealed", batch_size=batch_size)
    size = min(batch_size, len(data))
    path = tf.constant(schedule(temperatures))
    run = compiled(vae, space, chains, leapfrog)
    unknown = tf.ones([temperatures, size])
    parts, done = [], 0
    for rows in data.parts(size):
        # The last batch is filled up, so that it needs no graph of its own.
        batch = _tensors(data, np.resize(rows, size))
        folded = random.fold(seed, random.TEST, done)
        *_, steps = run(*batch, random.fold(folded, 0), path, unknown, tf.constant(True))
        log_weight, accepted, _ = run(
            *batch, random.fold(folded, 1), path, steps, tf.constant(False)
        )
        parts.append([each.numpy()[..., : len(rows)] for each in (log_weight, accepted)])
        done += len(rows)
        if progress is not None:
            progress(done, len(data))
    weights, accepted = (np.concatenate(column, axis=-1) for column in zip(*parts, strict=True))
    total = np.logaddexp.reduce(weights, axis=0)
    return AIS(
        log_marginal=total - math.log(chains),
        effective=np.exp(2 * total - np.logaddexp.reduce(2 * weights, axis=0)),
        acceptance=accepted,
        chains=chains,
        temperatures=temperatures,
    )


def schedule(temperatures: int) -> npt.NDArray[np.float64]:
    """Return powers of the likelihood from 0 to 1, [T + 1]: denser at both ends, where it counts.

    Example:
        >>> np.round(schedule(4), 2).tolist()
        [0.0, 0.1, 0.5, 0.9, 1.0]
    """
    line = np.linspace(-_SHARPNESS, _SHARPNESS, temperatures + 1)
    raw = 1 / (1 + np.exp(-line))
    powers: npt.NDArray[np.float64] = (raw - raw[0]) / (raw[-1] - raw[0])
    return powers


def _tensors(data: Batches, rows: Array) -> tuple[Any, Any, Any]:
    batch: Unpacked = data.rows(rows)
    return batch.seen, batch.condition, batch.mask


_RUNS: weakref.WeakKeyDictionary[VAE, dict[tuple[int, int], Callable[..., Any]]] = (
    weakref.WeakKeyDictionary()
)


def compiled(vae: VAE, space: Space, chains: int, leapfrog: int) -> Callable[..., Any]:
    """Return what runs all temperatures of a batch, traced once for each model and size."""
    runs = _RUNS.setdefault(vae, {})
    if (chains, leapfrog) not in runs:
        # The dictionary must not keep its own keys alive.
        model: Any = weakref.proxy(vae)
        space.vae = model
        runs[chains, leapfrog] = tf.function(
            _Run(model, space, chains, leapfrog),
            jit_compile=xla_pays(*vae.networks()),
            autograph=False,
        )
    return runs[chains, leapfrog]


class _Run:
    """All temperatures of one batch, as a function that compiles."""

    def __init__(self, vae: VAE, space: Space, chains: int, leapfrog: int) -> None:
        self.vae, self.space = vae, space
        self.chains, self.leapfrog = chains, leapfrog

    def __call__(
        self,
        seen: tf.Tensor,
        condition: tf.Tensor | None,
        mask: tf.Tensor | None,
        seed: tf.Tensor,
        path: tf.Tensor,
        steps: tf.Tensor,
        adapt: tf.Tensor,
        start: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return log weights [C, B], acceptance [B], and the step sizes that were used [T, B].

        Those given are used as they are; where they are to adapt, they follow from the shares of
        this run's proposals that are accepted. Chains begin at draws of the prior, or all at
        one point for each example, [1, B, D].
        """
        trace: Trace = self.vae.trace(seen, 1, 0, condition=condition, mask=mask)
        batch, space = seen.shape[0], self.space
        if start is None:
            points = space.start(random.fold(seed, 0), self.chains, batch, condition)
        else:
            points = tf.tile(start, [self.chains, 1, 1])
        points = tf.cast(points, self.vae.likelihood.compute_dtype)
        dtype, size = points.dtype, sum(space.sizes)

        def log_likelihood(points: tf.Tensor) -> tf.Tensor:
            return trace.given(space.draws(points, condition)).log_likelihood

        def target(points: tf.Tensor, power: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            """Return log p_t up to a constant, its gradient, and log p(x|z)."""
            with tf.GradientTape() as tape:
                tape.watch(points)
                fit = log_likelihood(points)
                value = space.log_base(points, condition) + power * fit
            return value, tape.gradient(value, points), fit

        def move(
            points: tf.Tensor, power: tf.Tensor, step: tf.Tensor, key: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            """Return points after a transition, log p(x|z) there, and what was accepted."""
            kick = random.noise("normal", random.fold(key, 1), self.chains, batch, [size])
            kick = tf.cast(kick, dtype)
            uniform = random.noise("uniform", random.fold(key, 2), self.chains, batch, [2])
            uniform = tf.cast(uniform, dtype)
            # Of one length for all, proposals could go round in circles.
            each = (step[None] * (0.8 + 0.4 * uniform[..., 0]))[..., None]
            before, gradient, fit = target(points, power)
            momentum = kick + 0.5 * each * gradient

            def leap(
                index: tf.Tensor, at: tf.Tensor, momentum: tf.Tensor, *_: tf.Tensor
            ) -> tuple[tf.Tensor, ...]:
                at = at + each * momentum
                value, gradient, fit = target(at, power)
                return index + 1, at, momentum + each * gradient, value, gradient, fit

            _, at, momentum, after, gradient, new_fit = tf.while_loop(
                lambda index, *_: index < self.leapfrog,
                leap,
                (tf.constant(0), points, momentum, before, gradient, fit),
                parallel_iterations=1,
            )
            momentum = momentum - 0.5 * each * gradient
            gained = after - before
            spent = 0.5 * tf.reduce_sum(momentum**2 - kick**2, axis=-1)
            ratio = gained - spent
            accepted = tf.logical_and(
                tf.math.is_finite(ratio), tf.math.log(uniform[..., 1]) < ratio
            )
            return (
                tf.where(accepted[..., None], at, points),
                tf.where(accepted, new_fit, fit),
                accepted,
            )

        def temperature(
            index: tf.Tensor,
            points: tf.Tensor,
            fit: tf.Tensor,
            log_weight: tf.Tensor,
            accepted: tf.Tensor,
            carried: tf.Tensor,
            used: tf.TensorArray,
        ) -> tuple[Any, ...]:
            power = path[index + 1]
            log_weight = log_weight + (power - path[index]) * tf.cast(fit, tf.float64)
            step = tf.where(adapt, carried, steps[index])
            key = random.fold(seed, 1, index)
            points, fit, took = move(points, tf.cast(power, dtype), tf.cast(step, dtype), key)
            share = tf.reduce_mean(tf.cast(took, tf.float32), axis=0)
            following = tf.clip_by_value(step * tf.exp(_RATE * (share - ACCEPTANCE)), _LEAST, 10.0)
            accepted = accepted + tf.cast(share, tf.float64)
            return index + 1, points, fit, log_weight, accepted, following, used.write(index, step)

        count = path.shape[0] - 1
        fit = log_likelihood(points)
        zeros = tf.zeros([batch], tf.float64)
        first = tf.fill([batch], tf.constant(0.5 * size**-0.25, tf.float32))
        _, _, _, log_weight, accepted, _, used = tf.while_loop(
            lambda index, *_: index < count,
            temperature,
            (
                tf.constant(0),
                points,
                fit,
                tf.zeros([self.chains, batch], tf.float64),
                zeros,
                first,
                tf.TensorArray(tf.float32, size=count, element_shape=[batch]),
            ),
            parallel_iterations=1,
        )
        return log_weight, accepted / count, used.stack()
