"""The noise of gradients: to a linear Gaussian model, of which every moment is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfvae
from tfvae import gradients, layers, objectives
from tfvae.gradients import gradient_noise

# z ~ N(0, 1), x|z ~ N(w z + b, s^2), q(z|x) = N(k x + c, softplus(l x + d)^2): far from the best,
# so that no term vanishes.
W, B, S = 1.3, 0.2, 0.8
K, C, L, D = 0.4, -0.3, 0.2, -0.5
X = np.array([0.9, -1.4])


@pytest.fixture(scope="module")
def vae() -> tfvae.VAE:
    model = tfvae.zoo.vae((1,), 1, hidden=(), likelihood=layers.Normal((1,), scale=S))
    model.encoder.set_weights([np.array([[K, L]]), np.array([C, D])])
    model.decoder.set_weights([np.array([[W]]), np.array([B])])
    return model


def gradient(name: str, eps: Any, min_scale: float) -> tuple[Any, Any, Any]:
    """Return d/d(k, c, l, d), d/d(w, b) and the loss, derived by hand, for noise [..., 2]."""
    raw = L * X + D
    m, sigma, slope = K * X + C, np.log1p(np.exp(raw)) + min_scale, 1 / (1 + np.exp(-raw))
    z = m + sigma * eps
    r = X - W * z - B
    likelihood = -(r**2) / (2 * S**2) - np.log(2 * np.pi * S**2) / 2
    sampled = -(eps**2) / 2 - np.log(sigma) + z**2 / 2
    loss = sampled - likelihood
    if name.startswith("A"):
        to_m = -(W * r / S**2 - z)
        to_sigma = -(W * r / S**2 - z) * eps - 1 / sigma
    elif name.startswith("B"):
        loss = (m**2 + sigma**2 - 1) / 2 - np.log(sigma) - likelihood
        to_m = -W * r / S**2 + m
        to_sigma = -W * r / S**2 * eps + sigma - 1 / sigma
    else:
        # With two examples, the mean over the others is the other one's.
        advantage = -loss - (-loss[..., ::-1] if "baseline" in name else 0)
        to_m, to_sigma = -advantage * eps / sigma, -advantage * (eps**2 - 1) / sigma
    to_raw = to_sigma * slope
    variational = np.stack([to_m * X, to_m, to_raw * X, to_raw]).mean(-1)
    generative = np.stack([-z * r / S**2, -r / S**2]).mean(-1)
    return variational, generative, loss.mean(-1)


def expectations(name: str, min_scale: float) -> tuple[list[Any], list[Any]]:
    """Return mean and deviation of what a pair of draws gives, by quadrature.

    All of it are polynomials of degree 16 at most, for which 12 nodes a dimension are exact.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    weights = weights / weights.sum()
    one = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1).reshape(-1, 2)
    weight = np.outer(weights, weights).reshape(-1)
    *grouped, loss = gradient(name, one, min_scale)
    both = np.outer(weight, weight)
    means, deviations = [], []

    def note(values: Any) -> None:
        means.append(np.sum(both * values))
        deviations.append(np.sqrt(np.sum(both * (values - means[-1]) ** 2)))

    note((loss[:, None] + loss[None, :]) / 2)
    for g in grouped:
        note(np.sum((g[:, :, None] - g[:, None, :]) ** 2, 0) / 2)
        note(np.sum(g[:, :, None] * g[:, None, :], 0))
    # The same as the trace of the covariance, and the squared length of the mean.
    for group, g in enumerate(grouped):
        mean = np.sum(weight * g, 1)
        variance = np.sum(weight * g**2) - np.sum(mean**2)
        np.testing.assert_allclose(means[1 + 2 * group], variance, rtol=1e-10)
        np.testing.assert_allclose(means[2 + 2 * group], np.sum(mean**2), rtol=1e-8)
    return means, deviations


