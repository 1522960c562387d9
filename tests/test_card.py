"""Model cards: what an export says to people, held against its manifest and run as written."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from test_golden import GOLDEN

from tfvae.export import Card, ExportError, card, load, verification
from tfvae.export.manifest import CARD, Manifest, fingerprints


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of a tfvae that wrote no cards."""
    folder = tmp_path_factory.mktemp("card")
    with tarfile.open(GOLDEN / "format-1.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "golden" / "1"


def written(version: Path, told: Card | None = None, model: str = "golden") -> str:
    card.write(version, Manifest.read(version), told or Card(), model)
    return (version / CARD).read_text(encoding="utf-8")


def front_matter(text: str) -> dict[str, Any]:
    assert text.startswith("---\n")
    document = yaml.safe_load(text.split("---\n")[1])
    assert isinstance(document, dict)
    return document


def table_below(text: str, heading: str) -> list[list[str]]:
    """Read the first table of a section, header included, as Markdown says it: \\| is no border."""
    section = text.split(f"## {heading}\n")[1].split("\n## ", maxsplit=1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in rows if set("".join(row)) != {"-"}]


def test_what_nobody_said_is_not_known(version: Path) -> None:
    text = written(version)
    document = front_matter(text)
    assert document["license"] == "unknown"
    assert "datasets" not in document
    assert "model-index" not in document
    for heading in ("Intended use", "Limits", "Data", "Training"):
        assert text.split(f"## {heading}\n\n")[1].startswith("*Not stated.*")
    assert "*Not measured, or not stated.*" in text
    assert "Licence: not stated." in text


def test_the_endpoint_table_is_the_manifest(version: Path) -> None:
    manifest = Manifest.read(version)
    _, *rows = table_below(written(version), "Endpoints")
    assert [row[0] for row in rows] == [f"`{each.name}`" for each in manifest.endpoints]
    for row, record in zip(rows, manifest.endpoints, strict=True):
        for cell, specs in ((row[1], record.inputs), (row[2], record.outputs)):
            said = [part.split(" ", 2) for part in cell.split("<br>")]
            assert [name.strip("`") for name, _, _ in said] == [spec.name for spec in specs]
            assert [dtype for _, dtype, _ in said] == [spec.dtype for spec in specs]
            for (_, _, shape), spec in zip(said, specs, strict=True):
                sizes = [None if each == "B" else int(each) for each in shape[1:-1].split(", ")]
                assert tuple(sizes) == spec.shape
        assert row[3].replace("\\|", "|") == record.description


def test_the_verification_table_is_the_manifest(version: Path) -> None:
    manifest = Manifest.read(version)
    header, *rows = table_below(written(version), "Verification")
    checks = {(c.endpoint, c.runtime): c for c in verification.worst(manifest.verification)}
    seen = 0
    for endpoint, *cells in rows:
        for runtime, cell in zip(header[1:], cells, strict=True):
            check = checks.get((endpoint, runtime))
            assert (check is None) == (cell == "")
            if check is not None and cell != "0 of 0":
                difference, tolerance = cell.split(" of ")
                # Two digits of each.
                assert float(difference) == pytest.approx(check.difference, rel=0.05)
                assert float(tolerance) == pytest.approx(check.tolerance, rel=0.05)
            seen += check is not None
    assert seen == len(checks)


def test_what_is_told_is_said(version: Path) -> None:
    told = Card(
        description="Reads *three* pixels.",
        intended_use="Tests.",
        limits="All | of <it>.",
        license="Apache-2.0",
        data={"name": "bars: <b>|wide|</b>", "examples": 60000},
        metrics={"elbo": -2.5, "kl_per_latent": [1.0, 0.5], "nothing": None},
        measured_on="its test set",
    )
    text = written(version, told)
    document = front_matter(text)
    assert document["license"] == "apache-2.0"
    assert document["datasets"] == ["bars: <b>|wide|</b>"]
    (result,) = document["model-index"][0]["results"]
    assert [(each["type"], each["value"]) for each in result["metrics"]] == [("elbo", -2.5)]
    assert "Reads *three* pixels." in text
    assert "## Intended use\n\nTests.\n" in text
    assert "Measured on its test set." in text
    assert ["name", r"bars: &lt;b>\|wide\|&lt;/b>"] in table_below(text, "Data")
    assert ["examples", "60,000"] in table_below(text, "Data")
    metrics = table_below(text, "Metrics")
    assert ["elbo", "−2.500", "log_likelihood − kl, nats"] in metrics
    assert ["nothing", "not known", ""] in metrics


def test_the_python_in_it_runs(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, ours = re.findall(r"```python\n(.*?)```", written(version), re.DOTALL)
    monkeypatch.chdir(version)
    names: dict[str, Any] = {}
    exec(plain, names)
    expected = load(version).run("decode", {"z": np.zeros((1, 2), np.float32)})
    assert names["outputs"].keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(names["outputs"][name], values)
    exec(ours, names)
    assert len(names["outputs"]["sample"]) == 3


def test_names_are_quoted_for_shells(version: Path) -> None:
    text = written(version, model="my $(model)")
    assert "MODEL_NAME='my $(model)'" in text
    assert "/v1/models/my%20%24%28model%29/metadata" in text


def test_an_export_verifies_with_an_edited_card_and_without_one(version: Path) -> None:
    manifest = Manifest.read(version)
    for text in (written(version), "All mine."):
        (version / CARD).write_text(text, encoding="utf-8")
        assert verification.changes(version, manifest) == ()
        assert CARD not in fingerprints(version)
    (version / CARD).unlink()
    assert verification.changes(version, manifest) == ()
    # Cards of other places are files like any other.
    (version / "onnx" / CARD).write_text("", encoding="utf-8")
    assert verification.changes(version, manifest) == ("onnx/README.md: not part of the export",)
    (version / "onnx" / CARD).unlink()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"license": None}, "`license` of a card to be text"),
        ({"license": "The\nwhole text"}, "name of a licence"),
        ({"metrics": -104.2}, "`metrics` of a card to be numbers by name"),
        ({"data": 7}, "`data` of a card to be text, or values by name"),
    ],
)
def test_wrong_cards(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ExportError, match=re.escape(said)):
        Card(**given)


def test_what_is_no_card() -> None:
    assert card.check(None) == Card()
    with pytest.raises(ExportError, match=r"tfvae\.export\.Card"):
        card.check({"license": "mit"})
