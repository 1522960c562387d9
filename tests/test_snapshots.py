"""Pictures while training, and `tfvae plot`: what is saved is what the model draws."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import tfvae
from tfvae import drawing, pictures, runs, snapshots
from tfvae.cli import cli
from tfvae.snapshots import Snapshots, animation

TINY = {"latent_dim": 2, "hidden": (8,), "likelihood": "ContinuousBernoulli"}


def pixels(path: Path) -> Any:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), int)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    config = runs.RunConfig(
        epochs=3, batch_size=256, learning_rate=0.02, validation=137, options=TINY
    )
    return runs.train(config, tmp_path_factory.mktemp("runs") / "m", verbose=False, pictures=2)


def plot(line: str) -> Result:
    return CliRunner().invoke(cli, ["plot", *shlex.split(line)], prog_name="tfvae")


def test_epochs_before_every_so_many_and_last_are_drawn(run: runs.Run) -> None:
    names = sorted(path.name for path in (run.path / runs.PICTURES).glob("*-*.png"))
    epochs = ("0000", "0002", "0003")
    assert names == [f"{kind}-{n}.png" for kind in ("reconstructions", "samples") for n in epochs]


def test_the_last_pictures_are_of_the_model_that_was_saved(run: runs.Run, tmp_path: Path) -> None:
    model, validation = run.model(), run.data().validation
    for kind in ("samples", "reconstructions"):
        pictures.draw(kind, model, validation.take(36), path=tmp_path / "now.png")
        last = pixels(run.path / runs.PICTURES / f"{kind}-0003.png")
        np.testing.assert_allclose(last, pixels(tmp_path / "now.png"), atol=1)
        first = pixels(run.path / runs.PICTURES / f"{kind}-0000.png")
        assert np.abs(first - last).max() > 10  # of before the first step


def test_the_animation_shows_one_picture_after_the_other(run: runs.Run) -> None:
    folder = run.path / runs.PICTURES
    with Image.open(folder / "samples.gif") as moving:
        assert moving.n_frames == 3
        for place, epoch in enumerate((0, 2, 3)):
            moving.seek(place)
            shown = np.asarray(moving.convert("RGB"), int)
            # 64 greys of 256: on average within two.
            assert np.abs(shown - pixels(folder / f"samples-{epoch:04d}.png")).mean() < 2
        assert moving.info["duration"] == 2000


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_its_pictures(run: runs.Run, tmp_path: Path) -> None:
    config = runs.RunConfig(epochs=1, batch_size=512, options=TINY)
    runs.train(config, tmp_path / "m", verbose=False, pictures=1)
    folder = tmp_path / "m" / runs.PICTURES
    before = pixels(folder / "samples-0001.png")
    runs.resume(tmp_path / "m", epochs=2, verbose=False, pictures=1)
    np.testing.assert_array_equal(pixels(folder / "samples-0001.png"), before)
    with Image.open(folder / "samples.gif") as moving:
        assert moving.n_frames == 3
    # A run that replaces it leaves none of its pictures.
    runs.train(config, tmp_path / "m", verbose=False, overwrite=True)
    assert not folder.exists()


def test_frames_of_several_sizes_are_put_on_one(tmp_path: Path) -> None:
    for place, size in enumerate(((4, 6), (8, 2))):
        Image.new("RGB", size, "black").save(tmp_path / f"{place}.png")
    animation([tmp_path / "0.png", tmp_path / "1.png"], tmp_path / "a.webp")
    with Image.open(tmp_path / "a.webp") as moving:
        assert (moving.size, moving.n_frames) == ((8, 6), 2)


def test_an_animation_of_too_many_pictures_shows_some(tmp_path: Path, monkeypatch: Any) -> None:
    for place in range(10):
        Image.new("L", (4, 6), 20 * place).save(tmp_path / f"{place}.png")
    frames = [tmp_path / f"{place}.png" for place in range(10)]
    monkeypatch.setattr(snapshots, "_PIXELS", 4 * 4 * 6 + 5)
    animation(frames, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as moving:
        greys = []
        for place in range(moving.n_frames):
            moving.seek(place)
            greys.append(moving.convert("L").getpixel((0, 0)))
    assert greys == [0, 60, 120, 180]


def test_a_new_training_shows_none_of_an_earlier_one(tmp_path: Path) -> None:
    x = np.zeros((8, 8, 8, 1), "float32")
    for name in ("samples-0000", "samples-0007", "samples-7", "kl-0003", "samples-old"):
        Image.new("L", (4, 4)).save(tmp_path / f"{name}.png")
    (tmp_path / "samples.gif").touch()
    vae = tfvae.zoo.vae((8, 8, 1), 2, hidden=(8,))
    callback = Snapshots(tmp_path, kinds=["samples"], n=4, animate=False)
    vae.fit(x, epochs=1, verbose=0, callbacks=[callback])
    names = ["kl-0003.png", "samples-0000.png", "samples-0001.png", "samples-old.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    # Going on keeps them.
    vae.fit(x, epochs=2, initial_epoch=1, verbose=0, callbacks=[callback])
    assert len(list(tmp_path.iterdir())) == 5

    def full(*_: Any, **__: Any) -> None:
        raise MemoryError("no memory")

    callback.animate, callback.every = True, 100
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(snapshots, "animation", full)
        with pytest.warns(UserWarning, match="no animation of samples: no memory"):
            callback.on_train_end()


class Broken(keras.callbacks.Callback):
    """Makes weights that draw nothing."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.decoder.weights[-1].assign_add(np.full(64, np.nan, "float32"))


