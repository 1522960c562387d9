"""Runs: configurations that are checked, folders that load at any moment, weights that repeat."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import tfvae
from tfvae import files, options, recorder, runs, zoo
from tfvae.data import DataError
from tfvae.progress import Progress
from tfvae.runs import Interrupted, Run, RunConfig, RunError
from tfvae.trials import Trial


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 binary images of 4 by 4 pixels, a quarter of them for testing."""
    rng = np.random.default_rng(0)
    bars = (np.arange(4) < rng.integers(0, 5, (80, 4, 1))).astype("uint8")
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    np.savez(path, x_train=bars[:60], x_test=bars[60:])
    return path


@pytest.fixture(scope="module")
def config(data: Path) -> RunConfig:
    return RunConfig(
        data=str(data),
        validation=12,
        epochs=3,
        batch_size=16,
        seed=1,
        options={"latent_dim": 2, "hidden": (8,)},
    )


@pytest.fixture(scope="module")
def run(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return runs.train(config, tmp_path_factory.mktemp("runs") / "m", verbose=False)


@pytest.fixture(scope="module")
def two_epochs(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Run:
    two = RunConfig(**json.loads(config.to_json()) | {"epochs": 2})
    return runs.train(two, tmp_path_factory.mktemp("runs") / "two", verbose=False)


@pytest.fixture
def copy(run: Run, tmp_path: Path) -> Path:
    return shutil.copytree(run.path, tmp_path / "copy")


def weights(run: Run) -> list[Any]:
    model = run.model()
    return [np.array(variable) for variable in (*model.variables, *model.optimizer.variables)]


def same(a: Run, b: Run) -> bool:
    return all(np.array_equal(v, w) for v, w in zip(weights(a), weights(b), strict=True))


# ---------------------------------------------------------------------- configurations


def test_config_round_trip(config: RunConfig) -> None:
    again = RunConfig.from_json(config.resolved("abc").to_json())
    assert again == config.resolved("abc")
    assert again.options["hidden"] == (8,)
    assert again.options["likelihood"] == "Bernoulli"  # defaults may change between versions


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": "betavae"}, "Did you mean 'beta_vae'"),
        ({"model": 3}, "`model`"),
        ({"data": " "}, "`data`"),
        ({"binarize": "dynamc"}, "Did you mean 'dynamic'"),
        ({"epochs": 0}, "`epochs` to be a whole number of at least 1"),
        ({"epochs": True}, "`epochs`"),
        ({"epochs": 2.0}, "`epochs`"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"seed": -1}, "`seed`"),
        ({"learning_rate": 0}, "`learning_rate` to be a positive number"),
        ({"learning_rate": float("nan")}, "`learning_rate`"),
        ({"validation": -0.1}, "`validation`"),
        ({"validation": 1.5}, "`validation`"),
        ({"options": []}, "`options`"),
        ({"options": {"latent_dims": 2}}, "Did you mean 'latent_dim'"),
        ({"options": {"beta": 2.0}}, "vae has no option 'beta': beta_vae"),
        ({"options": {"latent_dim": "2"}}, "`latent_dim` to be a whole number"),
        ({"options": {"latent_dim": True}}, "`latent_dim` to be a whole number"),
        ({"options": {"hidden": 8}}, "`hidden` to be whole numbers"),
        ({"options": {"network": "cnv"}}, "Did you mean 'conv'"),
        ({"options": {"likelihood": "Bernouli"}}, "Did you mean 'Bernoulli'"),
        ({"model": "beta_vae", "options": {"beta": float("inf")}}, "`beta` to be a number"),
    ],
)
def test_config_refuses(given: dict[str, Any], said: str) -> None:
    with pytest.raises(RunError, match=said):
        RunConfig(**given)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "in JSON"),
        ("[]", "a JSON object"),
        ('{"epoch": 3}', "Did you mean 'epochs'"),
        ('{"epochs": 0}', "`epochs`"),
    ],
)
def test_config_file_refuses(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    for place in (tmp_path, tmp_path / "config.json"):
        with pytest.raises(RunError, match=rf"config\.json: .*{said}"):
            RunConfig.read(place)


# ---------------------------------------------------------------------- options


def model(  # type: ignore[no-untyped-def]
    data_shape: tuple[int, ...],
    needed: int,
    number: float = 1,
    switch: bool = False,
    widths: tuple[int, ...] = (4, 2),
    rates: tuple[float, ...] | None = None,
    kind: Literal["a", "b"] = "a",
    power: Literal[1, 2] = 1,
    layer: str | tfvae.layers.DistributionLayer = "Normal",
    network: keras.Model | None = None,  # type: ignore[name-defined]  # noqa: F821
    seed: int = 0,
):
    """A model with an option of every kind.

    Args:
        data_shape: of the data.
        needed: says ``how``
            many.
        number: a number.

    Reference: Someone (1999), A title,
        over two lines.
    """


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, options.Option]:
    monkeypatch.setattr(model, "__module__", zoo.__name__)
    monkeypatch.setattr(zoo, "model", model, raising=False)
    return options.options("model")


