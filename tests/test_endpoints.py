"""What endpoints compute, as traced functions: against TFP, closed forms and the exact log p(x).

That files compute the same in other runtimes is the subject of test_export.py.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from endpoint_calls import call, conditional_model, image_model
from linear_gaussian import LinearGaussian
from scipy import stats

import tfvae
from tfvae.export import ExportError
from tfvae.export.endpoints import endpoints
from tfvae.export.preparation import generative
from tfvae.export.subject import Subject


@pytest.fixture(scope="module")
def images() -> tfvae.VAE:
    return image_model()


@pytest.fixture(scope="module")
def conditional() -> tfvae.VAE:
    return conditional_model()


# ---------------------------------------------------------------------------- what is computed


def test_encode_is_the_mean_and_spread_of_the_posterior(images: tfvae.VAE) -> None:
    x = np.random.default_rng(0).uniform(size=(6, 4, 3, 1)).astype("float32")
    outputs = call(images, "encode", x=x)
    np.testing.assert_allclose(outputs["mean"], images.encode(x).mean(), atol=1e-6)
    np.testing.assert_allclose(outputs["stddev"], images.encode(x).stddev(), atol=1e-6)
    mean = images.decode(outputs["mean"]).mean()
    np.testing.assert_allclose(call(images, "reconstruct", x=x)["mean"], mean, atol=1e-6)


def test_score_at_the_exact_posterior_is_log_p_of_x() -> None:
    truth = LinearGaussian.random()
    x = truth.sample(9).astype("float32")
    seeds = np.array([0, -1, 2**63 - 1, *range(6)], np.int64)
    outputs = call(Subject(truth.vae(), samples=3), "score", x=x, seed=seeds)
    # Every importance weight is p(x). In float32 two log-densities of about 10 nats cancel.
    np.testing.assert_allclose(outputs["log_marginal"], truth.log_marginal(x), atol=2e-5)


def test_score_with_another_posterior_approaches_log_p_of_x_from_below() -> None:
    truth = LinearGaussian.random()
    vae, exact = truth.vae(error=0.3), truth.log_marginal(truth.sample(400))
    x = truth.sample(400).astype("float32")
    few, many = (vae.score(x, samples=s, seed=5).log_marginal.numpy() for s in (2, 500))
    # With the means off by 0.3, log p(x) - ELBO is KL(q‖p) = Σ 0.3² / (2 s²_j), the same for all x.
    elbo = vae.score(x, samples=500, seed=5).elbo.numpy()
    m = np.sum(truth.w**2, axis=0) + truth.s**2
    gap = np.sum(0.3**2 * m / (2 * truth.s**2))
    spread = np.std(exact - elbo) / np.sqrt(400)
    assert abs(np.mean(exact - elbo) - gap) < 5 * spread + 1e-4
    assert np.mean(elbo) < np.mean(few) < np.mean(many) < np.mean(exact) + 5 * spread
    assert abs(np.mean(many - exact)) < 0.02


def test_scores_are_rows_of_their_own(images: tfvae.VAE) -> None:
    x = np.random.default_rng(1).uniform(size=(5, 4, 3, 1)).astype("float32")
    seeds = np.array([4, 9, -3, 4, 0])
    whole = images.score(x, seeds=seeds, samples=4)
    # Sums of some 12 terms of about 1 nat, in another order.
    for row in (0, 3):
        alone = images.score(x[row : row + 1], seeds=seeds[row : row + 1], samples=4)
        np.testing.assert_allclose(whole.elbo[row], alone.elbo[0], atol=1e-5)
        np.testing.assert_allclose(whole.log_marginal[row], alone.log_marginal[0], atol=1e-5)
    batches = images.score(x, seeds=seeds, samples=4, batch_size=2)
    np.testing.assert_allclose(whole.log_marginal, batches.log_marginal, atol=1e-5)
    assert np.all(np.asarray(whole.log_marginal) != images.score(x, seed=50, samples=4)[1])


def test_a_condition_reaches_the_prior(conditional: tfvae.VAE) -> None:
    condition = np.eye(3, dtype="float32")[[0, 1, 2]]
    seeds, one = np.arange(3), np.ones(3, np.float32)
    drawn = call(conditional, "generate", seed=seeds, temperature=one, condition=condition)
    again = conditional.generate(seeds=seeds, condition=condition)
    np.testing.assert_array_equal(drawn["z"], again.z)
    np.testing.assert_allclose(drawn["z"].mean(axis=1), [0, 10, 20], atol=5)
    x = np.zeros((3, 5), np.float32)
    scores = call(conditional, "score", x=x, seed=seeds, condition=condition)
    # A latent near 0 is unlikely under a prior at 10 or 20, by 2 · 10² / 2 and 2 · 20² / 2 nats.
    assert np.all(np.diff(scores["log_marginal"]) < -50)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (np.eye(2, dtype="float32"), r"`condition` of shape \[2, 3\].*Received: shape \[2, 2\]"),
        ([0, 1], r"Received: shape \[2\]\. Classes go in one-hot: np\.eye\(3\)"),
        (np.eye(3)[:1], "one for each row"),
        (np.full((2, 3), np.nan), "finite numbers.*Received: NaN or infinity"),
        ([["a", "b", "c"]] * 2, "finite numbers.*Received: dtype <U1"),
    ],
)
def test_conditions_that_do_not_fit(conditional: tfvae.VAE, condition: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        conditional.generate(2, condition=condition)
    if len(condition) == 2 and "NaN" not in message:  # others are refused as data are
        with pytest.raises(ValueError, match=message):
            conditional.score(np.zeros((2, 5), np.float32), samples=2, condition=condition)


def test_conditions_of_several_lengths_or_none(conditional: tfvae.VAE) -> None:
    with pytest.raises(ValueError, match=r"`condition` to be an array.*rows of several lengths"):
        conditional.generate(2, condition=[[0.0], [1.0, 0.0]])
    with pytest.raises(ValueError, match="Received: none for 2 rows"):
        conditional.generate(2)


# ---------------------------------------------------------------------------- which there are


def test_a_point_has_no_score(images: tfvae.VAE) -> None:
    autoencoder = tfvae.zoo.rae((8,), 2, hidden=(4,), likelihood="Normal")
    names = [endpoint.name for endpoint in endpoints(autoencoder)]
    assert names == ["decode", "generate", "encode", "reconstruct"]
    with pytest.raises(ExportError, match=r"posterior with a density.*Deterministic.*'encode'"):
        endpoints(autoencoder, ["score"])
    with pytest.raises(ValueError, match="posterior with a density"):
        autoencoder.score(np.zeros((2, 8)))
    with pytest.raises(ValueError, match="Expected `seeds` to be one for each row"):
        images.score(np.zeros((2, 4, 3, 1)), seeds=[1])
    with pytest.raises(ValueError, match="`samples`"):
        images.score(np.zeros((2, 4, 3, 1)), samples=0)


def test_a_flow_posterior_has_no_spread_in_closed_form() -> None:
    vae = tfvae.zoo.iaf_vae((6,), 2, hidden=(4,))
    (encode,) = endpoints(vae, "encode")
    assert [spec.name for spec in encode.outputs] == ["mean"]
    assert "standard deviation" not in encode.description


# ---------------------------------------------------------------------------- any Keras decoder


def test_any_decoder_generates_and_exports() -> None:
    decoder = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(6, "sigmoid")]
    )
    whole = keras.Sequential([decoder, tfvae.adapters.Logit()])
    generator = generative(whole, None, "Bernoulli")
    assert isinstance(generator, tfvae.Generator)
    assert [endpoint.name for endpoint in endpoints(generator)] == ["decode", "generate"]
    z = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    # logit and back: a unit of rounding of a probability, over p (1 - p), where p is in [.1, .9].
    np.testing.assert_allclose(call(generator, "decode", z=z)["mean"], decoder(z), atol=2e-6)
    drawn = generator.generate(2000, seed=7)
    assert stats.kstest(np.ravel(drawn.z), "norm").pvalue > 1e-4
    error = np.asarray(drawn.sample).mean(axis=0) - np.asarray(drawn.mean).mean(axis=0)
    assert np.abs(error).max() < 5 * 0.5 / np.sqrt(2000)  # 6 values: once in 290,000
    with pytest.raises(ExportError, match="Expected a model with an encoder"):
        endpoints(generator, "encode")


def test_a_sigmoid_where_logits_are_asked_for() -> None:
    dense = keras.layers.Dense(6, "sigmoid")
    by_name = keras.Sequential([keras.Input((2,)), dense])
    separate = [keras.layers.Dense(6), keras.layers.Activation("sigmoid")]
    z = keras.Input((2,))
    shaped = keras.Model(z, keras.layers.Reshape((2, 3))(keras.layers.Dense(6, "sigmoid")(z)))
    nested = keras.Sequential([keras.Input((2,)), shaped])
    for decoder in (by_name, keras.Sequential([keras.Input((2,)), *separate]), shaped, nested):
        with pytest.warns(UserWarning, match=r"ends in a sigmoid.*tfvae\.adapters\.Logit\(\)"):
            tfvae.Generator(decoder, "Bernoulli")
    # Warnings are errors here: what follows gives none.
    tfvae.Generator(keras.Sequential([by_name, tfvae.adapters.Logit()]), "Bernoulli")
    tfvae.Generator(keras.Sequential([by_name, keras.layers.Dense(6)]), "ContinuousBernoulli")
    tfvae.Generator(by_name, "Poisson")


@pytest.mark.parametrize(
    ("likelihood", "units", "event_shape"),
    [("Normal", 8, (4,)), ("Bernoulli", 8, (8,)), ("ZeroInflatedNegativeBinomial", 9, (3,))],
)
def test_a_likelihood_by_name_takes_its_shape_from_the_decoder(
    likelihood: str, units: int, event_shape: tuple[int, ...]
) -> None:
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(units)])
    generator = tfvae.Generator(decoder, likelihood)
    assert generator.data_shape == event_shape
    assert generator.latent_shape == (2,)


def test_what_is_no_decoder() -> None:
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(7)])
    vae = tfvae.zoo.vae((6,), 2, hidden=(4,))
    with pytest.raises(TypeError, match=r"Expected `model` to be a tfvae\.VAE, .*Received: int"):
        generative(3, None, None)
    with pytest.raises(ExportError, match="Expected `likelihood` to say"):
        generative(decoder, None, None)
    with pytest.raises(ExportError, match="Expected a decoder that is built"):
        generative(keras.Sequential([keras.layers.Dense(7)]), None, "Bernoulli")
    with pytest.raises(ExportError, match="Expected no `prior`"):
        generative(vae, vae.prior, None)
    with pytest.raises(ValueError, match=r"emits 2 values for each value of x.*Received"):
        tfvae.Generator(decoder, "Normal")
    with pytest.raises(ValueError, match=r"`decoder` to map \[batch, 3\]"):
        tfvae.Generator(decoder, "Bernoulli", tfvae.priors.StandardNormal((3,)))
    z = keras.Input((2,))
    two = keras.Model(z, [keras.layers.Dense(7)(z), keras.layers.Dense(7)(z)])
    with pytest.raises(ValueError, match=r"a decoder with one output\. Received: one with 2"):
        tfvae.Generator(two, "Bernoulli")
    with pytest.raises(ValueError, match="Did you mean 'Bernoulli'"):
        tfvae.Generator(decoder, "Bernouli")
    with pytest.raises(TypeError, match="`prior` to be a tfvae prior"):
        tfvae.Generator(decoder, "Bernoulli", tfvae.layers.Normal((2,)))
    with pytest.raises(TypeError, match="`decoder` to be a Keras model"):
        tfvae.Generator(keras.layers.Dense(3), "Bernoulli")
