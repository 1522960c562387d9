"""What codes tell of labels and of factors, as lines of the table of measurements."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import tfvae
from tfvae.evaluate.results import Asked, Row, bar, undefined

if TYPE_CHECKING:
    from tfvae.disentanglement import Disentanglement
    from tfvae.probes import Probing

_LABELS = 1000
"""Labels that probes are fitted to, at most."""
_CODES, _VOTES = 5000, 1000
"""Examples that scores of disentanglement are fitted to, and votes, at most."""
_SEES = {"codes": "codes", "pca": "as many principal components", "raw": "the values of x"}
_PROBES = {"linear": "linear probe", "knn": "neighbours"}
# Those that take seconds: DCI takes minutes.
_SCORES = {
    "mig": "mutual information gap",
    "sap": "separated attribute predictability",
    "factor_vae": "FactorVAE score",
    "beta_vae": "β-VAE score",
    "modularity": "each latent tells of one factor",
    "explicitness": "factors can be told linearly",
}


def probes(asked: Asked, show: bool) -> Probing:
    """Fit probes to codes of the training data, and test them."""
    train = _training(asked)
    count = len(train[0] if isinstance(train, tuple) else train)
    with bar(show, "probes") as progress, _without_meaning(tfvae.probes.LabelsError):
        return tfvae.probes.probe(
            asked.vae,
            train,
            asked.x,
            [min(count, _LABELS)],
            repeats=1,
            seed=asked.seed,
            progress=progress,
        )


def probe_rows(found: Probing) -> list[Row]:
    """Return the accuracy of each probe on each kind of features."""
    return [
        Row(
            f"{_PROBES[each.probe]}, {each.features}",
            each.accuracy,
            each.error,
            f"accuracy on {_SEES[each.features]}, {each.labels:,} labels; "
            f"{found.majority:.3f} by guessing",
            3,
        )
        for each in found.probes
    ]


def disentanglement(asked: Asked, show: bool) -> Disentanglement:
    """Score the codes of data whose factors are known."""
    train = _training(asked)
    wanting = tfvae.disentanglement.FactorsError
    with bar(show, "disentanglement") as progress, _without_meaning(wanting):
        return tfvae.disentanglement.evaluate(
            asked.vae,
            train,
            asked.x,
            metrics=tuple(_SCORES),
            examples=_CODES,
            votes=_VOTES,
            seed=asked.seed,
            progress=None if progress is None else lambda _, done, total: progress(done, total),
        )


def disentanglement_rows(found: Disentanglement) -> list[Row]:
    """Return the scores."""
    return [Row(name, score, None, _SCORES[name], 3) for name, score in found.scores.items()]


def _training(asked: Asked) -> Any:
    if asked.vae.reads_y:
        raise undefined("y is what this model is given, and no label to be told by its codes")
    from tfvae.conditions import takes_condition

    if takes_condition(asked.vae.encoder):
        raise undefined("its encoder sees more than x, which may tell it the labels")
    if asked.train is None:
        raise undefined("it is fitted to training data with labels; pass train=")
    return asked.train


@contextlib.contextmanager
def _without_meaning(kind: type[ValueError]) -> Iterator[None]:
    """Have the want of such labels or factors as are asked for be a reason, and no error."""
    try:
        yield
    except kind as error:
        raise undefined(str(error)) from error
