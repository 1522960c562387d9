"""Without the packages of extras: what needs one says how to install it, before any work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import tfvae
from tfvae import drawing, extras, pictures, quickstart, runs
from tfvae.cli import cli
from tfvae.commands import support

HOW = r"pip install 'tfvae\[plot\]'"


@pytest.fixture(autouse=True)
def without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.mark.parametrize(
    "call",
    [
        lambda path: drawing.new_figure((1.0, 1.0)),
        lambda path: tfvae.plots.grid([[[0.0]]], path=path / "a.png"),
        lambda path: tfvae.plots.training({"elbo": [1.0]}),
        lambda path: quickstart.run(path / "quickstart"),
        lambda path: runs.train(runs.RunConfig(epochs=1), path / "run", pictures=1),
        lambda path: tfvae.snapshots.Snapshots(path / "pictures"),
        lambda path: tfvae.latent_study.study_latent_dim(runs.RunConfig(), [2], path / "study"),
        lambda path: tfvae.estimator_study.study_estimators(runs.RunConfig(), path / "study"),
    ],
)
def test_what_draws_is_refused(call: Any, tmp_path: Path) -> None:
    with pytest.raises(ImportError, match=HOW) as raised:
        call(tmp_path)
    assert raised.value.name is None
    assert list(tmp_path.iterdir()) == []


def test_of_a_model_there_is_no_picture_and_the_reason() -> None:
    vae = tfvae.zoo.vae((4, 4), 2, hidden=(4,))
    found = pictures.available(vae, history={"elbo": [1.0]})
    assert found.keys() == pictures.KINDS.keys()
    assert set(found.values()) == {extras.missing(*extras.MATPLOTLIB)}


def test_images_alone_need_none(tmp_path: Path) -> None:
    tfvae.plots.save_grid([[[0.0, 1.0]]], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 0


def test_a_command_says_it_in_a_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["quickstart", "--out", str(tmp_path / "q")])
    assert result.exit_code == 1
    assert result.output.startswith("Error: Expected matplotlib, which draws pictures.")
    assert result.output.count("\n") == 1


def test_what_is_broken_is_no_missing_extra() -> None:
    @click.command()
    def broken() -> None:
        import no_such_package  # type: ignore[import-not-found]  # noqa: F401

    group = support.Commands(commands={"broken": broken})
    result = CliRunner().invoke(group, ["broken"])
    assert isinstance(result.exception, ModuleNotFoundError)
