"""Checkpoints: a resumed training ends with the weights of one that was never interrupted."""

from __future__ import annotations

import json
import os
import random as python_random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_training import assert_same_weights

import tfvae
from tfvae import checkpoints
from tfvae.checkpoints import Checkpoint, CheckpointError
from tfvae.data import Examples

SHAPE = (6, 5)


class KilledError(Exception):
    pass


class Kill(keras.callbacks.Callback):
    """Ends training from within, after a number of steps of it."""

    steps_between = None

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if int(self.model.step.numpy()) >= self.after:
            raise KilledError


def build(steps: int | str = 3, **options: Any) -> tfvae.VAE:
    # Dropout and batch statistics are state that has to come back too.
    encoder = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2, seed=1),
            keras.layers.Dense(4, kernel_initializer=keras.initializers.GlorotUniform(0)),
        ]
    )
    objective = tfvae.objectives.ELBO(beta=tfvae.objectives.LinearWarmup(30))
    vae = tfvae.zoo.vae(SHAPE, 2, hidden=(8,), encoder=encoder, objective=objective, **options)
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, 40)
    optimizer = keras.optimizers.Adam(schedule, use_ema=True, ema_momentum=0.9, clipnorm=1.0)
    vae.compile(optimizer, steps_per_execution=steps, jit_compile=False)
    return vae


@pytest.fixture(scope="module")
def data() -> Examples:
    rng = np.random.default_rng(0)
    x = (np.arange(5) < rng.integers(0, 6, (61, 6, 1))).astype("float32")
    return Examples(0.9 * x, binarize="dynamic")


FIT: dict[str, Any] = {"batch_size": 8, "epochs": 4, "verbose": 0}  # 8 steps each, the last of 5


@pytest.fixture(scope="module")
def whole(data: Examples) -> tuple[tfvae.VAE, dict[str, list[float]]]:
    vae = build()
    return vae, vae.fit(data, validation_data=data.take(20), **FIT).history


# In the middle of an epoch, at its end, before its tail, and before the first checkpoint.
@pytest.mark.parametrize(
    "after", [15, *(pytest.param(after, marks=pytest.mark.slow) for after in (13, 16, 1))]
)
@pytest.mark.parametrize("every", [2, pytest.param(None, marks=pytest.mark.slow)])
def test_resumed_equals_uninterrupted(
    after: int, every: int | None, data: Examples, whole: Any, tmp_path: Path
) -> None:
    killed, resumed = build(), build(steps=5)
    options = {"every": every, "resume": True}
    callbacks = [Checkpoint(tmp_path, **options), Kill(after)]
    with pytest.raises(KilledError):
        killed.fit(data, validation_data=data.take(20), callbacks=callbacks, **FIT)
    last = Checkpoint(tmp_path, **options)
    history = resumed.fit(data, validation_data=data.take(20), callbacks=[last], **FIT).history
    assert_same_weights(resumed, whole[0])
    for ours, theirs in zip(resumed.optimizer.variables, whole[0].optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # Metrics of the epoch that was interrupted go on as well.
    for name, values in whole[1].items():
        np.testing.assert_array_equal(history[name], values[-len(history[name]) :])
        assert last.history[name] == values


def test_retention_and_best(data: Examples, whole: Any, tmp_path: Path) -> None:
    vae = build()
    checkpoint = Checkpoint(tmp_path, every=3, keep=3)
    history = vae.fit(data, validation_data=data.take(20), callbacks=[checkpoint], **FIT).history
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["best.npz", *(f"step-{step:012d}.npz" for step in (27, 30, 32))]
    best = int(np.argmax(history["val_elbo"])) + 1
    header = checkpoints.restore(vae, tmp_path / "best.npz")
    assert header["position"]["epoch"] == best
    logs = vae.evaluate(data.take(20), batch_size=8, return_dict=True, verbose=0)
    assert logs["elbo"] == max(history["val_elbo"])


def test_a_damaged_checkpoint_is_passed_over(data: Examples, whole: Any, tmp_path: Path) -> None:
    vae = build()
    vae.fit(data, callbacks=[Checkpoint(tmp_path, every=4, keep=2)], **(FIT | {"epochs": 2}))
    newest, before = checkpoints.newest(tmp_path)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    newest.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{newest.name}, which is damaged"):
        checkpoints.restore(vae, newest)
    resumed = build()
    with pytest.warns(UserWarning, match="is damaged.*The one before it is tried"):
        resumed.fit(
            data,
            validation_data=data.take(20),
            callbacks=[Checkpoint(tmp_path, resume=True)],
            **FIT,
        )
    assert_same_weights(resumed, whole[0])
    for path in (newest, before):
        path.write_bytes(b"PK")
    for path in checkpoints.newest(tmp_path):
        path.write_bytes(path.read_bytes()[:100])
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(CheckpointError, match="All of them are damaged"),
    ):
        build().fit(data, callbacks=[Checkpoint(tmp_path, resume=True)], **FIT)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"latent_dim": 3}, r"params/kernel is float32 of shape \[8, 6\].*\[8, 4\]"),
        ({"likelihood": "ContinuousBernoulli"}, "likelihood is Bernoulli; the model's is Cont"),
        ({"objective": tfvae.objectives.ELBO(beta=2.0)}, "objective is ELBO"),
        ({"seed": 5}, "seed is 0"),
        ({"hidden": (8, 8)}, "variables"),
    ],
)
def test_a_checkpoint_of_another_model(
    options: dict[str, Any], said: str, tmp_path: Path, binary_images: Any
) -> None:
    def small(**options: Any) -> tfvae.VAE:
        vae = tfvae.zoo.vae(SHAPE, **({"latent_dim": 2, "hidden": (8,)} | options))
        vae.compile("adam", run_eagerly=True)
        return vae

    small().fit(binary_images, callbacks=[Checkpoint(tmp_path)], verbose=0)
    other = small(**options)
    before = other.get_weights()
    with pytest.raises(CheckpointError, match=said):
        other.fit(binary_images, callbacks=[Checkpoint(tmp_path, resume=True)], verbose=0)
    for ours, theirs in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_full_disk_keeps_the_last_good_one(
    data: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = build()
    calls = []
    fsync = os.fsync

    def full(descriptor: int) -> None:
        calls.append(1)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(UserWarning, match="No space left on device. Training goes on"):
        vae.fit(data, callbacks=[Checkpoint(tmp_path, every=4, keep=1)], **FIT)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000000008.npz"]
    header, _ = checkpoints.read(tmp_path / "step-000000000008.npz")
    assert header["step"] == 8


def test_resumed_as_something_else(data: Examples, tmp_path: Path) -> None:
    build().fit(data, callbacks=[Checkpoint(tmp_path)], **(FIT | {"epochs": 1}))
    with pytest.raises(FileExistsError, match=r"step-000000000008\.npz\. Go on from it"):
        build().fit(data, callbacks=[Checkpoint(tmp_path)], **FIT)
    for given, options, said in (
        (data, {"batch_size": 16}, "whose batch_size is 8"),
        (data.take(40), {}, "whose examples is 61"),
        (data, {"shuffle": False}, "whose shuffle is 1"),
    ):
        with pytest.raises(CheckpointError, match=said):
            build().fit(given, callbacks=[Checkpoint(tmp_path, resume=True)], **(FIT | options))


def test_a_stream_is_resumed_at_the_end_of_an_epoch(binary_images: Any, tmp_path: Path) -> None:
    stream = tf.data.Dataset.from_tensor_slices(binary_images).batch(16)
    whole, first, second = build(1), build(1), build(1)
    whole.fit(stream, epochs=3, verbose=0)
    first.fit(stream, epochs=1, callbacks=[Checkpoint(tmp_path)], verbose=0)
    history = second.fit(stream, epochs=3, callbacks=[Checkpoint(tmp_path, resume=True)], verbose=0)
    assert history.epoch == [1, 2]
    assert_same_weights(second, whole)


def test_wrong_arguments(tmp_path: Path) -> None:
    for options, said in (
        ({"keep": 0}, "`keep`"),
        ({"every": 0}, "`every`"),
        ({"mode": "auto"}, '`mode` to be "max" or "min"'),
    ):
        with pytest.raises(ValueError, match=said):
            Checkpoint(tmp_path, **options)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match="does not exist"):
        checkpoints.read(tmp_path / "none.npz")
    with zipfile.ZipFile(tmp_path / "later.npz", "w") as archive:
        archive.writestr("header.json", json.dumps({"format": 99, "variables": []}))
    with pytest.raises(CheckpointError, match="format 99"):
        checkpoints.read(tmp_path / "later.npz")