def test_options_are_those_that_text_can_say(known: dict[str, options.Option]) -> None:
    names = ["needed", "number", "switch", "widths", "rates", "kind", "power", "layer"]
    assert list(known) == names
    assert [name for name in names if known[name].required] == ["needed"]
    assert known["needed"].help == "says how many."
    assert options.title(model) == "A model with an option of every kind"
    assert options.reference(model) == "Someone (1999), A title, over two lines."


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("needed", "3", 3),
        ("number", "2", 2.0),
        ("number", "1e-3", 1e-3),
        ("switch", "true", True),
        ("widths", "512,256", (512, 256)),
        ("widths", "8,", (8,)),
        ("widths", "", ()),
        ("rates", "0.5, 1", (0.5, 1.0)),
        ("rates", "none", None),
        ("kind", "b", "b"),
        ("power", "2", 2),
        ("layer", "bernoulli", "bernoulli"),
    ],
)
def test_option_reads(
    known: dict[str, options.Option], name: str, text: str, value: object
) -> None:
    read = known[name].parse(text)
    assert read == value
    assert type(read) is type(value)
    assert known[name].check(json.loads(json.dumps(read))) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("needed", "x"), ("needed", "1.5"), ("needed", "none"), ("number", "nan")),
        *(("switch", "maybe"), ("widths", "8;4"), ("kind", "c"), ("power", "3")),
        ("layer", "Norml"),
    ],
)
def test_option_refuses(known: dict[str, options.Option], name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"Expected `{name}` to be .* Received: {name}="):
        known[name].parse(text)


def test_a_missing_option_is_named(known: dict[str, options.Option]) -> None:
    with pytest.raises(RunError, match="`needed`, which model needs"):
        RunConfig(model="model")


@pytest.mark.parametrize("name", list(zoo.models()))
def test_every_model_says_what_its_options_are(name: str) -> None:
    function = zoo.models()[name]
    assert options.title(function)
    assert options.reference(function)
    for option in options.options(name).values():
        assert option.help, option.name
        if not option.required:
            assert option.check(option.default) == option.default


# ---------------------------------------------------------------------- training


def test_run_folder(run: Run, config: RunConfig, data: Path) -> None:
    assert {path.name for path in run.path.iterdir()} == {
        *("config.json", "environment.json", "status.json", "model.keras"),
        *("history.json", "history.csv", "checkpoints"),
    }
    assert run.status == "complete"
    assert run.epochs == 3
    assert run.config == config.resolved(run.config.fingerprint)
    assert run.data().fingerprint == run.config.fingerprint
    environment = run.environment
    assert environment["data"] == {
        **{"name": "bars", "fingerprint": run.config.fingerprint, "shape": [4, 4]},
        **{"train": 48, "validation": 12, "test": 20},
    }
    assert environment["versions"].keys() >= {"python", "tfvae", "tensorflow", "keras", "numpy"}
    assert environment["command"]
    rows = (run.path / "history.csv").read_text().splitlines()
    assert rows[0].split(",") == ["epoch", *run.history]
    assert [row.split(",")[0] for row in rows[1:]] == ["1", "2", "3"]
    last = [float(cell) for cell in rows[-1].split(",")[1:]]
    assert last == [values[-1] for values in run.history.values()]
    assert {"loss", "elbo", "kl", "log_likelihood", "val_elbo", "seconds"} <= run.history.keys()
    assert int(run.model().step) == 3 * 3


def test_repeating_a_run_gives_the_same_weights(run: Run, tmp_path: Path) -> None:
    again = runs.train(RunConfig.read(run.path), tmp_path / "again", verbose=False)
    assert same(again, run)
    terms = [name for name in run.history if name != "seconds"]
    assert [again.history[name] for name in terms] == [run.history[name] for name in terms]


