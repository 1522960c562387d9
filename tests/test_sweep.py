"""Sweeps: combinations that are checked at once, runs that are kept, and a table that is true."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tfvae import options, runs, trials, zoo
from tfvae import sweep as module
from tfvae.cli import cli
from tfvae.commands import sweep as cli_sweep
from tfvae.runs import Interrupted, Run, RunConfig, RunError
from tfvae.sweep import SETTINGS, combinations, sweep
from tfvae.trials import Sweep, Trial, ranked

# A plain graph, which is traced in a third of the time that XLA takes.
TINY = {"network": "conv", "filters": (2,)}
VALUES = {"latent_dim": [2, 3], "learning_rate": [1e-2]}
NAMES = ["latent-dim=2,learning-rate=0.01", "latent-dim=3,learning-rate=0.01"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Of 80 binary images of 4 by 4 pixels."""
    rng = np.random.default_rng(0)
    bars = (np.arange(4) < rng.integers(0, 5, (80, 4, 1))).astype("uint8")
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    np.savez(path, x_train=bars[:60], x_test=bars[60:])
    return RunConfig(data=str(path), validation=12, epochs=2, batch_size=16, options=TINY)


@pytest.fixture(scope="module")
def study(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return sweep(config, VALUES, tmp_path_factory.mktemp("runs") / "study", verbose=False)


@pytest.fixture
def copy(study: Sweep, tmp_path: Path) -> Path:
    return shutil.copytree(study.path, tmp_path / "study")


def weights(run: Run) -> list[Any]:
    model = run.model()
    return [np.array(variable) for variable in (*model.variables, *model.optimizer.variables)]


def no_training(*_: Any, **__: Any) -> Run:
    raise AssertionError("trained")


# ---------------------------------------------------------------------- combinations


def test_every_combination_has_a_name_and_a_configuration() -> None:
    config = RunConfig(model="beta_vae", epochs=3, options={"beta": 9.0, "latent_dim": 7})
    found = combinations(
        config, {"beta": np.array([1, 4.5]), "hidden": [(8, 4), (16,)], "seed": np.arange(2)}
    )
    assert list(found) == [
        f"beta={beta},hidden={hidden},seed={seed}"
        for beta in ("1", "4.5")
        for hidden in ("8x4", "16")
        for seed in (0, 1)
    ]
    values, each = found["beta=4.5,hidden=8x4,seed=1"]
    assert values == {"beta": 4.5, "hidden": (8, 4), "seed": 1}
    arguments = {"beta": 4.5, "latent_dim": 7, "hidden": (8, 4)}
    assert each == dataclasses.replace(config, seed=1, options=arguments)


def test_models_and_data_can_be_swept() -> None:
    config = RunConfig(fingerprint="a" * 64)
    found = combinations(config, {"model": ["vae", "iwae"], "data": ["a/b.npz", "a%2Fb.npz"]})
    assert [each.config.fingerprint for each in found.values()] == [None] * 4
    assert len({name.casefold() for name in found}) == 4
    assert not any("/" in name for name in found)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "at least one option"),
        ({"beta": []}, "at least one value of `beta`"),
        ({"likelihood": "Bernoulli"}, "Expected a list"),
        ({"betta": [1]}, "Did you mean 'beta'"),
        ({"epoch": [1]}, "Did you mean 'epochs'"),
        ({"options": [{}]}, "Received: 'options'"),
        ({"fingerprint": ["a"]}, "Received: 'fingerprint'"),
        ({"epochs": [1, 0]}, "`epochs` to be a whole number of at least 1"),
        ({"beta": [1, "2"]}, "`beta` to be a number"),
        ({"beta": [1, 1.0]}, "beta=1 twice"),
        ({"components": [2]}, "beta_vae has no option 'components'"),
        ({"model": ["beta_vae", "vae"], "beta": [1.0]}, "vae has no option 'beta'"),
        ({"data": ["d" * 300]}, "names fit a folder's"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything(
    values: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=said):
        sweep(RunConfig(model="beta_vae"), values, tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_no_option_of_a_model_is_named_as_a_setting() -> None:
    for model in zoo.models():
        assert not set(options.options(model)) & set(SETTINGS)


# ---------------------------------------------------------------------- runs


def test_each_run_is_the_run_that_it_would_be_alone(
    config: RunConfig, study: Sweep, tmp_path: Path
) -> None:
    assert sorted(each.name for each in study.path.iterdir() if each.is_dir()) == NAMES
    alone = dataclasses.replace(config, learning_rate=1e-2, options=TINY | {"latent_dim": 3})
    run = runs.train(alone, tmp_path / "alone", verbose=False)
    (trial,) = (each for each in study.trials if each.values["latent_dim"] == 3)
    assert trial.run.config == run.config
    assert all(map(np.array_equal, weights(trial.run), weights(run)))


def test_the_table_says_what_the_runs_do(study: Sweep) -> None:
    last = {
        name: json.loads((study.path / name / "history.json").read_text())["val_elbo"][-1]
        for name in NAMES
    }
    names = sorted(NAMES, key=lambda name: -last[name])
    assert study.measure == "val_elbo"
    assert [trial.path.name for trial in study.trials] == names
    assert study.best == study.trials[0]
    assert [trial.figures["val_elbo"] for trial in study.trials] == [last[name] for name in names]
    assert Sweep.load(study.path) == study
    with (study.path / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == names
    assert [float(row["val_elbo"]) for row in rows] == [last[name] for name in names]
    assert [row["latent_dim"] for row in rows] == [name[len("latent-dim=")] for name in names]
    assert {(row["status"], row["epochs"], row["learning_rate"]) for row in rows} == {
        ("complete", "2", "0.01")
    }


def test_complete_runs_are_kept(
    config: RunConfig,
    study: Sweep,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "train", no_training)
    monkeypatch.setattr(module, "build", no_training)
    assert sweep(config, VALUES, study.path) == study
    assert capsys.readouterr().err.splitlines() == [
        f"Run {number} of 2: {name}, complete already" for number, name in enumerate(NAMES, 1)
    ]


@pytest.mark.parametrize("state", ["running", "interrupted", "failed", "half there"])
def test_an_unfinished_run_is_trained_again(
    state: str, config: RunConfig, study: Sweep, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if state == "half there":
        (copy / NAMES[0] / "config.json").unlink()
    else:
        status = json.loads((copy / NAMES[0] / "status.json").read_text())
        (copy / NAMES[0] / "status.json").write_text(json.dumps(status | {"status": state}))
    trained = []

    def train(config: RunConfig, out: Path, *, overwrite: bool, verbose: bool) -> Run:
        trained.append((config.options["latent_dim"], out.name, overwrite, verbose))
        return Run.load(study.path / out.name)

    monkeypatch.setattr(module, "train", train)
    found = sweep(config, VALUES, copy, verbose=False)
    assert trained == [(2, NAMES[0], True, False)]
    assert [trial.status for trial in found.trials] == ["complete"] * 2


def test_runs_of_another_configuration_are_refused(
    config: RunConfig, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "train", no_training)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(FileExistsError, match=r"epochs=2, where this sweep has 5.*--overwrite"):
        sweep(dataclasses.replace(config, epochs=5), VALUES, copy, verbose=False)
    (copy / NAMES[1] / "config.json").rename(copy / NAMES[1] / "mine.txt")
    with pytest.raises(FileExistsError, match=r"holds mine\.txt"):
        sweep(config, VALUES, copy, verbose=False)
    assert all(path.read_bytes() == before[path] for path in copy.glob("sweep.*"))


def test_a_folder_of_something_else_is_refused(config: RunConfig, copy: Path) -> None:
    with pytest.raises(FileExistsError, match="holds a run"):
        sweep(config, VALUES, copy / NAMES[0])
    (copy / "sweep.json").unlink()
    with pytest.raises(FileExistsError, match="and is no run"):
        sweep(config, VALUES, copy)


def test_models_are_built_before_any_is_trained(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "train", no_training)
    with pytest.raises(RunError, match=r"^latent-dim=0: Expected `event_shape`"):
        sweep(config, {"latent_dim": [2, 0]}, tmp_path / "a" / "study", verbose=False)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_diverges_leaves_the_others(
    config: RunConfig, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(config: RunConfig, out: Path, **_: Any) -> Run:
        if config.options["latent_dim"] == 2:
            raise FloatingPointError("Training stopped at step 3")
        return Run.load(out)

    monkeypatch.setattr(module, "train", train)
    found = sweep(config, VALUES, copy, overwrite=True, verbose=False)
    assert [trial.status for trial in found.trials] == ["complete", "failed"]
    assert found.trials[1].message == "Training stopped at step 3"
    assert found.best.path.name == NAMES[1]
    assert Sweep.load(copy) == found

    def stop(*_: Any, **__: Any) -> Run:
        # What is on disk while the first run trains.
        seen.append([trial.status for trial in Sweep.load(copy).trials])
        raise Interrupted("Interrupted. 1 of 2 epochs.")

    seen: list[list[str]] = []
    monkeypatch.setattr(module, "train", stop)
    with pytest.raises(Interrupted, match=r"1 of 2 epochs\. Start the sweep again"):
        sweep(config, VALUES, copy, overwrite=True, verbose=False)
    assert seen == [["pending", "pending"]]
    with pytest.raises(RunError, match="none yet"):
        _ = Sweep.load(copy).best


# ---------------------------------------------------------------------- the table


def trial(name: str, status: str = "complete", **figures: float) -> Trial:
    return Trial({"beta": 1.0, "hidden": (2, 3)}, Path("study") / name, status, figures=figures)


@pytest.mark.parametrize(
    ("given", "measure", "order"),
    [
        (
            [trial("a", val_elbo=-3, elbo=-1), trial("b", val_elbo=-2, elbo=-9)],
            "val_elbo",
            "ba",
        ),
        ([trial("a", elbo=-3, loss=1), trial("b", elbo=-2, loss=9)], "elbo", "ba"),
        ([trial("a", loss=3, val_loss=2), trial("b", loss=2, val_loss=3)], "val_loss", "ab"),
        # Of one there is no ELBO: what all have decides.
        ([trial("a", loss=3, elbo=-3), trial("b", loss=2)], "loss", "ba"),
        # NaN after all numbers; what is not complete after that, in its order.
        (
            [
                trial("p", "pending"),
                trial("n", elbo=math.nan),
                trial("f", "failed", elbo=0.0),
                trial("a", elbo=-5),
            ],
            "elbo",
            "anpf",
        ),
        ([trial("a", "pending"), trial("b", "pending")], "loss", "ab"),
    ],
)
def test_ranking(given: list[Trial], measure: str, order: str, tmp_path: Path) -> None:
    found = ranked(given)
    assert trials.measure(found) == measure
    assert "".join(each.path.name for each in found) == order
    placed = [dataclasses.replace(each, path=tmp_path / each.path.name) for each in found]
    Sweep(tmp_path, tuple(placed)).write()
    again = Sweep.load(tmp_path)
    assert "".join(each.path.name for each in again.trials) == order
    assert again.trials[0].values == {"beta": 1.0, "hidden": (2, 3)}
    values = [each.figures.get(measure, 0.0) for each in again.trials]
    assert ["n"[: math.isnan(value)] for value in values] == ["n"[: name == "n"] for name in order]


def test_damaged_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"sweep\.json"):
        Sweep.load(tmp_path)
    for text in ("{", "[]", '{"trials": [{}]}'):
        (tmp_path / "sweep.json").write_text(text)
        with pytest.raises(RunError, match="damaged"):
            Sweep.load(tmp_path)


# ---------------------------------------------------------------------- the command line


def invoke(line: str) -> Result:
    return CliRunner().invoke(cli, line.split(), prog_name="tfvae")


def test_the_command_line_reads_values_as_options_do(
    monkeypatch: pytest.MonkeyPatch, study: Sweep
) -> None:
    seen: list[Any] = []

    def remember(*given: Any, **named: Any) -> Sweep:
        seen.append((*given, named))
        return study

    monkeypatch.setattr(cli_sweep, "sweep", remember)
    result = invoke(
        "train --model beta_vae --epochs 3 --beta 2 --out study --sweep latent-dim=2,5 "
        "--sweep beta=1,4 --sweep hidden=512,256 --sweep hidden=64 --sweep batch_size=100 "
        "--sweep binarize=none,dynamic --sweep validation=0.1,500"
    )
    assert result.exit_code == 0, result.output
    ((config, values, out, named),) = seen
    assert config == RunConfig(model="beta_vae", epochs=3, options={"beta": 2.0})
    assert values == {
        "latent_dim": [2, 5],
        "beta": [1.0, 4.0],
        "hidden": [(512, 256), (64,)],
        "batch_size": [100],
        "binarize": ["none", "dynamic"],
        "validation": [0.1, 500],
    }
    assert (out, named) == ("study", {"overwrite": False})
    lines = result.output.splitlines()
    assert lines[-1] == f"Best by val_elbo: {study.best.path}"
    rows = [line for line in lines if line.startswith("│")]
    figures = [f"{each.figures['val_elbo']:.2f}" for each in study.trials]
    assert [figure in row for figure, row in zip(figures, rows, strict=True)] == [True, True]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--sweep latent-dim=2", "--sweep needs --out"),
        ("--out study --sweep latent-dim", "takes OPTION=VALUE,VALUE"),
        ("--out study --sweep latent-dims=2", "Did you mean 'latent-dim'?"),
        ("--out study --sweep beta=2", "beta_vae"),
        ("--out study --sweep out=a,b", "No such option to sweep: out."),
        ("--out study --sweep latent-dim=2,x", "`latent_dim` to be a whole number"),
        ("--out study --sweep epochs=2,0", "--epochs"),
        ("--out study --sweep learning-rate=", "--learning-rate"),
        ("--out study --sweep latent-dim=2,2", "latent-dim=2 twice"),
    ],
)
def test_mistakes_are_one_line(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(f"train {line}")
    assert result.exit_code in (1, 2)
    message = [text for text in result.output.splitlines() if text.strip()][-1]
    assert message.startswith("Error: ")
    assert said in message
    assert list(tmp_path.iterdir()) == []


def test_failed_runs_are_an_exit_code(monkeypatch: pytest.MonkeyPatch, study: Sweep) -> None:
    first, second = study.trials
    failed = Trial(second.values, second.path, "failed", message="Training stopped")
    monkeypatch.setattr(cli_sweep, "sweep", lambda *_, **__: Sweep(study.path, (first, failed)))
    result = invoke("train --out study --sweep seed=1,2")
    assert result.exit_code == 1
    assert "failed" in result.output
    assert result.output.splitlines()[-1].startswith("Error: 1 of 2 runs failed")
    assert "Training stopped" in result.output.splitlines()[-1]


@pytest.mark.slow
def test_a_sweep_that_was_killed_goes_on(config: RunConfig, tmp_path: Path) -> None:
    epochs = 4000
    command = [
        *(sys.executable, "-m", "tfvae", "train", "--data", config.data, "--hidden", "4"),
        *("--batch-size", "16", "--sweep", "latent-dim=2,3", "--sweep", f"epochs=2,{epochs}"),
        *("--out", str(tmp_path / "study")),
    ]
    long = tmp_path / "study" / f"latent-dim=2,epochs={epochs}" / "status.json"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while not long.exists() or not json.loads(long.read_text())["epochs"]:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    found = Sweep.load(tmp_path / "study")
    assert [each.status for each in found.trials] == ["complete", *["pending"] * 3]
    kept = (found.best.path / "model.keras").stat().st_mtime_ns
    # The same folder, with what is left to do made short.
    again = [text.replace(f"epochs=2,{epochs}", "epochs=2") for text in command]
    done = subprocess.run(again, capture_output=True, text=True, check=True)
    assert "Run 1 of 2: latent-dim=2,epochs=2, complete already" in done.stderr
    assert (found.best.path / "model.keras").stat().st_mtime_ns == kept
    assert [each.status for each in Sweep.load(tmp_path / "study").trials] == ["complete"] * 2
