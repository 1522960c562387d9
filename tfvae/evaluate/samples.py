"""How far what a model generates is from data, in a feature space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tfvae import intake, metrics
from tfvae.evaluate import feature_spaces
from tfvae.evaluate.batches import Batches, Estimate, UndefinedError, read
from tfvae.evaluate.feature_spaces import FeatureSpace
from tfvae.model import VAE
from tfvae.objectives.base import check_choice, check_samples
from tfvae.sources import permutation

_LEAST = 10


class SampleQuality(NamedTuple):
    """Distances between samples and data in a feature space, which is no one else's.

    Values are comparable only with those in the same space and of as many examples.

    Attributes:
        frechet: the squared Fréchet distance.
        kernel: the kernel distance, unbiased, with its standard error.
        precision: the share of samples near to data.
        recall: the share of data near to samples.
        density: how many data samples are near to, against what is to be expected.
        coverage: the share of data that have a sample near to them.
        frechet_of_data: the same Fréchet distance, of as many training examples in place of
            samples: what a perfect model would have. None where there are too few.
        features: the feature space.
        dimensions: how many features it has.
        samples: how many samples, and as many examples.
        of: ``"sample"``, draws from p(x|z), or ``"mean"``, the means of p(x|z).
    """

    frechet: float
    kernel: Estimate
    precision: float
    recall: float
    density: float
    coverage: float
    frechet_of_data: float | None
    features: str
    dimensions: int
    samples: int
    of: str


def sample_quality(
    vae: VAE,
    x: Any,
    *,
    train: Any = None,
    features: Any = None,
    samples: int = 5000,
    of: Literal["sample", "mean"] = "sample",
    neighbours: int = 5,
    seed: int = 0,
    condition: Any = None,
    progress: Callable[[int, int], object] | None = None,
) -> SampleQuality:
    """Compare what a model generates with data that it has not seen.

    Args:
        vae: a trained model.
        x: test data [N, *data], or Examples. A conditional model generates under their conditions.
        train: training data, or a pair of them and their labels, by which the default feature
            space is found; x itself by default.
        features: a function or Keras model of examples, a
            :class:`tfvae.evaluate.feature_spaces.FeatureSpace`, ``"pca"`` or ``"classifier"``. By
            default a small classifier trained on the training data where they have classes as
            labels, and their principal components where not.
        samples: how many, at most; no more than there are examples, so that both sets are of one
            size, on which the Fréchet distance depends.
        of: what is compared: ``"sample"``, draws from p(x|z), or ``"mean"``, its means, which of
            images are without the noise of pixels.
        neighbours: of precision, recall, density and coverage.
        seed: of the samples, of which examples are taken, and of the feature space.
        condition: for a conditional model, one for each example; Examples bring theirs as y.
        progress: called with the number of steps that are done and that of all.

    Raises:
        ValueError: for data that do not fit, fewer than 10 examples or no more than `neighbours`,
            features that are not finite, and models of text or of sequences of several lengths.

    Example:
        >>> digits = tfvae.data.load("digits")
        >>> vae = tfvae.zoo.vae((8, 8, 1), 2, likelihood="ContinuousBernoulli", hidden=(16,))
        >>> found = tfvae.evaluate.sample_quality(
        ...     vae, digits.test, train=digits.train, features="pca"
        ... )
        >>> found.features, found.samples, found.frechet > found.frechet_of_data
        ('50 principal components', 360, True)
    """
    check_samples(samples, minimum=2)
    check_choice("of", of, ("sample", "mean"))
    if vae.likelihood.support.kind == "tokens":
        raise UndefinedError(
            "Expected a model of numbers. Received: one of text, for which there is no feature "
            "space here."
        )
    call = "sample_quality"
    data = read(vae, x, condition, call, least=max(_LEAST, neighbours + 1))
    if hasattr(vae, "steps") and data.beside is not None:
        raise UndefinedError(
            "Expected sequences of one length, all observed. Received: some that are not, which "
            "samples cannot be compared with."
        )
    seen, labels = _training(vae, train, data, x)
    rows = permutation(len(data), seed)[:samples]
    steps = 4

    def step(done: int) -> None:
        if progress is not None:
            progress(done, steps)

    space = feature_spaces.space(features, seen, labels, seed)
    step(1)
    made = _generated(vae, data, rows, seed, of)
    step(2)
    real, fake = space(data.values[rows]), space(made)
    frechet = metrics.frechet_distance(real, fake)
    kernel = metrics.kernel_distance(real, fake, seed=seed)
    step(3)
    near = metrics.precision_recall(real, fake, neighbours)
    step(4)
    return SampleQuality(
        frechet=frechet,
        kernel=Estimate(*kernel),
        precision=near.precision,
        recall=near.recall,
        density=near.density,
        coverage=near.coverage,
        frechet_of_data=None if train is None else _of_data(seen, real, space, seed),
        features=space.name,
        dimensions=real.shape[1],
        samples=len(rows),
        of=of,
    )


def _training(vae: VAE, train: Any, data: Batches, x: Any) -> tuple[npt.NDArray[Any], Any]:
    """Return what the feature space is found by, and its labels or None."""
    if train is None:
        values, labels = data.values, getattr(x, "y", None)
    else:
        pair = isinstance(train, tuple) and len(train) == 2
        given, labels = train if pair else (train, None)
        examples = intake.examples(vae.likelihood, *vae.arrange(given, labels), argument="train")
        values, labels = examples.values(), examples.y
    if labels is None or vae.missing_label is None:
        return values, labels
    # That a label is missing is no class.
    known = np.asarray(labels) != vae.missing_label
    return (values[known], labels[known]) if known.any() else (values, None)


def _of_data(
    seen: npt.NDArray[Any], real: npt.NDArray[Any], space: FeatureSpace, seed: int
) -> float | None:
    if len(seen) < len(real):
        return None
    rows = permutation(len(seen), seed)[: len(real)]
    return metrics.frechet_distance(real, space(seen[rows]))


def _generated(
    vae: VAE, data: Batches, rows: npt.NDArray[Any], seed: int, of: str
) -> npt.NDArray[Any]:
    """Return as many samples as rows, under their conditions."""
    given: dict[str, Any] = {}
    if vae.conditional:
        beside = None if data.beside is None else data.beside[rows]
        if vae.missing_label is not None:
            # Where a label is not known, the classes take turns, as the uniform prior has them.
            turns = np.arange(len(rows)) % (vae.classes or 1)
            beside = turns if beside is None else np.where(beside < 0, turns, beside)
        given["condition"] = beside
    drawn = vae.generate(len(rows), seed=seed, **given)
    return np.asarray(getattr(drawn, of))
