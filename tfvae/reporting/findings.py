"""What to know of a run before the rest is read: each finding is computed, none is assumed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from tfvae import markup
from tfvae.reporting.blocks import Figures, Finding
from tfvae.reporting.facts import Exported, Facts
from tfvae.reporting.recorded import best_epoch, watched

# Of what is known to two places, this share of it is more than noise of an epoch.
_SHARE = 0.01
_ENDS = {
    "running": "Training is running, or was killed",
    "interrupted": "Training was interrupted",
    "failed": "Training failed",
}


def figures(facts: Facts) -> Iterator[Figures]:
    """Yield the numbers that stand out."""
    scored = facts.scored
    if scored is not None and scored.per_example is not None:
        means = scored.per_example.means()
        written = markup.with_error(means.log_marginal, means.log_marginal_error)
        about = f"± {written.partition(' ± ')[2] or 'unknown'} nats, test, "
        about += f"{means.samples:,} importance samples"
        yield Figures("log p(x) ≥", markup.number(means.log_marginal), about)
        yield Figures("ELBO", markup.number(means.elbo), "nats, test")
        yield Figures("KL", markup.number(means.kl), "nats, test")
        yield Figures("bits per dim", markup.number(means.bits_per_dim), "of the bound, test")
    elif scored is not None:
        for name, value in scored.judged.items():
            yield Figures(name, markup.number(value), "test")
    if scored is not None and "active_units" in scored.measured.results:
        active = scored.measured["active_units"]
        of = sum(each.size for each in active.variances)
        yield Figures("active latents", f"{sum(active.counts)} of {of}", active.meaning)
    if scored is not None and "codes" in scored.measured.results:
        codes = scored.measured["codes"]
        yield Figures("codes used", f"{codes.used} of {codes.codes}", "on the test set")
    from tfvae import description

    yield Figures("parameters", f"{description.parameters(facts.model):,}", "of all networks")
    if seconds := facts.run.history.get("seconds"):
        total = sum(seconds)
        took = f"{total:.0f} s" if total < 600 else f"{total / 60:.0f} min"
        yield Figures("training", took, f"{facts.run.epochs:,} epochs")


def findings(facts: Facts) -> Iterator[Finding]:
    """Yield what is good, what to know and what to beware of, in this order of the page."""
    found = [*_training(facts), *_latents(facts), *_data(facts), *_export(facts.exported)]
    tones = ("warning", "note", "good")
    yield from sorted(found, key=lambda finding: tones.index(finding.tone))


def _training(facts: Facts) -> Iterator[Finding]:
    run, config = facts.run, facts.run.config
    epochs = f"{run.epochs} of {config.epochs} epochs"
    if run.status == "complete":
        ended = f": {run.message}" if run.message else ""
        yield Finding("good", f"Training is complete, {epochs}{ended}.")
    else:
        ended = _ENDS.get(run.status, run.status)
        said = f" {run.message}" if run.message else ""
        yield Finding("warning", f"{ended} after {epochs}.{said}")
    if not run.epochs:
        yield Finding("warning", "No epoch was completed: the weights are initial ones.")
        return
    if run.unrecorded:
        yield Finding("note", "The history of training is missing: there are no curves to judge.")
        return
    broken = [name for name, values in run.history.items() if not all(map(math.isfinite, values))]
    if broken:
        names = ", ".join(broken)
        yield Finding("warning", f"NaN or infinity in the history, of {names}.")
    yield from _validation(run.history, facts.request.weights)


def _validation(history: dict[str, list[float]], weights: str) -> Iterator[Finding]:
    name, values = watched(history)
    best = best_epoch(values)
    if best is None:
        # Of one that is NaN throughout, that was said.
        if not values:
            yield Finding("note", "Without a validation set, the curves cannot show overfitting.")
        return
    label = "validation ELBO" if name == "val_elbo" else "validation loss"
    if not math.isfinite(values[-1]):
        last = markup.number(values[-1])
        yield _better(f"The last {label} is {last}; epoch {best + 1} has the best", weights)
        return
    lost = values[best] - values[-1]
    if lost > _SHARE * _size(values):
        worse = f"The last {label} is {markup.number(lost)} nats worse than that of epoch"
        yield _better(f"{worse} {best + 1}, the best", weights)
    tenth = max(1, len(values) // 10)
    before = best_epoch(values[:-tenth])
    if best >= len(values) - tenth and before is not None and len(values) > 2 * tenth:
        gain = values[best] - values[before]
        if gain > _SHARE / 10 * _size(values):
            yield Finding(
                "note",
                f"The {label} still improved when training ended, by {markup.number(gain)} nats "
                f"in the last {tenth} epoch{'s' * (tenth > 1)}: longer training may help.",
            )
    train = history.get(name.removeprefix("val_"), [])
    if train and math.isfinite(train[-1]):
        gap = (train[-1] if name == "val_elbo" else -train[-1]) - values[-1]
        large = gap > 5 * _SHARE * _size(train)
        yield Finding(
            "warning" if large else "good",
            f"In the last epoch the training set is {markup.number(abs(gap))} nats "
            f"{'better' if gap >= 0 else 'worse'} than the validation set"
            + (": the model overfits." if large else "."),
        )


def _better(worse: str, weights: str) -> Finding:
    """Say that the last epoch is not the best, whose weights may be those that are reported."""
    if weights == "best":
        return Finding("note", f"{worse}, whose weights these are.")
    advice = "consider its weights (--weights best), or fewer epochs"
    return Finding("warning", f"{worse}: {advice}.")


def _size(curve: Sequence[float]) -> float:
    """Return what differences of a curve are judged by: its last value, or its usual one.

    Of densities the ELBO may end anywhere near 0, which alone would make every difference large.
    """
    sizes = [abs(value) for value in curve if math.isfinite(value)]
    return max(sizes[-1], statistics.median(sizes))


def _latents(facts: Facts) -> Iterator[Finding]:
    if facts.scored is None or "diagnosis" not in facts.scored.measured.results:
        return
    found = facts.scored.measured["diagnosis"]
    # Some latents less than there are is no fault of what the others make.
    tone = {"healthy": "good", "partial": "note"}.get(found.verdict, "warning")
    yield Finding(tone, _sentence(found.finding, found.advice))


def _sentence(*parts: str) -> str:
    """Join parts of which each is to be a sentence of its own."""
    found = [part[:1].upper() + part[1:].rstrip(".") + "." for part in parts if part]
    return " ".join(found)


def _data(facts: Facts) -> Iterator[Finding]:
    if facts.dataset is None:
        yield Finding(
            "warning",
            f"The data could not be loaded, so nothing is measured on it. {facts.data_problem}",
        )
    elif facts.request.limit is not None and facts.scored is not None:
        of = len(facts.dataset.test)
        if facts.scored.examples < of:
            yield Finding(
                "note", f"Measured on the first {facts.scored.examples:,} of {of:,} test examples."
            )
    git = facts.run.environment.get("git")
    if git and git.get("dirty"):
        yield Finding(
            "note",
            "Files differed from the git commit when it was trained: the commit alone does not "
            "repeat it.",
        )


def _export(exported: Exported | None) -> Iterator[Finding]:
    if exported is None:
        return
    checks = exported.manifest.verification
    failed = [check for check in checks if not check.ok]
    if exported.problems:
        yield Finding("warning", f"Files of the export: {listed(exported.problems)}.")
    if failed or not checks:
        yield Finding("warning", f"{exported.path} is not verified.")
    elif not exported.problems:
        runtimes = ", ".join(dict.fromkeys(check.runtime for check in checks))
        yield Finding("good", f"The export {exported.path} was verified in {runtimes}.")
    if exported.same is False:
        yield Finding(
            "warning",
            f"{exported.path} does not decode as these weights do: it is of another run, or of "
            "other weights of this one.",
        )


def listed(items: Sequence[str], most: int = 3) -> str:
    """Name a few of many."""
    rest = f" and {len(items) - most} more" if len(items) > most else ""
    return "; ".join(items[:most]) + rest
