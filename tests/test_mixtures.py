"""Mixture and conditional priors: densities against SciPy, draws, sharing, temperature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import special, stats

import tfvae
from tfvae import layers, priors
from tfvae.export.endpoints import endpoints
from tfvae.objectives import IWAE, Reconstruction

tfd = tfp.distributions
RNG = np.random.default_rng(0)
WEIGHTS, LOC = np.array([0.2, 0.5, 0.3]), np.array([[-4.0, 0.0], [4.0, 1.0], [0.0, 6.0]])
ROOTS = RNG.normal(0, 0.6, (3, 2, 2)) + np.eye(2)
COVARIANCES = ROOTS @ ROOTS.swapaxes(-1, -2)


def mixture(covariance: str) -> priors.MixtureOfGaussians:
    prior = priors.MixtureOfGaussians((2,), components=3, covariance=covariance)
    prior.assign(WEIGHTS, LOC, COVARIANCES)
    return prior


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_what_is_assigned_is_the_mixture(covariance: str) -> None:
    prior = mixture(covariance)
    x = RNG.normal(0, 4, (50, 2))
    used = COVARIANCES * np.eye(2) if covariance == "diagonal" else COVARIANCES
    each = [stats.multivariate_normal(m, c).logpdf(x) for m, c in zip(LOC, used, strict=True)]
    truth = special.logsumexp(np.log(WEIGHTS)[:, None] + each, axis=0)
    # Float32: 1e-5 relative of densities down to e^-100.
    np.testing.assert_allclose(prior(None).log_prob(tf.cast(x, tf.float32)), truth, rtol=2e-5)


def test_components_start_apart_with_unit_variances() -> None:
    prior = priors.MixtureOfGaussians((2, 3), components=4, covariance="full", spread=2.0)
    inner = prior(None).distribution
    np.testing.assert_allclose(inner.mixture_distribution.probs_parameter(), 0.25, rtol=1e-6)
    np.testing.assert_allclose(
        inner.components_distribution.covariance(), np.broadcast_to(np.eye(3), (2, 4, 3, 3)),
        atol=1e-5,
    )  # fmt: skip
    assert float(tf.math.reduce_std(inner.components_distribution.mean())) > 1.0


def test_temperature_leaves_the_choice_of_component_alone() -> None:
    vae = tfvae.zoo.vae((4,), 2, hidden=(), likelihood="Normal", prior=mixture("diagonal"))
    whole = vae.generate(4000, seed=3).z.numpy()
    still = vae.generate(4000, seed=3, temperature=0.0).z.numpy()
    chosen = np.linalg.norm(still[:, None] - LOC, axis=-1).argmin(1)
    np.testing.assert_allclose(still, LOC[chosen], atol=1e-4)
    assert stats.chisquare(np.bincount(chosen), WEIGHTS * 4000).pvalue > 1e-6
    half = vae.generate(4000, seed=3, temperature=0.5).z.numpy()
    np.testing.assert_allclose(half - still, 0.5 * (whole - still), atol=1e-4)


def vamp(posterior: Any, components: int = 7, **options: Any) -> tfvae.VAE:
    encoder = tfvae.networks.mlp_encoder((6, 5), posterior.params_shape, hidden=(16,))
    prior = priors.VampPrior(
        encoder, posterior, (6, 5), components=components, low=0.0, high=1.0
    )  # fmt: skip
    return tfvae.VAE(
        encoder,
        tfvae.networks.mlp_decoder((3,), (6, 5), hidden=(16,)),
        prior=prior, posterior=posterior, likelihood=layers.Bernoulli((6, 5)), **options,
    )  # fmt: skip


def test_a_vamp_prior_is_the_mean_of_the_posteriors_at_its_inputs(binary_images: Any) -> None:
    vae = vamp(layers.Normal((3,)))
    vae.prior.start_from(binary_images)
    chosen = binary_images[np.linspace(0, 63, 7).astype(int)]
    z = RNG.normal(size=(20, 3)).astype("float32")
    each = vae.encode(chosen).log_prob(z[:, None])
    truth = special.logsumexp(each, axis=1) - np.log(7)
    np.testing.assert_allclose(vae.prior(None).log_prob(z), truth, rtol=1e-5)


# Of one of each way to draw: a prior's choice of component and the posterior's own stay apart.
@pytest.mark.parametrize(
    "make",
    [
        layers.Normal,
        layers.Logistic,
        layers.Gamma,
        pytest.param(layers.MultivariateNormal, marks=pytest.mark.slow),
    ],
)
def test_a_vamp_prior_trains_draws_and_survives(
    make: Any, binary_images: Any, tmp_path: Path
) -> None:
    vae = vamp(make((3,)))
    vae.compile("adam", jit_compile=False)
    before = vae.prior.pseudo_inputs.numpy()
    history = vae.fit(binary_images, epochs=6, batch_size=16, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert np.any(vae.prior.pseudo_inputs.numpy() != before)
    # One encoder, whose weights are counted and saved once.
    assert len(vae.trainable_weights) == 4 + 4 + 1
    vae.save(tmp_path / "m.keras")
    twin = tfvae.load_model(tmp_path / "m.keras")
    assert twin.prior.encoder is twin.encoder
    assert twin.prior.posterior is twin.posterior
    np.testing.assert_array_equal(twin.generate(5).z, vae.generate(5).z)
    twin.fit(binary_images, epochs=1, batch_size=16, verbose=0)
    # Draws come from the density: E[log p] by both ways, at five standard errors.
    drawn = vae.generate(4000, seed=1).z
    ours = vae.prior(None).log_prob(drawn).numpy()
    theirs = vae.prior(None).log_prob(vae.prior(None).sample(4000, seed=[0, 1])).numpy()
    error = np.hypot(ours.std(), theirs.std()) / np.sqrt(4000)
    assert abs(ours.mean() - theirs.mean()) < 5 * error


def test_dreg_is_unbiased_where_the_prior_shares_the_encoder(binary_images: Any) -> None:
    vae = vamp(layers.Normal((3,)), components=3)
    x = tf.constant(binary_images[:4])
    weights = [*vae.encoder.trainable_variables, vae.prior.pseudo_inputs]

    @tf.function
    def grouped(seed: tf.Tensor, kind: str) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(IWAE(3, gradient=kind)(vae.trace(tf.repeat(x, 50, 0), 3, seed)))
        return tf.concat([tf.reshape(g, [-1]) for g in tape.gradient(loss, weights)], 0)

    direction = tf.constant(
        RNG.normal(size=grouped(tf.constant([0, 0]), "plain").shape), tf.float32
    )
    direction = direction / tf.norm(direction)

    def slope(seed: int, kind: str) -> float:
        return float(tf.tensordot(grouped(tf.constant([seed, 1]), kind), direction, 1))

    slopes = {kind: np.array([slope(s, kind) for s in range(150)]) for kind in ("plain", "dreg")}
    difference = slopes["plain"].mean() - slopes["dreg"].mean()
    error = np.hypot(*(s.std() / np.sqrt(150) for s in slopes.values()))
    # Five standard errors: a false alarm once in 1.7 million seeds.
    assert abs(difference) < 5 * error
    assert error < 0.05 * max(abs(slopes["plain"].mean()), slopes["plain"].std())


def test_a_penalty_of_a_shared_encoder_is_that_of_the_data(binary_images: Any) -> None:
    posterior = layers.Normal((3,))
    encoder = keras.Sequential([
        keras.Input((6, 5)), keras.layers.Flatten(),
        keras.layers.Dense(6, activity_regularizer=keras.regularizers.L2(1.0)),
    ])  # fmt: skip
    vae = tfvae.VAE(
        encoder, tfvae.networks.mlp_decoder((3,), (6, 5), hidden=()),
        prior=priors.VampPrior(encoder, posterior, (6, 5), components=4),
        posterior=posterior, likelihood=layers.Bernoulli((6, 5)),
    )  # fmt: skip
    vae.trace(binary_images)
    (penalty,) = vae.losses
    by_hand = np.mean(np.sum(np.square(encoder(binary_images)), axis=1))
    np.testing.assert_allclose(penalty, by_hand, rtol=1e-5)


def conditional(seed: int = 0) -> tfvae.VAE:
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
    return tfvae.zoo.vae(
        (3,), 2, hidden=(16,), likelihood=layers.Normal((3,), scale=0.3), seed=seed,
        prior=priors.Conditional(network, layers.Normal((2,))),
    )  # fmt: skip


def test_a_conditional_prior_learns_what_the_condition_says(tmp_path: Path) -> None:
    labels = np.eye(2, dtype="float32")[RNG.integers(0, 2, 512)]
    x = (labels @ [[3.0, -3.0, 1.0], [-3.0, 3.0, 1.0]] + RNG.normal(0, 0.3, (512, 3))).astype("f4")
    vae = conditional()
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    history = vae.fit(
        x, labels, epochs=80, batch_size=64, verbose=0, validation_data=(x, labels)
    ).history
    assert history["val_loss"][-1] < history["val_loss"][0]
    for which in (0, 1):
        drawn = vae.generate(200, seed=1, condition=np.tile(np.eye(2, dtype="f4")[which], (200, 1)))
        expected = x[labels[:, which] == 1].mean(0)
        # The other class is 8.5 away; a latent that strays a little is not.
        assert np.linalg.norm(np.mean(drawn.mean, axis=0) - expected) < 1.5
    bound = tfvae.evaluate.log_marginal(vae, x[:50], samples=20, condition=labels[:50])
    wrong = tfvae.evaluate.log_marginal(vae, x[:50], samples=20, condition=1 - labels[:50])
    assert bound.mean() > wrong.mean() + 5
    vae.save(tmp_path / "m.keras")
    twin = tfvae.load_model(tmp_path / "m.keras")
    rows = {"condition": labels[:4], "seed": 2}
    np.testing.assert_array_equal(twin.generate(4, **rows).z, vae.generate(4, **rows).z)


def test_a_condition_is_asked_for_wherever_it_is_needed() -> None:
    vae, x = conditional(), np.zeros((8, 3), "float32")
    with pytest.raises(ValueError, match=r"Expected conditions.*vae\.fit\(x, c\)"):
        vae.fit(x, verbose=0)
    with pytest.raises(ValueError, match=r"Expected conditions.*condition=c"):
        tfvae.evaluate.log_marginal(vae, x, samples=2)
    with pytest.raises(ValueError, match=r"Expected conditions.*validation_data=\(x, c\)"):
        vae.fit(x, np.zeros((8, 2), "float32"), validation_data=x, verbose=0)
    with pytest.raises(ValueError, match=r"finite conditions"):
        vae.fit(x, np.full((8, 2), np.nan, "float32"), verbose=0)
    with pytest.raises(ValueError, match=r"`condition`.*none for 3 rows"):
        vae.generate(3)
    with pytest.raises(ValueError, match=r"`condition`.*2 for 3 rows"):
        vae.generate(3, condition=np.zeros((2, 2), "float32"))
    with pytest.raises(ValueError, match=r"no `condition`.*StandardNormal"):
        tfvae.zoo.vae((3,), 2, hidden=()).generate(1, condition=np.zeros((1, 2)))
    (generate,) = endpoints(vae, ["generate"])
    assert [tensor.name for tensor in generate.inputs][-1] == "condition"


def test_bad_arguments() -> None:
    normal = layers.Normal((2,))
    encoder = tfvae.networks.mlp_encoder((3,), (4,), hidden=())
    for make in (
        lambda: priors.MixtureOfGaussians((2,), components=0),
        lambda: priors.VampPrior(encoder, normal, (3,), components=0),
    ):
        with pytest.raises(ValueError, match=r"`components`.*positive integer.*components=0"):
            make()
    with pytest.raises(ValueError, match="`spread`"):
        priors.MixtureOfGaussians((2,), spread=0.0)
    with pytest.raises(ValueError, match="positive definite"):
        mixture("full").assign(WEIGHTS, LOC, -COVARIANCES)
    with pytest.raises(ValueError, match="positive weights"):
        mixture("full").assign([1.0, 0.0, 1.0], LOC, COVARIANCES)
    with pytest.raises(ValueError, match=r"density at any value.*Deterministic"):
        priors.VampPrior(encoder, layers.Deterministic((2,)), (3,))
    with pytest.raises(ValueError, match="at least 5 examples"):
        priors.VampPrior(encoder, normal, (3,), components=5).start_from(np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"`encoder` to emit.*\(6,\).*\(4,\)"):
        priors.VampPrior(encoder, layers.Normal((3,)), (3,))
    with pytest.raises(ValueError, match=r"`encoder` to take examples of shape \(5,\)"):
        priors.VampPrior(encoder, normal, (5,))
    with pytest.raises(ValueError, match=r"`low` to be less than `high`"):
        priors.VampPrior(encoder, normal, (3,), low=1.0, high=0.0)
    with pytest.raises(ValueError, match="not built"):
        priors.Conditional(keras.Sequential([keras.layers.Dense(4)]), normal)
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match=r"`network` to emit \[batch, 4\]"):
        priors.Conditional(network, normal)
    with pytest.raises(TypeError, match="`network`"):
        priors.Conditional(3, normal)
    with pytest.raises(ValueError, match="`low` to be less than `high`"):
        priors.Uniform((2,), low=1.0, high=1.0)


def test_priors_that_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"What fits: priors\.Parametric\(layers\.Dirichlet"):
        tfvae.zoo.vae((4,), 3, posterior="Dirichlet")
    with pytest.raises(ValueError, match=r"What fits: .*layers\.Bernoulli\(\(3,\)\)"):
        tfvae.zoo.vae((4,), 3, posterior="Bernoulli")
    codes, others = (layers.VectorQuantizer((1, 3), codes=4) for _ in range(2))
    with pytest.raises(ValueError, match=r"What fits: priors\.Codebook\(posterior\)"):
        tfvae.zoo.vae((4,), (1, 3), posterior=codes, prior=priors.StandardNormal((1, 3)))
    with pytest.raises(ValueError, match="codes of the posterior itself"):
        tfvae.zoo.vae((4,), (1, 3), posterior=codes, prior=priors.Codebook(others))
    with pytest.warns(UserWarning, match=r"What fits: priors\.Uniform\(\(3,\)\)"):
        tfvae.zoo.vae((4,), 3, posterior="Beta")
    tfvae.zoo.vae((4,), 3, posterior="Beta", prior=priors.Uniform((3,)))
    tfvae.zoo.vae((4,), 3, posterior="Deterministic", objective=Reconstruction())