TRAIN = """
import sys
from tfvae import runs
from tfvae.run_config import RunConfig

config = RunConfig(
    data="digits", binarize="dynamic", validation=100, epochs=12, batch_size=32, schedule="cosine",
    ema=0.99, options={"latent_dim": 2, "hidden": (32,)},
)
if sys.argv[2] == "resume":
    runs.resume(sys.argv[1], checkpoint_every=7, verbose=False)
else:
    runs.train(config, sys.argv[1], checkpoint_every=7, verbose=False)
"""


@pytest.mark.slow
def test_kill_9_at_random_moments(tmp_path: Path) -> None:
    """Real processes, killed when they please; each goes on where the last one was killed."""

    def start(folder: Path, how: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        arguments = [sys.executable, "-c", TRAIN, str(folder), how]
        return subprocess.Popen(arguments, env=environment)

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(whole, "train").wait(300) == 0
    moments = python_random.Random(0)
    kills = 0
    process = start(killed, "train")
    while kills < 3:
        steps = len(list((killed / "checkpoints").glob("step-*"))) if killed.exists() else 0
        if not steps:
            time.sleep(0.05)
            assert process.poll() is None
            continue
        before = {path.name for path in (killed / "checkpoints").glob("step-*")}
        while {path.name for path in (killed / "checkpoints").glob("step-*")} == before:
            time.sleep(0.001)
            if process.poll() is not None:
                break
        time.sleep(moments.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        process = start(killed, "resume")
    assert process.wait(300) == 0
    ours, theirs = runs_of(killed), runs_of(whole)
    assert ours.status == theirs.status == "complete"
    assert_same_weights(ours.model(), theirs.model())
    assert_same_weights(ours.model("ema"), theirs.model("ema"))
    assert_same_weights(ours.model("best"), theirs.model("best"))
    for name in set(theirs.history) - {"seconds"}:
        assert ours.history[name] == theirs.history[name], name


def runs_of(folder: Path) -> Any:
    from tfvae.runs import Run

    return Run.load(folder)
