"""What a report reads: of data that stay on disk, each part once, and no more than is needed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from untold import UNTOLD

import tfvae
from tfvae import examples
from tfvae.evaluate.measuring import Measures
from tfvae.records import Records, reader
from tfvae.reporting import facts, scoring, sections
from tfvae.reporting.request import Request
from tfvae.runs import Run


class OnDisk(NamedTuple):
    """What is made of a run whose data stay on disk.

    Attributes:
        reads: each part that was read, and how much of it.
        learned: how many training examples each measurement was given.
        drawn: how many test examples pictures were of.
    """

    reads: list[tuple[str, int]]
    learned: dict[str, int]
    drawn: list[int]


@pytest.fixture
def on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OnDisk:
    dataset = tfvae.data.load(tfvae.convert.convert("digits", tmp_path / "digits").path)
    known = OnDisk([], {}, [])
    read = Records.examples

    def counted(self: Records, limit: int | None = None) -> Any:
        known.reads.append((self.part, len(self) if limit is None else limit))
        return read(self, limit)

    def measured(model: Any, x: Any, names: list[str], *, train: Any, **_: Any) -> Measures:
        known.learned[names[0]] = 0 if train is None else len(train)
        return Measures({}, {}, len(x), 0)

    def drawn(model: Any, shown: Any, *_: Any) -> tuple[dict[str, Any], dict[str, str]]:
        known.drawn.append(0 if shown is None else len(shown))
        return {}, {}

    def bound(model: Any, x: Any, *_: Any, **__: Any) -> Any:
        raise ValueError("None.")

    monkeypatch.setattr(Run, "data", lambda self, path=None: dataset)
    model = SimpleNamespace(evaluate=lambda x, **_: {"examples": len(x)})
    monkeypatch.setattr(Run, "model", lambda self, weights: model)
    monkeypatch.setattr(Records, "examples", counted)
    monkeypatch.setattr(tfvae.evaluate, "per_example", bound)
    monkeypatch.setattr(scoring, "measure", measured)
    monkeypatch.setattr(facts, "drawn", drawn)
    return known


def test_data_on_disk_are_read_once_and_only_where_needed(on_disk: OnDisk) -> None:
    few = Request(limit=30, metrics=("active_units", "reconstruction"))
    facts.gather(UNTOLD, few)
    assert on_disk.reads == [("test", 30)]
    assert (on_disk.learned, on_disk.drawn) == ({"active_units": 0, "reconstruction": 0}, [30])
    on_disk.reads.clear()
    facts.gather(UNTOLD, Request(metrics=("samples", "active_units", "probes")))
    assert on_disk.reads == [("test", 360), ("train", 1437)]
    assert on_disk.learned["probes"] == on_disk.learned["samples"] == 1437


def test_a_test_set_too_large_for_the_memory(
    on_disk: OnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MEMORY_BYTES", 100 * 64 * 4)  # a hundred examples
    monkeypatch.setattr(examples, "SOME_BYTES", 20 * 64 * 8)
    found = facts.gather(UNTOLD, Request(metrics="reconstruction"))
    assert found.scored is not None
    assert found.scored.judged == {"examples": 360}  # streamed
    assert on_disk.drawn == [20]
    # More than fit were asked for: without data there is a page all the same.
    many = facts.gather(UNTOLD, Request(limit=200, metrics="reconstruction"))
    assert (many.dataset, many.scored) == (None, None)
    assert "fit into memory" in many.data_problem


def test_the_first_examples_may_be_all(on_disk: OnDisk) -> None:
    for limit, said in ((360, "On all 360 test"), (30, "On the first 30 test")):
        found = facts.gather(UNTOLD, Request(limit=limit, metrics="reconstruction"))
        table = sections._metrics(found).blocks[0].table
        assert table.title.startswith(said)
