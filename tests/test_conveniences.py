"""What an optimizer and a run can be asked for: against NumPy, and against training without."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from test_training import assert_same_weights

import tfvae
from tfvae import loop, optimizers, random, runs
from tfvae.cli import cli
from tfvae.data import DataError, Examples
from tfvae.run_config import RunConfig, RunError

SHAPE = (6, 5)
RATE = 1e-2


def small(optimizer: Any = None, **options: Any) -> tfvae.VAE:
    vae = tfvae.zoo.vae(SHAPE, 2, hidden=(4,))
    optimizer = keras.optimizers.SGD(RATE) if optimizer is None else optimizer
    vae.compile(optimizer, jit_compile=False, **options)
    return vae


def by_hand(
    x: Any, update: Callable[[int, list[Any], list[Any]], list[Any]], steps: int
) -> list[list[Any]]:
    """Return the weights after each step of `update` on NumPy arrays, full batches in order."""
    vae = small()
    variables = vae.trainable_variables
    history = [[np.array(variable) for variable in variables]]
    for index in range(steps):
        with tf.GradientTape() as tape:
            trace = vae.trace(x, 1, random.fold(0, index), training=True)
            loss = tf.reduce_mean(trace.kl - tf.reduce_mean(trace.log_likelihood, 0))
        gradients = [np.array(gradient) for gradient in tape.gradient(loss, variables)]
        after = update(index, history[-1], gradients)
        for variable, value in zip(variables, after, strict=True):
            variable.assign(value)
        history.append(after)
    return history


def assert_near(vae: tfvae.VAE, expected: list[Any]) -> None:
    for ours, theirs in zip(vae.trainable_variables, expected, strict=True):
        # Some ten roundings of float32 a step.
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


FIT: dict[str, Any] = {"batch_size": 64, "shuffle": False, "verbose": 0}  # a step an epoch


def test_averages_of_weights(binary_images: Any) -> None:
    vae = small(keras.optimizers.SGD(RATE, use_ema=True, ema_momentum=0.7))
    vae.fit(binary_images, epochs=5, **FIT)
    history = by_hand(
        binary_images,
        lambda _, weights, gradients: [
            w - np.float32(RATE) * g for w, g in zip(weights, gradients, strict=True)
        ],
        5,
    )
    assert_near(vae, history[5])
    expected = history[1]
    for weights in history[2:]:
        expected = [0.7 * e + 0.3 * w for e, w in zip(expected, weights, strict=True)]
    before = vae.get_weights()
    with vae.averaged():
        assert_near(vae, expected)
    for ours, theirs in zip(vae.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match=r"without `use_ema=True`"), small().averaged():
        pass


def test_accumulation_is_the_mean_of_gradients(binary_images: Any) -> None:
    vae = small(keras.optimizers.SGD(RATE, gradient_accumulation_steps=3))
    vae.fit(binary_images, epochs=7, **FIT)
    waiting: list[list[Any]] = []

    def update(index: int, weights: list[Any], gradients: list[Any]) -> list[Any]:
        waiting.append(gradients)
        if (index + 1) % 3:
            return weights
        means = [np.mean(each, axis=0) for each in zip(*waiting, strict=True)]
        waiting.clear()
        return [w - np.float32(RATE) * g for w, g in zip(weights, means, strict=True)]

    assert_near(vae, by_hand(binary_images, update, 7)[-1])


def test_slots_have_rates_and_can_be_frozen(binary_images: Any) -> None:
    vae = small(slot_rates={"decoder": 0.25})
    vae.encoder.trainable = False
    vae.compile(keras.optimizers.SGD(RATE), jit_compile=False, slot_rates={"decoder": 0.25})
    # Compiled twice with the same optimizer, the factor is the same.
    vae.compile(vae.optimizer, jit_compile=False, slot_rates={"decoder": 0.25})
    plain = small()
    encoder, decoder = vae.encoder.get_weights(), plain.decoder.get_weights()
    for model in (vae, plain):
        model.fit(binary_images, epochs=1, **FIT)
    for ours, theirs, before in zip(
        vae.encoder.get_weights(), plain.encoder.get_weights(), encoder, strict=True
    ):
        np.testing.assert_array_equal(ours, before)
        assert not np.array_equal(theirs, before)
    for ours, theirs, before in zip(
        vae.decoder.get_weights(), plain.decoder.get_weights(), decoder, strict=True
    ):
        # A step of SGD is linear in the rate.
        np.testing.assert_allclose(ours - before, 0.25 * (theirs - before), atol=1e-7)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"slot_rates": {"decodr": 1.0}}, "slots encoder, decoder"),
        ({"slot_rates": {"prior": 0.0}}, "To freeze a slot"),
        ({"slot_rates": {"prior": math.nan}}, "positive factors"),
        ({"nonfinite": "ignore"}, '"stop" or "skip"'),
    ],
)
def test_compile_refuses(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small(**options)


def test_steps_that_are_not_finite_are_skipped(binary_images: Any) -> None:
    x = binary_images.astype("float32").copy()
    real = tfvae.zoo.vae(SHAPE, 2, hidden=(4,), likelihood="Normal")
    real.compile(keras.optimizers.SGD(1e-3, clipnorm=1.0), nonfinite="skip", jit_compile=False)
    x[20] = 3e30  # finite, and its square is not
    history = real.fit(x, batch_size=16, epochs=2, shuffle=False, verbose=0).history
    assert history["skipped"] == [1.0, 1.0]
    assert all(np.isfinite(values).all() for values in history.values())
    assert int(real.step.numpy()) == 8
    assert all(np.isfinite(weight).all() for weight in real.get_weights())
    # The rest trains as if these steps had not been: noise is a function of the step.
    assert "val_skipped" not in history
    real.compile(keras.optimizers.SGD(1e-3), jit_compile=False)
    with pytest.raises(loop.NonFiniteError, match='compile\\(nonfinite="skip"\\)'):
        real.fit(x, batch_size=16, shuffle=False, verbose=0)
    real.compile(keras.optimizers.SGD(1e-3), nonfinite="skip", jit_compile=False)
    with pytest.raises(loop.NonFiniteError, match="All 2 steps of epoch 1 were skipped"):
        real.fit(np.full((32, *SHAPE), 3e30, "float32"), batch_size=16, verbose=0)


def test_schedules() -> None:
    adam = optimizers.adam(0.1, steps=100, schedule="cosine", warmup=10, clip_norm=2.0, ema=0.9)
    rates = [float(adam._learning_rate(step)) for step in (0, 9, 50, 100)]
    cosine = [0.05 * (1 + math.cos(math.pi * step / 100)) for step in (0, 9, 50, 100)]
    np.testing.assert_allclose(rates, [0.1 * cosine[0], *cosine[1:]], atol=1e-7)
    assert (adam.global_clipnorm, adam.use_ema, adam.ema_momentum) == (2.0, True, 0.9)
    linear = optimizers.adam(0.1, steps=100, schedule="linear", accumulate=4)
    np.testing.assert_allclose(
        [float(linear._learning_rate(step)) for step in (0, 25, 100)], [0.1, 0.075, 0.0], atol=1e-8
    )
    assert linear.gradient_accumulation_steps == 4
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(adam))
    assert float(again._learning_rate(4)) == float(adam._learning_rate(4))


# ---------------------------------------------------------------------- Keras's other arguments


def test_epochs_of_another_length_than_a_pass(binary_images: Any) -> None:
    by_steps, by_passes = small(), small()
    # 64 examples in batches of 20 are 4 steps a pass; 12 steps are 3 passes.
    history = by_steps.fit(
        binary_images, batch_size=20, epochs=4, steps_per_epoch=3, verbose=0
    ).history
    by_passes.fit(binary_images, batch_size=20, epochs=3, verbose=0)
    assert_same_weights(by_steps, by_passes)
    assert len(history["loss"]) == 4


def test_validation_now_and_then(binary_images: Any) -> None:
    vae = small()
    options = {"batch_size": 32, "validation_data": binary_images[:20], "verbose": 0}
    every_other = vae.fit(binary_images, epochs=4, validation_freq=2, **options)
    assert len(every_other.history["val_loss"]) == 2
    given = vae.fit(binary_images, epochs=4, initial_epoch=1, validation_freq=[3], **options)
    assert len(given.history["val_loss"]) == 1
    assert given.epoch == [1, 2, 3]
    dataset = tf.data.Dataset.from_tensor_slices(binary_images[:20]).batch(32)
    logs = vae.fit(binary_images, validation_data=dataset, batch_size=32, verbose=0).history
    again = vae.evaluate(binary_images[:20], batch_size=32, return_dict=True, verbose=0)
    assert logs["val_loss"][0] == pytest.approx(again["loss"], rel=1e-5)
    with pytest.raises(TypeError, match="Received: validation"):
        vae.fit(binary_images, validation=binary_images)
    with pytest.raises(ValueError, match="`validation_freq`"):
        vae.fit(binary_images, validation_freq=0, **options)


# ---------------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return RunConfig(
        validation=0.1, binarize="dynamic", epochs=3, options={"latent_dim": 2, "hidden": (8,)}
    )


def test_a_run_has_what_its_configuration_asks_for(config: RunConfig, tmp_path: Path) -> None:
    asked = replace(
        config, ema=0.9, schedule="cosine", warmup=5, clip_norm=1.0, freeze=("decoder",),
        slot_rates={"encoder": 0.5}, precision="mixed_bfloat16", nonfinite="skip",
    )  # fmt: skip
    run = runs.train(asked, tmp_path / "run", verbose=False, checkpoint_every=4, keep=3)
    model = run.model()
    assert model.dtype_policy.name == "mixed_bfloat16"
    assert keras.config.dtype_policy().name == "float32"
    assert model.nonfinite == "skip"
    assert model.slot_rates == {"encoder": 0.5}
    assert len(list((run.path / "checkpoints").glob("step-*"))) == 3
    fresh = runs.build(asked, run.data())
    for ours, theirs in zip(model.decoder.weights, fresh.decoder.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with model.averaged():
        averages = model.get_weights()
    for ours, theirs in zip(run.model("ema").get_weights(), averages, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    best = run.model("best").evaluate(run.data().validation, return_dict=True, verbose=0)
    assert best["elbo"] == pytest.approx(max(run.history["val_elbo"]), rel=1e-6)


def test_weights_that_a_run_does_not_have(config: RunConfig, tmp_path: Path) -> None:
    run = runs.train(replace(config, validation=0, epochs=1), tmp_path / "run", verbose=False)
    with pytest.raises(RunError, match="trained without --validation"):
        run.model("best")
    with pytest.raises(RunError, match="trained without --ema"):
        run.model("ema")
    with pytest.raises(RunError, match="Did you mean 'best'"):
        run.model("bset")


def test_patience(config: RunConfig, tmp_path: Path) -> None:
    # Nothing is learned at such a rate: noise decides, and soon no epoch is better.
    stuck = replace(config, epochs=60, patience=2, learning_rate=1e-12)
    run = runs.train(stuck, tmp_path / "run", verbose=False)
    watched = run.history["val_elbo"]
    best = int(np.argmax(watched))
    assert len(watched) == best + 1 + 2 < 60
    assert run.status == "complete"
    assert run.message == f"stopped early: val_elbo was best in epoch {best + 1}"


@pytest.mark.slow
def test_resume_of_a_complete_run_and_of_a_longer_one(config: RunConfig, tmp_path: Path) -> None:
    run = runs.train(config, tmp_path / "run", verbose=False)
    assert runs.resume(run.path).history == run.history
    longer = runs.resume(run.path, epochs=5, verbose=False)
    whole = runs.train(replace(config, epochs=5), tmp_path / "whole", verbose=False)
    assert_same_weights(longer.model(), whole.model())
    assert longer.config == whole.config
    assert longer.history["val_elbo"] == whole.history["val_elbo"]
    with pytest.raises(RunError, match="`epochs` of at least 5"):
        runs.resume(run.path, epochs=4)
    line = ["train", "--resume", str(run.path), "--latent-dim", "5", "--seed", "0", "--ema", "0.9"]
    result = CliRunner().invoke(cli, line)
    assert result.exit_code == 1
    assert "Received another: ema None -> 0.9; latent_dim 2 -> 5." in result.output
    falling = runs.train(
        replace(config, schedule="linear", epochs=1), tmp_path / "l", verbose=False
    )
    with pytest.raises(RunError, match="linear schedule falls to 0"):
        runs.resume(falling.path, epochs=2)


def test_damaged_records_stop_a_run_unless_they_are_to_be_left_out(tmp_path: Path) -> None:
    from tfvae import convert

    folder = convert.convert("digits", tmp_path / "digits").path
    shard = folder / "train-00000-of-00001.tfrecord"
    content = bytearray(shard.read_bytes())
    content[5000] ^= 1
    shard.write_bytes(content)
    config = RunConfig(data=str(folder), epochs=1, options={"latent_dim": 2, "hidden": (4,)})
    config = replace(config, options={**config.options, "likelihood": "ContinuousBernoulli"})
    with pytest.raises(DataError, match=r"train-00000-of-00001.*damaged.*--skip-corrupt"):
        runs.train(config, tmp_path / "run", verbose=False)
    assert not (tmp_path / "run").exists()
    with pytest.warns(UserWarning, match="Left out 1 damaged of 1,437"):
        run = runs.train(replace(config, skip_corrupt=True), tmp_path / "run", verbose=False)
    assert run.environment["data"]["train"] == 1436


def test_records_train_like_arrays(tmp_path: Path) -> None:
    from tfvae import convert
    from tfvae.records import Records

    rng = np.random.default_rng(0)
    levels = (255 * (np.arange(5) < rng.integers(0, 6, (90, 6, 1)))).astype("uint8")
    np.savez(tmp_path / "bars.npz", x_train=levels, x_test=levels[:8])
    convert.convert(tmp_path / "bars.npz", tmp_path / "bars", shards=3)
    records = Records.open(tmp_path / "bars", binarize="dynamic")
    streamed, plain = small(), small()
    options = {"batch_size": 32, "epochs": 2, "verbose": 0, "shuffle": False}
    ours = streamed.fit(records, validation_data=records, **options).history
    same = Examples(records.examples().x, binarize="dynamic")
    theirs = plain.fit(same, **options).history
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-5)
    assert len(ours["val_elbo"]) == 2
    history = streamed.fit(records, epochs=2, batch_size=32, verbose=0).history
    assert history["loss"][-1] < ours["loss"][0]
    with pytest.raises(TypeError, match="no `y` or `sample_weight` beside the records"):
        streamed.fit(records, np.zeros(90))
