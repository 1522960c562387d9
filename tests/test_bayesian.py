"""Models with Bayesian layers: regression against its evidence, what weights cost, exports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from here import strangers_here
from scipy import special, stats

import tfvae
from tfvae import bayesian, random
from tfvae.bayesian import BayesianDense, sampling
from tfvae.bayesian.layers import layers_of
from tfvae.export import verification
from tfvae.export.endpoints import endpoints
from tfvae.export.errors import ExportError
from tfvae.export.manifest import Manifest
from tfvae.objectives import LinearWarmup

tfd = tfp.distributions

# A bound on z-scores: 5 standard errors have a false alarm once in 1.7 million.
Z = 5.0

# A linear regression y = X w + noise as a conditional VAE: latents that say nothing, and a decoder
# that is one Bayesian layer on the condition. Its bound's terms in z are exactly 0.


def regression(estimator: str, x: Any, noise: float, prior_scale: float) -> tfvae.VAE:
    z, given = keras.Input((1,)), keras.Input((x.shape[1],))
    layer = BayesianDense(
        1, use_bias=False, estimator=estimator, prior_scale=prior_scale, initial_scale=0.3,
        kernel_initializer="zeros", name="weights",
    )  # fmt: skip
    nothing = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", trainable=False)
    decoder = keras.Model([z, given], keras.layers.Add()([layer(given), nothing(z)]))
    y = keras.Input((1,))
    # [loc | raw] of the standard normal.
    constant = keras.layers.Dense(2, kernel_initializer="zeros", trainable=False)
    encoder = keras.Model(y, constant(y))
    constant.bias.assign([0.0, np.log(np.expm1(1 - 1e-4))])
    return tfvae.VAE(
        encoder,
        decoder,
        prior=tfvae.priors.StandardNormal((1,)),
        posterior=tfvae.layers.Normal((1,)),
        likelihood=tfvae.layers.Normal((1,), scale=noise),
    )


class Exact:
    """What is known of y ~ N(X w, noise^2 I), w ~ N(0, prior^2 I).

    The posterior is Normal with precision A = X'X / noise^2 + I / prior^2. The best q with a
    diagonal covariance has its mean, and the inverse of the diagonal of A for variances; its bound
    is below the evidence by KL(q‖p(w|y)) = (sum log A_ii - log det A) / 2.
    """

    def __init__(self, x: Any, y: Any, noise: float, prior: float) -> None:
        precision = x.T @ x / noise**2 + np.eye(x.shape[1]) / prior**2
        self.mean = np.linalg.solve(precision, x.T @ y / noise**2)
        self.scale = np.diag(precision) ** -0.5
        covariance = noise**2 * np.eye(len(x)) + prior**2 * x @ x.T
        self.evidence = float(stats.multivariate_normal.logpdf(y, np.zeros(len(y)), covariance))
        self.gap = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])


def trained(vae: tfvae.VAE, data: tuple[Any, Any], steps: int) -> dict[str, float]:
    """Take steps on all data, as one loop: a pass of `fit` would have one step. Return the logs."""
    vae.dataset_size = len(data[0])
    vae.optimizer.build(vae.trainable_variables)
    vae.reset_metrics()

    @tf.function(autograph=False)
    def run(batch: Any) -> None:
        tf.while_loop(
            lambda index: index < steps,
            lambda index: tf.where(vae.train_batch(batch), index + 1, steps),
            [0],
            parallel_iterations=1,
        )

    vae._functions.setdefault(("loop", steps), run)(data)
    return vae.logs()


@pytest.mark.parametrize(
    ("estimator", "correlated"),
    [
        ("local", True),
        pytest.param("local", False, marks=pytest.mark.slow),
        pytest.param("flipout", True, marks=pytest.mark.slow),
        ("flipout", False),
    ],
)
def test_regression_finds_the_exact_posterior_and_evidence(
    estimator: str, correlated: bool
) -> None:
    rng = np.random.default_rng(0)
    count, noise, prior = 64, 0.5, 2.0
    x = np.linalg.qr(rng.normal(size=(count, 3)))[0] * np.array([3.0, 6.0, 8.0])
    if correlated:
        x = x @ np.array([[1.0, 0.6, 0.0], [0.0, 1.0, 0.4], [0.0, 0.0, 1.0]])
    y = x @ rng.normal(size=3) + noise * rng.normal(size=count)
    exact = Exact(x, y, noise, prior)
    assert (exact.gap > 0.05) == correlated
    assert exact.gap == pytest.approx(0.0, abs=1e-12) or correlated
    vae = regression(estimator, x, noise, prior)
    data = y[:, None].astype("float32"), x.astype("float32")
    schedule = keras.optimizers.schedules.CosineDecay(0.05, 1500)
    vae.compile(keras.optimizers.Adam(schedule, beta_2=0.99))
    assert trained(vae, data, 1500)["kl"] == pytest.approx(0.0, abs=1e-5)
    layer = vae.decoder.get_layer("weights")
    # The noise that the decaying rate leaves, in posterior standard deviations: a twentieth.
    assert np.all(np.abs(layer.kernel.numpy()[:, 0] - exact.mean) < 0.1 * exact.scale)
    np.testing.assert_allclose(layer.scales()[0].numpy()[:, 0], exact.scale, rtol=0.1)

    # At the optimum itself the logged bound, times N, is the evidence but for the gap.
    layer.set_weights([exact.mean[:, None], np.log(np.expm1(exact.scale))[:, None]])
    vae.compile(keras.optimizers.SGD(0.0))
    bounds = count * np.array([trained(vae, data, 100)["elbo"] for _ in range(20)])
    error = bounds.std() / np.sqrt(len(bounds))
    assert abs(bounds.mean() - (exact.evidence - exact.gap)) < Z * error + 1e-3


def small(**options: Any) -> tfvae.VAE:
    return tfvae.zoo.bayesian_vae((6, 5), 2, hidden=(8,), initial_scale=0.1, **options)


def test_the_weights_are_paid_for_once_whatever_the_batch(binary_images: Any) -> None:
    kl = sum(float(layer.kl()) for layer in layers_of(small()))
    for batch in (15, 64):
        vae = small()
        vae.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
        logs = {
            name: values[0]
            for name, values in vae.fit(
                binary_images, batch_size=batch, epochs=1, verbose=0
            ).history.items()
        }
        assert logs["weight_kl"] == pytest.approx(kl, rel=1e-5)
        per_example = logs["log_likelihood"] - logs["kl"] - logs["elbo"]
        assert per_example == pytest.approx(kl / 64, rel=1e-4)
        assert logs["loss"] == pytest.approx(-logs["elbo"], rel=1e-5)
    # Weights of examples weigh these alone.
    weighted = vae.fit(
        binary_images, sample_weight=np.full(64, 3.0), batch_size=16, epochs=1, verbose=0
    ).history
    bound = weighted["log_likelihood"][0] - weighted["kl"][0]
    assert weighted["loss"][0] == pytest.approx(-3 * bound + kl / 64, rel=1e-4)
    # On other data the weights are given.
    held_out = vae.evaluate(binary_images, verbose=0, return_dict=True)
    assert held_out["elbo"] == pytest.approx(held_out["log_likelihood"] - held_out["kl"], rel=1e-5)
    assert held_out["loss"] == pytest.approx(-held_out["elbo"], rel=1e-5)
    assert held_out == vae.evaluate(binary_images, verbose=0, return_dict=True)


def test_the_weight_of_their_kl_can_rise(binary_images: Any) -> None:
    vae = small(weight_warmup=8)
    assert {layer.kl_weight for layer in layers_of(vae)} == {LinearWarmup(8)}
    vae.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    history = vae.fit(binary_images, batch_size=16, epochs=3, verbose=0).history
    kl = np.array(history["weight_kl"])
    extra = np.array(history["loss"]) + history["log_likelihood"] - np.array(history["kl"])
    # Steps 0 to 3, 4 to 7, and all after.
    np.testing.assert_allclose(extra / kl * 64, [1.5 / 8, 5.5 / 8, 1.0], rtol=1e-4)


@pytest.mark.slow
def test_streams_say_how_many_they_are(binary_images: Any) -> None:
    stream = tf.data.Dataset.from_tensor_slices(binary_images).batch(16)
    vae = small()
    vae.compile(keras.optimizers.SGD(0.0))
    with pytest.raises(ValueError, match="dataset_size=60_000"):
        vae.fit(stream, verbose=0)
    with pytest.raises(ValueError, match="`dataset_size`"):
        vae.fit(stream, verbose=0, dataset_size=0)
    for size in (64, 640):
        logs = vae.fit(stream, verbose=0, dataset_size=size).history
        share = logs["log_likelihood"][0] - logs["kl"][0] - logs["elbo"][0]
        assert share == pytest.approx(logs["weight_kl"][0] / size, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("jit", [False, True])
def test_a_run_repeats_whatever_its_chunks(binary_images: Any, jit: bool) -> None:
    weights = []
    for chunk in (1, 3):
        vae = small(bayesian="both", estimator="flipout")
        vae.compile("adam", steps_per_execution=chunk, jit_compile=jit)
        vae.fit(binary_images, batch_size=16, epochs=2, verbose=0)
        weights.append(vae.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_saved_models_go_on(binary_images: Any, tmp_path: Path) -> None:
    vae = small(learn_prior=True, weight_warmup=20)
    vae.compile("adam", run_eagerly=True)
    vae.fit(binary_images, epochs=2, verbose=0)
    vae.save(tmp_path / "vae.keras")
    loaded = tfvae.load_model(tmp_path / "vae.keras")
    for each in (vae, loaded):
        each.fit(binary_images, epochs=1, verbose=0)
    for ours, theirs in zip(vae.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_half_precision_trains(mixed_policy: str, binary_images: Any) -> None:
    for estimator in ("local", "flipout"):
        vae = small(estimator=estimator)
        assert all(
            scale.dtype == tf.float32 for layer in layers_of(vae) for scale in layer.scales()
        )
        vae.compile("adam", run_eagerly=True)
        before = [weight.numpy() for weight in vae.trainable_variables]
        logs = vae.fit(binary_images, batch_size=16, epochs=1, verbose=0).history
        assert np.isfinite(logs["loss"]).all()
        for weight, value in zip(vae.trainable_variables, before, strict=True):
            assert np.all(np.isfinite(weight.numpy()))
            assert np.any(weight.numpy() != value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: small(bayesian="encoder"), '"decoder" or "both"'),
        (lambda: bayesian.to_bayesian(keras.Sequential([keras.layers.Dense(2)])), "built"),
        (
            lambda: bayesian.to_bayesian(
                tfvae.networks.mlp_decoder((2,), (3,), hidden=(4,)), layers=["dense_2"]
            ),
            r"dense_1, params.*layers=\['dense_2'\]",
        ),
        (
            lambda: bayesian.to_bayesian(keras.Sequential([keras.Input((2,)), keras.layers.ELU()])),
            "of which there are none",
        ),
        (lambda: bayesian.draw(tfvae.zoo.vae((4,), 2, hidden=(4,)), 0), "has none. Convert"),
    ],
)  # fmt: skip
def test_bad_arguments(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_trace_keeps_its_weights(binary_images: Any) -> None:
    vae = small()
    with sampling(3):
        trace, within = vae.trace(binary_images), vae.trace(binary_images).log_likelihood
    # Asked for outside, where weights are their means.
    np.testing.assert_array_equal(trace.log_likelihood, within)
    np.testing.assert_array_equal(trace.detached.log_likelihood, within)
    assert np.all(vae.trace(binary_images).log_likelihood != within)


@keras.saving.register_keras_serializable("test")
class Subclassed(keras.Model):
    def __init__(self, bayesian: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.bayesian = bayesian
        self.layer = (BayesianDense if bayesian else keras.layers.Dense)(30, name="layer")
        self.shape = keras.layers.Reshape((6, 5))

    def call(self, z: Any) -> Any:
        return self.shape(self.layer(z))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bayesian": self.bayesian}


def test_subclassed_networks_make_their_own_layers() -> None:
    z = np.ones((3, 2), "float32")
    vae = tfvae.zoo.vae((6, 5), 2, hidden=(8,), decoder=Subclassed())
    np.testing.assert_array_equal(bayesian.mean(vae).decode(z).mean(), vae.decode(z).mean())
    drawn = bayesian.draw(vae, 3).decoder
    (layer,) = layers_of(vae.decoder)
    scores = np.ravel((drawn.layer.kernel.numpy() - layer.kernel.numpy()) / layer.scales()[0])
    assert stats.kstest(scores, "norm").pvalue > 1e-5
    plain = Subclassed(bayesian=False)
    plain(z)
    with pytest.raises(ValueError, match="makes layer itself"):
        bayesian.to_bayesian(plain)


def test_conversion_keeps_what_a_network_computes() -> None:
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, "tanh", name="inner")])
    z = keras.Input((2,))
    shared = keras.layers.Dense(4, name="shared")
    h = keras.layers.BatchNormalization()(shared(z) + shared(2 * z))
    network = keras.Model(z, keras.layers.Dropout(0.5)(inner(h)))
    x = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    network.set_weights([np.abs(w) + 0.3 for w in network.get_weights()])
    for names in (None, ["inner"]):
        twin = bayesian.to_bayesian(network, layers=names, initial_scale=0.1)
        assert [layer.name for layer in layers_of(twin)] == (names or ["shared", "inner"])
        np.testing.assert_array_equal(twin(x), network(x))
        plain = bayesian.mean(twin)
        assert not layers_of(plain)
        assert [w.name for w in plain.weights] == [w.name for w in network.weights]
        np.testing.assert_array_equal(plain(x), network(x))


def test_a_draw_is_one_of_the_posterior() -> None:
    vae = small(bayesian="both")
    vae.step.assign(7)
    one, again, other = (bayesian.draw(vae, seed) for seed in (3, 3, 4))
    for a, b in zip(one.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    scores = []
    for layer in layers_of(vae):
        network = "encoder" if layer in vae.encoder.layers else "decoder"
        twins = [getattr(each, network).get_layer(layer.name) for each in (one, other)]
        assert type(twins[0]) is keras.layers.Dense
        for index, (mean, scale) in enumerate(zip(layer.means, layer.scales(), strict=True)):
            scores += [
                np.ravel((twin.get_weights()[index] - mean.numpy()) / scale) for twin in twins
            ]
    # Kolmogorov and Smirnov's test, at a false alarm in 100,000; and independence of the two.
    assert stats.kstest(np.concatenate(scores), "norm").pvalue > 1e-5
    first, second = (np.concatenate(scores[i::2]) for i in (0, 1))
    assert abs(np.mean(first * second)) < Z / np.sqrt(len(first))
    # All else is the model's.
    assert int(one.step) == int(vae.step)
    z = np.ones((3, 2), "float32")
    np.testing.assert_array_equal(bayesian.mean(vae).decoder(z), vae.decoder(z))
    generator = tfvae.Generator(vae.decoder, vae.likelihood, name="digits")
    drawn = bayesian.draw(generator, 5)
    assert drawn.name == "digits"
    assert not np.array_equal(drawn.decoder(z), generator.decoder(z))
    assert type(drawn.likelihood) is type(vae.likelihood)


@pytest.mark.slow
def test_it_learns() -> None:
    data = tfvae.data.load("digits")
    train, test = data.train.values()[:768], data.test.values()
    vae = tfvae.zoo.bayesian_vae(
        train.shape[1:], 4, hidden=(32,), likelihood="ContinuousBernoulli", initial_scale=0.05
    )
    vae.compile(keras.optimizers.Adam(5e-3))
    history = vae.fit(train, epochs=20, verbose=0).history
    assert history["elbo"][-1] > history["elbo"][0] + 20
    held_out = vae.evaluate(test, verbose=0, return_dict=True)
    assert held_out["elbo"] > 60


def test_evaluation_over_draws_is_that_of_their_average(binary_images: Any) -> None:
    vae, x = small(), binary_images[:20]
    three = tfvae.evaluate.log_marginal(vae, x, 5, seed=7, weight_draws=3)
    drawn, alone = bayesian.mean(vae), []
    for key in (random.fold(7, number) for number in range(3)):
        drawn.set_weights(bayesian.draw(vae, key).get_weights())
        alone.append(tfvae.evaluate.log_marginal(drawn, x, 5, seed=key))
    assert not np.allclose(alone[0], alone[1], rtol=1e-3)
    np.testing.assert_allclose(three, special.logsumexp(alone, axis=0) - np.log(3), rtol=1e-6)
    with pytest.raises(ValueError, match="`weight_draws`"):
        tfvae.evaluate.log_marginal(vae, x, 5, weight_draws=-1)
    with pytest.raises(ValueError, match="has none"):
        tfvae.evaluate.log_marginal(bayesian.mean(vae), x, 5, weight_draws=2)


@pytest.mark.slow
def test_exports_are_of_the_means_or_of_a_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "strangers", strangers_here)
    vae = small(bayesian="both")
    vae.step.assign(1)
    # Neither the scales nor a random operation is in the graph of the means.
    for endpoint in endpoints(vae, ["decode", "encode"]):
        assert not any("raw_scale" in variable.name for variable in endpoint.variables)
    for seed in (None, 3):
        path = vae.export(tmp_path / "model", endpoints=["generate"], weight_seed=seed)
        manifest = Manifest.read(path)
        assert manifest.weight_seed == seed
        assert manifest.slots["decoder"]["parameters"] == (2 + 1) * 8 + (8 + 1) * 30
        truth = vae if seed is None else bayesian.draw(vae, seed)
        mean = tfvae.export.load(path).generate(seeds=[3, 4])["mean"]
        np.testing.assert_allclose(mean, truth.generate(seeds=[3, 4]).mean, atol=1e-5)


def test_seeds_of_exports_that_cannot_be(tmp_path: Path) -> None:
    plain = tfvae.zoo.vae((4,), 2, hidden=(4,))
    with pytest.raises(ExportError, match="no posterior"):
        plain.export(tmp_path / "plain", weight_seed=3)
    with pytest.raises(ExportError, match=r"weight_seed=1\.5"):
        small().export(tmp_path / "model", weight_seed=1.5)
    assert not list(tmp_path.iterdir())
