"""The command line: mistakes in one line and at once, and what options make of a run."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np
import pytest
from command_line import TINY, invoke

from tfvae import progress, runs, zoo
from tfvae.cli import cli
from tfvae.commands import export as cli_export
from tfvae.commands import support
from tfvae.commands import train as cli_train
from tfvae.data import Binarize
from tfvae.export import verification
from tfvae.run_config import RunConfig


def test_tables_show_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table

    each = Table("run[/v2]", title="runs/a[b]:x:")
    each.add_row("[height, width]")
    support.console().print(each)
    check = verification.Check("decode", "onnxruntime", "mean", 1.0, 0.1, False, "not [2, 3]")
    cli_export._print_checks((check, dataclasses.replace(check, ok=True)))
    progress.announce("Training on a[b]")
    said = capsys.readouterr()
    for text in ("run[/v2]", "runs/a[b]:x:", "[height, width]", "FAILED not [2, 3]", " ok "):
        assert text in said.out
    assert said.err == "Training on a[b]\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with what mistakes need."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x.txt").write_text("")
    np.savez(tmp_path / "small.npz", x_train=np.zeros((9, 4, 4)), x_test=np.zeros((3, 4, 4)))
    run = tmp_path / "run"
    run.mkdir()
    config = RunConfig(model="beta_vae", data="small.npz", options={"beta": 2.0})
    (run / "config.json").write_text(config.to_json())
    (run / "status.json").write_text("{}")
    (tmp_path / "bad.json").write_text('{"epoch": 3}')
    (tmp_path / "pickled.npy").write_bytes(b"\x80\x04K\x01.")
    return tmp_path


MISTAKES = {
    "trian": (2, "No such command 'trian'. Did you mean 'train'?"),
    "--verbose": (2, "No such option"),
    "train --epoch 3": (2, "--epochs"),
    "train --beta 3": (2, "vae has no option --beta: beta_vae"),
    "train --model beta_vae --bta 3": (2, "--beta"),
    "train --model beta-vea": (2, "Did you mean 'beta_vae'?"),
    "train --model=vea --latent-dim 3": (2, "Did you mean 'vae'?"),
    "train --model": (2, "--model"),
    "train extra": (2, "unexpected extra argument"),
    "train --epochs 0": (2, "--epochs"),
    "train --epochs many": (2, "--epochs"),
    "train --batch-size 0": (2, "--batch-size"),
    "train --seed -1": (2, "--seed"),
    "train --binarize dynamo": (2, "'dynamic'"),
    "train --validation lots": (2, "'lots' is not a number"),
    "train --validation -1": (1, "`validation` to be a fraction"),
    "train --data small.npz --validation 9": (1, "hold out fewer"),
    "train --learning-rate 0": (1, "`learning_rate` to be a positive number"),
    "train --latent-dim two": (2, "`latent_dim` to be a whole number"),
    "train --hidden 8x4": (2, "`hidden` to be whole numbers"),
    "train --network cnov": (2, "Did you mean 'conv'?"),
    "train --likelihood bernouli": (2, "Did you mean 'Bernoulli'?"),
    "train --data digit": (1, "did you mean 'digits'?"),
    "train --data nowhere/m.npz": (1, "nowhere/m.npz (no such file)"),
    "train --data pickled.npy": (1, "pickle"),
    "train --data full": (1, "full"),
    "train --out run": (1, "holds a run"),
    "train --out full": (1, "holds x.txt and is no run"),
    "train --out full/x.txt": (1, "is a file"),
    "train --out full/x.txt/m": (1, "is a file"),
    "train --config nothing.json": (1, "nothing.json, which does not exist"),
    "train --config bad.json": (1, "Did you mean 'epochs'?"),
    "train --config run --model iwae": (2, "--config is of the model beta_vae"),
    "train --config run --samples x": (2, "`samples` to be a whole number"),
    "train --resume nowhere": (1, "nowhere"),
    "train --resume run --out m": (2, "--out and --resume exclude each other"),
    "train --resume run --config run": (2, "--config and --resume exclude each other"),
    "train --freeze encodr": (1, "Did you mean 'encoder'?"),
    "train --slot-rates prior": (2, "not SLOT=FACTOR, as in prior=0.1"),
    "train --slot-rates prior=-1": (1, "positive factors"),
    "train --patience 3": (1, "`validation`"),
    "train --schedule cos": (2, "cosine"),
    "train --sweep seed=0,1 --out s --device cpu": (2, "--device and --sweep exclude each other"),
    "train --strategy multiworker": (1, "`out` (--out) for the multiworker strategy"),
    "train --checkpoint-every 0": (2, "--checkpoint-every"),
    "plot run smaples": (2, "Did you mean 'samples'?"),
    "plot rnu samples": (1, "rnu, which does not exist. Did you mean 'run'?"),
    "train --pictures 0": (2, "--pictures"),
    "evaluate": (2, "RUN"),
    "evaluate rnu": (1, "rnu, which does not exist. Did you mean 'run'?"),
    "evaluate full": (1, "no config.json"),
    "evaluate full/x.txt": (1, "is a file"),
    "evaluate run --samples 0": (2, "--samples"),
    "evaluate run --limit 0": (2, "--limit"),
    "evaluate run": (1, "environment.json, which does not exist"),
    "probe": (2, "RUN"),
    "probe rnu": (1, "rnu, which does not exist. Did you mean 'run'?"),
    "probe full": (1, "no config.json"),
    "probe run --labels 10,few": (2, "'few' is neither a number of labels nor 'all'"),
    "probe run --labels 0": (2, "'0' is neither"),
    "probe run --repeats 0": (2, "--repeats"),
    "probe run --plot full": (1, "which is a folder"),
    "study latnt-dim": (2, "Did you mean 'latent-dim'?"),
    "study latent-dim --values 2,0": (2, "'0' is no whole number of at least 1"),
    "study latent-dim --values ''": (2, "'' is no whole number of at least 1"),
    "study latent-dim --values 2,2": (1, "latent-dim=2 twice"),
    "study latent-dim --samples 0": (2, "--samples"),
    "study latent-dim --validation 0": (1, "`validation`, examples to hold out"),
    "study latent-dim --likelihood Bernouli": (1, "Did you mean 'Bernoulli'?"),
    "study latent-dim --data digit": (1, "did you mean 'digits'?"),
    "study latent-dim --out full": (1, "holds x.txt and is no run"),
    "study estimators --draws 5": (2, "even"),
    "study estimators --out full": (1, "holds x.txt and is no study"),
    "study estimators --out full/x.txt": (1, "a file"),
    "study estimators --data digit": (1, "did you mean 'digits'?"),
    "study estimators --points 1": (2, "--points"),
    "export nowhere": (1, "does not exist"),
    "verify": (2, "EXPORTS"),
    "verify nowhere": (1, "does not exist"),
    "verify full": (1, "has none"),
    "generate nowhere": (1, "does not exist"),
    "generate full --num 0": (2, "--num"),
    "generate full --temperature -1": (2, "--temperature"),
    "generate full --temperature 1,-1": (2, "--temperature"),
    "generate full --temperature 1,hot": (2, "--temperature"),
    "generate full --temperature nan": (1, "full"),
    "quickstart --seed -1": (2, "--seed"),
    "quickstart --out full/x.txt": (1, "file"),
}


@pytest.mark.parametrize("line", MISTAKES)
def test_mistakes_are_one_line(line: str, folder: Path) -> None:
    code, said = MISTAKES[line]
    before = sorted(folder.rglob("*"))
    result = invoke(line)
    assert result.exit_code == code, result.output
    *usage, message = [text for text in result.output.splitlines() if text.strip()]
    assert message.startswith("Error: ")
    assert said in message
    assert not usage or code == 2  # how it is used, where that was the mistake
    assert "Traceback" not in result.output
    assert sorted(folder.rglob("*")) == before


def test_help_and_mistakes_import_nothing_heavy(folder: Path) -> None:
    script = """
