"""Variational recurrent networks: against linear ones, whose density is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from here import strangers_here
from linear_vrnn import REMEMBERED, joint, linear_vrnn, log_prob, sample
from scipy import stats
from test_sequential import EXACT, ragged, walks

import tfvae
from tfvae import objectives, zoo
from tfvae.export import comparisons, verification
from tfvae.export.endpoints import endpoints
from tfvae.export.manifest import Manifest
from tfvae.families import VRNN, Memory

FORGOTTEN = np.zeros((1, 2))


def test_at_the_exact_posterior_every_weight_is_the_density(float64: None) -> None:
    vae, lengths = linear_vrnn(4, FORGOTTEN), np.array([4, 4, 2])
    x = ragged(sample(3, 4, FORGOTTEN), lengths)
    each = zip(x, lengths, strict=True)
    exact = np.array([float(log_prob(row[None, :n], FORGOTTEN)) for row, n in each])
    trace = vae.trace(x, samples=2, seed=3, mask=lengths)
    np.testing.assert_allclose(trace.log_weight, np.tile(exact, (2, 1)), **EXACT)
    assert trace.latents[0].has_closed_form_kl
    np.testing.assert_allclose(tf.reduce_sum(vae.kl_per_step(trace), -1), trace.kl, **EXACT)
    np.testing.assert_array_equal(vae.kl_per_step(trace)[2, 2:], 0.0)


def test_what_is_remembered_of_latents_is_part_of_the_density(float64: None) -> None:
    vae, x, samples = linear_vrnn(4, REMEMBERED), sample(2, 4, REMEMBERED), 20_000
    trace = vae.trace(x, samples=samples, seed=1)
    z_mean, z_factor, x_mean, x_factor = joint(4, REMEMBERED)
    factor = np.concatenate([z_factor, x_factor])
    both = stats.multivariate_normal(np.concatenate([z_mean, x_mean]), factor @ factor.T)
    z = np.asarray(trace.latents[0].z)[:2]
    at = np.concatenate([z[..., 0], np.tile(x.reshape(1, 2, -1), (2, 1, 1))], axis=-1)
    ours = (trace.log_likelihood + trace.log_prior)[:2]
    np.testing.assert_allclose(ours, both.logpdf(at), **EXACT)
    # The mean weight is p(x); 5 standard errors of it, at 2 values a false alarm in 900,000.
    exact = log_prob(x, REMEMBERED)
    ratio = np.exp(trace.log_weight - exact)
    error = np.std(ratio, axis=0) / samples**0.5
    assert np.all(error < 0.05)
    assert np.all(np.abs(np.mean(ratio, axis=0) - 1) < 5 * error)
    # This posterior is that of a memory without latents, and so not exact.
    elbo = np.mean(trace.log_likelihood, axis=0) - trace.kl
    assert np.all(elbo < exact - 0.01)
    # At draws that are given, states are found anew.
    np.testing.assert_allclose(trace.detached.log_weight, trace.log_weight, **EXACT)


def test_rows_that_are_drawn_have_the_density(float64: None) -> None:
    count = 20_000
    drawn = linear_vrnn(3, REMEMBERED).generate(count, batch_size=count)
    _, _, mean, factor = joint(3, REMEMBERED)
    covariance = factor @ factor.T
    values = np.asarray(drawn.sample, np.float64).reshape(count, -1)
    spread = np.sqrt(np.diag(covariance))
    # 5 standard errors of 6 means and 21 covariances: a false alarm in 60,000.
    assert np.all(np.abs(values.mean(0) - mean) < 5 * spread / count**0.5)
    variance = (np.outer(spread, spread) ** 2 + covariance**2) / count
    assert np.all(np.abs(np.cov(values.T) - covariance) < 5 * variance**0.5)


def test_forecasts_are_the_conditional_density(float64: None) -> None:
    vae, lengths, samples, steps = linear_vrnn(4, FORGOTTEN), np.array([4, 2]), 20_000, 3
    x = ragged(sample(2, 4, FORGOTTEN), lengths)
    drawn = vae.forecast(x, steps, observed=lengths, samples=samples, seed=5)
    for row, n in enumerate(lengths):
        _, _, mean, factor = joint(n + steps, FORGOTTEN)
        covariance, seen = factor @ factor.T, slice(0, 2 * n)
        gain = np.linalg.solve(covariance[seen, seen], covariance[seen, 2 * n :]).T
        expected = mean[2 * n :] + gain @ (x[row, :n].reshape(-1) - mean[seen])
        spread = np.diag(covariance[2 * n :, 2 * n :] - gain @ covariance[seen, 2 * n :])
        values = np.asarray(drawn.sample)[:, row].reshape(samples, -1)
        # 5 standard errors, of 12 means and as many variances: a false alarm in 70,000.
        assert np.all(np.abs(values.mean(0) - expected) < 5 * (spread / samples) ** 0.5)
        assert np.all(np.abs(values.var(0) / spread - 1) < 5 * (2 / samples) ** 0.5)


def test_gaps_are_refused(model: VRNN) -> None:
    x, gaps = walks(2, (4, 3)).astype("float32"), np.array([[0, 1, 1, 1], [1, 1, 1, 0]])
    for call in (
        lambda: model.score(x, observed=gaps),
        lambda: model.forecast(x, 2, observed=gaps),
        lambda: model.trace(x, mask=gaps),
        lambda: model.trace(x, mask=np.ones((2, 4, 3)) - np.eye(4, 3)),
        lambda: model.reconstruct(x, observed=gaps),
        lambda: model.fit(x, gaps, verbose=0),
        lambda: model.evaluate(x, gaps, verbose=0),
        lambda: tfvae.evaluate.log_marginal(model, x, 2, condition=gaps),
    ):
        with pytest.raises(ValueError, match=r"without gaps.*deep_markov_model"):
            call()
    # A mask of what the lengths say is theirs.
    masks = np.array([3, 1]), np.array([[1, 1, 1, 0], [1, 0, 0, 0]])
    one, other = (model.trace(x, mask=mask, seed=1).log_weight for mask in masks)
    np.testing.assert_array_equal(one, other)


def small(shape: tuple[int, ...] = (4, 3), **options: Any) -> VRNN:
    options = {"hidden": (4,), "units": 4, "likelihood": "Normal"} | options
    return zoo.vrnn(shape, 2, **options)


@pytest.fixture(scope="module")
def model() -> VRNN:
    return small()


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_padded_batch_is_each_sequence_alone(cell: Any, float64: None) -> None:
    vae, lengths = small(cell=cell), np.array([4, 2])
    x = ragged(walks(2, (4, 3)), lengths)
    noise = np.random.default_rng(1).normal(size=(2, 2, 4, 2))
    whole = vae.trace(x, mask=lengths, noise=tf.constant(noise))
    alone = small((2, 3), cell=cell)
    alone.set_weights(vae.get_weights())
    trace = alone.trace(x[1:, :2], noise=tf.constant(noise[:, 1:, :2]))
    for term in ("log_likelihood", "log_prior", "log_posterior"):
        np.testing.assert_allclose(getattr(whole, term)[:, 1], getattr(trace, term)[:, 0], **EXACT)
    np.testing.assert_allclose(whole.kl[1], trace.kl[0], **EXACT)


@pytest.mark.parametrize(
    "objective",
    [
        objectives.ELBO(free_bits=0.1),
        objectives.ELBO(gradient="stl", samples=2),
        objectives.IWAE(samples=3),
    ],
)
def test_gradients_are_finite(objective: Any, float64: None) -> None:
    vae = small(objective=objective)
    x = ragged(walks(3, (4, 3)), [4, 4, 2])
    mask = np.ones((3, 4))
    mask[2, 2:] = 0
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(objective(vae.trace(x, objective.samples, 1, mask=mask)))
    variables = vae.trainable_variables
    for weight, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        assert gradient is not None, weight.path
        assert np.all(np.isfinite(gradient)), weight.path


@pytest.mark.slow
def test_trains_and_is_saved(tmp_path: Path) -> None:
    lengths = np.random.default_rng(0).integers(1, 5, 32)
    x = ragged(walks(32, (4, 3)), lengths).astype("float32")
    vae = small()
    vae.compile(keras.optimizers.Adam(1e-2))
    history = vae.fit(x, lengths, epochs=3, batch_size=8, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    vae.save(tmp_path / "vae.keras")
    loaded = tfvae.load_model(tmp_path / "vae.keras")
    assert isinstance(loaded, VRNN)
    np.testing.assert_allclose(
        loaded.reconstruct(x, observed=lengths), vae.reconstruct(x, observed=lengths), rtol=1e-5
    )


@pytest.mark.parametrize("name", ["deep_markov_model", "vrnn"])
@pytest.mark.parametrize("lengths", [None, np.array([4, 2, 1])])
def test_paths_are_put_under_every_sequence(name: str, lengths: Any, float64: None) -> None:
    vae = getattr(zoo, name)((4, 3), 2, hidden=(4,), units=4, likelihood="Normal")
    trace = vae.trace(walks(3, (4, 3)), mask=lengths)
    paths = np.random.default_rng(1).normal(size=(5, 1, 4, 2))
    once, repeated = (
        trace.given((tf.constant(each),)) for each in (paths, np.repeat(paths, 3, axis=1))
    )
    for term in ("log_posterior", "log_likelihood", "log_weight"):
        np.testing.assert_allclose(getattr(once, term), getattr(repeated, term), **EXACT)
    np.testing.assert_allclose(once.kl, repeated.kl, **EXACT)


def test_rows_are_functions_of_their_seeds(model: VRNN) -> None:
    whole = model.generate(3, seed=3, length=[4, 1, 2])
    alone = model.generate(seeds=[5])
    for ours, theirs in zip(whole, alone, strict=True):
        np.testing.assert_allclose(ours[2, :2], theirs[0, :2], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(ours[2, 2:], 0.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda vae: vae.impute(walks(2, (4, 3)), [2, 3]), "what was before"),
        (lambda vae: vae.decode(tf.zeros([1, 4, 2])), "depends on all x before"),
        (lambda vae: vae.prior(None), "states before each step"),
        (lambda vae: endpoints(vae, ["decode"]), "depends on all x before"),
        (lambda vae: endpoints(vae, ["impute"]), "what was before"),
        (lambda vae: small(units=0), "units"),
        (lambda vae: small((4,)), r"x\[\.\.\., None\]"),
        (lambda vae: small(cell="rnn"), "`cell`"),
        (lambda vae: memory(cell=4), "`cell`"),
        (lambda vae: memory(reader=vae.decoder.layers[0]), "`reader`"),
        (lambda vae: memory(reader=vae.decoder), "second input of `reader`"),
        (lambda vae: memory(network=vae.decoder), "`network` to map"),
    ],
)
def test_what_is_refused(call: Any, message: str, model: VRNN) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call(model)


def memory(**parts: Any) -> Memory:
    prior = small().prior
    names = ("network", "reader", "cell", "layer")
    return Memory(*({name: getattr(prior, name) for name in names} | parts).values(), steps=4)


@pytest.mark.slow
def test_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "strangers", strangers_here)
    vae = small((3, 2), likelihood="Bernoulli", cell="lstm")
    vae.step.assign(1)
    path = tfvae.export.export(vae, tmp_path / "m", samples=2)
    manifest = Manifest.read(path)
    names = ["generate", "encode", "reconstruct", "score", "forecast"]
    assert [record.name for record in manifest.endpoints] == names
    assert all(check.ok for check in manifest.verification)
    exported = tfvae.export.load(path)
    x = np.asarray(vae.generate(2, seed=9).sample)
    ours = vae.forecast(x, 3, seeds=[5, 6], observed=np.array([3, 2]))
    theirs = exported.forecast(x, seeds=[5, 6], length=[3, 2])
    np.testing.assert_allclose(theirs["mean"], ours.mean[0], atol=comparisons.TOLERANCE)
