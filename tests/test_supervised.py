"""Densities p(y|x) with latent variables: against closed forms, and where a bell cannot follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from here import strangers_here
from scipy import stats

import tfvae
from tfvae.data import Examples
from tfvae.export import verification

A, B, S = 1.5, 0.8, 0.6


def pairs(n: int = 200) -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    x = random.normal(size=(n, 1))
    y = A * x + B * random.normal(size=(n, 1)) + S * random.normal(size=(n, 1))
    return x.astype("float32"), y.astype("float32")


@pytest.fixture(scope="session")
def linear() -> Any:
    """y = A x + B z + S noise with its exact posterior: p(y|x) is N(A x, B² + S²)."""
    nets, layers = tfvae.networks, tfvae.layers
    posterior, likelihood = layers.Normal((1,)), layers.Normal((1,), scale=S)
    encoder = nets.mlp_encoder((1,), (2,), hidden=(), condition=(1,))
    decoder = nets.mlp_decoder((1,), (1,), hidden=(), condition=(1,))
    gain = B / (B**2 + S**2)
    raw = np.log(np.expm1(S / np.sqrt(B**2 + S**2) - posterior.min_scale))
    encoder.set_weights([np.array([[gain, 0], [-gain * A, 0]]), np.array([0, raw])])
    decoder.set_weights([np.array([[B], [A]]), np.zeros(1)])
    return tfvae.families.SupervisedVAE(
        encoder, decoder, prior=tfvae.priors.StandardNormal((1,)), posterior=posterior,
        likelihood=likelihood,
    )  # fmt: skip


def test_the_bound_of_an_exact_posterior_is_the_density(linear: Any) -> None:
    x, y = pairs()
    exact = stats.norm(A * x, np.hypot(B, S)).logpdf(y)[:, 0]
    # All weights are equal: float32 rounding of terms of some ten nats is left.
    for given, beside in ((y, x), (Examples(x, y), None)):
        bound = tfvae.evaluate.log_marginal(linear, given, condition=beside, samples=3)
        np.testing.assert_allclose(bound, exact, atol=1e-4)
    np.testing.assert_allclose(
        linear.score(y, condition=x, samples=3).log_marginal, exact, atol=1e-4
    )


def test_a_condition_is_x_everywhere(linear: Any) -> None:
    x, y = pairs(6)
    # E[z|x, y], as the encoder has it: of a product and a sum, float32.
    exact = (y - A * x) * B / (B**2 + S**2)
    for codes in (
        linear.code(y, condition=x),
        tfvae.features.codes(linear, y, condition=x),
        tfvae.features.codes(linear, Examples(x, y)),
    ):
        np.testing.assert_allclose(codes, exact, atol=1e-5)
    mse = tfvae.evaluate.reconstruction(linear, y, condition=x).mse.mean
    mean = np.asarray(linear.reconstruct(y, condition=x))
    assert mse == pytest.approx(np.mean((mean - y) ** 2), rel=1e-4)


def test_predict_is_the_mean(linear: Any) -> None:
    x, _ = pairs(50)
    mean = linear.predict(x, samples=400)
    # E[y|x, z] = A x + B z: the mean of 400 has a standard error of B / 20. Of 50 rows none is
    # beyond 5 of them, but with a probability of 50 * 6e-7.
    np.testing.assert_allclose(mean, A * x, atol=5 * B / 20)
    np.testing.assert_array_equal(linear.predict(x[:7], samples=400), mean[:7])
    np.testing.assert_array_equal(linear.predict(Examples(x), samples=400), mean)


def batched(*arrays: Any) -> Any:
    return tf.data.Dataset.from_tensor_slices(arrays if arrays[1:] else arrays[0]).batch(4)


def test_predict_takes_what_keras_does(linear: Any, capsys: Any) -> None:
    x, y = pairs(10)
    mean = linear.predict(x, samples=3, seed=5)
    assert not capsys.readouterr().out
    heard = []
    hears = keras.callbacks.LambdaCallback()
    hears.on_predict_batch_end = lambda step, logs: heard.append(len(logs["outputs"]))
    for given in (batched(x), batched(x, y), (x[i : i + 4] for i in (0, 4, 8))):
        # Other batches of the same rows by the same seeds: float32 rounding.
        found = linear.predict(given, callbacks=[hears], samples=3, seed=5)
        np.testing.assert_allclose(found, mean, atol=1e-5)
    assert heard == [4, 4, 2] * 3
    first = linear.predict(x, 4, 1, 2, samples=3, seed=5)
    np.testing.assert_allclose(first, mean[:8], atol=1e-5)
    assert "2/2" in capsys.readouterr().out


def test_weights_beside_examples_count(linear: Any) -> None:
    x, y = pairs(16)
    linear.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    none = np.zeros(16, "float32")
    assert linear.evaluate(Examples(x, y), sample_weight=none, verbose=0) == [0.0] * 4


def test_fit_and_evaluate_take_inputs_and_targets_however_they_come(linear: Any) -> None:
    x, y = pairs(64)
    linear.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    of_arrays = linear.evaluate(x, y, batch_size=16, verbose=0, return_dict=True)
    for given in ((batches,), (Examples(x, y),), (x, y[:, 0])):
        logs = linear.evaluate(*given, batch_size=16, verbose=0, return_dict=True)
        # The draws of a pipeline are others; an exact posterior has one bound for all of them,
        # whose estimate of E log p(y|x, z) with one draw each varies: z's part of it by 1.
        tolerance = 1e-5 if given[0] is not batches else 5.0 / np.sqrt(64)
        np.testing.assert_allclose(logs["elbo"], of_arrays["elbo"], atol=tolerance)
    # A rate of 0: what follows is what was there, on the same examples.
    for options in (
        {"validation_data": (x, y)},
        {"validation_data": Examples(x, y)},
        {"validation_data": batches},
        {"validation_split": 0.25},
        {"validation_data": (x, y), "validation_steps": 2, "validation_batch_size": 16},
    ):
        logs = linear.fit(x, y, batch_size=16, verbose=0, **options).history
        assert np.isfinite(logs["val_elbo"]).all(), options
    assert np.isfinite(linear.fit(batches, verbose=0, validation_data=batches).history["elbo"])


@pytest.fixture(scope="session")
def bimodal() -> Any:
    vae = tfvae.zoo.supervised_vae((1,), 1, hidden=(32,))
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    vae.fit(*forked(1024), epochs=40, batch_size=128, verbose=0)
    return vae


def forked(n: int, seed: int = 0) -> tuple[Any, Any]:
    """y = ±(1 + x / 2), with a little noise."""
    random = np.random.default_rng(seed)
    x = random.uniform(-1, 1, (n, 1))
    side = random.choice([-1, 1], (n, 1))
    return x.astype("f"), (side * (1 + x / 2) + 0.2 * random.normal(size=(n, 1))).astype("f")


def test_two_branches_that_no_bell_follows(bimodal: Any) -> None:
    x, y = forked(1000, seed=1)
    truth = np.mean(
        np.logaddexp(*(stats.norm(s * (1 + x / 2), 0.2).logpdf(y) for s in (-1, 1))) - np.log(2)
    )
    # The best bell for each x has the mean 0 and the variance (1 + x/2)² + 0.2².
    bell = np.mean(stats.norm(0, np.hypot(1 + x / 2, 0.2)).logpdf(y))
    found = tfvae.evaluate.log_marginal(bimodal, y, condition=x, samples=100).mean()
    assert (bell + truth) / 2 < found < truth + 0.05, (bell, found, truth)
    # At 0 it draws on both sides, and less between them than halfway from the truth to the bell.
    drawn = bimodal.generate(2000, condition=np.zeros((2000, 1))).sample.numpy()
    between = [np.diff(stats.norm(m, v).cdf([-0.4, 0.4]))[0] for m, v in ((1, 0.2), (0, 1.02))]
    assert np.mean(np.abs(drawn) < 0.4) < np.mean(between)
    assert 0.3 < np.mean(drawn > 0) < 0.7


def test_saved_and_loaded(linear: Any, tmp_path: Path) -> None:
    x, _ = pairs(5)
    linear.save(tmp_path / "m.keras")
    twin = tfvae.load_model(tmp_path / "m.keras")
    assert type(twin) is tfvae.families.SupervisedVAE
    np.testing.assert_array_equal(twin.predict(x), linear.predict(x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v, x, y: v.fit(x), "Expected targets, one for each row of `x`"),
        (lambda v, x, y: v.evaluate(x), "Expected targets"),
        (lambda v, x, y: tfvae.evaluate.evaluate(v, x), r"evaluate\(vae, y, condition=x\)"),
        (lambda v, x, y: v.fit(x, y[:3]), "one entry per example"),
        (lambda v, x, y: v.fit(x, np.hstack([y, y])), r"Expected `x` of shape \[batch, 1\]"),
        (lambda v, x, y: v.fit(x * np.nan, y), "finite conditions"),
        (lambda v, x, y: v.fit(x, y * np.nan), "finite"),
        (lambda v, x, y: v.predict(x, samples=0), "`samples`"),
        (lambda v, x, y: v.predict(np.hstack([x, x])), r"`x` of shape \['N', 1\].*\[10, 2\]"),
        (lambda v, x, y: v.predict(x[:0]), "at least one row of inputs"),
        (lambda v, x, y: v.predict(x, steps=0), "`steps`"),
        (lambda v, x, y: v.predict(batched(x).take(0)), "batches of inputs. Received: none"),
        (lambda v, x, y: v.fit(batched(x)), "pairs of inputs and targets.*inputs alone"),
        (lambda v, x, y: v.generate(3), "one for each row"),
    ],
)
def test_refused(call: Any, message: str, linear: Any) -> None:
    with pytest.raises(ValueError, match=message):
        call(linear, *pairs(10))


def test_a_model_that_takes_no_inputs_is_refused() -> None:
    plain = tfvae.zoo.vae((1,), 1, hidden=(4,), likelihood="Normal")
    with pytest.raises(ValueError, match="Expected a model of y given x"):
        tfvae.families.SupervisedVAE(
            plain.encoder, plain.decoder, prior=plain.prior, posterior=plain.posterior,
            likelihood=plain.likelihood,
        )  # fmt: skip


@pytest.mark.slow
def test_exported(bimodal: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "strangers", strangers_here)
    path = tfvae.export.export(bimodal, tmp_path / "y", samples=5, calibration=forked(200, 2))
    x, y = forked(8, seed=1)
    export = tfvae.export.load(path)
    drawn = export.generate(range(8), condition=x)["sample"]
    np.testing.assert_allclose(drawn, bimodal.generate(8, condition=x).sample, atol=1e-4)
    alone = export.generate([3], condition=0.5)["sample"]
    np.testing.assert_array_equal(alone, export.generate([3], condition=[[0.5]])["sample"])
    bound = bimodal.score(y, condition=x, samples=5).log_marginal
    np.testing.assert_allclose(export.score(y, condition=x)["log_marginal"], bound, atol=1e-3)
