"""Bayesian layers: moments and gradients of what they draw, against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfvae.bayesian import BayesianConv2D, BayesianConv2DTranspose, BayesianDense, sampling
from tfvae.objectives import LinearWarmup

tfd = tfp.distributions

# Bounds on z-scores: 5 standard errors have a false alarm once in 1.7 million; where a test has
# hundreds of numbers, once in some thousand choices of its seed.
Z = 5.0

KINDS = {
    "dense": (lambda **options: BayesianDense(3, **options), (4,)),
    "sequence": (lambda **options: BayesianDense(3, **options), (2, 4)),
    "conv": (lambda **options: BayesianConv2D(3, 2, **options), (3, 3, 2)),
    "transposed": (lambda **options: BayesianConv2DTranspose(3, 2, 2, **options), (2, 2, 2)),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def made(kind: str, **options: Any) -> Any:
    """Return a layer with all means and scales apart, and inputs [2, ...]."""
    make, shape = KINDS[kind]
    layer = make(**options)
    x = np.random.default_rng(1).normal(size=(2, *shape)).astype("float32")
    layer(x)
    rng = np.random.default_rng(2)
    for weight in layer.weights:
        raw = "raw" in weight.name
        weight.assign(
            rng.uniform(-2.0, 0.5, weight.shape) if raw else rng.normal(size=weight.shape)
        )
    return layer, x


def moments(layer: Any, x: Any) -> tuple[Any, Any]:
    """Return mean and covariance of the flat outputs of each row, by the weights' Jacobian.

    The layers are linear in their weights, so that both are exact.
    """
    with tf.GradientTape(persistent=True) as tape:
        mean = layer(x)
    means = layer.means
    variances = np.concatenate([np.ravel(scale) ** 2 for scale in layer.scales()])
    jacobian = np.concatenate(
        [
            np.reshape(each, (*mean.shape, -1))
            for each in tape.jacobian(
                mean, [each.value for each in means], experimental_use_pfor=False
            )
        ],
        axis=-1,
    ).reshape(len(x), -1, len(variances))
    return mean.numpy().reshape(len(x), -1), np.einsum(
        "bip,p,bjp->bij", jacobian, variances, jacobian
    )


def draws(layer: Any, x: Any, count: int, batch: int = 2, samples: int = 1) -> Any:
    """Return outputs of passes with seeds 0, 1, ..., [count, B, ...], in one compiled loop."""

    @tf.function(autograph=False)
    def run(x: tf.Tensor) -> tf.Tensor:
        def one(seed: tf.Tensor) -> tf.Tensor:
            with sampling(seed, batch=batch, samples=samples):
                return layer(x)

        return tf.map_fn(one, tf.range(count, dtype=tf.int64), fn_output_signature=tf.float32)

    return run(tf.constant(x)).numpy()


@pytest.mark.parametrize(
    ("kind", "estimator"),
    [
        ("dense", "local"),
        ("conv", "flipout"),
        *(
            pytest.param(kind, "flipout", marks=pytest.mark.slow)
            for kind in ("dense", "sequence", "transposed")
        ),
    ],
)
def test_outputs_have_the_moments_of_the_weights(kind: str, estimator: Any) -> None:
    layer, x = made(kind, estimator=estimator)
    count = 4000
    mean, covariance = moments(layer, x)
    drawn = draws(layer, x, count).reshape(count, len(x), -1) - mean
    variance = np.einsum("bii->bi", covariance)
    # An average of draws: its standard error is sigma / sqrt(n).
    assert np.all(np.abs(drawn.mean(axis=0)) < Z * np.sqrt(variance / count))
    # The product of two outputs of an example; of Normal draws it has this variance. Flipout's
    # are Normal for one example.
    second = np.einsum("nbi,nbj->bij", drawn, drawn) / count
    spread = np.einsum("bi,bj->bij", variance, variance) + covariance**2
    assert np.all(np.abs(second - covariance) < Z * np.sqrt(spread / count))
    # Examples are not correlated, whatever they share. The product of two that have one
    # perturbation has a kurtosis of up to 9 times the variances' product.
    across = np.einsum("ni,nj->ij", drawn[:, 0], drawn[:, 1]) / count
    assert np.all(np.abs(across) < Z * np.sqrt(9 * np.outer(variance[0], variance[1]) / count))


@pytest.mark.parametrize(
    "kind",
    ["sequence", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("conv", "transposed"))],
)
def test_local_noise_of_shared_weights_has_their_variance_alone(kind: str) -> None:
    layer, x = made(kind, estimator="local")
    count = 2000
    mean, covariance = moments(layer, x)
    drawn = draws(layer, x, count).reshape(count, len(x), -1) - mean
    variance = np.einsum("bii->bi", covariance)
    assert np.all(np.abs(drawn.mean(axis=0)) < Z * np.sqrt(variance / count))
    # Of the square of a Normal the variance is twice the squared variance.
    error = np.abs((drawn**2).mean(axis=0) - variance)
    assert np.all(error < Z * np.sqrt(2 * variance**2 / count))


def test_without_signs_examples_would_be_correlated() -> None:
    # What the test of moments would not let pass: one draw of weights for the whole batch.
    layer, x = made("dense")
    x[1] = x[0]
    both = draws(layer, x, 50, batch=1, samples=2)
    np.testing.assert_array_equal(both[:, 0], both[:, 1])


@every_kind
def test_flipout_draws_weights(kind: str) -> None:
    """All samples of an example meet the same weights: outputs are linear in inputs, exactly."""
    layer, x = made(kind, use_bias=False)
    other = np.random.default_rng(5).normal(size=x.shape).astype("float32")
    rows = np.concatenate([x, other, 2 * x - other])
    with sampling(3, batch=2, samples=3):
        one, two, both = np.split(layer(rows), 3)
    np.testing.assert_allclose(both, 2 * one - two, rtol=1e-4, atol=1e-4)
    assert np.all(np.abs(one - layer(x)) > 0)


@every_kind
def test_a_part_of_a_batch_has_the_draws_of_the_whole(kind: str) -> None:
    for estimator in ("local", "flipout"):
        layer, _ = made(kind, estimator=estimator)
        x = np.random.default_rng(5).normal(size=(3, 7, *KINDS[kind][1])).astype("float32")

        def flat(rows: Any) -> Any:
            return rows.reshape(-1, *rows.shape[2:])

        with sampling(3, batch=7, samples=3):
            whole = layer(flat(x)).numpy().reshape(3, 7, -1)
        unknown = of_unknown_size(layer, KINDS[kind][1])
        for start, stop in ((0, 2), (2, 7), (6, 7)):
            part = flat(x[:, start:stop])
            position = tf.constant(start, tf.int64)
            with sampling(3, batch=stop - start, samples=3, position=position):
                drawn = layer(part).numpy()
            np.testing.assert_allclose(
                drawn.reshape(3, stop - start, -1), whole[:, start:stop], rtol=1e-5, atol=1e-5
            )
            again = unknown(part, stop - start, position)
            np.testing.assert_allclose(again, drawn, rtol=1e-5, atol=1e-5)


def of_unknown_size(layer: Any, shape: tuple[int, ...]) -> Any:
    """Return a pass in a graph that does not know sizes, as those of a stream's batches."""
    kinds = (
        [tf.TensorSpec([None, *shape])],
        tf.TensorSpec([], tf.int32),
        tf.TensorSpec([], "int64"),
    )

    @tf.function(autograph=False, input_signature=tf.nest.flatten(kinds))
    def run(rows: tf.Tensor, batch: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        with sampling(3, batch=batch, samples=3, position=position):
            return layer(rows)

    return run


def test_rows_that_are_no_examples_have_draws_too() -> None:
    layer, _ = made("dense", estimator="flipout")
    x = np.ones((5, 4), "float32")
    with sampling(0, batch=3):
        five = layer(x)
    with sampling(0, batch=8):
        np.testing.assert_array_equal(five[:3], layer(x)[:3])
    assert five.shape == (5, 3)


@pytest.mark.parametrize("learn_prior", [False, True])
def test_kl_is_that_of_the_distributions(learn_prior: bool) -> None:
    layer, _ = made("conv", prior_scale=0.7, learn_prior=learn_prior)
    scale = 0.7
    if learn_prior:
        layer.log_prior_scale.assign(0.3)
        scale = np.exp(0.3)
    expected = sum(
        np.sum(tfd.kl_divergence(tfd.Normal(mean.value, each), tfd.Normal(0.0, np.float32(scale))))
        for mean, each in zip(layer.means, layer.scales(), strict=True)
    )
    np.testing.assert_allclose(layer.kl(), expected, rtol=1e-5)


def test_the_best_learned_prior_has_the_weights_mean_square() -> None:
    # d KL / d log s = n - sum (mu^2 + sigma^2) / s^2.
    layer, _ = made("dense", learn_prior=True)
    squares = np.concatenate(
        [
            np.ravel(scale) ** 2 + np.ravel(mean.numpy()) ** 2
            for mean, scale in zip(layer.means, layer.scales(), strict=True)
        ]
    )
    for log_scale in (0.5 * np.log(squares.mean()), 0.1):
        layer.log_prior_scale.assign(log_scale)
        with tf.GradientTape() as tape:
            kl = layer.kl()
        slope = tape.gradient(kl, layer.log_prior_scale.value)
        expected = len(squares) - squares.sum() * np.exp(-2 * log_scale)
        np.testing.assert_allclose(slope, expected, atol=1e-4)


@pytest.mark.parametrize("estimator", ["local", "flipout"])
def test_gradients_are_unbiased(estimator: Any) -> None:
    r"""Of E sum (y - t)^2 / 2 they are known: by mu, X'(X mu - t); by sigma, sigma sum x^2."""
    layer, x = made("dense", estimator=estimator, use_bias=False)
    target = np.random.default_rng(9).normal(size=(2, 3)).astype("float32")
    kernel, raw = layer.weights
    sigma = layer.scales()[0].numpy()
    count = 4000

    @tf.function(autograph=False)
    def gradients() -> Any:
        def one(seed: tf.Tensor) -> Any:
            with tf.GradientTape() as tape, sampling(seed):
                loss = 0.5 * tf.reduce_sum((layer(x) - target) ** 2)
            return tuple(tape.gradient(loss, [kernel.value, raw.value]))

        kinds = (tf.float32, tf.float32)
        return tf.map_fn(one, tf.range(count, dtype=tf.int64), fn_output_signature=kinds)

    by_mean, by_raw = (each.numpy() for each in gradients())
    slope = 1 - np.exp(-sigma)  # of sigma = softplus(raw)
    truths = (
        x.T @ (x @ kernel.numpy() - target),
        sigma * (x**2).sum(axis=0)[:, None] * slope,
    )
    for each, truth in zip((by_mean, by_raw), truths, strict=True):
        error = np.abs(each.mean(axis=0) - truth)
        assert np.all(error < Z * each.std(axis=0) / np.sqrt(count))


def test_units_without_inputs_have_finite_gradients() -> None:
    layer = BayesianDense(2, use_bias=False, estimator="local")
    x = tf.zeros([3, 4])
    layer(x)
    with tf.GradientTape() as tape, sampling(0):
        loss = tf.reduce_sum(layer(x))
    for gradient in tape.gradient(loss, layer.trainable_variables):
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


@every_kind
def test_configurations_are_whole(kind: str) -> None:
    options = {
        "estimator": "flipout", "prior_scale": 0.3, "learn_prior": True, "initial_scale": 0.2,
        "kl_weight": LinearWarmup(5),
    }  # fmt: skip
    layer, x = made(kind, activation="tanh", **options)
    config = layer.get_config()
    assert config.items() >= {k: v for k, v in options.items() if k != "kl_weight"}.items()
    twin = type(layer).from_config(config)
    assert twin.kl_weight == LinearWarmup(5)
    twin(x)
    twin.set_weights(layer.get_weights())
    with sampling(1):
        one = layer(x)
    with sampling(1):
        np.testing.assert_array_equal(one, twin(x))
    np.testing.assert_array_equal(layer.kl(), twin.kl())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimator": "locale"}, 'Did you mean "local"'),
        ({"prior_scale": 0.0}, "`prior_scale` to be more than 0"),
        ({"initial_scale": -1.0}, "`initial_scale`"),
        ({"kl_weight": -1.0}, "`kl_weight`"),
    ],
)
def test_bad_arguments(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BayesianDense(3, **options)


def test_draws_without_a_seed_or_for_ever_are_refused() -> None:
    layer, x = made("dense")
    with pytest.raises(RuntimeError, match=r"with tfvae\.bayesian\.sampling\(seed\)"):
        layer(x, training=True)
    compiled = tf.function(layer.__call__, autograph=False)
    with sampling(0), pytest.raises(RuntimeError, match="inside the compiled function"):
        compiled(x)
    np.testing.assert_allclose(compiled(x), layer(x), rtol=1e-6)
