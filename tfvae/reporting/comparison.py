"""Several runs on the same test examples: their figures, and differences with paired errors."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfvae import markup
from tfvae.reporting.blocks import Picture
from tfvae.reporting.recorded import flat
from tfvae.reporting.request import Request
from tfvae.reporting.scoring import Scored
from tfvae.runs import Run

# Terms that every example has.
_TERMS = ("log_marginal", "elbo", "log_likelihood", "kl")
CRITERIA = ("log_marginal", "log_likelihood")
"""What runs are ranked by: the bound, or of those of which none has one, the likelihood."""

# Of which there is a best: of a KL there is none.
_RANKED = ("log_marginal", "elbo", "bits_per_dim")
_SMALLER = frozenset({"bits_per_dim"})


@dataclass(frozen=True)
class Difference:
    """A run's mean less that of the reference run, over the same examples, in nats.

    Attributes:
        mean: of the differences.
        error: their standard error: paired, so that what makes examples hard does not count.
    """

    mean: float
    error: float

    @classmethod
    def of(cls, values: npt.NDArray[Any], reference: npt.NDArray[Any]) -> Difference:
        """Compare two models' values [N] of the same examples."""
        differences = np.asarray(values, np.float64) - np.asarray(reference, np.float64)
        count = len(differences)
        with np.errstate(invalid="ignore"):  # of a run that diverged there is no spread
            spread = float(differences.std(ddof=1)) if count > 1 else math.nan
        return cls(float(differences.mean()), spread / math.sqrt(count))

    def __str__(self) -> str:
        return markup.with_error(self.mean, self.error)


@dataclass(frozen=True)
class Judged:
    """One of the runs.

    Attributes:
        name: what tables call it.
        run: the run.
        likelihood: the class of its likelihood, and where its values lie.
        parameters: how many its networks have.
        scored: what the model makes of the test set.
        pictures: of it, by their kinds.
    """

    name: str
    run: Run
    likelihood: tuple[str, str]
    parameters: int
    scored: Scored
    pictures: dict[str, Picture]

    @property
    def figures(self) -> dict[str, Any]:
        """Every number by its name, as ``tfvae evaluate`` calls them."""
        return self.scored.figures

    def values(self, term: str) -> npt.NDArray[Any] | None:
        """Return a term of each example, [N], or None."""
        found = self.scored.per_example
        if found is None:
            return None
        values = getattr(found, term)
        return np.asarray(values.sum(axis=-1) if values.ndim == 2 else values)


@dataclass(frozen=True)
class Comparison:
    """Runs, judged on the same examples.

    Attributes:
        judged: the runs, in the order they were given.
        request: what was asked for.
        source: the data they were judged on.
        fingerprint: of these data.
        warnings: what makes figures hard to compare.
    """

    judged: tuple[Judged, ...]
    request: Request
    source: str
    fingerprint: str
    warnings: tuple[str, ...]

    @property
    def examples(self) -> int:
        """How many test examples all of them were judged on."""
        return self.judged[0].scored.examples

    @property
    def criterion(self) -> str | None:
        """By which figure they are ranked: the bound, where two or more of them have it.

        A likelihood alone says how well examples are copied: it ranks those of which none has a
        bound.
        """
        names = CRITERIA[:1] if self._values(CRITERIA[0]) else CRITERIA[1:]
        return next((name for name in names if len(self._values(name)) > 1), None)

    @property
    def reference(self) -> Judged:
        """The run that others are compared with: the best, or the first where none is."""
        best = None if self.criterion is None else self.best(self.criterion)
        return self.judged[best or 0]

    def best(self, name: str) -> int | None:
        """Return which run is best by a figure; None where there is no best of it, or a tie."""
        if name not in (*_RANKED, self.criterion):
            return None
        values = self._values(name)
        if len(values) < 2:
            return None
        choose = min if name in _SMALLER else max
        best = choose(values, key=values.__getitem__)
        return best if list(values.values()).count(values[best]) == 1 else None

    def _values(self, name: str) -> dict[int, float]:
        """Return the finite values of a figure, by the runs that have it."""
        found = {place: each.figures.get(name) for place, each in enumerate(self.judged)}
        return {
            place: float(value)
            for place, value in found.items()
            if value is not None and math.isfinite(value)
        }

    def differences(self) -> dict[str, tuple[Difference | None, ...]]:
        """Return, by term, each run's difference to the reference; None of itself."""
        reference = self.reference
        found: dict[str, tuple[Difference | None, ...]] = {}
        for term in _TERMS:
            theirs = reference.values(term)
            if theirs is None:
                continue
            each = tuple(
                None
                if judged is reference or (values := judged.values(term)) is None
                else Difference.of(values, theirs)
                for judged in self.judged
            )
            if any(each):
                found[term] = each
        return found

    def configurations(self) -> dict[str, tuple[Any, ...]]:
        """Return, by name, what differs between the runs' configurations and surroundings."""
        documents = []
        for judged in self.judged:
            document = flat(dataclasses.asdict(judged.run.config))
            environment = judged.run.environment
            versions = environment.get("versions", {})
            commit = (environment.get("git") or {}).get("commit")
            surroundings = {f"version of {name}": each for name, each in versions.items()}
            documents.append(document | surroundings | {"git commit": commit})
        names = dict.fromkeys(name for document in documents for name in document)
        rows = {name: tuple(each.get(name) for each in documents) for name in names}
        return {
            name: values for name, values in rows.items() if any(v != values[0] for v in values)
        }

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for a JSON document; NaN and infinity become None."""
        differences = self.differences()
        document = {
            "data": self.source,
            "fingerprint": self.fingerprint,
            "examples": self.examples,
            "samples": self.request.samples,
            "seed": self.request.seed,
            "weights": self.request.weights,
            "criterion": self.criterion,
            "reference": str(self.reference.run.path),
            "warnings": list(self.warnings),
            "runs": [
                {
                    "run": str(judged.run.path),
                    "model": judged.run.config.model,
                    "status": judged.run.status,
                    "epochs": judged.run.epochs,
                    "parameters": judged.parameters,
                    "metrics": judged.figures,
                    "problem": judged.scored.problem or None,
                    "differences": {
                        term: difference
                        for term, all_of_them in differences.items()
                        if (difference := all_of_them[place]) is not None
                    },
                }
                for place, judged in enumerate(self.judged)
            ],
            "configurations": self.configurations(),
        }
        plain: dict[str, Any] = markup.plain(document)
        return plain
