"""The importance weighted bound on log p(x), the ELBO and its terms."""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae import intake, markup, random
from tfvae.bayesian.conversion import mean, redraw
from tfvae.evaluate.batches import Estimate
from tfvae.loop import xla_pays
from tfvae.model import VAE
from tfvae.objectives import check_samples
from tfvae.step import check_count

__all__ = ["Evaluation", "PerExample", "evaluate", "log_marginal", "per_example"]

ROWS = 1 << 14
"""Decoder rows in flight, at most."""

VALUES = 1 << 24
"""Values of the decoder's widest layer in flight, at most: what bounds the memory."""

CHUNKS = 8
"""Chunks of samples between two looks at the progress bar and the keyboard."""

_State = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


class Evaluation(NamedTuple):
    """Means over the examples, in nats, summed over the event.

    Attributes:
        log_marginal: the importance weighted bound on log p(x).
        log_marginal_error: its standard error over the examples; of one example, NaN.
        elbo: E_q[log p(x|z)] - KL(q(z|x)‖p(z)).
        log_likelihood: E_q[log p(x|z)].
        kl: KL(q(z|x)‖p(z)).
        bits_per_dim: -log_marginal in bits per value of x that was observed; of sentences, per
            token.
        examples: how many.
        samples: importance samples of each example.
        kl_per_latent: the KL of each group of latents: of each level of a hierarchy.
    """

    log_marginal: float
    log_marginal_error: float
    elbo: float
    log_likelihood: float
    kl: float
    bits_per_dim: float
    examples: int
    samples: int
    kl_per_latent: tuple[float, ...]

    def _repr_html_(self) -> str:
        """Return what a notebook shows: each mean and what it is."""
        title = f"{self.examples:,} examples, {self.samples:,} importance samples of each"
        shown = [
            (name, value, markup.MEANINGS.get(name, ""))
            for name, value in self._asdict().items()
            if name not in ("examples", "samples")
        ]
        return markup.notebook(title, [markup.Table(shown, numeric=(1,))])


class PerExample(NamedTuple):
    """What a model makes of each example, in nats, from one set of samples.

    Attributes:
        log_marginal: the importance weighted bound on log p(x), [N].
        log_likelihood: E_q[log p(x|z)], [N].
        kl: KL(q(z|x)‖p(z)) of each group of latents, [N, groups].
        size: how many values an example has on average.
        samples: importance samples of each example.
    """

    log_marginal: npt.NDArray[Any]
    log_likelihood: npt.NDArray[Any]
    kl: npt.NDArray[Any]
    size: float
    samples: int

    @property
    def elbo(self) -> npt.NDArray[Any]:
        """The bound E_q[log p(x|z)] - KL(q(z|x)‖p(z)), [N]."""
        return np.asarray(self.log_likelihood - self.kl.sum(axis=-1))

    def means(self) -> Evaluation:
        """Return the means over the examples."""
        count = len(self.log_marginal)
        mean = float(self.log_marginal.mean())
        return Evaluation(
            log_marginal=mean,
            log_marginal_error=Estimate.of(self.log_marginal).error,
            elbo=float(self.elbo.mean()),
            log_likelihood=float(self.log_likelihood.mean()),
            kl=float(self.kl.sum(axis=-1).mean()),
            bits_per_dim=-mean / math.log(2) / self.size,
            examples=count,
            samples=self.samples,
            kl_per_latent=tuple(float(mean) for mean in self.kl.mean(axis=0)),
        )


def log_marginal(
    vae: VAE,
    x: Any,
    samples: int = 1000,
    seed: int = 0,
    *,
    condition: Any = None,
    batch_size: int = 64,
    progress: bool = False,
    weight_draws: int = 0,
) -> npt.NDArray[np.floating[Any]]:
    r"""Return the importance weighted bound on log p(x) of each example, in nats.

    .. math:: \log \frac1S \sum_{s=1}^S \frac{p(x|z_s)\, p(z_s)}{q(z_s|x)}, \quad z_s \sim q(z|x)

    A lower bound in expectation, which rises to log p(x) with S. It is computed with exactly S
    samples in bounded memory: chunks of samples feed a running log-sum-exp.

    Args:
        vae: the model.
        x: [N, *data], or Examples.
        samples: importance samples of each example, S.
        seed: the draws are a function of it.
        condition: for a conditional model, one for each example; of sequences, what was observed
            of them. Examples bring theirs as y.
        batch_size: examples at a time.
        progress: show a progress bar.
        weight_draws: of a model with Bayesian layers, K: the bound is then on log E[p(x|w)], the
            logarithm of its mean over K draws of the weights, each with S samples. With 0 the
            weights are their means.

    Returns:
        [N].

    Raises:
        ValueError: for samples < 1, draws of weights where no layer is Bayesian, data that does
            not fit the model, or a model whose prior or posterior has no density, for which there
            is no such bound.

    References:
        Burda, Grosse and Salakhutdinov (2016), arXiv:1509.00519.
    """
    options = (x, condition, samples, seed, batch_size, progress)
    return _passes(vae, weight_draws, *options).log_marginal