ESTIMATORS = gradients.estimators()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_gradient_of_one_draw_is_that_derived_by_hand(vae: tfvae.VAE, name: str) -> None:
    eps = np.array([0.7, -1.9])
    with tf.GradientTape() as tape:
        trace = vae.trace(X[:, None], noise=eps.reshape(1, 2, 1).astype("float32"))
        loss = tf.reduce_mean(ESTIMATORS[name](trace))
    kernel, bias, w, b = tape.gradient(loss, [v.value for v in vae.trainable_variables])
    variational, generative, expected = gradient(name, eps, vae.posterior.min_scale)
    ours = np.array([kernel[0, 0], bias[0], kernel[0, 1], bias[1]])
    np.testing.assert_allclose(ours, variational, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose([w[0, 0], b[0]], generative, rtol=1e-5)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_variances_are_those_in_closed_form(vae: tfvae.VAE, name: str) -> None:
    draws = 2000
    means, deviations = expectations(name, vae.posterior.min_scale)
    noise = gradient_noise(vae, X[:, None], ESTIMATORS[name], draws, seed=1)
    found = [noise.loss]
    errors = [noise.loss_error]
    for group in (noise.variational, noise.generative):
        found += [group.variance, group.signal]
        errors += [group.error, group.signal_error]
    # Means of 1,000 independent pairs whose deviations are known: five standard errors, 20 times in
    # all, are a false alarm in 1e-5.
    expected = np.array(deviations) / np.sqrt(draws / 2)
    np.testing.assert_array_less(np.abs(np.array(found) - means), 5 * expected)
    if "KL" in name:
        # The errors it states are right to a quarter; a score function's tails are too heavy to see
        # in a sample.
        np.testing.assert_allclose(errors, expected, rtol=1 / 4)


@pytest.mark.slow
def test_one_example_s_variances_are_those_of_the_formulas(vae: tfvae.VAE) -> None:
    # Of one example the sums are short enough to be written down: with u and v the constant and
    # the linear part of d log p(x, z) / dz, Var of the gradient by the mean is v^2 sigma^2, and by
    # sigma u^2 + 2 v^2 sigma^2; estimator B has no prior in u and v.
    x = X[:1]
    raw = L * x + D
    sigma, slope = np.log1p(np.exp(raw)) + vae.posterior.min_scale, 1 / (1 + np.exp(-raw))
    m = K * x + C
    u, v = W * (x - B - W * m) / S**2, W**2 / S**2
    exact = {}
    for name, u_, v_ in (("A: Monte-Carlo KL", u - m, v + 1), ("B: closed-form KL", u, v)):
        to_m, to_sigma = v_**2 * sigma**2, u_**2 + 2 * v_**2 * sigma**2
        exact[name] = float(((1 + x**2) * (to_m + slope**2 * to_sigma))[0])
    for name, value in exact.items():
        noise = gradient_noise(vae, x[:, None], ESTIMATORS[name], 1000, seed=2).variational
        # Stated errors are right to some 15 %: five of them are a false alarm in 1e-4 or so.
        assert abs(noise.variance - value) < 5 * noise.error
    assert exact["B: closed-form KL"] < exact["A: Monte-Carlo KL"]


def test_all_estimators_have_the_same_mean(vae: tfvae.VAE) -> None:
    means = [expectations(name, vae.posterior.min_scale)[0] for name in ESTIMATORS]
    # Loss and squared lengths of the mean gradients of both groups, exact by quadrature.
    for mean in means[1:]:
        np.testing.assert_allclose(
            [mean[0], mean[2], mean[4]], [means[0][0], means[0][2], means[0][4]], rtol=1e-8
        )


@pytest.mark.slow
def test_more_samples_divide_the_variance(vae: tfvae.VAE) -> None:
    samples = 4
    one = gradient_noise(vae, X[:, None], ESTIMATORS["A: Monte-Carlo KL"], 1000)
    more = gradient_noise(vae, X[:, None], objectives.ELBO(samples=samples, kl="monte_carlo"), 1000)
    for group in gradients.GROUPS:
        a, b = getattr(one, group), getattr(more, group)
        assert abs(a.variance / samples - b.variance) <= 5 * (a.error / samples + b.error)


def test_the_seed_decides_and_nothing_changes(vae: tfvae.VAE) -> None:
    before = [np.array(v) for v in vae.variables]
    measure = gradients.gradient_meter(vae, X[:, None], objectives.ELBO(), 4)
    first, same, other = (measure(seed) for seed in (0, 0, 1))
    assert first == same
    assert first.variational != other.variational
    for old, new in zip(before, vae.variables, strict=True):
        np.testing.assert_array_equal(old, np.array(new))


def test_a_gradient_without_noise_has_none() -> None:
    # A point for a posterior: nothing is drawn.
    vae = tfvae.zoo.vae(
        (3,), 2, hidden=(4,), posterior="Deterministic", likelihood="Normal",
        objective=objectives.Reconstruction(),
    )  # fmt: skip
    x = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    noise = gradient_noise(vae, x, objectives.Reconstruction(), 4)
    for group in (noise.variational, noise.generative):
        assert group[:2] == (0, 0)
        assert group.signal > 0


def test_a_prior_s_parameters_are_generative() -> None:
    prior = tfvae.priors.MixtureOfGaussians((2,), components=3)
    vae = tfvae.zoo.vae((3,), 2, hidden=(4,), prior=prior, likelihood="Normal")
    of_q, rest = gradients._groups(vae)
    assert len(of_q) == len(vae.encoder.trainable_variables)
    assert len(of_q) + len(rest) == len(vae.trainable_variables)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"draws": 5}, "even"),
        ({"draws": 2}, "draws"),
        ({"x": np.zeros((3, 2))}, "shape"),
    ],
)
def test_what_does_not_fit_is_refused(vae: tfvae.VAE, change: dict[str, Any], said: str) -> None:
    arguments: dict[str, Any] = {"x": X[:, None], "objective": objectives.ELBO(), **change}
    with pytest.raises(ValueError, match=said):
        gradient_noise(vae, **arguments)


def test_an_objective_that_asks_for_more_than_a_slot_has_is_refused() -> None:
    vae = tfvae.zoo.vae(
        (3,), 2, hidden=(4,), posterior="Deterministic", likelihood="Normal",
        objective=objectives.Reconstruction(),
    )  # fmt: skip
    with pytest.raises(ValueError, match="posterior"):
        gradient_noise(vae, np.zeros((2, 3)), objectives.ELBO())
