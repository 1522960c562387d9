"""Each rule on a model that has the fault, and the numbers that rules rest on."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from linear_gaussian import LinearGaussian
from test_hierarchical import Chain

import tfvae
from tfvae import objectives as o
from tfvae.evaluate import active_units, diagnosis, kl_per_dimension
from tfvae.evaluate.faults import RULES, Facts, beta_of, diagnose

TRUTH = LinearGaussian.random()
X = TRUTH.sample(256).astype("float32")


def test_a_model_with_the_exact_posterior_is_healthy() -> None:
    found = diagnosis(TRUTH.vae(), X)
    assert found.verdict == "healthy"
    assert found.finding == (
        "2 of 2 latents are active (variance of E[z|x] above 0.01), and the decoder makes use of "
        "them."
    )
    assert found.advice == ""
    assert found.facts.beta == 1


def with_idle_latents(beta: float = 1.0) -> tfvae.VAE:
    """Return the exact model with two more latents, of which nothing depends."""
    idle = LinearGaussian(np.concatenate([TRUTH.w, np.zeros((5, 2))], axis=1), TRUTH.b, TRUTH.s)
    return idle.vae(o.ELBO(beta=beta))


@pytest.mark.slow
def test_a_model_that_was_trained_with_too_large_a_beta() -> None:
    vae = tfvae.zoo.vae(
        (5,), 2, hidden=(), likelihood=tfvae.layers.Normal((5,), scale=TRUTH.s),
        objective=o.ELBO(beta=50.0),
    )  # fmt: skip
    vae.compile(keras.optimizers.Adam(3e-2), jit_compile=False)
    vae.fit(X, epochs=100, batch_size=256, verbose=0)
    # A latent pays where its variance |w|²/s² exceeds β: they are 8 and 2 here.
    found = diagnosis(vae, X)
    assert found.verdict == "beta"
    assert found.finding.startswith(
        "0 of 2 latents are active (variance of E[z|x] above 0.01): with β = 50 "
    )


def test_too_large_a_beta_is_named() -> None:
    found = diagnosis(with_idle_latents(beta=4.0), X)
    assert found.verdict == "beta"
    assert found.finding.startswith(
        "2 of 4 latents are active (variance of E[z|x] above 0.01): with β = 4 "
    )
    assert "smaller β" in found.advice


def test_latents_that_pay_for_nothing_are_counted() -> None:
    found = diagnosis(with_idle_latents(), X)
    assert found.verdict == "partial"
    assert found.finding.startswith("2 of 4 latents are active")
    assert "latent_dim=2" in found.advice


@pytest.mark.slow
def test_the_latents_that_are_counted_are_the_active_units(float64: None) -> None:
    truth = Chain.random()
    vae, x = truth.vae("ladder"), truth.sample(50)
    # Between two estimates of the variance of a mean, so that fewer draws count otherwise.
    many, few = (active_units(vae, x, samples=samples).variances[0][0] for samples in (64, 16))
    threshold = 0.5 * float(many + few)
    units = active_units(vae, x, threshold)
    assert units.counts != active_units(vae, x, threshold, samples=16).counts
    found = diagnosis(vae, x, threshold=threshold)
    assert found.facts.active == sum(units.counts)
    assert f"({units.meaning})" in found.finding


def test_a_posterior_that_is_the_prior_is_a_collapse() -> None:
    vae = TRUTH.vae()
    vae.encoder.set_weights([np.zeros_like(w) for w in vae.encoder.get_weights()])
    found = diagnosis(vae, X)
    assert found.verdict == "collapsed"
    assert found.finding.startswith("0 of 2 latents are active")
    assert "warm-up" in found.advice


def test_a_decoder_that_ignores_z_is_found() -> None:
    vae = TRUTH.vae()
    kernel, bias = vae.decoder.get_weights()
    vae.decoder.set_weights([0 * kernel, bias])
    found = diagnosis(vae, X)
    assert found.verdict == "ignored"
    assert found.facts.gain is not None
    assert found.facts.gain.mean == pytest.approx(0, abs=1e-6)
    assert found.facts.active == 2


@pytest.mark.slow
def test_the_gain_is_what_another_z_costs(float64: None) -> None:
    # E log p(x|z) - E log p(x|z') is E (z - z')ᵀ Wᵀ (x - b) / s², for z and z' have the same
    # moments; z and x are drawn jointly, z' is independent of x.
    x = TRUTH.sample(3000)
    found = diagnosis(TRUTH.vae(), x, batch_size=1000)
    assert found.facts.gain is not None
    exact = np.sum(TRUTH.w**2) / TRUTH.s**2
    # 4.5 standard errors, doubled since each z counts twice; a false alarm once in 140,000 seeds.
    assert abs(found.facts.gain.mean - exact) < 2 * 4.5 * found.facts.gain.error
    m = np.sum(TRUTH.w**2, axis=0) + TRUTH.s**2
    means = (x - TRUTH.b) @ TRUTH.w / m
    each = 0.5 * (np.mean(means**2, axis=0) + TRUTH.s**2 / m - 1 - np.log(TRUTH.s**2 / m))
    assert found.facts.kl == pytest.approx(each.sum())
    np.testing.assert_allclose(kl_per_dimension(TRUTH.vae(), x)[0], each)


@pytest.mark.slow
def test_the_kl_of_each_latent_of_a_level_adds_up() -> None:
    vae = tfvae.zoo.hierarchical_vae((5,), (3, 2), hidden=(4,), likelihood="Normal")
    found = kl_per_dimension(vae, X, samples=4)
    whole = tfvae.evaluate.evaluate(vae, X, samples=40).kl_per_latent
    assert [each.shape for each in found] == [(3,), (2,)]
    np.testing.assert_allclose([each.sum() for each in found], whole, rtol=0.05)


@pytest.mark.parametrize(
    ("objective", "beta"),
    [
        (o.ELBO(), 1.0),
        (3.0 * o.ELBO(beta=4.0), 4.0),
        (o.ELBO(beta=(1.0, 3.0)), 2.0),
        (o.ELBO(beta=o.LinearWarmup(10, end=5.0)), 5.0),
        (o.Reconstruction() + o.ELBO(beta=2.0), 1.0),
        (o.Reconstruction() + o.Capacity(3.0), None),
        (o.IWAE(), None),
    ],
)
def test_beta_is_the_weight_of_the_kl(objective: Any, beta: float | None) -> None:
    assert beta_of(objective, 1000) == beta


def test_the_first_rule_that_applies_speaks() -> None:
    gain = tfvae.evaluate.Estimate(30.0, 0.1)
    for facts, verdict in (
        (Facts(12, 50, 20.0, gain, 1.0), "partial"),
        (Facts(12, 50, 20.0, gain, 4.0), "beta"),
        (Facts(50, 50, 20.0, gain, 4.0), "healthy"),
        (Facts(0, 50, 0.01, None, None), "collapsed"),
        (Facts(50, 50, 20.0, gain._replace(mean=1.0), 4.0), "ignored"),
        # What may yet be a gain is no proof that z is ignored.
        (Facts(50, 50, 20.0, tfvae.evaluate.Estimate(1.0, 2.0), 4.0), "healthy"),
    ):
        found = diagnose(facts)
        assert found.verdict == verdict
        assert "latents" in found.finding or "z" in found.finding
    assert {rule.name for rule in RULES} == {
        "ignored", "beta", "collapsed", "partial", "healthy",
    }  # fmt: skip


def test_what_cannot_be_judged_is_refused() -> None:
    vae = tfvae.zoo.autoencoder((5,), 2, hidden=(4,), likelihood="Normal")
    for call in (diagnosis, kl_per_dimension):
        with pytest.raises(tfvae.evaluate.UndefinedError, match="density"):
            call(vae, X)
    with pytest.raises(ValueError, match="at least 2 examples"):
        diagnosis(TRUTH.vae(), X[:1])
    full = tfvae.zoo.full_covariance_vae((5,), 2, hidden=(4,), likelihood="Normal")
    with pytest.raises(tfvae.evaluate.UndefinedError, match="independent over the latents"):
        kl_per_dimension(full, X)
