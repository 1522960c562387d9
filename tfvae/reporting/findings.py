"""What to know of a run before the rest is read: each finding is computed, none is assumed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tfvae import markup
from tfvae.reporting.blocks import Figures, Finding
from tfvae.reporting.facts import Exported, Facts

# Of what is known to two places, this share of the bound is more than noise of an epoch.
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
    yield from _validation(run.history)


def _validation(history: dict[str, list[float]]) -> Iterator[Finding]:
    name, sign = ("val_elbo", 1.0) if "val_elbo" in history else ("val_loss", -1.0)
    values = [sign * value for value in history.get(name, [])]
    if not values or not all(map(math.isfinite, values)):
        yield Finding("note", "Without a validation set, the curves cannot show overfitting.")
        return
    label = "validation ELBO" if sign > 0 else "validation loss"
    best = max(range(len(values)), key=values.__getitem__)
    lost = values[best] - values[-1]
    if lost > _SHARE * abs(values[best]):
        yield Finding(
            "warning",
            f"The last {label} is {markup.number(lost)} nats worse than that of epoch {best + 1}, "
            "the best: consider its weights (--weights best), or fewer epochs.",
        )
    tenth = max(1, len(values) // 10)
    if best >= len(values) - tenth and len(values) > 2 * tenth:
        before = max(values[:-tenth])
        gain = values[best] - before
        if gain > 0.001 * abs(before):
            yield Finding(
                "note",
                f"The {label} still improved when training ended, by {markup.number(gain)} nats "
                f"in the last {tenth} epoch{'s' * (tenth > 1)}: longer training may help.",
            )
    train = history.get(name.removeprefix("val_"), [])
    if train and math.isfinite(train[-1]):
        gap = sign * train[-1] - values[-1]
        large = gap > 5 * _SHARE * abs(train[-1])
        yield Finding(
            "warning" if large else "good",
            f"In the last epoch the training set is {markup.number(abs(gap))} nats "
            f"{'better' if gap >= 0 else 'worse'} than the validation set"
            + (": the model overfits." if large else "."),
        )


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
