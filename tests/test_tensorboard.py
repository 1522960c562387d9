"""TensorBoard: what was written is there, as TensorBoard's own readers see it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
from tensorboard.util import tensor_util
from werkzeug.test import Client

import tfvae
from tfvae.data import Examples
from tfvae.tensorboard import TensorBoard

EPOCHS = 3


class Remember(keras.callbacks.Callback):
    """What the model draws at the end of each epoch, before TensorBoard does."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seen.append(np.array(self.model.generate(16, seed=7).mean))


class Trained:
    """A model trained under the callback, and TensorBoard's view of what that left."""

    def __init__(self, folder: Path) -> None:
        x = np.random.default_rng(0).integers(0, 2, (70, 6, 4)).astype("float32")
        self.x, self.labels = x, np.arange(70) % 3
        self.vae = tfvae.zoo.vae((6, 4), 2, network="conv", filters=(2,), activation="tanh")
        # A rate that is no float32: it is written as what the optimizer has.
        self.vae.compile(
            keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.9))
        )
        remember = Remember()
        callback = TensorBoard(folder, reconstruct=x, embedding=(x, self.labels), every=2, seed=7)
        self.history = self.vae.fit(
            x[:60], validation_data=x[60:], batch_size=20, epochs=EPOCHS, verbose=0,
            callbacks=[remember, callback],
        ).history  # fmt: skip
        self.drawn = remember.seen
        self.folder = folder
        self.train, self.validation = (
            EventAccumulator(str(folder / name), size_guidance={"tensors": 0}).Reload()
            for name in ("train", "validation")
        )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("logs"))


def series(events: EventAccumulator, tag: str) -> dict[int, Any]:
    return {
        event.step: tensor_util.make_ndarray(event.tensor_proto) for event in events.Tensors(tag)
    }


def image(values: Any) -> np.ndarray[Any, Any]:
    """Decode the one image of a summary, [height, width, 3]."""
    width, height, png = values
    picture = np.asarray(Image.open(io.BytesIO(png)))
    assert picture.shape == (int(height), int(width), 3)
    return picture


def blocks(picture: Any, left: int, top: int, scale: int) -> np.ndarray[Any, Any]:
    """Cut a tile of 6 by 4 pixels out of a grid, and see that each is a block of one grey."""
    tile = picture[top : top + 6 * scale, left : left + 4 * scale]
    cut = tile.reshape(6, scale, 4, scale, 3)
    assert np.ptp(cut, axis=(1, 3, 4)).max() == 0
    return np.asarray(cut[:, 0, :, 0, 0])


def test_scalars_are_the_history(trained: Trained) -> None:
    for name, values in trained.history.items():
        events = trained.validation if name.startswith("val_") else trained.train
        written = series(events, f"epoch_{name.removeprefix('val_')}")
        assert list(written) == list(range(EPOCHS))
        np.testing.assert_array_equal(list(written.values()), np.float32(values))
    # Three steps an epoch, each of which lowers the rate to nine tenths.
    rates = list(series(trained.train, "epoch_learning_rate").values())
    np.testing.assert_allclose(rates, 0.1 * 0.9 ** (3 * np.arange(1, EPOCHS + 1)), rtol=1e-6)


def test_images_are_what_the_model_generates(trained: Trained) -> None:
    written = series(trained.train, "samples")
    assert list(written) == [1, 2]  # every second epoch, and the last
    scale, gap = 16, 3  # 5 columns of 4 pixels: 16 a pixel is the most; a gap of 1/32 of 96
    for epoch, values in written.items():
        picture = image(values)
        expected = np.floor(255 * trained.drawn[epoch] + 0.5)
        for index, tile in enumerate(expected):
            row, column = divmod(index, 5)
            left, top = gap + column * (4 * scale + gap), gap + row * (6 * scale + gap)
            np.testing.assert_array_equal(blocks(picture, left, top, scale), tile)
    assert np.abs(trained.drawn[1] - trained.drawn[2]).max() > 1 / 255  # they develop


def test_reconstructions_are_the_model_s(trained: Trained) -> None:
    picture = image(series(trained.train, "reconstructions")[EPOCHS - 1])
    x = trained.x[:16]
    mean = np.asarray(trained.vae.reconstruct(x))
    scale, gap = 16, 3
    step = 6 * scale + gap
    for index in range(16):
        pair, column = divmod(index, 12)
        left, top = gap + column * (4 * scale + gap), gap + pair * (2 * step + 5 * gap)
        np.testing.assert_array_equal(blocks(picture, left, top, scale), 255 * x[index])
        below = blocks(picture, left, top + step, scale)
        np.testing.assert_array_equal(below, np.floor(255 * mean[index] + 0.5))