import json, sys
from click.testing import CliRunner
from tfvae.cli import cli
for line in json.loads(sys.argv[1]):
    CliRunner().invoke(cli, line.split(), prog_name="tfvae")
    loaded = {"tensorflow", "keras", "matplotlib.pyplot", *json.loads(sys.argv[2])} & {*sys.modules}
    assert not loaded, (line, loaded)
"""
    for lines, names in (
        (
            ["--help", "--version", "train --help", "train --model iwae --help", "trian"],
            ["numpy", "rich", "matplotlib", "onnxruntime", "sklearn"],
        ),
        ([*MISTAKES, "models"], []),
    ):
        subprocess.run(
            [sys.executable, "-c", script, json.dumps(lines), json.dumps(names)],
            cwd=folder,
            check=True,
        )


def test_help_shows_the_model_s_own_options() -> None:
    text = invoke("train --help").output
    assert "Options of vae:" in text
    assert "--beta" not in text
    text = " ".join(invoke("train --model beta_vae --help").output.split())
    assert "Options of beta_vae: --latent-dim INTEGER The number of latent variables." in text
    assert "--beta NUMBER Weight of the KL; 1 gives the VAE. [default: 4.0]" in text
    assert "--network [mlp|conv]" in text
    assert "--encoder" not in text  # no text says a Keras model


def test_a_function_of_the_zoo_is_a_model_of_the_command_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def tiny(data_shape: tuple[int, ...], breadth: int = 3, *, big: bool = False, seed: int = 0):  # type: ignore[no-untyped-def]
        """A model of the future.

        Args:
            data_shape: of the data.
            breadth: how wide.
            big: whether.

        Reference: Nobody (2030), Nothing yet.
        """

    tiny.__module__ = zoo.__name__
    monkeypatch.setattr(zoo, "tiny", tiny, raising=False)
    table = invoke("models").output
    assert "tiny" in table
    row = next(line for line in table.splitlines() if "tiny" in line)
    # What its docstring does not say of its slots is as in the plain VAE.
    assert [cell.strip() for cell in row.split("│")[2:6]] == [
        "StandardNormal", "Normal", "Bernoulli", "ELBO",
    ]  # fmt: skip
    assert "Nobody (2030), Nothing yet." in table
    text = " ".join(invoke("train --model tiny --help").output.split())
    assert "--breadth INTEGER How wide. [default: 3]" in text
    assert "--big / --no-big Whether." in text
    assert "vae has no option --breadth: tiny has it." in invoke("train --breadth 3").output
    seen = trained_with(monkeypatch, "--model tiny --breadth 5 --big --epochs 7")
    assert seen == RunConfig(model="tiny", epochs=7, options={"breadth": 5, "big": True})


def trained_with(monkeypatch: pytest.MonkeyPatch, line: str) -> RunConfig:
    """Return the configuration that ``tfvae train`` makes of its arguments."""
    seen = []

    def remember(config: RunConfig, *_: Any, **__: Any) -> None:
        seen.append(config)
        raise ValueError("enough")

    monkeypatch.setattr(cli_train, "train_run", remember)
    result = invoke(f"train {line}")
    assert "enough" in result.output, result.output
    return seen[0]


def test_options_make_a_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trained_with(monkeypatch, "") == RunConfig()
    line = (
        "--model beta_vae --data small.npz --binarize dynamic --validation 0.1 --epochs 5 "
        "--batch-size 100 --learning-rate 3e-4 --seed 3 --latent-dim 50 --hidden 200,100 "
        "--beta 2 --activation tanh"
    )
    expected = RunConfig(
        model="beta_vae",
        data="small.npz",
        binarize="dynamic",
        validation=0.1,
        epochs=5,
        batch_size=100,
        learning_rate=3e-4,
        seed=3,
        options={"latent_dim": 50, "hidden": (200, 100), "beta": 2.0, "activation": "tanh"},
    )
    assert trained_with(monkeypatch, line) == expected


def test_options_override_a_configuration(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    base = RunConfig(epochs=9, data="digits", options={"latent_dim": 3}, fingerprint="a" * 64)
    (folder / "c.json").write_text(base.to_json())
    assert trained_with(monkeypatch, "--config c.json") == base
    given = trained_with(monkeypatch, "--config c.json --epochs 2 --hidden 8 --data small.npz")
    assert given == RunConfig(
        epochs=2, data="small.npz", options={"latent_dim": 3, "hidden": (8,)}, fingerprint=None
    )
    other = trained_with(monkeypatch, "--config run --beta 3")
    assert (other.model, other.options) == ("beta_vae", {"beta": 3.0})


def test_the_choices_of_binarize_are_those_of_the_data() -> None:
    (option,) = (each for each in cli.commands["train"].params if each.name == "binarize")
    assert isinstance(option.type, click.Choice)
    assert tuple(option.type.choices) == get_args(Binarize)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (runs.Interrupted("Interrupted. 3 of 9 epochs"), 130, "Interrupted. 3 of 9 epochs"),
        (KeyboardInterrupt(), 130, "Interrupted."),
        (FloatingPointError("Training stopped"), 1, "Error: Training stopped"),
        (PermissionError(13, "Permission denied", "a/b"), 1, "Error: Permission denied: a/b"),
        (MemoryError(), 1, "Error: MemoryError"),
    ],
)
def test_exit_codes(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(cli_train, "train_run", fails)
    result = invoke("train")
    assert result.exit_code == code
    assert result.output.strip() == said


def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise AttributeError("a bug")

    assert isinstance(invoke("--traceback evaluate nowhere").exception, FileNotFoundError)
    monkeypatch.setenv("TFVAE_DEBUG", "1")
    assert isinstance(invoke("evaluate nowhere").exception, FileNotFoundError)
    monkeypatch.delenv("TFVAE_DEBUG")
    monkeypatch.setattr(cli_train, "train_run", broken)
    assert isinstance(invoke("train").exception, AttributeError)


@pytest.mark.slow
def test_ctrl_c_in_this_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfvae.progress import Progress

    def pressed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "epoch", pressed)
    result = invoke(f"train --data small.npz {TINY} --out m")
    assert result.exit_code == 130
    assert result.output.splitlines()[-1] == (
        "Interrupted. 1 of 2 epochs completed; model and history are kept in m. "
        "Go on with: tfvae train --resume m"
    )
    stopped = runs.Run.load("m")
    assert stopped.status == "interrupted"
    assert stopped.model().generate(2).mean.shape == (2, 4, 4)