def evaluate(
    vae: VAE,
    x: Any,
    samples: int = 1000,
    seed: int = 0,
    *,
    condition: Any = None,
    batch_size: int = 64,
    progress: bool = False,
    weight_draws: int = 0,
) -> Evaluation:
    """Return the log-marginal bound and the ELBO with its terms, from one set of samples.

    Args, limits and errors are those of :func:`log_marginal`.
    """
    options = (x, condition, samples, seed, batch_size, progress)
    return _passes(vae, weight_draws, *options).means()


def per_example(
    vae: VAE,
    x: Any,
    samples: int = 1000,
    seed: int = 0,
    *,
    condition: Any = None,
    batch_size: int = 64,
    progress: bool = False,
    weight_draws: int = 0,
) -> PerExample:
    """Return what :func:`evaluate` takes the means of: to compare models on the same examples.

    Args, limits and errors are those of :func:`log_marginal`.
    """
    options = (x, condition, samples, seed, batch_size, progress)
    return _passes(vae, weight_draws, *options)


def _passes(
    vae: VAE, weight_draws: int, x: Any, condition: Any, samples: int, seed: int, *options: Any
) -> PerExample:
    """Return what a pass does, of the means of the weights or over draws of them."""
    if not weight_draws:
        return _pass(vae, x, condition, samples, seed, *options)
    check_count("weight_draws", weight_draws)
    passes, twin = [], mean(vae)
    for number in range(weight_draws):
        key = random.fold(seed, number)
        redraw(twin, vae, key)  # one model for all draws: its graph is compiled once
        passes.append(_pass(twin, x, condition, samples, key, *options))
    marginal, log_likelihood, kl, *_ = (np.stack(each) for each in zip(*passes, strict=True))
    bound = np.logaddexp.reduce(marginal, axis=0) - math.log(weight_draws)
    size = passes[0].size
    return PerExample(bound, log_likelihood.mean(axis=0), kl.mean(axis=0), size, samples)


