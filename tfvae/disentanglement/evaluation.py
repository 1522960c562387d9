"""`evaluate`: all scores of a model, from one set of codes."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfvae.conditions import takes_condition
from tfvae.data import Binarize
from tfvae.disentanglement.checking import as_columns
from tfvae.disentanglement.coding import (
    Coded,
    Encoder,
    Tell,
    Varied,
    check_factors,
    divided,
    made,
)
from tfvae.disentanglement.differences import Accuracy, beta_vae_score
from tfvae.disentanglement.explicit import Explicitness, explicitness
from tfvae.disentanglement.importances import DCI, Importance, check_importance, dci
from tfvae.disentanglement.mutual import Gap, Modularity, mig, modularity
from tfvae.disentanglement.predictability import sap
from tfvae.disentanglement.sampling import Fresh, Pool, Sampler
from tfvae.disentanglement.votes import BATCH, DEAD, Votes, check_draws, factor_vae_score
from tfvae.markup import plain
from tfvae.model import VAE
from tfvae.shapes import Shapes

TITLES = {
    "mig": "MIG",
    "sap": "SAP",
    "dci": "DCI",
    "factor_vae": "FactorVAE score",
    "beta_vae": "β-VAE score",
    "modularity": "Modularity",
    "explicitness": "Explicitness",
}
METRICS = tuple(TITLES)
"""What :func:`evaluate` measures."""


@dataclass(frozen=True, eq=False)
class Disentanglement:
    """What :func:`evaluate` found; a score that was not asked for is None.

    Attributes:
        factors: their names.
        sizes: how many values each has.
        latents: how many dimensions the codes have.
        train: examples that were fitted to.
        test: examples that were tested with.
        seed: of the splits and draws.
        fresh: whether images were made for each draw of the FactorVAE and β-VAE scores.
        importance: the model of DCI.
        threshold: of the FactorVAE score, the standard deviation below which a latent has no vote.
        mig: the mutual information gap.
        sap: separated attribute predictability.
        dci: disentanglement, completeness, informativeness.
        factor_vae: the FactorVAE score.
        beta_vae: the β-VAE score.
        modularity: modularity.
        explicitness: explicitness.
    """

    factors: tuple[str, ...]
    sizes: tuple[int, ...]
    latents: int
    train: int
    test: int
    seed: int
    fresh: bool
    importance: str
    threshold: float
    mig: Gap | None = None
    sap: Gap | None = None
    dci: DCI | None = None
    factor_vae: Votes | None = None
    beta_vae: Accuracy | None = None
    modularity: Modularity | None = None
    explicitness: Explicitness | None = None

    @property
    def scores(self) -> dict[str, float]:
        """The scores there are, by name; DCI is three."""
        found: dict[str, float] = {}
        for name in METRICS:
            metric = getattr(self, name)
            if isinstance(metric, DCI):
                for part in ("disentanglement", "completeness", "informativeness"):
                    found[f"dci_{part}"] = getattr(metric, part)
            elif metric is not None:
                found[name] = metric.score
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON takes it."""
        return {
            "scores": self.scores,
            **{each.name: plain(getattr(self, each.name)) for each in dataclasses.fields(self)},
        }


