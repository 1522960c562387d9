"""Reports and comparisons: numbers as of evaluate and of SciPy, on pages that stand alone."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import shutil
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib import image as images
from pages import Page
from scipy import stats
from test_golden import GOLDEN
from untold import UNTOLD, bare, judged

import tfvae
from tfvae import markup, reporting
from tfvae.cli import cli
from tfvae.export import verification
from tfvae.export.manifest import Manifest
from tfvae.reporting import comparison, facts, findings, judging, pages, sections
from tfvae.reporting.blocks import Finding
from tfvae.reporting.request import Request
from tfvae.runs import Run, RunConfig, RunError, train

HOW: dict[str, Any] = {
    "limit": 30,
    "samples": 3,
    "seed": 5,
    "kinds": ("training",),
    "metrics": "reconstruction",
}


def trained(folder: Path, model: str = "vae", **settings: Any) -> Run:
    options = {"latent_dim": 2, "hidden": (8,), "likelihood": "ContinuousBernoulli"}
    options |= settings.pop("options", {})
    settings = {"epochs": 2, "batch_size": 256, "validation": 40} | settings
    return train(RunConfig(model=model, options=options, **settings), folder, verbose=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    odd = "<script>alert('x')<∕script>"
    return trained(tmp_path_factory.mktemp("runs") / odd)


@pytest.fixture(scope="module")
def reported(run: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of a report, and of everything it was asked to say while it was made."""
    said: list[str] = []
    out = tmp_path_factory.mktemp("report") / "deep" / "r.html"
    path = reporting.report(run, out, say=said.append, **HOW)
    assert path == out
    assert [line.split()[0] for line in said][:2] == ["Loading", "Evaluating"]
    return path.read_text(encoding="utf-8")


def test_the_numbers_are_those_of_evaluate(run: Run, reported: str) -> None:
    page = Page(reported)
    model, test = run.model(), run.data().test.take(30)
    expected = tfvae.evaluate.evaluate(model, test, samples=3, seed=5)
    bound = markup.with_error(expected.log_marginal, expected.log_marginal_error)
    assert page.row("log_marginal")[0] == bound
    for name in ("elbo", "log_likelihood", "kl", "bits_per_dim"):
        assert page.row(name)[0] == markup.number(getattr(expected, name)), name
    error = tfvae.evaluate.reconstruction(model, test).mse
    assert page.row("mse")[0] == markup.with_error(error.mean, error.error)


def test_a_report_says_what_the_run_was(run: Run, reported: str) -> None:
    page = Page(reported)
    for name, values in run.history.items():
        ends = [markup.number(values[0]), markup.number(values[-1])]
        assert [name, *ends] in [row[:3] for row in page.rows]
    known = run.environment["data"]
    assert page.row("fingerprint") == [known["fingerprint"]]
    assert page.row("train") == [f"{known['train']:,}"]
    assert page.row("likelihood")[:1] == ["ContinuousBernoulli"]
    assert page.row("tensorflow") == [run.environment["versions"]["tensorflow"]]
    assert page.row("seed") == ["0"]
    assert run.config.to_json().strip() in page.text
    assert "Training is complete, 2 of 2 epochs." in page.text
    assert "No export was given." in page.text


def test_a_page_stands_alone(run: Run, reported: str) -> None:
    page = Page(reported)  # which refuses what a browser would fetch, and scripts
    assert run.path.name in page.text
    assert all(link[1:] in page.ids and link[0] == "#" for link in page.links)
    assert len(set(page.ids)) == len(page.ids) == len(page.headings)
    assert {"Metrics", "Training", "Model", "Data", "Repeat it"} <= set(page.headings)
    for description, source in page.images:
        kind, data = source.split(",", 1)
        assert kind == "data:image/png;base64"
        pixels = images.imread(io.BytesIO(base64.b64decode(data)))
        assert pixels.std() > 0.01  # not blank
        assert description