def test_the_projector_serves_the_latents(trained: Trained) -> None:
    plugin = ProjectorPlugin(TBContext(logdir=str(trained.folder / "train")))
    apps = plugin.get_plugin_apps()

    def get(route: str) -> bytes:
        answer = Client(apps[route]).get(f"{route}?run=.&name=latents&num_rows=1000")
        assert answer.status_code == 200, answer.data
        data: bytes = answer.data
        return data

    (info,) = json.loads(get("/info"))["embeddings"]
    assert info["tensorName"] == "latents"
    assert info["tensorShape"] == [70, 2]
    z = np.frombuffer(get("/tensor"), np.float32).reshape(70, 2)
    mean = trained.vae.encode(trained.x).mean()
    np.testing.assert_allclose(z, mean, rtol=1e-5, atol=1e-6)  # of other batches
    assert [int(line) for line in get("/metadata").splitlines()] == trained.labels.tolist()
    sprite = np.asarray(Image.open(io.BytesIO(get("/sprite_image"))))
    width, height = info["sprite"]["singleImageDim"]
    assert (width, height) == (4, 6)
    columns = sprite.shape[1] // width
    for index, x in enumerate(trained.x):
        row, column = divmod(index, columns)
        tile = sprite[row * height :, column * width :][:height, :width, 0]
        np.testing.assert_array_equal(tile, 255 * x)


def test_the_loop_stays_compiled() -> None:
    # Callbacks that hear of batches are told of each, which makes chunks of one step.
    assert tfvae.loop.longest_chunk([TensorBoard("logs")]) == tfvae.loop.CHUNK


def one_epoch(vae: tfvae.VAE, callback: TensorBoard) -> None:
    """What `fit` tells a callback, without the training."""
    vae.compile()
    callback.set_model(vae)
    callback.on_train_begin()
    callback.on_epoch_end(0, {"loss": 1.0})
    callback.on_train_end()


def test_data_that_are_no_images(tmp_path: Path) -> None:
    x = np.zeros((5, 3), np.float32)
    columns = np.array([["a b", "c\td"]] * 5)
    callback = TensorBoard(tmp_path, embedding=Examples(x, columns))
    one_epoch(tfvae.zoo.vae((3,), 2, hidden=(4,)), callback)
    events = EventAccumulator(str(tmp_path / "train")).Reload()
    assert set(events.Tags()["tensors"]) == {"epoch_loss", "epoch_learning_rate"}
    names = sorted(each.name for each in (tmp_path / "train").glob("[!e]*"))
    assert names == ["labels.tsv", "latents.tsv", "projector_config.pbtxt"]
    assert (tmp_path / "train" / "labels.tsv").read_text() == "y0\ty1\n" + "a b\tc d\n" * 5
    assert not (tmp_path / "validation").exists()


def test_conditions_of_the_samples(tmp_path: Path) -> None:
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(4)])
    prior = tfvae.priors.Conditional(network, tfvae.layers.Normal((2,)))
    vae = tfvae.zoo.vae((4, 4), 2, hidden=(4,), prior=prior)
    one_epoch(vae, TensorBoard(tmp_path / "without"))
    one_epoch(vae, TensorBoard(tmp_path / "with", samples=3, condition=np.zeros((3, 1))))
    tags = [
        set(EventAccumulator(str(tmp_path / name / "train")).Reload().Tags()["tensors"])
        for name in ("without", "with")
    ]
    assert tags[1] - tags[0] == {"samples"}
    with pytest.raises(ValueError, match="one for each row"):
        one_epoch(vae, TensorBoard(tmp_path / "wrong", samples=4, condition=np.zeros((1, 1))))
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"every": 0}, "`every`"),
        ({"samples": -1}, "`samples`"),
        ({"samples": 2.5}, "`samples`"),
        ({"embedding": (np.zeros((3, 4, 4)), np.zeros(2))}, "one entry per example"),
        ({"embedding": np.zeros((3, 16))}, r"`embedding` of shape \[n, 4, 4\]"),
        ({"reconstruct": np.zeros((3, 16))}, r"`reconstruct` of shape \[n, 4, 4\]"),
        ({"condition": np.zeros(16)}, "Expected no `condition`"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(
    arguments: dict[str, Any], said: str, tmp_path: Path
) -> None:
    vae = tfvae.zoo.vae((4, 4), 2, hidden=(4,))
    with pytest.raises(ValueError, match=said):
        one_epoch(vae, TensorBoard(tmp_path / "logs", **arguments))
    assert not (tmp_path / "logs").exists()


def test_models_and_data_of_other_kinds(tmp_path: Path) -> None:
    callback = TensorBoard(tmp_path / "logs", reconstruct=np.zeros((2, 3)))
    callback.set_model(tfvae.zoo.vae((3,), 2, hidden=(4,)))
    with pytest.raises(ValueError, match="Leave out `reconstruct`"):
        callback.on_train_begin()
    callback.set_model(keras.Sequential([keras.Input((3,))]))
    with pytest.raises(TypeError, match=r"a tfvae\.VAE\. Received: Sequential"):
        callback.on_train_begin()
    assert not (tmp_path / "logs").exists()


def test_without_tensorboard_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install 'tfvae\[tensorboard\]'"):
        TensorBoard("logs")
