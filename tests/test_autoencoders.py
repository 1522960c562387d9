"""Autoencoders: penalties against their formulas, corruptions, and what they learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from linear_gaussian import LinearGaussian
from scipy import special

import tfvae
from tfvae import corruptions, zoo
from tfvae.corruptions import GaussianNoise, Masking, SaltAndPepper
from tfvae.objectives import ELBO, Contraction, KLSparsity, L1Code, Reconstruction


def sigmoid_codes(**options: Any) -> tfvae.VAE:
    return zoo.sparse_autoencoder((6,), 3, hidden=(), likelihood="Normal", **options)


def test_the_penalties_of_a_sparse_code() -> None:
    x = np.random.default_rng(0).normal(size=(7, 6)).astype("float32")
    weight = np.arange(7, dtype="float32")
    vae = sigmoid_codes()
    kernel, bias = (np.asarray(value, "float64") for value in vae.encoder.get_weights())
    codes = special.expit(x @ kernel + bias)
    for each, mean in (
        (None, codes.mean(axis=0)),
        (weight, np.average(codes, axis=0, weights=weight)),
    ):
        trace = vae.trace(x, weight=each)
        expected = special.rel_entr(0.2, mean) + special.rel_entr(0.8, 1 - mean)
        loss = KLSparsity(rho=0.2, beta=3.0)(trace)
        np.testing.assert_allclose(loss, 3.0 * expected.sum(), rtol=1e-5)
    linear = zoo.sparse_autoencoder((6,), 3, hidden=(), sparsity="l1", likelihood="Normal")
    kernel, bias = linear.encoder.get_weights()
    expected = np.abs(x @ kernel + bias).sum(axis=1)
    np.testing.assert_allclose(L1Code()(linear.trace(x)), expected, rtol=1e-5)


def test_saturated_codes_have_a_finite_penalty() -> None:
    vae = sigmoid_codes()
    vae.encoder.set_weights([np.zeros((6, 3)), np.array([-200.0, 0.0, 200.0])])
    with tf.GradientTape() as tape:
        loss = KLSparsity()(vae.trace(np.zeros((4, 6), "float32")))
    gradients = tape.gradient(loss, vae.encoder.trainable_variables)
    assert np.isfinite(loss)
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)


def test_contraction_is_the_squared_derivative(float64: None) -> None:
    # Rifai et al. (2011), equation 3: of sigmoid codes it is known.
    vae = zoo.sparse_autoencoder((6,), 3, hidden=(), likelihood="Normal")
    x = np.random.default_rng(0).normal(size=(5, 6))
    kernel, bias = vae.encoder.get_weights()
    codes = special.expit(x @ kernel + bias)
    expected = ((codes * (1 - codes)) ** 2) @ (kernel**2).sum(axis=0)
    np.testing.assert_allclose(Contraction()(vae.trace(x)), expected, rtol=1e-10)


def test_contraction_of_a_convolutional_encoder(float64: None) -> None:
    vae = zoo.contractive_autoencoder(
        (6, 5), 3, network="conv", filters=(2,), hidden=(4,), activation="tanh"
    )
    x = np.random.default_rng(0).uniform(size=(2, 6, 5))
    step, expected = 1e-5, np.zeros(2)
    for place in np.ndindex(6, 5):
        moved = x.copy()
        moved[(slice(None), *place)] += step
        codes = [np.asarray(vae.encode(each).sample()) for each in (moved, x)]
        expected += (((codes[0] - codes[1]) / step) ** 2).sum(axis=1)
    # Forward differences are off by half a second derivative times the step.
    np.testing.assert_allclose(Contraction()(vae.trace(x)), expected, rtol=1e-3)


@pytest.mark.parametrize("jit", [False, True])
def test_contraction_trains(jit: bool, binary_images: Any) -> None:
    vae = zoo.contractive_autoencoder(binary_images.shape[1:], 2, hidden=(8,), weight=1.0)
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=jit)
    vae.fit(binary_images, epochs=10, verbose=0)
    plain = zoo.autoencoder(binary_images.shape[1:], 2, hidden=(8,))
    plain.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    plain.fit(binary_images, epochs=10, verbose=0)
    contracted, free = (np.mean(Contraction()(each.trace(binary_images))) for each in (vae, plain))
    assert contracted < free


def test_objectives_say_what_codes_they_need() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\].*KLSparsity.*activation=\"sigmoid\""):
        zoo.vae((6,), 2, posterior="Deterministic", objective=Reconstruction() + KLSparsity())
    for rho in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="rho"):
            KLSparsity(rho=rho)
    with pytest.raises(ValueError, match="beta"):
        KLSparsity(beta=-1.0)
    with pytest.raises(ValueError, match='Did you mean "kl"'):
        zoo.sparse_autoencoder((6,), 2, sparsity="kll")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="activation"):
        tfvae.layers.Deterministic(2, activation="relu")  # type: ignore[arg-type]


def test_at_a_small_beta_the_vae_s_optimum_is_the_autoencoder_s(float64: None) -> None:
    """Linear networks, whose optima are known: probabilistic PCA's and PCA's.

    Of noise variance s², beta and the data's principal values λ the VAE's optimum is Tipping and
    Bishop's at variance beta s² (divide the loss by beta), whose mean reconstructions are off by
    the PCA residual and beta² s⁴ Σ 1/λ.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 5)) @ np.diag([3.0, 2.0, 1.0, 0.5, 0.3]) + rng.normal(size=5)
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    (*rest, second, first), q, s = values, 2, 0.7
    top, axes = np.array([first, second]), vectors[:, [-1, -2]]
    # Of a loss that is quadratic in the noise, 2 q points give the exact mean.
    points = np.sqrt(q) * np.concatenate([np.eye(q), -np.eye(q)])
    noise = np.broadcast_to(points[:, None], (2 * q, len(x), q))
    errors = []
    for beta in (1.0, 0.1, 0.01):
        variance = beta * s**2
        truth = LinearGaussian(axes * np.sqrt(top - variance), x.mean(axis=0), variance**0.5)
        vae = zoo.vae(
            (5,), q, hidden=(), likelihood=tfvae.layers.Normal((5,), scale=s), objective=ELBO(beta)
        )
        vae.set_weights(truth.vae().get_weights())
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(vae.objective(vae.trace(x, noise=noise)))
        for gradient in tape.gradient(loss, vae.trainable_variables):
            np.testing.assert_allclose(gradient, 0.0, atol=1e-7)
        errors.append(np.mean(np.sum((x - vae.reconstruct(x)) ** 2, axis=1)))
        residual = sum(rest) + variance**2 * np.sum(1 / top)
        np.testing.assert_allclose(errors[-1], residual, rtol=1e-9)
    ae = zoo.autoencoder((5,), q, hidden=(), likelihood=tfvae.layers.Normal((5,), scale=s))
    ae.encoder.set_weights([axes, -x.mean(axis=0) @ axes])
    ae.decoder.set_weights([axes.T, x.mean(axis=0)])
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(ae.objective(ae.trace(x)))
    for gradient in tape.gradient(loss, ae.trainable_variables):
        np.testing.assert_allclose(gradient, 0.0, atol=1e-7)
    best = np.mean(np.sum((x - ae.reconstruct(x)) ** 2, axis=1))
    np.testing.assert_allclose(best, sum(rest), rtol=1e-9)
    excess = np.array(errors) - best
    np.testing.assert_allclose(excess[1:] / excess[0], [1e-2, 1e-4], rtol=1e-4)