@pytest.mark.slow
def test_every_kind_of_picture_is_drawn_or_its_absence_explained(run: Run, tmp_path: Path) -> None:
    every = HOW | {"kinds": None, "metrics": None}
    page = Page(reporting.report(run, tmp_path / "r.html", **every).read_text(encoding="utf-8"))
    known = tfvae.pictures.available(run.model(), run.data().test.take(30), run.history)
    shown = set(page.captions)
    for kind, obstacle in known.items():
        about = tfvae.pictures.KINDS[kind]
        if obstacle is None and not about.trains:
            assert about.description in shown, kind
        else:
            assert kind in page.text, kind


def test_an_unknown_kind_of_picture(run: Run) -> None:
    with pytest.raises(ValueError, match="'samples'"):
        reporting.report(run, kinds=("sample",))


@pytest.mark.slow
def test_a_run_killed_before_its_first_epoch_and_without_its_data(run: Run, tmp_path: Path) -> None:
    gone = dataclasses.replace(run.config, data=str(tmp_path / "gone.npz"))
    killed = dataclasses.replace(run, config=gone, history={}, status="running", environment={})
    page = Page(reporting.report(killed, tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "The data could not be loaded, so nothing is measured on it." in page.text
    assert "No epoch was completed: the weights are initial ones." in page.text
    assert "The run has no history: no epoch was completed." in page.text
    assert "What it ran on was not recorded." in page.text
    with pytest.raises((OSError, ValueError), match=r"gone\.npz"):  # where it was asked for
        reporting.report(run, tmp_path / "r2.html", data=str(tmp_path / "gone.npz"))
    assert not (tmp_path / "r2.html").exists()


@pytest.mark.slow
def test_a_run_without_its_history_has_all_but_curves(run: Run, tmp_path: Path) -> None:
    copy = shutil.copytree(run.path, tmp_path / "m")
    (copy / "history.json").unlink()
    how = ["--limit", "30", "--samples", "3"]
    result = CliRunner().invoke(cli, ["report", str(copy), *how, "--metrics", "active_units"])
    assert result.exit_code == 0, result.output
    page = Page((copy / "report.html").read_text(encoding="utf-8"))
    assert "The run has no history: its file is missing." in page.text
    assert "2 of 2 epochs" in page.text
    assert tfvae.pictures.KINDS["samples"].description in page.captions
    result = CliRunner().invoke(cli, ["compare", str(run.path), str(copy), *how])
    assert result.exit_code == 0, result.output
    assert "Warning: m has no history" in result.stderr
    result = CliRunner().invoke(cli, ["plot", str(copy), "training"])
    assert result.exit_code == 1
    assert "from which history.json is missing" in result.output
    assert "the run has no history" in CliRunner().invoke(cli, ["plot", str(copy), "--list"]).output


def test_a_page_is_written_whole_or_not_at_all(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pages.write(reporting.blocks.Page("t", "s"), tmp_path / "r.html")
    before = path.read_bytes()

    def fails(*_: Any) -> None:
        raise OSError("no space")

    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(OSError, match="no space"):
        pages.write(reporting.blocks.Page("other", "s"), path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["r.html"]


@pytest.fixture(scope="module")
def compared(
    run: Run, tmp_path_factory: pytest.TempPathFactory
) -> tuple[comparison.Comparison, str]:
    out = tmp_path_factory.mktemp("compare") / "c.html"
    other = trained(out.parent / "other", epochs=1, seed=3)
    found = reporting.compare([run, other], out, **HOW)
    return found, out.read_text(encoding="utf-8")


@pytest.mark.slow
def test_differences_are_paired(compared: tuple[comparison.Comparison, str]) -> None:
    found, text = compared
    page = Page(text)
    test = found.judged[0].run.data().test.take(30)
    ours = [tfvae.evaluate.log_marginal(each.run.model(), test, 3, 5) for each in found.judged]
    best = int(np.argmax([values.mean() for values in ours]))
    assert found.criterion == "log_marginal"
    assert found.reference is found.judged[best]
    other = 1 - best
    difference = found.differences()["log_marginal"][other]
    assert difference is not None
    # The paired t statistic is the mean over its standard error.
    expected = stats.ttest_rel(ours[other], ours[best]).statistic
    assert difference.mean / difference.error == pytest.approx(expected, rel=1e-9)
    assert page.row("log_marginal", 2)[best].endswith(" ★")
    assert not page.row("log_marginal", 2)[other].endswith("★")
    assert page.row("log_marginal", 1) == [str(difference)]
    assert page.row("kl_per_latent", 2) == [
        markup.number(each.figures["kl_per_latent"]) for each in found.judged
    ]


@pytest.mark.slow
def test_what_differs(compared: tuple[comparison.Comparison, str]) -> None:
    found, text = compared
    differs = found.configurations()
    assert differs["epochs"] == (2, 1)
    assert differs["seed"] == (0, 3)
    assert "batch_size" not in differs
    assert "options.latent_dim" not in differs
    page = Page(text)
    assert page.row("seed", 2) == ["0", "3"]
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["configurations"]["seed"] == [0, 3]
    assert document["examples"] == 30
    assert found.judged[0].run.path.name in page.text


def test_runs_that_cannot_be_compared(run: Run) -> None:
    one, two = run, dataclasses.replace(run, path=Path("two"))

    def but(**changes: Any) -> Run:
        return dataclasses.replace(two, config=dataclasses.replace(two.config, **changes))

    for given, said in (
        ([one], "two runs or more"),
        ([one, one], "twice"),
        ([one, but(fingerprint="0" * 64)], "same data, by their fingerprints"),
        ([one, but(binarize="threshold")], "binarize='none', 'threshold'"),
        ([one, but(scale=2.0)], "scale=None, 2.0"),
    ):
        with pytest.raises(RunError, match=said):
            judging.check(given, Request())
    judging.check([one, but(fingerprint="0" * 64)], Request(data="digits"))


def test_a_likelihood_of_another_support_is_warned_of(run: Run) -> None:
    one = judged("a", {}, run)
    other = dataclasses.replace(one, likelihood=("Normal", "real"))
    (warning,) = judging._warnings((one, other), run.data())
    assert "Bernoulli of binary; Normal of real" in warning
    assert judging._warnings((one, one), run.data()) == ()
    config = dataclasses.replace(run.config, fingerprint="0" * 64)
    stranger = dataclasses.replace(one, run=dataclasses.replace(one.run, config=config))
    (warning,) = judging._warnings((stranger, stranger), run.data())[:1]
    assert "was trained on other data" in warning


def test_a_card_says_what_the_run_knows(run: Run, tmp_path: Path) -> None:
    run = dataclasses.replace(run, path=tmp_path)
    card = reporting.card(run, license="mit")
    assert card.license == "mit"
    assert isinstance(card.data, dict)
    assert card.data["fingerprint"] == run.environment["data"]["fingerprint"]
    assert card.metrics["val_elbo"] == run.history["val_elbo"][-1]
    assert card.measured_on == "its validation set, in epoch 2"
    history = {"val_elbo": [-1.0, -2.0], "val_kl": [3.0, 4.0]}
    best = reporting.card(dataclasses.replace(run, history=history), "best")
    assert best.metrics == {"val_elbo": -1.0, "val_kl": 3.0}
    assert reporting.card(run, "ema").metrics == {}
    evaluated = {"epochs": 2, "weights": "last", "examples": 360, "samples": 10, "seed": 1,
                 "run": "/a/b", "elbo": -5.0, "left_out": {"codes": "none"},
                 "measures": {"bound": {"elbo": -5.0}, "active_units": {"variances": [[1.0]]},
                              "reconstruction": {"mse": {"mean": 0.25}}}}  # fmt: skip
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluated))
    found = reporting.card(run)
    assert found.metrics == {"elbo": -5.0, "reconstruction.mse.mean": 0.25}
    assert found.measured_on.startswith("360 examples of its test set, with 10 importance")
    # Of other weights, or of an earlier state of the run, it says nothing of these.
    assert "elbo" not in reporting.card(run, "best").metrics
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluated | {"epochs": 1}))
    assert reporting.card(run).metrics["val_elbo"] == run.history["val_elbo"][-1]
    assert str(tmp_path) not in repr(found)


