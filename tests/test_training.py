"""The engine: the fast path equals a plain loop, sees every example once, and stops in time."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from linear_gaussian import LinearGaussian

import tfvae
from tfvae import feeds, loop, random, step
from tfvae.data import Examples
from tfvae.objectives import ELBO, IWAE

SHAPE = (6, 5)


def small(*, xla: bool = False, **options: Any) -> tfvae.VAE:
    vae = tfvae.zoo.vae(SHAPE, 2, hidden=(8,), **options)
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=xla)
    return vae


def weights(vae: tfvae.VAE) -> list[Any]:
    return [np.array(w) for w in vae.get_weights()]


def assert_same_weights(a: tfvae.VAE, b: tfvae.VAE) -> None:
    for ours, theirs in zip(weights(a), weights(b), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def rows_of_pass(feed: feeds.Feed, start: int, done: int = 0, chunk: int = 32) -> list[Any]:
    """Return the rows of each step of a pass, as the compiled loop would read them.

    The feed's x are the examples' own indices.
    """
    batches: list[Any] = []
    for tensors, first, steps, size in feed.blocks(start, done, chunk):
        rows = tensors[0].numpy()[:, 0].astype(int)
        batches += [rows[i * size : (i + 1) * size] for i in range(first, first + steps)]
    return batches


def indices(size: int) -> Examples:
    return Examples(np.arange(size, dtype="float64")[:, None])


@pytest.mark.parametrize(("size", "batch"), [(64, 16), (70, 16), (5, 16), (64, 1), (33, 32)])
@pytest.mark.parametrize("chunk", [1, 3, 32])
@pytest.mark.parametrize("device", [True, False])
def test_every_example_once_per_epoch(
    size: int, batch: int, chunk: int, device: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds.Feed, "stays_on_device", lambda feed: device)
    feed = feeds.Feed(indices(size), batch, seed=0)
    first, second = (rows_of_pass(feed, start, chunk=chunk) for start in (0, feed.steps))
    for epoch in (first, second):
        assert len(epoch) == feed.steps
        assert sorted(np.concatenate(epoch)) == list(range(size))
    if size > 5:
        assert not np.array_equal(np.concatenate(first), np.concatenate(second))
    for done in {1, feed.steps // 2, feed.steps}:
        for ours, theirs in zip(rows_of_pass(feed, 0, done, chunk), first[done:], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    still = feeds.Feed(feed.data, batch, seed=0, shuffle=False)
    assert list(np.concatenate(rows_of_pass(still, 0, chunk=chunk))) == list(range(size))


def test_fit_equals_a_plain_loop_over_the_same_batches(binary_images: Any) -> None:
    fast, plain = small(), small()
    losses: list[float] = []
    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: losses.append(logs["loss"])
    )
    x = binary_images[:60]
    fast.fit(x, batch_size=16, epochs=13, callbacks=[callback], verbose=0)
    feed = feeds.Feed(indices(len(x)), 16, seed=0)
    plain.optimizer.build(plain.trainable_variables)
    expected, step = [], 0
    for _ in range(13):  # 52 steps
        total = 0.0
        for rows in rows_of_pass(feed, step - step % feed.steps):
            with tf.GradientTape() as tape:
                trace = plain.trace(x[rows], 1, random.fold(0, step), training=True)
                loss = tf.reduce_mean(trace.kl - tf.reduce_mean(trace.log_likelihood, 0))
            variables = plain.trainable_variables
            plain.optimizer.apply_gradients(
                zip(tape.gradient(loss, variables), variables, strict=True)
            )
            total += float(loss) * len(rows)
            step += 1
        expected.append(total / len(x))
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


@pytest.mark.parametrize("xla", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_chunks_of_any_size_give_the_same_weights(binary_images: Any, xla: bool) -> None:
    models = []
    for steps in (1, 3, 32):
        vae = tfvae.zoo.vae(SHAPE, 2, hidden=(8,))
        vae.compile("adam", steps_per_execution=steps, jit_compile=xla)
        vae.fit(binary_images, batch_size=10, epochs=2, verbose=0)
        models.append(vae)
    assert_same_weights(models[0], models[1])
    assert_same_weights(models[0], models[2])


def test_same_seed_same_weights_and_other_seed_others(binary_images: Any) -> None:
    same, twin, other = small(seed=3), small(seed=3), small(seed=4)
    for vae in (same, twin, other):
        vae.fit(Examples(binary_images * 0.9, binarize="dynamic"), epochs=2, verbose=0)
    assert_same_weights(same, twin)
    assert not np.array_equal(same.encoder.get_weights()[0], other.encoder.get_weights()[0])


def test_two_fits_equal_one(binary_images: Any) -> None:
    whole, halves = small(), small()
    whole.fit(binary_images, batch_size=20, epochs=4, verbose=0)
    for _ in range(2):
        halves.fit(binary_images, batch_size=20, epochs=2, verbose=0)
    assert_same_weights(whole, halves)


def test_dynamic_binarisation_is_fresh_and_repeats() -> None:
    prepare = feeds.Feed(
        Examples(np.full((500, 40), 0.3, "float32"), binarize="dynamic"), 500, seed=1
    ).preparation
    x = tf.fill([500, 40], 0.3)
    draws = [prepare((x,), tf.constant(step, tf.int64))[0] for step in (0, 1, 0)]
    part = prepare((x[:90],), tf.constant(0, tf.int64), tf.constant(123, tf.int64))[0]
    np.testing.assert_array_equal(part, draws[0][123:213])
    np.testing.assert_array_equal(draws[0], draws[2])
    assert set(np.unique(draws[0])) == {0.0, 1.0}
    # Independent draws of Bernoulli(0.3) differ in 42% of 20,000 values; 5 sigma of each mean.
    sigma = math.sqrt(0.42 * 0.58 / 20_000)
    assert abs(np.mean(draws[0] != draws[1]) - 0.42) < 5 * sigma
    assert abs(np.mean(draws[0]) - 0.3) < 5 * math.sqrt(0.21 / 20_000)


def test_callbacks_and_progress_see_the_right_steps(binary_images: Any) -> None:
    seen: list[int] = []
    callback = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda step, logs: seen.append(step)
    )
    vae = small()
    vae.fit(binary_images, batch_size=6, epochs=1, callbacks=[callback], verbose=0)  # 11 steps
    assert seen == [10]
    assert int(vae.step.numpy()) == 11
    vae.compile("adam", steps_per_execution=4)
    seen.clear()
    vae.fit(binary_images, batch_size=6, epochs=1, callbacks=[callback], verbose=0)
    assert seen == [3, 7, 10]


def test_a_callback_class_of_yours_hears_every_batch(binary_images: Any) -> None:
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = batch == 1

    vae = small()
    vae.fit(binary_images, batch_size=6, epochs=3, callbacks=[Stop()], verbose=0)
    assert int(vae.step.numpy()) == 2


def test_early_stopping_and_validation(binary_images: Any) -> None:
    vae = small()
    history = vae.fit(
        binary_images,
        epochs=50,
        validation_split=0.25,
        callbacks=[keras.callbacks.EarlyStopping("val_loss", patience=0, min_delta=1e9)],
        verbose=0,
    )
    assert len(history.epoch) == 2
    assert {"val_elbo", "val_kl", "val_log_likelihood", "val_loss"} < set(history.history)


def test_as_users_have_it(binary_images: Any, xla: None) -> None:
    """Compiled by XLA for full batches, and not for the last of each pass or for validation."""
    ours, plain = (tfvae.zoo.vae(SHAPE, 2, hidden=(8,)) for _ in range(2))
    plain.compile("adam", jit_compile=False)
    options = {"batch_size": 24, "epochs": 3, "validation_data": binary_images, "verbose": 0}
    compiled = ours.fit(binary_images, **options).history
    assert ours.jit_compile
    # Rounding differs, and grows with training.
    for name, values in plain.fit(binary_images, **options).history.items():
        np.testing.assert_allclose(compiled[name], values, rtol=1e-4)


@pytest.mark.parametrize("kind", ["dataset", "generator", "py_dataset", "eager", "examples"])
def test_every_kind_of_input_trains(kind: str, binary_images: Any) -> None:
    vae = small()
    options: dict[str, Any] = {"epochs": 2, "verbose": 0}
    x: Any = binary_images
    if kind == "dataset":
        x = tf.data.Dataset.from_tensor_slices(x).batch(20)
    elif kind == "generator":
        options["steps_per_epoch"] = 3
        x = ((binary_images[:20],) for _ in range(100))
    elif kind == "py_dataset":
        x = Batches(binary_images)
    elif kind == "eager":
        vae.compile("adam", run_eagerly=True)
    else:
        x = Examples(binary_images)
    history = vae.fit(x, **options).history
    assert history["loss"][1] < history["loss"][0]
    np.testing.assert_allclose(
        history["elbo"], np.subtract(history["log_likelihood"], history["kl"]), rtol=1e-4
    )


class Batches(keras.utils.PyDataset):
    def __init__(self, x: Any) -> None:
        super().__init__()
        self.x = x

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return (self.x[16 * index : 16 * index + 16],)


def test_streamed_arrays_match_those_on_the_device(
    binary_images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, stream = small(), small()
    examples = Examples(binary_images * 0.9, binarize="dynamic")
    monkeypatch.setattr(feeds.Feed, "stays_on_device", lambda feed: True)
    device.fit(examples, batch_size=20, epochs=2, verbose=0)
    monkeypatch.setattr(feeds.Feed, "stays_on_device", lambda feed: False)
    stream.fit(examples, batch_size=20, epochs=2, verbose=0)
    for ours, theirs in zip(weights(device), weights(stream), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_weights_of_zero_leave_examples_out(binary_images: Any) -> None:
    truth = LinearGaussian.random()
    x = truth.sample(40).astype("float32")
    sample_weight = np.repeat([2.0, 0.0], 20).astype("float32")
    weighted, half = truth.vae(error=1.0), truth.vae(error=1.0)
    for vae in (weighted, half):
        vae.compile(keras.optimizers.SGD(1e-2))
    weighted.fit(x, sample_weight=sample_weight, batch_size=40, shuffle=False, verbose=0)
    half.fit(x[:20], batch_size=20, shuffle=False, verbose=0)
    for ours, theirs in zip(weights(weighted), weights(half), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    logs = weighted.evaluate(x, sample_weight=sample_weight, return_dict=True, verbose=0)
    alone = half.evaluate(x[:20], return_dict=True, verbose=0)
    assert logs["kl"] == pytest.approx(alone["kl"], rel=1e-4)


def test_training_reaches_dropout_and_batch_normalisation(binary_images: Any) -> None:
    encoder = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5, seed=0),
            keras.layers.Dense(4),
        ]
    )
    vae = small(encoder=encoder)
    x = tf.constant(binary_images)
    assert not np.array_equal(vae.encode(x).mean(), vae.encode(x, training=True).mean())
    before = encoder.layers[1].moving_mean.numpy()
    vae.fit(binary_images, verbose=0)
    assert not np.array_equal(before, encoder.layers[1].moving_mean.numpy())


def test_regularisers_of_the_networks_are_in_the_loss(binary_images: Any) -> None:
    encoder = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.Dense(4, kernel_regularizer=keras.regularizers.L2(10.0)),
        ]
    )
    vae = small(encoder=encoder)
    logs = vae.evaluate(binary_images, return_dict=True, verbose=0)
    penalty = 10.0 * float(tf.reduce_sum(tf.square(encoder.layers[1].kernel)))
    assert logs["loss"] == pytest.approx(penalty - logs["elbo"], rel=1e-5)


def test_evaluation_repeats(binary_images: Any) -> None:
    vae = small(objective=IWAE(samples=3))
    logs = [vae.evaluate(binary_images, batch_size=20, verbose=0) for _ in range(2)]
    assert logs[0] == logs[1]


def test_mixed_precision_trains(mixed_policy: str, binary_images: Any) -> None:
    vae = small()
    history = vae.fit(binary_images, epochs=5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert vae.encode(binary_images[:2]).dtype == tf.float32


# ---------------------------------------------------------------- when it goes wrong


@pytest.mark.parametrize("stream", [False, True])
def test_a_loss_that_is_not_finite_stops_with_the_last_good_weights(
    stream: bool, binary_images: Any
) -> None:
    vae = tfvae.zoo.vae(SHAPE, 2, hidden=(8,))
    vae.compile(keras.optimizers.SGD(1e9))
    x = tf.data.Dataset.from_tensor_slices(binary_images).batch(16) if stream else binary_images
    with pytest.raises(loop.NonFiniteError, match=r"at step \d+: its .* is NaN or infinite"):
        vae.fit(x, epochs=50, batch_size=None if stream else 16, verbose=0)
    assert all(np.all(np.isfinite(w)) for w in vae.get_weights())


def test_the_broken_term_is_named(binary_images: Any) -> None:
    vae = small()
    vae.decoder.set_weights([np.full_like(w, np.inf) for w in vae.decoder.get_weights()])
    with pytest.raises(loop.NonFiniteError, match="at step 1: its log_likelihood is"):
        vae.fit(binary_images, verbose=0)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((8, *SHAPE), 0.5), r"in \{0, 1\}.*binarize=.*ContinuousBernoulli"),
        (np.full((8, *SHAPE), 255, "uint8"), r"in \{0, 1\}.*to 255"),
        (np.full((8, *SHAPE), np.nan), r"finite.*NaN.*\[0, 0, 0\]"),
        (np.zeros((8, 30)), r"shape \[batch, 6, 5\].*\(\d, 30\).*reshape\(-1, 6, 5\)"),
        (np.zeros((8, 7, 5)), r"shape \[batch, 6, 5\].*\(\d, 7, 5\)"),
        (np.zeros((0, *SHAPE)), "at least one example"),
        (np.array([["a"]]), "array of numbers"),
    ],
)
def test_data_that_does_not_fit(x: Any, message: str) -> None:
    vae = small()
    for call in (vae.fit, vae.evaluate, vae.predict):
        with pytest.raises(ValueError, match=message):
            call(x)
    with pytest.raises(ValueError, match=message):
        vae.fit(np.zeros((8, *SHAPE)), validation_data=x)
    if x.dtype.kind != "U" and len(x):
        with pytest.raises(ValueError, match=message):
            vae.fit(tf.data.Dataset.from_tensor_slices(x).batch(4))


def test_values_outside_the_unit_interval() -> None:
    vae = small(likelihood="ContinuousBernoulli")
    with pytest.raises(ValueError, match=r"\[0, 1\].*-1 to 2.*x / 255.*Normal"):
        vae.fit(np.linspace(-1, 2, 60).reshape(2, *SHAPE))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "`batch_size`"),
        ({"epochs": 0}, "`epochs`"),
        ({"epochs": 1.5}, "`epochs`"),
    ],
)
def test_sizes_below_one(options: dict[str, Any], message: str, binary_images: Any) -> None:
    with pytest.raises(ValueError, match=message):
        small().fit(binary_images, **options)


def test_a_loss_in_compile_is_refused() -> None:
    with pytest.raises(TypeError, match=r"objective.*Received: loss"):
        small().compile("adam", loss="mse")
    with pytest.raises(ValueError, match="`steps_per_execution`"):
        small().compile("adam", steps_per_execution=0)


def test_xla_for_dense_networks_and_not_for_convolutions_on_cpu(xla: None) -> None:
    dense = tfvae.zoo.vae(SHAPE, 2, hidden=(8,))
    dense.compile("adam")
    conv = tfvae.zoo.vae(SHAPE, 2, network="conv", filters=(4,))
    conv.compile("adam")
    assert dense.jit_compile is True
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    assert conv.jit_compile is on_gpu
    recurrent = keras.Sequential([keras.Input(SHAPE), keras.layers.GRU(4), keras.layers.Dense(4)])
    # Slower on CPU; on GPU its cuDNN kernels are not XLA's.
    assert loop.xla_pays(recurrent) is False


def test_datasets_in_another_form_are_refused_with_advice(binary_images: Any) -> None:
    dataset = tf.data.Dataset.from_tensor_slices
    with pytest.raises(ValueError, match=r"without a batch.*\.batch\(n\)"):
        small().fit(dataset(binary_images))
    with pytest.raises(ValueError, match=r"dictionaries of image.*batch\['image'\]"):
        small().fit(dataset({"image": binary_images}).batch(8))
    with pytest.raises(TypeError, match=r"`class_weight`.*sample_weight"):
        small().fit(binary_images, class_weight={0: 1.0})


def test_an_uncompiled_model_fits(binary_images: Any) -> None:
    vae = tfvae.zoo.vae(SHAPE, 2, hidden=(8,), objective=ELBO())
    vae.fit(binary_images, verbose=0)
    assert isinstance(vae.optimizer, keras.optimizers.Adam)


@pytest.mark.parametrize("jit", [False, True])
def test_one_value_of_a_gradient_that_is_not_finite_is_found(jit: bool) -> None:
    found = tf.function(lambda g: tf.reduce_all(step._rows_finite(g)), jit_compile=jit)
    for shape in ((3,), (4, 3), (2, 2, 3)):
        # The largest numbers there are, whose sums overflow.
        gradient = np.full(shape, np.finfo("float32").max, "float32")
        assert found(tf.constant(gradient))
        for value in (np.nan, np.inf, -np.inf):
            broken = gradient.copy()
            broken.flat[1] = value
            assert not found(tf.constant(broken))
