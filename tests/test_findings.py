"""What a report says of a run, in words: each finding of the numbers that call for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from untold import UNTOLD, bare

from tfvae import reporting
from tfvae.evaluate.measuring import Measures
from tfvae.reporting import facts, findings, sections
from tfvae.reporting.blocks import Finding
from tfvae.reporting.request import Request
from tfvae.reporting.scoring import Scored


@pytest.mark.parametrize(
    ("changes", "tone", "said"),
    [
        ({"status": "running"}, "warning", "Training is running, or was killed after 2 of 2"),
        ({"status": "failed", "message": "NaN."}, "warning", "failed after 2 of 2 epochs. NaN."),
        ({"history": {}}, "warning", "No epoch was completed"),
        ({"history": {}, "unrecorded": 2}, "note", "The history of training is missing"),
        ({"history": {"elbo": [-3.0, float("nan")]}}, "warning", "NaN or infinity in the history"),
        ({"history": {"elbo": [-3.0, -2.0]}}, "note", "cannot show overfitting"),
        (
            {"history": {"elbo": [-9.0, -5.0], "val_elbo": [-10.0, -12.0]}},
            "warning",
            "The last validation ELBO is 2.000 nats worse than that of epoch 1",
        ),
        (
            {"history": {"elbo": [-9.0, -5.0], "val_elbo": [-10.0, -9.0]}},
            "warning",
            "the training set is 4.000 nats better than the validation set: the model overfits",
        ),
        (
            {"history": {"elbo": [-9.0] * 10, "val_elbo": [-10.0] * 9 + [-9.5]}},
            "note",
            "still improved when training ended, by 0.5000 nats in the last 1 epoch:",
        ),
        (
            {"history": {"elbo": [-9.0, -5.0], "val_elbo": [-10.0, float("nan")]}},
            "warning",
            "The last validation ELBO is nan; epoch 1 has the best: consider its weights",
        ),
        # Of densities, whose ELBO may end near 0: 0.01 of the 1.1 that were learned is little.
        (
            {"history": {"elbo": [-1.0, 0.1], "val_elbo": [-1.0, 0.09]}},
            "good",
            "the training set is 0.0100 nats better than the validation set.",
        ),
        ({"environment": {"git": {"commit": "c", "dirty": True}}}, "note", "Files differed from"),
    ],
)  # fmt: skip
def test_findings(changes: dict[str, Any], tone: str, said: str) -> None:
    found = list(findings.findings(bare(dataclasses.replace(UNTOLD, **changes))))
    (finding,) = [each for each in found if said in each.text]
    assert finding.tone == tone
    tones = [each.tone for each in found]
    assert tones == sorted(tones, key=["warning", "note", "good"].index)


def test_the_best_epoch_is_of_those_that_are_finite(tmp_path: Path) -> None:
    nan = float("nan")
    history = {"elbo": [-9.0] * 4, "val_elbo": [nan, -9.0, -7.0, -8.0]}
    broken = dataclasses.replace(UNTOLD, path=tmp_path, history=history)
    said = " ".join(each.text for each in findings.findings(bare(broken)))
    assert "Without a validation set" not in said
    assert "1.000 nats worse than that of epoch 3, the best: consider its weights" in said
    (table,) = [block.table for block in sections._curves(bare(broken)).blocks if table_of(block)]
    assert table.header[-1] == "epoch 3, best val_elbo"
    assert table.rows[-1][-1] == -7.0
    assert reporting.card(broken, "best").metrics == {"val_elbo": -7.0}
    # Of these very weights a report does not advise them.
    known = dataclasses.replace(bare(broken), request=Request(weights="best"))
    (found,) = [each for each in findings.findings(known) if "worse than that" in each.text]
    assert found.tone == "note"
    assert found.text.endswith("of epoch 3, the best, whose weights these are.")
    nowhere = dataclasses.replace(broken, history={"val_elbo": [nan, nan, nan, nan]})
    assert reporting.card(nowhere, "best").metrics == {}
    assert "Without a validation" not in repr(list(findings.findings(bare(nowhere))))


def table_of(block: Any) -> bool:
    return block.kind == "table"


def test_findings_of_latents() -> None:
    def found(verdict: str, advice: str) -> Finding:
        diagnosis = SimpleNamespace(verdict=verdict, finding="2 of 10 are", advice=advice)
        measured = Measures({"diagnosis": diagnosis}, {}, 5, 0)
        known = dataclasses.replace(bare(UNTOLD), scored=Scored(5, None, measured=measured))
        return next(each for each in findings.findings(known) if "2 of 10" in each.text)

    assert found("healthy", "") == Finding("good", "2 of 10 are.")
    assert found("partial", "").tone == "note"
    assert found("weak", "try less.") == Finding("warning", "2 of 10 are. Try less.")


def test_what_repeats_a_report() -> None:
    request = Request(samples=7, seed=3, limit=9, data="a b", metrics=("ais", "codes"))
    section = sections._repeat(dataclasses.replace(bare(UNTOLD), request=request))
    _, measured, reported = section.blocks[0].text.splitlines()[-3:]
    how = "--samples 7 --seed 3 --limit 9 --data 'a b'"
    assert measured.endswith(how)
    assert measured.startswith("tfvae evaluate ")
    assert reported.startswith("tfvae report ")
    assert reported.endswith(f"{how} --metrics ais,codes")


def test_reasons_end_in_one_full_stop() -> None:
    assert list(facts.lines({"a": "why.", "b": "why.", "c": "how"})) == ["a, b: why.", "c: how."]