def _pass(
    vae: VAE, x: Any, condition: Any, samples: int, seed: Any, batch_size: int, progress: bool
) -> PerExample:
    check_samples(samples)
    for slot, layer in (("posterior", vae.posterior), ("prior", vae.prior)):
        if not layer.has_density:
            raise ValueError(
                f"Expected a model whose {slot} has a density, without which there is no bound on "
                f"log p(x). Received: {slot}={type(layer).__name__}. Judge reconstructions with "
                "vae.evaluate(x)"
                + (", or fit another prior: vae.fit_prior(x)." if slot == "prior" else ".")
            )
    examples = intake.examples(vae.likelihood, *vae.beside(x, condition))
    vae.check_condition(examples, "log_marginal(vae, x, condition=c)")
    values, conditions = examples.values(), examples.y if vae.reads_y else None
    batch_size = min(batch_size, len(values))
    # Equal chunks, and at most one that is smaller: two traces of the graph, not many.
    chunk = min(samples, max(1, _rows(vae) // batch_size))
    full, rest = divmod(samples, chunk)
    calls = [(first, min(CHUNKS, full - first), chunk) for first in range(0, full, CHUNKS)]
    calls += [(full, 1, rest)] if rest else []
    accumulate, folded = _accumulator(vae), random.as_seed(seed)

    results: list[list[npt.NDArray[Any]]] = []
    starts = range(0, len(values), batch_size)
    with _progress(progress, len(starts) * samples) as advance:
        for start in starts:
            batch = values[start : start + batch_size]
            # The last batch is filled up, so that it needs no graph of its own.
            padded = tf.constant(np.resize(batch, (batch_size, *batch.shape[1:])))
            given = None
            if conditions is not None:
                part = conditions[start : start + batch_size]
                given = tf.constant(np.resize(part, (batch_size, *part.shape[1:])))
            zeros = tf.zeros([batch_size], tf.float64)
            groups = tf.zeros([batch_size, vae.group_count], tf.float64)
            state: _State = (zeros - math.inf, zeros, groups)
            for first, count, size in calls:
                numbers = tf.constant([start, first, count], tf.int64)
                state = accumulate(padded, given, folded, numbers, state, size)
                state[0].numpy()  # TensorFlow may return before it is done.
                advance(count * size)
            total, likelihood, divergence = (each.numpy()[: len(batch)] for each in state)
            results.append([total - math.log(samples), likelihood / samples, divergence / samples])
    marginal, mean_likelihood, mean_kl = (
        np.concatenate(column) for column in zip(*results, strict=True)
    )
    mask = vae.unpack((values, conditions)).mask
    each = vae.values_per_example(values)
    if mask is not None:
        each = float(np.sum(np.broadcast_to(mask, values.shape))) / len(values)
    return PerExample(marginal, mean_likelihood, mean_kl, each, samples)


def _rows(vae: VAE) -> int:
    """Return how many rows may be decoded at a time."""
    width = max(math.prod(vae.data_shape), math.prod(vae.likelihood.params_shape))
    for layer in vae.decoder._flatten_layers():
        # A layer has symbolic outputs only within a Functional or Sequential model.
        for output in keras.tree.flatten(getattr(layer, "output", [])):
            width = max(width, math.prod(size or 1 for size in output.shape[1:]))
    # A mixture prior compares every row with every component.
    each = math.ceil(getattr(vae.prior, "components", 1) / 16) * vae.rows_per_draw
    return min(ROWS, VALUES // width) // each


_ACCUMULATORS: weakref.WeakKeyDictionary[VAE, Callable[..., _State]] = weakref.WeakKeyDictionary()


def _accumulator(vae: VAE) -> Callable[..., _State]:
    """Return what adds chunks of samples to log Σ_s w_s and Σ_s log p(x|z_s), [B], and Σ_s KL.

    The loop over the chunks is compiled too: a call for each of them would take as long again,
    most of it to find memory for the decoder's rows.
    """
    if vae in _ACCUMULATORS:
        return _ACCUMULATORS[vae]
    model = weakref.proxy(vae)  # The dictionary must not keep its own keys alive.

    def accumulate(
        x: tf.Tensor,
        condition: tf.Tensor | None,
        seed: tf.Tensor,
        numbers: tf.Tensor,
        state: _State,
        samples: int,
    ) -> _State:
        start, first, count = tf.unstack(numbers)
        batch = model.unpack((x, condition))

        def add(
            index: tf.Tensor, total: tf.Tensor, likelihood: tf.Tensor, divergence: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            folded = random.fold(seed, random.TEST, start, index)
            trace = model.trace(
                batch.seen, samples, folded, condition=batch.condition, mask=batch.mask
            )
            weights = tf.reduce_logsumexp(trace.log_weight, axis=0)
            log_likelihood = tf.reduce_sum(trace.log_likelihood, axis=0)
            return (
                index + 1,
                tf.reduce_logsumexp(tf.stack([total, tf.cast(weights, total.dtype)]), axis=0),
                likelihood + tf.cast(log_likelihood, likelihood.dtype),
                divergence + samples * tf.cast(trace.kl_per_latent, divergence.dtype),
            )

        # One chunk at a time, for their memory.
        last = first + count
        _, *sums = tf.while_loop(
            lambda index, *_: index < last, add, (first, *state), parallel_iterations=1
        )
        return tuple(sums)

    compiled: Callable[..., _State] = tf.function(
        accumulate, jit_compile=xla_pays(*vae.networks()), autograph=False
    )
    return _ACCUMULATORS.setdefault(vae, compiled)


@contextlib.contextmanager
def _progress(show: bool, total: int) -> Iterator[Callable[[int], None]]:
    if not show:
        yield lambda samples: None
        return
    from rich.console import Console
    from rich.progress import Progress

    # Standard output may be read by a program.
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("log p(x)", total=total)
        yield lambda samples: bar.advance(task, samples)