def test_the_commands(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def report(run: Run, out: str | None, **options: Any) -> Path:
        asked.append((run.path, out, options))
        return Path("there.html")

    monkeypatch.setattr(reporting, "report", report)
    line = ["report", str(run.path), "--limit", "7", "--weights", "best", "--out", "x.html"]
    result = CliRunner().invoke(cli, line)
    assert result.output == "there.html\n"
    (path, out, options) = asked[0]
    assert (path, out) == (run.path, "x.html")
    assert (options["limit"], options["weights"], options["samples"]) == (7, "best", 100)
    for line, said in (
        (["report", "nowhere"], "Expected a run folder"),
        (["compare", str(run.path)], "two runs or more"),
        (["compare", *map(str, (run.path, run.path))], "twice"),
        (["report", str(run.path), "--export", "nowhere"], "does not exist"),
    ):
        monkeypatch.undo()
        result = CliRunner().invoke(cli, line)
        assert result.exit_code == 1, line
        assert said in result.output, line


@pytest.mark.slow
def test_compare_prints(
    compared: tuple[comparison.Comparison, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = compared
    monkeypatch.setattr(reporting, "compare", lambda *_, **__: found)
    places = [str(each.run.path) for each in found.judged]
    table = CliRunner().invoke(cli, ["compare", *places]).stdout
    difference = next(each for each in found.differences()["log_marginal"] if each)
    assert str(difference) in table
    printed = CliRunner().invoke(cli, ["compare", *places, "--json"]).stdout
    assert json.loads(printed) == json.loads(json.dumps(found.to_dict()))


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    with tarfile.open(GOLDEN / "format-1.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "golden" / "1"


def test_whether_an_export_is_of_these_weights(version: Path) -> None:
    manifest, loaded = Manifest.read(version), tfvae.export.load(version)

    def model(shift: float, size: int = 3) -> Any:
        """Decodes as the export does, but for a shift."""
        return SimpleNamespace(
            decoder_params=lambda z: loaded.run("decode", {"z": z})["mean"][:, :size] + shift,
            likelihood=SimpleNamespace(mean=lambda params: params),
        )

    assert facts.computes_the_same(model(0.0), version, manifest) is True
    assert facts.computes_the_same(model(0.001), version, manifest) is False
    assert facts.computes_the_same(model(0.0, size=2), version, manifest) is False
    others = dataclasses.replace(manifest, endpoints=manifest.endpoints[1:])
    assert facts.computes_the_same(model(0.0), version, others) is None
    assert facts.computes_the_same(model(0.0), version / "gone", manifest) is None


def test_what_is_said_of_an_export(version: Path) -> None:
    manifest = Manifest.read(version)

    def page(problems: tuple[str, ...], same: bool | None) -> tuple[Page, list[Finding]]:
        exported = facts.Exported(version, manifest, problems, same)
        known = dataclasses.replace(bare(UNTOLD), exported=exported)
        made = reporting.blocks.Page("t", "s", sections=sections.sections(known))
        return Page(markup.render("page.html", page=made)), list(findings.findings(known))

    good, found = page((), True)
    header, rows = verification.by_runtime(manifest.verification)
    assert header in good.rows
    for row in rows:
        assert row in good.rows
    assert [each.name for each in manifest.endpoints] == [
        row[0] for row in good.rows if row[0] in loaded_names(manifest) and len(row) == 4
    ]
    assert any(each.tone == "good" and "was verified in" in each.text for each in found)
    bad, found = page(("onnx/decode.onnx: changed since it was published",), False)
    assert "onnx/decode.onnx: changed since it was published" in bad.text
    warnings = " ".join(each.text for each in found if each.tone == "warning")
    assert "onnx/decode.onnx: changed since it was published." in warnings
    assert "does not decode as these weights do" in warnings
    assert not any("was verified in" in each.text for each in found)


def loaded_names(manifest: Manifest) -> set[str]:
    return {each.name for each in manifest.endpoints}


def test_the_export_command_writes_the_run_s_card(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def export(model: Any, path: Path, **options: Any) -> None:
        asked.update(options)
        raise ValueError("enough")

    monkeypatch.setattr(tfvae.export, "export", export)
    monkeypatch.setattr(Run, "model", lambda self, weights: None)
    line = ["export", str(run.path), "--license", "mit", "--intended-use", "Tests."]
    result = CliRunner().invoke(cli, line)
    assert "enough" in result.output
    assert asked["card"] == reporting.card(run, license="mit", intended_use="Tests.")