def test_a_prior_is_fitted_after_training(config: RunConfig, run: Run, tmp_path: Path) -> None:
    fitted = dataclasses.replace(config, fit_prior="normal")
    again = runs.train(fitted, tmp_path / "fitted", verbose=False)
    assert again.config.fit_prior == "normal"
    assert again.history["elbo"] == run.history["elbo"]
    old, new = run.model(), again.model()
    for a, b in zip(old.decoder.get_weights(), new.decoder.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert type(old.prior).__name__ == "StandardNormal"
    assert type(new.prior).__name__ == "MixtureOfGaussians"
    assert new.generate(2).sample.shape == (2, 4, 4)
    with pytest.raises(RunError, match=r"`fit_prior`.*Did you mean 'mixture'"):
        dataclasses.replace(config, fit_prior="mixtures")


def test_counts_are_kept_when_asked(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).poisson(20.0, (40, 6))
    np.savez(tmp_path / "counts.npz", x_train=counts, x_test=counts[:8])
    config = RunConfig(
        model="count_vae", data=str(tmp_path / "counts.npz"), scale=1, epochs=1,
        options={"latent_dim": 2, "hidden": (8,)},
    )  # fmt: skip
    run = runs.train(config, tmp_path / "run", verbose=False)
    assert run.data().train.x.max() == counts.max()
    with pytest.raises(RunError, match=r"`scale`.*positive number.*-1"):
        dataclasses.replace(config, scale=-1)


def test_progress_and_rare_saves_change_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recorder, "_SAVING_SHARE", 1e-9)
    again = runs.train(run.config, tmp_path / "again")
    assert same(again, run)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "Training vae on bars: 48 examples of 4×4, 12 for validation"
    assert [line.split()[0] for line in lines[1:]] == ["epoch", "1", "2", "3"]


def interrupt_at(monkeypatch: pytest.MonkeyPatch, name: str, call: int) -> None:
    """Press Ctrl-C in the n-th call of a method of Progress."""
    original, calls = getattr(Progress, name), []

    def pressed(self: Progress, *arguments: Any, **named: Any) -> None:
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        original(self, *arguments, **named)

    monkeypatch.setattr(Progress, name, pressed)


# On the disk already, or held in memory.
@pytest.mark.parametrize("share", [1e9, pytest.param(1e-9, marks=pytest.mark.slow)])
def test_ctrl_c_keeps_the_last_completed_epoch(
    config: RunConfig,
    two_epochs: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    share: float,
) -> None:
    monkeypatch.setattr(recorder, "_SAVING_SHARE", share)
    # One chunk of steps an epoch: this is within the third epoch, after weights have moved on.
    interrupt_at(monkeypatch, "step", 3)
    with pytest.raises(Interrupted, match=r"2 of 3 epochs completed; .* are kept in"):
        runs.train(config, tmp_path / "m")
    stopped = Run.load(tmp_path / "m")
    assert (stopped.status, stopped.epochs) == ("interrupted", 2)
    assert len((stopped.path / "history.csv").read_text().splitlines()) == 3
    assert same(stopped, two_epochs)


