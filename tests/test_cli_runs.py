"""The command line, the whole way: train, evaluate, export, generate, in real processes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import TINY, invoke, process
from here import strangers_here

from tfvae import quickstart, runs
from tfvae.export import verification
from tfvae.run_config import RunConfig


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
def test_generate_refuses_what_it_cannot_write(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x.txt").write_text("")
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
    assert not (tmp_path / "generated.png").exists()


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