def evaluate(
    vae: VAE,
    data: Any,
    test: Any = None,
    *,
    metrics: Sequence[str] = METRICS,
    names: Sequence[str] = (),
    examples: int = 10_000,
    importance: Importance = "boosted_trees",
    votes: int = 10_000,
    fresh: bool = False,
    threshold: float = DEAD,
    binarize: Binarize = "none",
    seed: int = 0,
    progress: Tell | None = None,
) -> Disentanglement:
    """Measure how far the codes of a trained encoder are disentangled.

    Codes are the means of posteriors. Fits are made to one set of examples and tested with
    another; the FactorVAE and β-VAE scores draw batches among the same, grouped by the values of
    factors. Numbers of examples, of votes and of bins are those of disentanglement_lib by default.

    Args:
        vae: a trained model.
        data: ``tfvae.shapes.Shapes``, of which examples are made; or Examples or Records whose y
            [N, K] are the factors; or a tuple of arrays (x [N, *data], factors [N, K]).
        test: the same, to test with; by default half as many other shapes, or a third of `data`.
        metrics: which, of `METRICS`.
        names: of the factors; shapes have theirs.
        examples: at most so many are fitted to, and half as many tested with.
        importance: the model of DCI: ``"boosted_trees"``, which takes minutes,
            ``"random_forest"`` or ``"lasso"``; see :func:`dci`.
        votes: batches that the FactorVAE and β-VAE scores are fitted to; half as many test them.
        fresh: with shapes, have images made and encoded for each draw of the FactorVAE and β-VAE
            scores: 192 for each of `votes` and of those that test, 2.9 million by default.
        threshold: of the FactorVAE score, the standard deviation below which a latent has no vote;
            the default is for priors of variance 1.
        binarize: what the model sees of shapes' values; Examples say it themselves.
        seed: of examples, splits and draws.
        progress: called with what is being done, how many steps of it are done, and of how many.

    Returns:
        The scores, and what they are made of.

    Raises:
        FactorsError: without factors, with factors that are continuous or constant or, where the
            metrics tell them apart, with one alone. It is a ValueError.
        ValueError: for an encoder that is told y, unknown metrics, and data that do not fit.
        TypeError: for `fresh` with anything but shapes.

    Example:
        >>> shapes = tfvae.shapes.Shapes(16)
        >>> vae = tfvae.zoo.vae(shapes.shape, 3, likelihood="ContinuousBernoulli", hidden=(8,))
        >>> found = tfvae.disentanglement.evaluate(vae, shapes, metrics=["mig"], examples=500)
        >>> found.latents, list(found.scores)
        (3, ['mig'])

    References:
        Locatello et al. (2019), Challenging common assumptions in the unsupervised learning of
        disentangled representations, arXiv:1811.12359.
    """
    _check(vae, metrics, importance, examples)
    check_draws(BATCH, votes=votes)
    tell = progress or (lambda what, done, total: None)
    encode = Encoder(vae, binarize, seed)
    alone = not {"dci", "factor_vae", "beta_vae", "modularity"}.intersection(metrics)
    if isinstance(data, Shapes):
        if test is not None:
            raise ValueError("Expected no `test` beside shapes, which make it. Received: one.")
        varied = Varied(data, seed)
        names = names or varied.names
        check_factors(varied.factors(examples, False), names, alone)
        seen, tests = made(varied, examples, encode, tell)
    else:
        if fresh:
            raise TypeError(
                "Expected shapes where `fresh` is set, for other images cannot be made. Received: "
                f"{type(data).__name__}."
            )
        sets = divided(vae.likelihood, data, test, examples, seed)
        check_factors(sets[0].y, names, alone)
        seen, tests = (Coded(encode.of_examples(each), np.asarray(each.y)) for each in sets)
    columns = as_columns(seen.factors)

    def score(name: str) -> Any:
        def report(done: int, total: int) -> None:
            tell(TITLES[name], done, total)

        if name in ("mig", "modularity"):
            told: Any = {"mig": mig, "modularity": modularity}[name]
            return told(*seen)
        if name == "dci":
            return dci(*seen, tests, importance=importance, seed=seed, progress=report)
        if name in ("sap", "explicitness"):
            fitted: Any = {"sap": sap, "explicitness": explicitness}[name]
            return fitted(*seen, tests, seed=seed, progress=report)
        samplers: tuple[Sampler, ...] = (
            (Fresh(varied.images, encode, varied.sizes),) if fresh else (Pool(*seen), Pool(*tests))
        )
        drawn: dict[str, Any] = {"train": votes, "tests": max(1, votes // 2), "seed": seed}
        if name == "beta_vae":
            return beta_vae_score(*samplers, **drawn, progress=report)
        return factor_vae_score(*samplers, **drawn, threshold=threshold, progress=report)

    return Disentanglement(
        factors=tuple(names) or tuple(f"factor {k}" for k in range(columns.shape[1])),
        sizes=tuple(len(np.unique(column)) for column in columns.T),
        latents=seen.codes.shape[1],
        train=len(seen.codes),
        test=len(tests.codes),
        seed=seed,
        fresh=fresh,
        importance=importance,
        threshold=threshold,
        **{name: score(name) for name in METRICS if name in metrics},
    )


def _check(vae: VAE, metrics: Sequence[str], importance: str, examples: int) -> None:
    if takes_condition(vae.encoder):
        raise ValueError(
            "Expected an encoder that sees x alone. Received: one that takes a condition, which "
            "may tell it the factors that are looked for in its codes."
        )
    if isinstance(metrics, str) or not metrics:
        raise ValueError(
            f"Expected `metrics` to be a list, of {', '.join(METRICS)}. Received: {metrics!r}."
        )
    for name in metrics:
        if name not in METRICS:
            near = difflib.get_close_matches(str(name), METRICS, n=1)
            raise ValueError(
                f"Expected `metrics` to be of {', '.join(METRICS)}. Received: {name!r}."
                + (f" Did you mean {near[0]!r}?" if near else "")
            )
    check_importance(importance)
    if isinstance(examples, bool) or not isinstance(examples, int) or examples < 2:
        raise ValueError(
            f"Expected `examples` to be a whole number from 2 on. Received: examples={examples!r}."
        )
