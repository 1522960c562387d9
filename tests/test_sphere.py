"""Distributions on the sphere: against Bessel functions, SciPy, quadrature and each other."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import integrate, interpolate, special, stats

import tfvae
from tfvae import layers, priors
from tfvae.layers.angle import Angle
from tfvae.layers.kl import has_closed_form

tfd = tfp.distributions
DIMS = (2, 3, 4, 5, 10, 20, 40, 64)
KAPPA = np.array([1e-3, 0.03, 0.5, 1.0, 3.0, 10.0, 30.0, 100.0, 1e3, 1e4])
every_dim = pytest.mark.parametrize("dim", DIMS)


def bessel_ratio(dim: int, kappa: Any) -> Any:
    """A_d(kappa), the mean cosine."""
    return special.ive(dim / 2, kappa) / special.ive(dim / 2 - 1, kappa)


def log_normaliser(dim: int, kappa: Any) -> Any:
    """Log of the integral of exp(kappa (m.x - 1)), by the Bessel function of Mardia and Jupp."""
    half = dim / 2
    return half * math.log(2 * math.pi) + np.log(special.ive(half - 1, kappa) / kappa ** (half - 1))


def direction(dim: int, seed: int = 0) -> Any:
    vector = np.random.default_rng(seed).normal(size=dim)
    return vector / np.linalg.norm(vector)


def raw(dim: int, kappa: float, seed: int = 0) -> tf.Tensor:
    """What a network would emit for this concentration and a random direction."""
    excess = kappa - 1e-3  # the inverse of a softplus, for any size
    return tf.constant([*direction(dim, seed), excess + np.log(-np.expm1(-excess))], tf.float64)


# ---------------------------------------------------------------- densities


@every_dim
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_normaliser_mean_and_entropy_against_bessel_functions(dim: int, dtype: Any) -> None:
    # SciPy's scaled Bessel functions underflow for small concentrations in many dimensions.
    kappa = KAPPA[special.ive(dim / 2, KAPPA) > 1e-280]

    @tf.function(jit_compile=dim in (2, 10))
    def ours(kappa: tf.Tensor) -> Any:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(kappa)
            angle = Angle(kappa, dim)
            values = angle.log_normaliser(), angle.mean_cosine(), angle.entropy()
        return values, [tape.gradient(value, kappa) for value in values]

    values, gradients = ours(tf.constant(kappa, dtype))
    kappa = tf.cast(tf.constant(kappa, dtype), tf.float64).numpy()
    mean, log = bessel_ratio(dim, kappa), log_normaliser(dim, kappa)
    # The derivatives of the entropy and the mean are the cosine's variance, which the ratio gives
    # with a cancellation of some (kappa / d)^2: by quadrature instead.
    variance = np.array([variance_by_quadrature(dim, k) for k in kappa])
    # SciPy's Bessel functions are worth 1e-12; 4 units of rounding in float32.
    tolerance = 1e-10 if dtype == tf.float64 else 5e-7
    for value, truth in zip(values, (log, mean, log + kappa * (1 - mean)), strict=True):
        np.testing.assert_allclose(value, truth, rtol=tolerance, atol=tolerance)
    for value, truth in zip(gradients, (mean - 1, variance, -kappa * variance), strict=True):
        np.testing.assert_allclose(value, truth, rtol=10 * tolerance, atol=tolerance)


def density(dim: int, kappa: float) -> tuple[Any, Any]:
    """Angles around the mode and normalised masses there, by the trapezoid rule in theta."""
    mode = math.acos(2 * kappa / (dim - 2 + math.hypot(dim - 2, 2 * kappa)))
    reach = 20 / math.sqrt(math.hypot(dim - 2, 2 * kappa))
    theta = np.linspace(max(0, mode - reach), min(math.pi, mode + reach), 40_001)
    log = -2 * kappa * np.sin(theta / 2) ** 2 + special.xlogy(dim - 2, np.sin(theta))
    weight = np.exp(log - log.max())
    weight[[0, -1]] /= 2
    return theta, weight / weight.sum()


def variance_by_quadrature(dim: int, kappa: float) -> float:
    theta, mass = density(dim, kappa)
    versine = 2 * np.sin(theta / 2) ** 2
    return float(mass @ (versine - mass @ versine) ** 2)


@every_dim
def test_log_prob_against_scipy(dim: int, float64: None) -> None:
    layer = layers.VonMisesFisher((dim,))
    x = stats.uniform_direction(dim, seed=1).rvs(50)
    for kappa in (0.5, 5.0, 50.0, 500.0):
        mu = layer.parameters(raw(dim, kappa))["mean_direction"].numpy()
        truth = stats.vonmises_fisher(mu, kappa).logpdf(x)
        np.testing.assert_allclose(layer(raw(dim, kappa)).log_prob(x), truth, rtol=1e-9, atol=1e-9)


@every_dim
@pytest.mark.parametrize("kind", ["VonMisesFisher", "PowerSpherical"])
def test_densities_integrate_to_one_and_kl_against_quadrature(
    dim: int, kind: str, float64: None
) -> None:
    layer = getattr(layers, kind)((dim,))
    uniform = priors.HypersphericalUniform((dim,))(None)
    ring = 2 * math.pi ** ((dim - 1) / 2) / math.gamma((dim - 1) / 2)
    for kappa in (0.05, 1.0, 20.0, 400.0):
        q = layer(raw(dim, kappa))
        mu = q.mean_direction.numpy()
        across = np.linalg.svd(mu[np.newaxis])[2][1]  # at right angles to mu

        def point(theta: Any, mu: Any = mu, across: Any = across) -> Any:
            return np.cos(theta)[:, np.newaxis] * mu + np.sin(theta)[:, np.newaxis] * across

        # Gauss-Legendre on (0, pi) in 20 parts of 40 nodes; a power spherical density has at pi
        # a power 2 kappa + d - 2 of its distance, which costs the smallest one four digits.
        nodes, weights = np.polynomial.legendre.leggauss(40)
        theta = (np.arange(20)[:, np.newaxis] + (nodes + 1) / 2).ravel() * math.pi / 20
        area = np.tile(weights, 20) * math.pi / 40 * ring * np.sin(theta) ** (dim - 2)
        log_q = q.log_prob(point(theta)).numpy()
        tolerance = 1e-4 if kind == "PowerSpherical" and dim == 2 and kappa < 1 else 1e-7
        assert np.exp(log_q) @ area == pytest.approx(1, abs=tolerance)
        log_p = uniform.log_prob(point(theta)).numpy()
        expected = (np.exp(log_q) * (log_q - log_p)) @ area
        kl = float(tfd.kl_divergence(q, uniform))
        assert kl == pytest.approx(expected, rel=tolerance, abs=tolerance)
        mean = (np.exp(log_q) * np.cos(theta)) @ area
        np.testing.assert_allclose(layer.mean(raw(dim, kappa)), mean * mu, atol=tolerance)


@pytest.mark.parametrize("kind", ["VonMisesFisher", "PowerSpherical"])
def test_float32_agrees_with_float64(kind: str) -> None:
    # With what float32 makes of the parameters, in float64: what is left is float32 arithmetic.
    dim = 10
    coarse, fine = (getattr(layers, kind)((dim,), dtype=d) for d in ("float32", "float64"))
    params = tf.stack([tf.cast(raw(dim, k), tf.float32) for k in (0.01, 1.0, 30.0, 1e3, 9e3)])
    x = coarse(params).sample(200, seed=[0, 1])
    named = {k: tf.cast(v, tf.float64) for k, v in coarse.parameters(params).items()}
    q, p = coarse(params), fine.distribution(**named)
    np.testing.assert_allclose(q.entropy(), p.entropy(), rtol=2e-6, atol=2e-6)
    # x is rounded to 6e-8 in each axis and lies 1 / sqrt(kappa) from mu: the density's logarithm
    # moves by sqrt(kappa d) 6e-8 times a few.
    error = np.abs(q.log_prob(x).numpy() - p.log_prob(tf.cast(x, tf.float64)).numpy())
    assert error.max() < 10 * math.sqrt(9e3 * dim) * 6e-8


def test_kl_of_two_von_mises_fishers(float64: None) -> None:
    layer = layers.VonMisesFisher((2, 4))
    params = np.random.default_rng(3).normal(0, 1.5, (2, 5, *layer.params_shape))
    q, p = layer(tf.constant(params[0])), layer(tf.constant(params[1]))
    assert has_closed_form(q, p)
    kl = tfd.kl_divergence(q, p)
    draws = q.sample(20_000, seed=[1, 2])
    ratio = (q.log_prob(draws) - p.log_prob(draws)).numpy()
    # Five means at five standard errors: a false alarm once in 350,000 seeds.
    np.testing.assert_array_less(np.abs(kl - ratio.mean(0)), 5 * ratio.std(0) / np.sqrt(20_000))
    np.testing.assert_allclose(tfd.kl_divergence(q, q), 0.0, atol=1e-10)


def test_which_kl_has_a_closed_form() -> None:
    for event in ((3,), (4, 3)):
        prior = priors.HypersphericalUniform(event)(None)
        for kind in (layers.VonMisesFisher, layers.PowerSpherical):
            layer = kind(event)
            posterior = layer(tf.zeros([5, *layer.params_shape]))
            assert has_closed_form(posterior, prior)
            single = kind(3)(tf.zeros([5, 4]))
            each = tfd.kl_divergence(single, tfd.SphericalUniform(3))
            kl = tfd.kl_divergence(posterior, prior)
            np.testing.assert_allclose(kl, math.prod(event[:-1]) * each, rtol=1e-5)
    power = layers.PowerSpherical(3)(tf.zeros([5, 4]))
    assert has_closed_form(power, layers.VonMisesFisher(3)(tf.zeros([5, 4])))


# ---------------------------------------------------------------- draws


def noise(layer: Any, n: int, seed: int = 3) -> tf.Tensor:
    return tfvae.random.noise(layer.noise, seed, 1, n, layer.noise_shape, layer.choices)[0]


@pytest.mark.parametrize("dim", [2, 3, 4, 7, 10, 64])
@pytest.mark.parametrize("kind", ["VonMisesFisher", "PowerSpherical"])
def test_the_law_of_draws(dim: int, kind: str) -> None:
    layer = getattr(layers, kind)((dim,))
    n = 10_000
    # 48 angles and some 1,000 moments at 1e-6: a false alarm once in a thousand choices of seeds.
    for kappa in (0.01, 1.0, 20.0, 2000.0):
        params = tf.cast(raw(dim, kappa), tf.float32)
        mu = layer.parameters(params)["mean_direction"].numpy().astype(float)
        x = (
            layer.transform(noise(layer, n), params)
            if layer.noise
            else layer(params).sample(n, seed=[0, 2])
        )
        x = x.numpy().astype(float)
        np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=1e-6)
        theta = 2 * np.arcsin(np.minimum(1, np.linalg.norm(x - mu, axis=1) / 2))
        if kind == "VonMisesFisher":
            grid, mass = density(dim, kappa)
            cdf = np.append(0, np.cumsum((mass[1:] + mass[:-1]) / 2))
            assert stats.kstest(np.interp(theta, grid, cdf), "uniform").pvalue > 1e-6
        else:
            half = (dim - 1) / 2
            law = stats.beta(half, half + kappa)  # of (1 - m.x) / 2
            assert stats.kstest(np.sin(theta / 2) ** 2, law.cdf).pvalue > 1e-6
        # At right angles to mu: uniform, so of mean 0 and covariance 1 / (d - 1).
        across = x - (x @ mu)[:, np.newaxis] * mu
        across = across @ np.linalg.svd(mu[np.newaxis])[2][1:].T
        across /= np.linalg.norm(across, axis=1, keepdims=True)
        assert np.abs(across.mean(0)).max() < 5 / math.sqrt(n * (dim - 1))
        second = across.T @ across / n - np.eye(dim - 1) / (dim - 1)
        assert np.abs(second).max() < 6 * math.sqrt(2 / n) / (dim - 1)


@pytest.mark.parametrize("dim", [2, 3, 10, 64])
def test_quantile_inverts_the_distribution_function(dim: int) -> None:
    # In both tails too: u runs over all that 23 bits can give.
    tail = np.geomspace(2.0**-24, 0.3, 60)
    u = np.concatenate([tail, [0.4, 0.5, 0.6], 1 - tail[::-1]])
    for kappa in (1e-3, 0.3, 2.0, 18.0, 1e4):
        cosine, sine = Angle(tf.constant(kappa, tf.float64), dim).quantile(tf.constant(u))
        theta = np.arctan2(sine, cosine)
        assert np.all(np.diff(theta) > 0)
        grid, mass = density(dim, kappa)
        inner = mass.copy()
        inner[[0, -1]] *= 2
        below = integrate.cumulative_simpson(inner, initial=0)
        above = below[-1] - below
        # Simpson's rule and splines on 40,000 cells: worth more than the tolerances ask.
        got = interpolate.CubicSpline(grid, below / below[-1])(theta)
        upper = interpolate.CubicSpline(grid, above / below[-1])(theta)
        np.testing.assert_allclose(got, u, atol=1e-9)
        np.testing.assert_allclose(np.minimum(got, upper), np.minimum(u, 1 - u), rtol=1e-4)


@pytest.mark.parametrize("dim", [2, 3, 10, 64])
def test_pathwise_gradient_of_the_mean(dim: int) -> None:
    # d E[cos] / d kappa, from gradients of draws at evenly spread uniforms: the midpoint rule.
    n = 20_000
    u = (np.arange(n) + 0.5) / n
    for kappa in (0.1, 3.0, 300.0):
        kappas = tf.fill([n], tf.constant(kappa, tf.float64))
        with tf.GradientTape() as tape:
            tape.watch(kappas)
            cosine, _ = Angle(kappas, dim).quantile(tf.constant(u))
        gradient = tape.gradient(cosine, kappas).numpy().mean()
        assert np.mean(cosine) == pytest.approx(bessel_ratio(dim, kappa), abs=1e-4)
        ratio = bessel_ratio(dim, kappa)
        truth = 1 - ratio**2 - (dim - 1) / kappa * ratio
        assert gradient == pytest.approx(truth, rel=2e-3)


@pytest.mark.parametrize("event", [(2,), (3,), (2, 5), (20,)])
@pytest.mark.parametrize("spread", [0.5, 5.0])
def test_gradients_at_fixed_noise(event: tuple[int, ...], spread: float, float64: None) -> None:
    layer, step = layers.VonMisesFisher(event), 1e-5
    rng = np.random.default_rng(2)
    base, weights = noise(layer, 4)[:, tf.newaxis], rng.normal(size=event)
    params = rng.normal(0, spread, (4, 1, *layer.params_shape))

    def value(params: tf.Tensor) -> tf.Tensor:
        z = layer.transform(tf.repeat(base, params.shape[1], axis=1), params)
        return tf.reduce_sum(z * weights, axis=list(range(2, z.shape.rank)))

    with tf.GradientTape() as tape:
        at = tf.constant(params)
        tape.watch(at)
        total = tf.reduce_sum(value(at))
    size = math.prod(layer.params_shape)
    shifts = step * np.eye(size).reshape(size, *layer.params_shape)
    numeric = (value(tf.constant(params + shifts)) - value(tf.constant(params - shifts))) / 2 / step
    theory = tf.reshape(tape.gradient(total, at), numeric.shape)
    # Central differences: third derivatives times 1e-11, and rounding of 1e-16 over 1e-5.
    np.testing.assert_allclose(theory, numeric, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("dim", [2, 3])
def test_around_the_pole_that_has_no_frame(dim: int, float64: None) -> None:
    layer = layers.VonMisesFisher((dim,))
    base = noise(layer, 50)
    for away in (0.0, 1e-30, 1e-12, 1e-6, 1e-3):
        params = tf.Variable([[-1.0, away] + [0.0] * (dim - 2) + [2.0]])
        with tf.GradientTape() as tape:
            z = layer.transform(base, params)
            total = tf.reduce_sum(z * tf.range(1.0, dim + 1.0, dtype=z.dtype))
        assert layer.support.outside(z) == 0
        gradient = tape.gradient(total, params)
        assert np.all(np.isfinite(gradient))
        if dim == 2:  # a quarter turn has no such pole
            assert np.abs(gradient).max() < 1e3


@pytest.mark.parametrize("kind", ["VonMisesFisher", "PowerSpherical"])
def test_zero_outputs_have_gradients(kind: str) -> None:
    layer = getattr(layers, kind)((4,))
    params = tf.Variable(tf.zeros([6, 5]))
    with tf.GradientTape() as tape:
        q = layer(params)
        z = layer.transform(noise(layer, 6), params) if layer.noise else q.sample(seed=[0, 1])
        value = tf.reduce_sum(z) + tf.reduce_sum(q.log_prob(tf.stop_gradient(z)) + q.entropy())
    assert np.all(np.isfinite(tape.gradient(value, params)))


# ---------------------------------------------------------------- models


@pytest.mark.parametrize("kind", ["VonMisesFisher", "PowerSpherical"])
def test_a_hyperspherical_vae_trains_and_generates(kind: str, binary_images: Any) -> None:
    vae = tfvae.zoo.vae(
        (6, 5), 4, hidden=(16,), posterior=getattr(layers, kind)((4,)),
        prior=priors.HypersphericalUniform((4,)),
    )  # fmt: skip
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)  # compiling takes seconds
    history = vae.fit(binary_images, epochs=5, batch_size=16, verbose=0).history  # 20 steps
    assert history["loss"][-1] < history["loss"][0]
    assert history["kl"][-1] > 0  # in closed form
    generated = vae.generate(5, seed=0)
    np.testing.assert_allclose(np.linalg.norm(generated.z, axis=-1), 1, rtol=1e-6)
    cold = vae.generate(5, seed=0, temperature=0.0)
    np.testing.assert_array_equal(cold.z, generated.z)  # a temperature means nothing here


def test_prior_at_zero_noise() -> None:
    z = priors.HypersphericalUniform((2, 3)).transform(tf.zeros([4, 2, 3]))
    np.testing.assert_allclose(np.linalg.norm(z, axis=-1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    "kind", [layers.VonMisesFisher, layers.PowerSpherical, priors.HypersphericalUniform]
)
def test_two_points_are_no_sphere(kind: Any) -> None:
    with pytest.raises(ValueError, match="`event_shape` to be at least 2 long"):
        kind((3, 1))
