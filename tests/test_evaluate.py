"""The importance weighted bound against exact and quadrature values of log p(x)."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from linear_gaussian import LinearGaussian
from scipy import special

import tfvae
from tfvae import random
from tfvae.evaluate import bound as bound_room
from tfvae.evaluate import evaluate, log_marginal


def test_exact_at_the_exact_posterior(float64: None) -> None:
    truth = LinearGaussian.random()
    x = truth.sample(70)
    for samples in (1, 7):
        bound = log_marginal(truth.vae(), x, samples, batch_size=32)
        np.testing.assert_allclose(bound, truth.log_marginal(x), atol=1e-6)


def test_every_term_of_an_evaluation(float64: None) -> None:
    truth = LinearGaussian.random()
    x = truth.sample(50)
    result = evaluate(truth.vae(), x, samples=2000)
    exact = truth.log_marginal(x)
    assert result.log_marginal == pytest.approx(exact.mean(), abs=1e-6)
    assert result.log_marginal_error == pytest.approx(exact.std(ddof=1) / np.sqrt(50), abs=1e-6)
    assert result.elbo == pytest.approx(result.log_likelihood - result.kl, abs=1e-9)
    assert result.bits_per_dim == pytest.approx(-exact.mean() / np.log(2) / 5, abs=1e-6)
    assert (result.examples, result.samples) == (50, 2000)
    # With the exact posterior the ELBO is log p(x), up to the sampling error of E_q log p(x|z).
    trace = truth.vae().trace(x, 500)
    error = np.sqrt(np.var(trace.log_likelihood, axis=0).sum() / 2000) / 50
    assert abs(result.elbo - exact.mean()) < 5 * error


def test_against_quadrature_over_a_2d_latent() -> None:
    rng = np.random.default_rng(0)
    x = (np.arange(5) < rng.integers(0, 6, (256, 4, 1))).astype("float32")
    vae = tfvae.zoo.vae((4, 5), 2, hidden=(16,), activation="tanh", seed=1)
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    vae.fit(x, epochs=60, batch_size=32, verbose=0)
    x = x[:50]
    # The midpoint rule on [-7, 7]² converges faster than any power for an analytic integrand
    # that vanishes at the ends: halving the step changes the value by less than 1e-6.
    grid = np.arange(-7, 7, 0.1) + 0.05
    z = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2).astype("float32")
    log_p = vae.decode(z[:, None]).log_prob(x) + vae.prior(None).log_prob(z)[:, None]
    exact = tf.reduce_logsumexp(tf.cast(log_p, tf.float64), axis=0) + 2 * np.log(0.1)
    assert evaluate(vae, x, samples=5000).log_marginal == pytest.approx(
        float(np.mean(exact)), abs=1e-2
    )


def test_chunks_and_batches_change_nothing(monkeypatch: pytest.MonkeyPatch, float64: None) -> None:
    truth = LinearGaussian.random()
    x = truth.sample(10)
    passes: list[tuple[int, int]] = []
    vae = truth.vae(error=0.4)
    original = type(vae).trace

    def counting(self: Any, x: Any, samples: int, seed: Any, **options: Any) -> Any:
        passes.append((samples, x.shape[0]))
        return original(self, x, samples, seed, **options)

    monkeypatch.setattr(type(vae), "trace", counting)
    monkeypatch.setattr(bound_room, "ROWS", 12)
    monkeypatch.setattr(bound_room, "CHUNKS", 2)
    bound = log_marginal(vae, x, samples=11, batch_size=4)
    # Three samples at a time, and a last chunk of two: exactly 11, nothing rounded or dropped.
    assert set(passes) == {(3, 4), (2, 4)}
    assert bound.shape == (10,)
    # Weights of mean 1 around p(x): the average of many bounds is below log p(x).
    many = np.mean([log_marginal(vae, x, 11, seed, batch_size=4) for seed in range(20)])
    assert many < truth.log_marginal(x).mean()


def test_chunks_are_plain_passes_put_together(
    monkeypatch: pytest.MonkeyPatch, float64: None
) -> None:
    truth = LinearGaussian.random()
    vae, x = truth.vae(error=0.4), truth.sample(4)
    monkeypatch.setattr(bound_room, "ROWS", 12)
    monkeypatch.setattr(bound_room, "CHUNKS", 2)
    result = evaluate(vae, x, samples=11, seed=5)
    traces = [
        vae.trace(x, size, random.fold(5, random.TEST, 0, index))
        for index, size in enumerate((3, 3, 3, 2))
    ]
    weights, likelihoods = (
        np.concatenate([getattr(trace, name) for trace in traces])
        for name in ("log_weight", "log_likelihood")
    )
    bound = special.logsumexp(weights, axis=0) - np.log(11)
    np.testing.assert_allclose(log_marginal(vae, x, 11, 5), bound, rtol=1e-12)
    assert result.log_likelihood == pytest.approx(likelihoods.mean(), rel=1e-12)
    assert result.kl == pytest.approx(np.mean(traces[0].kl), rel=1e-12)


def test_wide_layers_bound_the_rows_in_flight() -> None:
    # Its widest layer is 14 by 14 by 32.
    vae = tfvae.zoo.vae((28, 28, 1), 2, network="conv", filters=(32, 64))
    assert bound_room._rows(vae) == bound_room.VALUES // (14 * 14 * 32)
    dense = tfvae.zoo.vae((28, 28), 2, hidden=(8,))
    assert bound_room._rows(dense) == bound_room.ROWS


def test_an_evaluated_model_can_be_forgotten() -> None:
    truth = LinearGaussian.random()
    vae = truth.vae()
    log_marginal(vae, truth.sample(4).astype("float32"), 3)
    forgotten = weakref.ref(vae)
    del vae
    gc.collect()
    assert forgotten() is None


def test_the_bound_repeats_and_follows_its_seed() -> None:
    truth = LinearGaussian.random()
    vae, x = truth.vae(error=0.4), truth.sample(10).astype("float32")
    first, again, other = (log_marginal(vae, x, 5, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_progress_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    truth = LinearGaussian.random()
    log_marginal(truth.vae(), truth.sample(4).astype("float32"), 3, progress=True)
    shown = capsys.readouterr().err
    assert "log p(x)" in shown
    assert "100%" in shown


@pytest.mark.parametrize("samples", [0, -1, 2.5])
def test_samples_are_checked(samples: Any) -> None:
    truth = LinearGaussian.random()
    with pytest.raises(ValueError, match="`samples`"):
        log_marginal(truth.vae(), truth.sample(4), samples)


def test_data_is_checked() -> None:
    truth = LinearGaussian.random()
    with pytest.raises(ValueError, match=r"shape \[batch, 5\]"):
        log_marginal(truth.vae(), np.zeros((4, 6)), 3)