def test_what_cannot_be_drawn_does_not_stop_training(tmp_path: Path) -> None:
    vae = tfvae.zoo.vae((8, 8, 1), 2, hidden=(8,))
    x = np.zeros((8, 8, 8, 1), "float32")
    with pytest.warns(UserWarning, match="Could not draw samples of this epoch.*NaN"):
        vae.fit(x, epochs=1, verbose=0, callbacks=[Broken(), Snapshots(tmp_path, every=1)])
    assert [path.name for path in tmp_path.iterdir()] == ["samples-0000.png"]


def test_mistakes_are_found_before_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`every`"):
        Snapshots(tmp_path, every=0)
    with pytest.raises(ValueError, match="Did you mean 'samples'"):
        Snapshots(tmp_path, kinds=["sample"])
    with pytest.raises(ValueError, match="or None for the default"):
        Snapshots(tmp_path, kinds=())
    with pytest.raises(ValueError, match="options of 'kl'"):
        Snapshots(tmp_path, kinds=["kl"], n=3)
    with pytest.raises(ValueError, match="one of `kinds`"):
        Snapshots(tmp_path, n=3)
    vae = tfvae.zoo.vae((8,), 2, hidden=(8,))
    x = np.zeros((8, 8), "float32")
    for kinds in (None, ["samples"]):
        with pytest.raises(ValueError, match="Could not draw 'samples': it draws images"):
            vae.fit(x, verbose=0, callbacks=[Snapshots(tmp_path, kinds=kinds)])
    plain = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    plain.compile("sgd", "mse")
    with pytest.raises(TypeError, match=r"Expected a tfvae\.VAE"):
        plain.fit(x, x[:, 0], verbose=0, callbacks=[Snapshots(tmp_path)])


def test_plot_draws_what_the_library_draws(run: runs.Run, tmp_path: Path) -> None:
    out = tmp_path / "plane.png"
    result = plot(f"{run.path} manifold --out {out} -n 4")
    assert result.exit_code == 0, result.output
    assert str(out) in result.output
    pictures.draw("manifold", run.model(), n=4, path=tmp_path / "same.png")
    np.testing.assert_array_equal(pixels(out), pixels(tmp_path / "same.png"))


@pytest.mark.slow
def test_plot_takes_options_and_puts_pictures_into_the_run(run: runs.Run, tmp_path: Path) -> None:
    result = plot(f"{run.path} samples --seed 3 --set n=9 --set columns=9")
    assert result.exit_code == 0, result.output
    pictures.draw("samples", run.model(), seed=3, n=9, columns=9, path=tmp_path / "row.png")
    found = pixels(run.path / runs.PICTURES / "samples.png")
    np.testing.assert_array_equal(found, pixels(tmp_path / "row.png"))


@pytest.mark.slow
def test_plot_draws_all_that_there_are(run: runs.Run, tmp_path: Path) -> None:
    result = plot(f"{run.path} all --out {tmp_path / 'all'} --limit 40")
    assert result.exit_code == 0, result.output
    assert "Left out spaces" in result.stderr
    found = pictures.available(run.model(), run.data().test, run.history)
    wanted = {kind for kind, reason in found.items() if reason is None} - {"spaces"}
    assert {path.stem for path in (tmp_path / "all").iterdir()} == wanted


def test_plot_lists_what_there_is_and_why_not(run: runs.Run) -> None:
    result = plot(f"{run.path} --list")
    assert result.exit_code == 0
    for kind in pictures.KINDS:
        assert kind in result.output
    assert "no model of" in result.output


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("samples --set coloms=3", 1, "Did you mean 'columns'"),
        ("samples --set 3", 2, "Expected --set NAME=VALUE"),
        ("samples --image-shape 28", 2, "no size, such as 28x28"),
        ("all -n 3", 2, "of one kind"),
        ("", 2, "Expected a KIND"),
        ("codebook", 1, "this model has none"),
        ("samples --out .", 1, "which is a folder"),
        ("samples --out a.gifx", 1, "png"),
        ("manifold --set dims=3", 1, "--set dims to be two latents"),
        ("manifold --set dims=0,9", 1, "Received: --set dims=0,9."),
        ("interpolation -n 1", 1, "Received: --num 1."),
        ("samples --image-shape 9x9", 1, "Received: --image-shape 9x9."),
        ("traversals --set example=-1", 1, "one of 360 examples"),
    ],
)
def test_mistakes_on_the_command_line(
    run: runs.Run, line: str, code: int, message: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    result = plot(f"{run.path} {line}")
    assert result.exit_code == code
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_training_is_drawn_of_the_history_alone(
    run: runs.Run, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(runs.Run, "model", None)
    monkeypatch.setattr(runs.Run, "data", None)
    assert plot(f"{run.path} training --out {tmp_path / 't.svg'}").exit_code == 0
    assert (tmp_path / "t.svg").stat().st_size > 1000


def test_a_path_that_cannot_be_saved_to_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"end it in \.png"):
        drawing.save(tfvae.plots.grid(np.zeros((1, 2, 2))), tmp_path / "a.txt")
    assert not list(tmp_path.iterdir())