@pytest.mark.parametrize(
    "corruption", [GaussianNoise(0.5), Masking(0.2), SaltAndPepper(0.2, low=-1.0, high=2.0)]
)
def test_corruptions(corruption: corruptions.Corruption) -> None:
    x = tf.fill([200, 10, 5], 0.25)
    seen = corruption(x, 3).numpy()
    np.testing.assert_array_equal(seen, corruption(x, 3))
    assert not np.array_equal(seen, corruption(x, 4))
    # A part of a batch is corrupted as within the whole.
    np.testing.assert_array_equal(corruption(x[64:], 3, tf.constant(64)), seen[64:])
    n = x.shape.num_elements()
    if isinstance(corruption, GaussianNoise):
        # Of 10,000 draws: 5 standard errors, a false alarm once in 900,000 choices of the seed.
        assert abs(seen.mean() - 0.25) < 5 * 0.5 / np.sqrt(n)
        assert abs(seen.std() - 0.5) < 5 * 0.5 / np.sqrt(2 * n)
        return
    set_to = {0.0: 0.2} if isinstance(corruption, Masking) else {-1.0: 0.1, 2.0: 0.1}
    for value, rate in set_to.items():
        assert abs(np.mean(seen == value) - rate) < 5 * np.sqrt(rate * (1 - rate) / n)
    assert set(np.unique(seen)) == {np.float32(0.25), *map(np.float32, set_to)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Masking(1.5), "rate"),
        (lambda: SaltAndPepper(-0.1), "rate"),
        (lambda: SaltAndPepper(0.1, low=1.0, high=0.0), "`low` to be less than `high`"),
        (lambda: GaussianNoise(-1.0), "stddev"),
        (lambda: zoo.denoising_autoencoder((4,), 2, corruption="maskin"), 'Did you mean "masking"'),
        (lambda: zoo.vae((4,), 2, corruption=0.3), "tfvae Corruption"),
    ],
)
def test_bad_corruptions(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_the_target_stays_clean_and_so_does_evaluation(binary_images: Any) -> None:
    shape = binary_images.shape[1:]
    blind = zoo.denoising_autoencoder(shape, 2, hidden=(8,), amount=1.0)
    plain = zoo.autoencoder(shape, 2, hidden=(8,))
    plain.set_weights(blind.get_weights())
    for vae in (blind, plain):
        vae.compile(keras.optimizers.SGD(0.0))
    # In training nothing is seen, and what is to be given back is all there.
    zeros = plain.trace(np.zeros_like(binary_images), target=binary_images)
    logs = blind.fit(binary_images, epochs=1, verbose=0).history
    expected = np.mean(zeros.log_likelihood)
    np.testing.assert_allclose(logs["log_likelihood"], expected, rtol=1e-5)
    ours, theirs = (
        vae.evaluate(binary_images, verbose=0, return_dict=True) for vae in (blind, plain)
    )
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_a_corrupted_model_is_saved_and_goes_on(binary_images: Any, tmp_path: Path) -> None:
    vae = zoo.denoising_autoencoder(
        binary_images.shape[1:], 2, hidden=(8,), corruption="salt_and_pepper", amount=0.2
    )
    vae.compile("adam")
    vae.fit(binary_images, epochs=2, verbose=0)
    vae.save(tmp_path / "vae.keras")
    loaded = tfvae.load_model(tmp_path / "vae.keras")
    assert loaded.corruption == SaltAndPepper(0.2)
    for each in (vae, loaded):
        each.fit(binary_images, epochs=1, verbose=0)
    for ours, theirs in zip(vae.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def digits() -> tuple[Any, Any]:
    data = tfvae.data.load("digits")
    return data.train.values(), data.test.values()


def test_a_denoising_autoencoder_learns_to_denoise() -> None:
    train, test = digits()
    noisy = SaltAndPepper(0.3)(tf.constant(test), 7)
    errors = {}
    for name, options in (
        ("autoencoder", {}),
        ("denoising_autoencoder", {"corruption": "salt_and_pepper"}),
    ):
        vae = zoo.models()[name](train.shape[1:], 16, hidden=(128,), likelihood="Normal", **options)
        vae.compile(keras.optimizers.Adam(2e-3))
        vae.fit(train, epochs=30, verbose=0)
        errors[name] = float(np.mean((vae.reconstruct(noisy) - test) ** 2))
    errors["nothing"] = float(np.mean((noisy - test) ** 2))
    errors["mean"] = float(np.mean((train.mean(axis=0) - test) ** 2))
    # It knows more than the mean digit; who was never shown noise passes it on.
    assert errors["denoising_autoencoder"] < 0.7 * errors["mean"]
    assert errors["denoising_autoencoder"] < 0.7 * errors["autoencoder"]
    assert errors["denoising_autoencoder"] < errors["nothing"]


@pytest.mark.parametrize("sparsity", ["kl", "l1"])
def test_sparse_codes_are_sparse_and_complete(sparsity: Any) -> None:
    train, test = digits()
    likelihood = tfvae.layers.Normal(train.shape[1:], scale=0.2)
    beta = {"kl": 10.0, "l1": 2.0}[sparsity]
    vae = zoo.sparse_autoencoder(
        train.shape[1:], 100, hidden=(), sparsity=sparsity, beta=beta, likelihood=likelihood
    )
    dense = zoo.autoencoder(train.shape[1:], 100, hidden=(), likelihood=likelihood)
    for each in (vae, dense):
        each.compile(keras.optimizers.Adam(3e-3))
        each.fit(train, epochs=40, verbose=0)
    codes, others = (np.asarray(each.encode(test).sample()) for each in (vae, dense))
    if sparsity == "kl":
        # Where the penalty outweighs the rest, units are active as often as it says, 0.05.
        assert 0.04 < np.median(codes.mean(axis=0)) < 0.08
    else:
        small = [np.mean(np.abs(each) < 0.05 * np.abs(each).max()) for each in (codes, others)]
        assert small[0] > 2 * small[1]
        assert np.abs(codes).sum() < 0.5 * np.abs(others).sum()
    error = np.mean((vae.reconstruct(test) - test) ** 2)
    assert error < 0.7 * np.mean((train.mean(axis=0) - test) ** 2)
