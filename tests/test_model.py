"""The VAE as Keras users know it: building, calling, saving, generating."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from linear_gaussian import LinearGaussian

import tfvae
from tfvae.layers import Bernoulli, ContinuousBernoulli, Normal
from tfvae.objectives import ELBO, IWAE
from tfvae.priors import StandardNormal

tfd = tfp.distributions
SHAPE = (6, 5)


@pytest.fixture(scope="module")
def trained() -> tfvae.VAE:
    rng = np.random.default_rng(0)
    x = (np.arange(5) < rng.integers(0, 6, (256, 6, 1))).astype("float32")
    vae = tfvae.zoo.vae(SHAPE, 3, hidden=(16,))
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    vae.fit(x, epochs=5, verbose=0)
    return vae


def test_encode_and_decode_return_distributions(trained: tfvae.VAE) -> None:
    posterior = trained.encode(np.zeros((4, *SHAPE)))
    assert isinstance(posterior, tfd.Distribution)
    assert (posterior.batch_shape, posterior.event_shape) == ((4,), (3,))
    likelihood = trained.decode(np.zeros((4, 3), "float32"))
    assert (likelihood.batch_shape, likelihood.event_shape) == ((4,), SHAPE)
    samples = trained.decode(np.zeros((2, 4, 3)))
    assert (samples.batch_shape, samples.event_shape) == ((2, 4), SHAPE)
    np.testing.assert_allclose(samples.mean()[1], likelihood.mean(), atol=1e-6)


def test_reconstruct_predict_and_call_agree(trained: tfvae.VAE, binary_images: Any) -> None:
    by_hand = trained.decode(trained.encode(binary_images).mean()).mean()
    for result in (
        trained.reconstruct(binary_images),
        trained(binary_images),
        trained.predict(binary_images, verbose=0),
    ):
        np.testing.assert_allclose(result, by_hand, atol=1e-6)


def test_generate_is_a_function_of_each_rows_seed(trained: tfvae.VAE) -> None:
    whole = trained.generate(7, seed=100)
    assert whole.z.shape == (7, 3)
    assert whole.mean.shape == whole.sample.shape == (7, *SHAPE)
    assert set(np.unique(whole.sample)) <= {0.0, 1.0}
    rows = trained.generate(seeds=[103, 100])
    # A batch of another size may add in another order, so floats agree and words are equal.
    np.testing.assert_array_equal(rows.z, np.take(whole.z, [3, 0], axis=0))
    np.testing.assert_allclose(rows.mean, np.take(whole.mean, [3, 0], axis=0), atol=1e-6)
    np.testing.assert_array_equal(rows.sample, np.take(whole.sample, [3, 0], axis=0))
    split = trained.generate(7, seed=100, batch_size=3)
    np.testing.assert_array_equal(split.sample, whole.sample)
    np.testing.assert_array_equal(
        trained.generate(2, seed=2**63 - 1).z[1], trained.generate(1, seed=-(2**63)).z[0]
    )


def test_generate_draws_from_the_model(trained: tfvae.VAE) -> None:
    drawn = trained.generate(20_000, seed=1)
    # 3 means and variances of a standard normal, 30 means of a Bernoulli given its mean: at
    # 5 sigma a false alarm once in some 40,000 choices of the seed.
    z = drawn.z.numpy()
    assert np.abs(z.mean(0)).max() < 5 / np.sqrt(20_000)
    assert np.abs(z.var(0) - 1).max() < 5 * np.sqrt(2 / 20_000)
    excess = (drawn.sample - drawn.mean).numpy().mean(0)
    sigma = np.sqrt((drawn.mean * (1 - drawn.mean)).numpy().mean(0) / 20_000)
    np.testing.assert_array_less(np.abs(excess), 5 * sigma + 1e-6)


def test_temperature_scales_the_priors_noise(trained: tfvae.VAE) -> None:
    cold = trained.generate(4, seed=1, temperature=0.5)
    np.testing.assert_allclose(cold.z, 0.5 * trained.generate(4, seed=1).z, rtol=1e-6)
    assert not np.any(trained.generate(4, temperature=0.0).z)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "`n`.*at least 1"),
        ({"n": 2.5}, "`n`"),
        ({}, "`n`"),
        ({"n": 2, "seeds": [1, 2]}, "`seeds`.*without `n`"),
        ({"seeds": [0.5]}, "`seeds`"),
        ({"seeds": []}, "`seeds`"),
        ({"n": 2, "seed": 2**63}, "64-bit"),
        ({"n": 2, "temperature": -1.0}, "`temperature`"),
    ],
)
def test_bad_arguments_of_generate(
    options: dict[str, Any], message: str, trained: tfvae.VAE
) -> None:
    with pytest.raises(ValueError, match=message):
        trained.generate(**options)


# ---------------------------------------------------------------- saving


def test_a_saved_model_comes_back_whole(
    trained: tfvae.VAE, binary_images: Any, tmp_path: Path
) -> None:
    path = tmp_path / "model.keras"
    trained.save(path)
    loaded = tfvae.load_model(path)
    np.testing.assert_array_equal(loaded.reconstruct(binary_images), trained(binary_images))
    assert loaded.objective == trained.objective
    assert int(loaded.step.numpy()) == int(trained.step.numpy()) > 0
    assert loaded.jit_compile is False
    for ours, theirs in zip(loaded.optimizer.variables, trained.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_a_resumed_run_equals_an_uninterrupted_one(binary_images: Any, tmp_path: Path) -> None:
    def fresh() -> tfvae.VAE:
        vae = tfvae.zoo.iwae(SHAPE, 2, hidden=(8,), samples=3)
        vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
        return vae

    whole, first = fresh(), fresh()
    examples = tfvae.data.Examples(binary_images * 0.9, binarize="dynamic")
    whole.fit(examples, batch_size=20, epochs=4, verbose=0)
    first.fit(examples, batch_size=20, epochs=2, verbose=0)
    first.save(tmp_path / "half.keras")
    resumed = tfvae.load_model(tmp_path / "half.keras")
    resumed.fit(examples, batch_size=20, epochs=2, verbose=0)
    for ours, theirs in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_loss_scaling_survives_a_change_of_policy(binary_images: Any, tmp_path: Path) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        vae = tfvae.zoo.vae(SHAPE, 2, hidden=(8,))
        vae.compile("adam", jit_compile=False)
        # The first steps only find a scale that does not overflow.
        vae.fit(binary_images, epochs=4, batch_size=8, verbose=0)
        vae.save(tmp_path / "m.keras")
    finally:
        keras.config.set_dtype_policy(before)
    loaded = tfvae.load_model(tmp_path / "m.keras")
    assert isinstance(loaded.optimizer, keras.optimizers.LossScaleOptimizer)
    assert int(loaded.optimizer.iterations.numpy()) == int(vae.optimizer.iterations.numpy()) > 0


@pytest.mark.parametrize("likelihood", [
    ContinuousBernoulli(SHAPE), Normal(SHAPE, scale="learned"), Normal(SHAPE, scale=0.2),
])  # fmt: skip
def test_every_slot_survives_a_round_trip(likelihood: Any, tmp_path: Path) -> None:
    vae = tfvae.zoo.vae(
        SHAPE, 2, network="conv", filters=(4,), likelihood=likelihood,
        objective=ELBO(beta=2.0) + 0.5 * IWAE(samples=3), seed=5,
    )  # fmt: skip
    vae.save(tmp_path / "m.keras")
    loaded = tfvae.load_model(tmp_path / "m.keras")
    for slot in ("prior", "posterior", "likelihood"):
        assert getattr(loaded, slot).get_config() == getattr(vae, slot).get_config()
    assert (loaded.objective, loaded.seed) == (vae.objective, 5)
    np.testing.assert_array_equal(loaded.generate(3, seed=1).sample, vae.generate(3, seed=1).sample)


def test_files_that_are_not_ours(tmp_path: Path, trained: tfvae.VAE) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        tfvae.load_model(tmp_path / "nothing.keras")
    whole = tmp_path / "whole.keras"
    trained.save(whole)
    truncated = tmp_path / "truncated.keras"
    truncated.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(ValueError, match="truncated or something else"):
        tfvae.load_model(truncated)
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as file:
        file.writestr("hello.txt", "hello")
    with pytest.raises(ValueError, match="Could not load"):
        tfvae.load_model(tmp_path / "other.keras")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "dense.keras")
    with pytest.raises(ValueError, match="holds a Sequential"):
        tfvae.load_model(tmp_path / "dense.keras")


# ---------------------------------------------------------------- building


class Subclassed(keras.Model):
    def __init__(self, units: int) -> None:
        super().__init__()
        self.flatten = keras.layers.Flatten()
        self.dense = keras.layers.Dense(units)

    def call(self, x: Any) -> Any:
        return self.dense(self.flatten(x))


@pytest.mark.parametrize("kind", ["functional", "sequential", "unbuilt", "subclassed"])
def test_your_own_networks(kind: str, binary_images: Any) -> None:
    layers = [keras.layers.Flatten(), keras.layers.Dense(4)]
    encoder: Any
    if kind == "functional":
        x = keras.Input(SHAPE)
        encoder = keras.Model(x, layers[1](layers[0](x)))
    elif kind == "subclassed":
        encoder = Subclassed(4)
    else:
        encoder = keras.Sequential(
            [*([keras.Input(SHAPE)] if kind == "sequential" else []), *layers]
        )
    vae = tfvae.zoo.vae(SHAPE, 2, encoder=encoder)
    assert vae.encoder is encoder
    vae.compile(jit_compile=False)
    history = vae.fit(binary_images, epochs=2, verbose=0).history
    assert history["loss"][1] < history["loss"][0]


def build(**slots: Any) -> tfvae.VAE:
    parts: dict[str, Any] = {
        "encoder": tfvae.networks.mlp_encoder((4,), (6,), hidden=()),
        "decoder": tfvae.networks.mlp_decoder((3,), (4,), hidden=()),
        "prior": StandardNormal((3,)),
        "posterior": Normal((3,)),
        "likelihood": Bernoulli((4,)),
        **slots,
    }
    return tfvae.VAE(parts.pop("encoder"), parts.pop("decoder"), **parts)


class TwoOutputs(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return x, x


@pytest.mark.parametrize(
    ("slots", "error", "message"),
    [
        ({"prior": Normal((3,))}, TypeError, "`prior` to be a tfvae Prior"),
        ({"posterior": StandardNormal((3,))}, TypeError, "`posterior`"),
        ({"likelihood": "Bernoulli"}, TypeError, "`likelihood`"),
        ({"objective": "elbo"}, TypeError, "`objective`"),
        ({"prior": StandardNormal((2,))}, ValueError, r"same event_shape.*\(2,\).*\(3,\)"),
        ({"posterior": Bernoulli((3,))}, ValueError, r"covers the posterior's support, \{0, 1\}"),
        ({"encoder": lambda x: x}, TypeError, "`encoder` to be a Keras model"),
        ({"encoder": TwoOutputs()}, TypeError, "one tensor.*Concatenate"),
        (
            {"encoder": keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])},
            ValueError,
            r"`encoder` to map \[batch, 4\].*\[batch, 6\].*\(None, 3\).*Dense\(6\)",
        ),
        (
            {"decoder": keras.Sequential([keras.Input((9,)), keras.layers.Dense(4)])},
            ValueError,
            r"`decoder` to map \[batch, 3\].*input shape \(None, 9\)",
        ),
        (
            {"likelihood": Normal((2, 2))},
            ValueError,
            r"\[batch, 2, 2\]",
        ),
    ],
)
def test_slots_that_do_not_fit(slots: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        build(**slots)


def test_a_posterior_must_be_able_to_do_what_the_objective_needs() -> None:
    class Rough(Normal):
        reparameterised = False

    with pytest.raises(ValueError, match=r"`reparameterised`.*ELBO needs.*Rough"):
        build(posterior=Rough((3,)))


def test_a_posterior_on_a_part_of_the_priors_support_warns() -> None:
    with pytest.warns(UserWarning, match=r"ContinuousBernoulli lies in .* part of the prior's"):
        build(
            posterior=ContinuousBernoulli((3,)),
            encoder=tfvae.networks.mlp_encoder((4,), (3,), hidden=()),
        )


def test_wrong_shapes_when_called(trained: tfvae.VAE) -> None:
    with pytest.raises(ValueError, match=r"`x` of shape \[batch, 6, 5\].*reshape"):
        trained.encode(np.zeros((4, 30)))
    with pytest.raises(ValueError, match=r"`z` of shape \[\.\.\., 3\].*\(4, 2\)"):
        trained.decode(np.zeros((4, 2)))


def test_summary_names_the_slots(trained: tfvae.VAE) -> None:
    lines: list[str] = []
    trained.summary(print_fn=lambda line, **_: lines.append(line))
    text = "\n".join(lines)
    for word in ("encoder", "StandardNormal", "Bernoulli, event shape (6, 5)", "ELBO(beta=1.0"):
        assert word in text


def test_export_is_ours_and_not_keras_own() -> None:
    assert tfvae.VAE.export is not keras.Model.export
    assert "ONNX" in (tfvae.VAE.export.__doc__ or "")


def test_the_seed_does_not_touch_the_global_generator() -> None:
    keras.utils.set_random_seed(1)
    a = tfvae.zoo.vae(SHAPE, 2, seed=3).get_weights()
    keras.utils.set_random_seed(2)
    b = tfvae.zoo.vae(SHAPE, 2, seed=3).get_weights()
    for ours, theirs in zip(a, b, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_trace_draws_are_a_function_of_the_seed() -> None:
    vae = LinearGaussian.random().vae()
    x = np.zeros((2, 5), "float32")
    draws = [vae.trace(x, samples=3, seed=s).latents[0].z for s in (1, 1, 2)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    compiled = tf.function(lambda: vae.trace(x, 3, 1).latents[0].z, jit_compile=True)()
    np.testing.assert_allclose(compiled, draws[0], atol=1e-6)
