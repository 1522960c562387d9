"""The command line: mistakes in one line and at once, and the whole way through real processes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from here import strangers_here

from tfvae import quickstart, runs, zoo
from tfvae.cli import cli
from tfvae.commands import train as cli_train
from tfvae.data import Binarize
from tfvae.export import verification
from tfvae.run_config import RunConfig

TINY = "--likelihood ContinuousBernoulli --latent-dim 2 --hidden 16 --epochs 2 --batch-size 256"


def invoke(line: str | Sequence[str]) -> Result:
    arguments = shlex.split(line) if isinstance(line, str) else list(line)
    return CliRunner().invoke(cli, arguments, prog_name="tfvae")


def process(
    line: str, folder: Path, code: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``tfvae`` as a user does."""
    result = subprocess.run(
        [sys.executable, "-m", "tfvae", *shlex.split(line)],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
        | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == code, result.stderr
    return result


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


# ---------------------------------------------------------------------- the whole way


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def trained(place: Path) -> subprocess.CompletedProcess[str]:
    return process(f"train --data digits {TINY} --validation 0.1 --seed 3 --out runs/m", place)


@pytest.fixture(scope="module")
def exported(
    place: Path, trained: subprocess.CompletedProcess[str]
) -> subprocess.CompletedProcess[str]:
    return process("export runs/m --to savedmodels/digits --calibrate --keep 2", place)


@pytest.mark.slow
def test_train(place: Path, trained: subprocess.CompletedProcess[str]) -> None:
    assert trained.stdout.startswith("runs/m: 2 epochs, elbo ")
    lines = trained.stderr.splitlines()  # nothing of TensorFlow's in between
    assert lines[0] == "Training vae on digits: 1,293 examples of 8×8×1, 144 for validation"
    assert [line.split()[0] for line in lines[1:]] == ["epoch", "1", "2"]
    run = runs.Run.load(place / "runs" / "m")
    assert run.status == "complete"
    assert run.config.seed == 3
    assert run.environment["command"].endswith(f"{TINY} --validation 0.1 --seed 3 --out runs/m")


@pytest.mark.usefixtures("trained")
@pytest.mark.slow
def test_evaluate(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = process("evaluate runs/m --samples 10 --limit 50 --json", place)
    assert result.stderr == ""
    printed = json.loads(result.stdout)
    assert printed == json.loads((place / "runs" / "m" / "evaluation.json").read_text())
    assert printed.keys() >= {"log_marginal", "log_marginal_error", "elbo", "kl", "bits_per_dim"}
    assert (printed["samples"], printed["examples"], printed["epochs"]) == (10, 50, 2)
    assert printed["log_marginal"] >= printed["elbo"]
    monkeypatch.chdir(place)
    table = invoke("evaluate runs/m --samples 10 --limit 50")
    assert table.exit_code == 0
    assert f"{printed['log_marginal']:.2f}" in table.stdout
    assert f"{printed['log_marginal_error']:.2f}" in table.stdout


@pytest.mark.slow
def test_export(place: Path, exported: subprocess.CompletedProcess[str]) -> None:
    assert exported.stdout.splitlines()[-1] == "Published savedmodels/digits/1"
    assert (place / "savedmodels" / "digits" / "1" / "manifest.json").is_file()
    for word in ("decode", "generate", "onnxruntime", "saved_model", "session", "ok"):
        assert word in exported.stdout
    calibration = json.loads((place / "savedmodels/digits/1/manifest.json").read_text())[
        "calibration"
    ]
    assert calibration["examples"] == 144  # the validation set
    assert [each["false_alarm_rate"] for each in calibration["thresholds"]] == [0.01, 0.05]


@pytest.mark.usefixtures("exported")
@pytest.mark.slow
def test_verify(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    shutil.copytree("savedmodels/digits/1", "savedmodels/changed/1", dirs_exist_ok=True)
    Path("savedmodels/changed/1/stray.txt").write_text("")
    both = invoke("verify savedmodels/digits/1 savedmodels/changed")
    assert both.exit_code == 1
    assert "savedmodels/digits/1: verified" in both.output
    assert "stray.txt: not part of the export" in both.output
    assert "savedmodels/changed/1: NOT verified" in both.output
    # Alone, and in this process to save an import of TensorFlow.
    monkeypatch.setattr(verification, "strangers", strangers_here)
    assert invoke("verify savedmodels/digits/1").exit_code == 0


@pytest.mark.usefixtures("exported")
@pytest.mark.slow
def test_generate(place: Path) -> None:
    result = process(
        "generate savedmodels/digits --num 20 --seed 5 --out grid.png --npz rows.npz",
        place,
        # Imports of TensorFlow would be seen in the log of imports.
        PYTHONPROFILEIMPORTTIME="1",
    )
    assert "| tensorflow" not in result.stderr
    assert "| matplotlib" not in result.stderr
    assert (place / "grid.png").read_bytes().startswith(b"\x89PNG")
    assert "20 means" in result.stdout
    with np.load(place / "rows.npz") as rows:
        assert rows["sample"].shape == (20, 8, 8, 1)
        later = rows["z"][7]
    again = process("generate savedmodels/digits/1 --num 1 --seed 12 --npz one.npz", place)
    assert again.stdout == "one.npz: z, mean and sample of 1 rows\n"
    with np.load(place / "one.npz") as one:
        np.testing.assert_array_equal(one["z"][0], later)  # row i has seed + i


@pytest.mark.usefixtures("exported")
@pytest.mark.slow
def test_generate_refuses_what_it_cannot_write(place: Path, folder: Path) -> None:
    export = place / "savedmodels" / "digits"
    for arguments, said in (
        ("--out full", "which is a folder"),
        ("--npz full/x.txt/a.npz", "under a file"),
        ("--out a.foo", "end it in .png"),
        ("--version 9", "`version` to be one of 1"),
    ):
        result = invoke(["generate", str(export), *arguments.split()])
        assert result.exit_code == 1
        assert said in result.output
    result = invoke(["generate", str(export), "--length", "3"])
    assert result.exit_code == 2
    assert "--length is for sequences" in result.output
    assert not (folder / "generated.png").exists()


@pytest.mark.usefixtures("trained")
@pytest.mark.slow
def test_a_configuration_is_repeated(
    place: Path, monkeypatch: pytest.MonkeyPatch, xla: None
) -> None:
    monkeypatch.chdir(place)
    result = invoke("train --config runs/m/config.json --out runs/again")
    assert result.exit_code == 0, result.output
    first, again = (runs.Run.load(f"runs/{name}") for name in ("m", "again"))
    # Bit for bit, and in another process at that.
    for a, b in zip(first.model().get_weights(), again.model().get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


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


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.slow
def test_ctrl_c_in_a_process(tmp_path: Path) -> None:
    line = f"train --data digits {TINY} --epochs 100000 --out m"
    running = subprocess.Popen(
        [sys.executable, "-m", "tfvae", *shlex.split(line)],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    table = tmp_path / "m" / "history.csv"
    while not table.is_file() or len(table.read_text().splitlines()) < 4:
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    runs.Run.load(tmp_path / "m").model()  # while it trains
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    stopped = runs.Run.load(tmp_path / "m")
    assert stopped.status == "interrupted"
    assert stopped.epochs >= 3
    assert f"Interrupted. {stopped.epochs} of 100000 epochs completed" in said
    steps = -(-1437 // 256) * stopped.epochs
    assert int(stopped.model().step) == steps  # the model is that of the history's last epoch
    assert not [path for path in (tmp_path / "m").iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_quickstart(tmp_path: Path) -> None:
    from PIL import Image

    first = process("quickstart", tmp_path)
    out = tmp_path / "quickstart"
    for name in ("samples", "reconstructions", "training"):
        with Image.open(out / f"{name}.png") as picture:
            assert picture.width > 500
            assert len(picture.getcolors(1 << 24) or ()) > 20
    elbo = float(first.stdout.partition("ELBO ")[2].split()[0])
    assert elbo > 140
    assert "Published quickstart/savedmodels/digits/1, verified in" in first.stdout
    commands = [line.strip() for line in first.stdout.splitlines() if line.startswith("  tfvae ")]
    named = {command.split()[1] for command in commands}
    assert named == {"generate", "evaluate", "report", "verify", "train", "models"}
    for command in commands:
        short = " --epochs 1" if "train" in command else ""
        process(command.removeprefix("tfvae ") + short, tmp_path)
    assert (tmp_path / "more.png").is_file()


@pytest.mark.slow
def test_quickstart_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "strangers", strangers_here)
    full = quickstart.config(seed=1)
    short = RunConfig(**json.loads(full.to_json()) | {"epochs": 2})
    monkeypatch.setattr(quickstart, "config", lambda _seed: short)
    said: list[str] = []
    for version in (1, 2):
        made = quickstart.run(tmp_path / "q", verbose=False, say=said.append)
        assert made.export == tmp_path / "q" / "savedmodels" / "digits" / str(version)
        assert all(path.is_file() for path in made.pictures)
        assert made.run.epochs == 2
        assert np.isfinite(made.evaluation.elbo)