def test_ctrl_c_before_the_first_epoch_keeps_the_initial_weights(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at(monkeypatch, "step", 1)
    with pytest.raises(Interrupted, match="0 of 3"):
        runs.train(config, tmp_path / "m")
    stopped = Run.load(tmp_path / "m")
    assert (stopped.status, stopped.epochs, stopped.history) == ("interrupted", 0, {})
    assert stopped.model().generate(2).mean.shape == (2, 4, 4)


def test_a_loss_that_becomes_nan_keeps_the_last_good_weights(
    config: RunConfig, tmp_path: Path
) -> None:
    wild = RunConfig(**json.loads(config.to_json()) | {"learning_rate": 1e20})
    with pytest.raises(FloatingPointError, match=r"NaN or infinite.* are kept in"):
        runs.train(wild, tmp_path / "m", verbose=False)
    failed = Run.load(tmp_path / "m")
    assert failed.status == "failed"
    assert "NaN or infinite" in failed.message
    assert all(np.isfinite(values).all() for values in weights(failed))


def test_another_failure_is_recorded(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(Progress, "epoch", fails)
    with pytest.raises(RuntimeError, match="out of luck"):
        runs.train(config, tmp_path / "m")
    assert Run.load(tmp_path / "m").message == "RuntimeError: out of luck"


# ---------------------------------------------------------------------- folders


def test_a_run_is_replaced_only_when_asked(
    copy: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileExistsError, match=r"holds a run.* --overwrite"):
        runs.train(config, copy)
    (copy / "evaluation.json").write_text("{}")
    (copy / "mine.txt").write_text("kept")
    runs.train(RunConfig(**json.loads(config.to_json()) | {"epochs": 1}), copy, overwrite=True)
    assert Run.load(copy).epochs == 1
    assert not (copy / "evaluation.json").exists()  # of the run that was there
    assert (copy / "mine.txt").exists()


def test_check_target_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="is a file"):
        runs.check_target(tmp_path / "file" / "m")
    with pytest.raises(FileExistsError, match="holds file and is no run"):
        runs.check_target(tmp_path, overwrite=True)
    with pytest.raises(ValueError, match="empty name"):
        runs.check_target(" ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": "nowhere.npz"}, "no such file"),
        ({"validation": 60}, "validation"),
        ({"options": {"likelihood": "ContinuousBernoulli", "filters": [4]}}, "`filters`"),
        ({"fingerprint": "0" * 64}, "it has changed since"),
    ],
)
def test_nothing_is_left_of_a_run_that_cannot_start(
    config: RunConfig, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    wrong = RunConfig(**json.loads(config.to_json()) | change)
    with pytest.raises(ValueError, match=said):
        runs.train(wrong, tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


def test_data_that_the_model_cannot_explain_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ContinuousBernoulli likelihood"):
        runs.train(RunConfig(data="digits"), tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with (
        pytest.raises(PermissionError, match=r"can be written.* \(Permission denied\)"),
        files.claimed(tmp_path / "a" / "b"),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_load_says_what_is_wrong(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"does not exist\. Did you mean 'copy'"):
        Run.load(tmp_path / "cpoy")
    with pytest.raises(RunError, match=r"no config\.json"):
        Run.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="is a file"):
        Run.load(copy / "config.json")


@pytest.mark.parametrize("name", ["config", "status", "history", "environment"])
@pytest.mark.parametrize("text", ["", "[]", '{"a": 1', "\xff"])
def test_load_refuses_damage(copy: Path, name: str, text: str) -> None:
    (copy / f"{name}.json").write_bytes(text.encode("latin1"))
    with pytest.raises(RunError, match=rf"{name}|damaged"):
        Run.load(copy)


@pytest.mark.parametrize("name", ["config", "status", "history"])
def test_load_refuses_strange_contents(copy: Path, name: str) -> None:
    (copy / f"{name}.json").write_text('{"a": 1}')
    with pytest.raises(RunError, match=r"Expected .*(keys of a configuration|damaged)"):
        Run.load(copy)


def test_a_run_is_loaded_without_its_history(run: Run, copy: Path) -> None:
    (copy / "history.json").unlink()
    found = Run.load(copy)
    assert (found.history, found.epochs, found.status) == ({}, run.epochs, "complete")
    # What goes on with the history, or ranks by it, says that it is lost.
    for call in (lambda: runs.resume(copy, epochs=run.epochs + 1), lambda: Trial.of({}, found)):
        with pytest.raises(RunError, match=r"copy, from which history\.json is missing"):
            call()


@pytest.mark.parametrize("name", ["status.json", "environment.json", "model.keras"])
def test_load_misses_a_file(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        Run.load(copy)


def test_load_refuses_half_a_model(copy: Path) -> None:
    (copy / "model.keras").write_bytes((copy / "model.keras").read_bytes()[:1000])
    with pytest.raises(RunError, match="whole file"):
        Run.load(copy)


def test_data_that_changed_is_refused(run: Run, copy: Path, tmp_path: Path) -> None:
    moved = shutil.copy(run.config.data, tmp_path / "moved.npz")
    assert Run.load(copy).data(str(moved)).fingerprint == run.config.fingerprint
    np.savez(moved, x_train=np.zeros((60, 4, 4), "uint8"), x_test=np.zeros((20, 4, 4), "uint8"))
    with pytest.raises(DataError, match=r"moved\.npz, fingerprint .*: it has changed since"):
        Run.load(copy).data(str(moved))


def test_git_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert files.git_state() is None
    if shutil.which("git") is None:
        pytest.skip("needs git")
    author = ("-c", "user.name=a", "-c", "user.email=a@b")
    (tmp_path / "file").write_text("1")
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "1"]):
        subprocess.run(["git", *command], check=True)
    state = files.git_state()
    assert state is not None
    assert len(state["commit"]) == 40
    assert state["dirty"] is False
    (tmp_path / "file").write_text("2")
    state = files.git_state()
    assert state is not None
    assert state["dirty"] is True
