"""One contract for every objective, and bounds against an exact log p(x)."""

from __future__ import annotations

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from linear_gaussian import LinearGaussian

import tfvae
from tfvae.objectives import (
    CIWAE,
    DIP,
    ELBO,
    IWAE,
    MIWAE,
    MMD,
    PIWAE,
    VIMCO,
    Capacity,
    CodeNorm,
    Cyclical,
    LinearWarmup,
    Objective,
    Reconstruction,
    Renyi,
    ScoreFunction,
    TotalCorrelation,
    WeightedSum,
)

OBJECTIVES: dict[str, Objective] = {
    "elbo": ELBO(),
    "elbo_estimator_a": ELBO(samples=3, kl="monte_carlo"),
    "beta": ELBO(beta=4.0, samples=2),
    "warm_up": ELBO(beta=LinearWarmup(10, start=0.5, end=0.2)),
    "cyclical": ELBO(beta=Cyclical(6, ratio=0.8, cycles=2, start=0.2, end=0.1)),
    "free_bits": ELBO(free_bits=2.5, gradient="stl"),
    "free_bits_per_dimension": ELBO(free_bits=1.1, free_bits_per="dimension"),
    "stl": ELBO(samples=2, gradient="stl"),
    "reconstruction": Reconstruction(samples=2),
    "capacity": Reconstruction() + 2.0 * Capacity(LinearWarmup(20, start=1.0, end=3.0)),
    "iwae": IWAE(samples=5),
    "iwae_dreg": IWAE(samples=5, gradient="dreg"),
    "iwae_stl": IWAE(samples=5, gradient="stl"),
    "miwae": MIWAE(samples=6, groups=3),
    "ciwae": CIWAE(beta=0.3, samples=4),
    "piwae": PIWAE(samples=6, groups=2),
    "renyi": Renyi(alpha=0.5, samples=4),
    "renyi_upper": Renyi(alpha=-1.0, samples=4),
    "tc_weighted": ELBO() + 5.0 * TotalCorrelation(),
    "tc_stratified": ELBO() + TotalCorrelation("stratified", dataset_size=512),
    "dip_i": ELBO() + DIP(),
    "dip_ii": ELBO() + DIP(lambda_od=1.0, lambda_d=2.0, kind="ii"),
    "info_vae": ELBO(beta=0.5) + 20.0 * MMD(),
    "wae": Reconstruction() + 10.0 * MMD("imq", scales=(0.5, 1.0, 2.0)),
    "regularised": Reconstruction() + 0.1 * CodeNorm(),
    "score_function": ScoreFunction(samples=4),
    "score_function_batch": ScoreFunction(samples=1, baseline="batch"),
    "vimco": VIMCO(samples=4),
    "sum": ELBO(beta=0.5) + 0.1 * IWAE(samples=7),
}
every_objective = pytest.mark.parametrize("name", OBJECTIVES)


@every_objective
def test_one_loss_for_each_example(name: str) -> None:
    truth = LinearGaussian.random()
    objective = OBJECTIVES[name]
    loss = objective(truth.vae().trace(truth.sample(9), samples=objective.samples))
    assert loss.shape == (9,)
    assert loss.dtype == tf.float32
    assert np.all(np.isfinite(loss))


@pytest.mark.parametrize(
    "objective",
    [Capacity(3.0), TotalCorrelation(), DIP(), MMD()],
    ids=lambda o: type(o).__name__,
)
def test_quantities_of_a_batch_are_scalars(objective: Objective) -> None:
    truth = LinearGaussian.random()
    for batch in (1, 6):  # The last batch of an epoch may hold one example.
        loss = objective(truth.vae().trace(truth.sample(batch), samples=2))
        assert loss.shape == ()
        assert np.isfinite(loss)


@every_objective
def test_configuration_round_trip(name: str) -> None:
    objective = OBJECTIVES[name]
    config = keras.saving.serialize_keras_object(objective)
    assert keras.saving.deserialize_keras_object(json.loads(json.dumps(config))) == objective
    assert hash(objective) is not None


@every_objective
def test_training_lowers_the_loss(name: str) -> None:
    truth = LinearGaussian.random()
    vae = truth.vae(OBJECTIVES[name], error=1.0)
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    history = vae.fit(truth.sample(512).astype("float32"), epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


def test_compiled_by_xla_losses_and_gradients_are_the_same() -> None:
    truth = LinearGaussian.random()
    vae = truth.vae(error=0.6)
    x = tf.constant(truth.sample(12), tf.float32)
    weights = [w.value for w in vae.trainable_weights]
    # Compiling takes its time: these are computed as one of the others is.
    alike = {"elbo", "elbo_estimator_a", "beta", "stl", "iwae_stl", "reconstruction", "sum"}
    alike |= {"renyi_upper", "tc_weighted", "dip_i", "info_vae"}
    names = [name for name in OBJECTIVES if name not in alike]
    # TFP's draws from the prior differ between eager and compiled; all other noise is bit-equal.
    exact = [name for name in names if name != "wae"]

    def losses_and_gradients() -> tuple[dict[str, tf.Tensor], list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            trace = vae.trace(x, samples=7, seed=1)
            losses = {name: tf.reduce_mean(OBJECTIVES[name](trace)) for name in names}
            total = tf.add_n([losses[name] for name in exact])
        return losses, tape.gradient(total, weights)

    losses, gradients = losses_and_gradients()
    jitted = tf.function(losses_and_gradients, jit_compile=True)()
    for name in exact:
        np.testing.assert_allclose(jitted[0][name], losses[name], rtol=1e-5, err_msg=name)
    for ours, theirs in zip(jitted[1], gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    assert all(np.all(np.isfinite(value)) for value in tf.nest.flatten(jitted))


def test_the_same_value_whatever_the_gradient(float64: None) -> None:
    truth = LinearGaussian.random()
    trace = truth.vae(error=0.6).trace(truth.sample(20), samples=6)
    iwae = IWAE(samples=6)(trace)
    for same in (
        IWAE(samples=6, gradient="dreg"),
        IWAE(samples=6, gradient="stl"),
        PIWAE(samples=6, groups=3),
        VIMCO(samples=6),
        MIWAE(samples=6, groups=1),
        CIWAE(beta=0.0, samples=6),
        Renyi(alpha=0.0, samples=6),
    ):
        np.testing.assert_allclose(same(trace), iwae, rtol=1e-13, err_msg=repr(same))
    elbo = ELBO(kl="monte_carlo")(trace)
    for same in (
        ELBO(kl="monte_carlo", gradient="stl"),
        ScoreFunction(),
        ScoreFunction(baseline="batch"),
        MIWAE(samples=6, groups=6),
        CIWAE(beta=1.0, samples=6),
        Renyi(alpha=1.0, samples=6),
        Reconstruction() + 1.0 * ELBO(kl="monte_carlo") + -1.0 * Reconstruction(),
    ):
        np.testing.assert_allclose(same(trace), elbo, rtol=1e-12, err_msg=repr(same))
    np.testing.assert_array_equal(ELBO(gradient="stl")(trace), ELBO()(trace))
    np.testing.assert_allclose(CIWAE(0.3, 6)(trace), 0.3 * elbo + 0.7 * iwae, rtol=1e-13)
    by_hand = 0.5 * (IWAE(3)(_first(trace, 3)) + IWAE(3)(_first(trace, 3, last=True)))
    np.testing.assert_allclose(MIWAE(samples=6, groups=2)(trace), by_hand, rtol=1e-13)


def test_renyi_is_continuous_at_one_in_float32() -> None:
    truth = LinearGaussian.random()
    trace = truth.vae(error=0.6).trace(truth.sample(20), samples=6)
    elbo = Renyi(alpha=1.0)(trace)
    for alpha in (1 - 1e-3, 1 - 1e-6, 1 + 1e-6, 1 + 1e-3):
        np.testing.assert_allclose(Renyi(alpha=alpha)(trace), elbo, rtol=2e-3)


def test_bounds_are_bounds_where_theory_says_so(float64: None) -> None:
    truth = LinearGaussian.random()
    x = truth.sample(4)
    log_p = truth.log_marginal(x).mean()
    draws, shift = 60_000, 0.4
    trace = truth.vae(error=shift).trace(x, samples=draws)
    log_weight = tf.reshape(trace.log_weight, [12, draws // 12, 4])
    mean, error = {}, {}
    bounds = {
        "elbo": ELBO(kl="monte_carlo"),
        "iwae": IWAE(),
        "miwae": MIWAE(samples=12, groups=3),
        "ciwae": CIWAE(samples=12),
        "renyi_half": Renyi(alpha=0.5, samples=12),
        "renyi_two": Renyi(alpha=2.0, samples=12),
    }
    for name, objective in bounds.items():
        loss = objective(_of_log_weights(log_weight))
        each = -tf.reduce_mean(tf.reshape(loss, [-1, 4]), axis=1)
        mean[name], error[name] = np.mean(each), np.std(each) / np.sqrt(len(each))
        # The gaps are tens of standard errors wide.
        assert mean[name] < log_p - 5 * error[name], name
    order = ["renyi_two", "elbo", "ciwae", "iwae"]
    assert [mean[name] for name in order] == sorted(mean[name] for name in order)
    assert mean["elbo"] < mean["renyi_half"] < mean["iwae"]
    assert mean["elbo"] < mean["miwae"] < mean["iwae"]
    # The ELBO of a Gaussian posterior that is off by `shift` is KL(q || p(z|x)) below log p(x).
    d = shift * np.sqrt(np.sum(truth.w**2, axis=0) + truth.s**2) / truth.s
    assert abs(log_p - mean["elbo"] - np.sum(d**2) / 2) < 5 * error["elbo"]
    # Not bounds: below alpha = 0 with many samples, and below beta = 1 near the exact posterior.
    upper = -np.mean(Renyi(alpha=-1.0)(trace))
    # Of log w ~ N(log p - d²/2, d²) the Rényi bound is log p - alpha d²/2.
    np.testing.assert_allclose(upper, log_p + np.sum(d**2) / 2, rtol=0.02)
    assert upper > log_p
    exact = truth.vae().trace(x, samples=1000)
    assert -np.mean(ELBO(beta=0.5)(exact)) > log_p + 0.4 * np.mean(exact.kl)


def test_bounds_equal_log_p_at_the_exact_posterior(float64: None) -> None:
    truth = LinearGaussian.random()
    x = truth.sample(20)
    expected = -truth.log_marginal(x)
    for k in (1, 2, 5, 50):
        for objective in (ELBO(samples=k, kl="monte_carlo"), IWAE(samples=k)):
            loss = objective(truth.vae().trace(x, samples=k))
            np.testing.assert_allclose(loss, expected, atol=1e-6)
    # With its closed-form KL the ELBO is exact in expectation only: E_q[log p(x|z)] - KL.
    trace = truth.vae().trace(x, samples=20_000)
    each = trace.log_likelihood
    error = np.std(each, axis=0) / np.sqrt(20_000)
    # Twenty examples at 5 standard errors: a false alarm once in 90,000 choices of the seed.
    np.testing.assert_array_less(np.abs(ELBO()(trace) - expected), 5 * error)


def test_the_bound_rises_with_k_to_log_p(float64: None) -> None:
    truth = LinearGaussian.random()
    x = truth.sample(200)
    shift = 0.25
    vae = truth.vae(error=shift)
    bounds = {
        k: -np.stack([IWAE(samples=k)(vae.trace(x, samples=k, seed=s)) for s in range(20)])
        for k in (1, 4, 16, 256)
    }
    means = [np.mean(each) for each in bounds.values()]
    assert means == sorted(means)
    # A Gaussian posterior that is d standard deviations off has weights of variance
    # exp(d²) - 1, and the bound is half the variance over k below log p(x), to first order; the
    # next order is d² / k of it, and more. Of 4,000 bounds the mean gap has a relative standard
    # error of 2.2%, once the mean of the weights, which is p(x), is used as a control variate.
    d = shift * np.sqrt(np.sum(truth.w**2, axis=0) + truth.s**2) / truth.s
    off = bounds[256] - truth.log_marginal(x)
    expected = np.expm1(np.sum(d**2)) / (2 * 256)
    np.testing.assert_allclose(np.mean(np.expm1(off) - off), expected, rtol=0.15)


def test_iwae_at_k_1_is_the_monte_carlo_elbo(float64: None) -> None:
    truth = LinearGaussian.random()
    trace = truth.vae(error=0.6).trace(truth.sample(20))
    np.testing.assert_allclose(IWAE(samples=1)(trace), ELBO(kl="monte_carlo")(trace), atol=1e-12)


def test_beta_weighs_the_kl(float64: None) -> None:
    truth = LinearGaussian.random()
    trace = truth.vae(error=0.6).trace(truth.sample(20))
    difference = ELBO(beta=3.0)(trace) - ELBO()(trace)
    np.testing.assert_allclose(difference, 2 * trace.kl, atol=1e-12)


def test_objectives_add_and_scale(float64: None) -> None:
    truth = LinearGaussian.random()
    trace = truth.vae(error=0.6).trace(truth.sample(20), samples=4)
    total = 2 * (ELBO() + 0.5 * IWAE(samples=4)) + ELBO(beta=2.0)
    assert isinstance(total, WeightedSum)
    assert total.terms == ((2, ELBO()), (1, IWAE(samples=4)), (1, ELBO(beta=2.0)))
    assert total.samples == 4
    assert total.requires == {"reparameterised", "has_density"}
    by_hand = 2 * ELBO()(trace) + IWAE(samples=4)(trace) + ELBO(beta=2.0)(trace)
    np.testing.assert_allclose(total(trace), by_hand, atol=1e-12)
    with pytest.raises(TypeError):
        ELBO() + 3


def test_elbo_gradient_equals_tfps_distributions_by_hand(float64: None) -> None:
    tfd = tfp.distributions
    truth = LinearGaussian.random()
    vae = truth.vae(error=0.6)
    x = tf.constant(truth.sample(8))
    weights = [w.value for w in vae.trainable_weights]
    with tf.GradientTape() as tape:
        trace = vae.trace(x, seed=3)
        loss = tf.reduce_mean(ELBO()(trace))
    gradients = tape.gradient(loss, weights)
    noise = (trace.latents[0].z - trace.latents[0].posterior.mean()) / (
        trace.latents[0].posterior.stddev()
    )
    with tf.GradientTape() as tape:
        kernel, bias, out_kernel, out_bias = weights
        loc, raw = tf.split(x @ kernel + bias, 2, axis=-1)
        q = tfd.MultivariateNormalDiag(loc, tf.nn.softplus(raw) + 1e-4)
        z = loc + q.stddev() * tf.stop_gradient(noise[0])
        p = tfd.MultivariateNormalDiag(z @ out_kernel + out_bias, truth.s * tf.ones(5, tf.float64))
        prior = tfd.MultivariateNormalDiag(tf.zeros(2, tf.float64), tf.ones(2, tf.float64))
        by_hand = tf.reduce_mean(tfd.kl_divergence(q, prior) - p.log_prob(x))
    np.testing.assert_allclose(loss, by_hand, rtol=1e-12)
    for ours, theirs in zip(gradients, tape.gradient(by_hand, weights), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ELBO(beta=-1.0), "`beta`.*not negative"),
        (lambda: ELBO(beta=float("nan")), "`beta`"),
        (lambda: ELBO(beta="warm"), "`beta`.*finite number"),
        (lambda: ELBO(kl="exact"), "`kl`.*closed_form"),
        (lambda: ELBO(kl="monte-carlo"), 'Did you mean "monte_carlo"'),
        (lambda: ELBO(samples=0), "`samples`.*at least 1"),
        (lambda: ELBO(free_bits=-0.1), "`free_bits`.*not negative"),
        (lambda: ELBO(free_bits_per="dimensions"), 'Did you mean "dimension"'),
        (lambda: ELBO(free_bits_per="dimension", gradient="stl"), "`free_bits_per"),
        (lambda: ELBO(gradient="dreg"), "`gradient`.*plain.*stl"),
        (lambda: IWAE(samples=2.5), "`samples`.*whole number"),
        (lambda: IWAE(gradient="dregs"), 'Did you mean "dreg"'),
        (lambda: MIWAE(samples=5, groups=2), "`groups` to divide `samples`"),
        (lambda: PIWAE(samples=4, groups=0), "`groups`.*at least 1"),
        (lambda: CIWAE(beta=1.5), "`beta`.*from 0 to 1"),
        (lambda: Renyi(alpha=float("inf")), "`alpha`.*finite"),
        (lambda: Capacity(-3.0), "`capacity`.*not negative"),
        (lambda: TotalCorrelation("stratify"), 'Did you mean "stratified"'),
        (lambda: TotalCorrelation(dataset_size=0), "`dataset_size`.*at least 1"),
        (lambda: DIP(kind="iii"), "`kind`"),
        (lambda: DIP(lambda_d=-1.0), "`lambda_d`.*not negative"),
        (lambda: MMD("imk"), 'Did you mean "imq"'),
        (lambda: MMD(scales=()), "`scales`"),
        (lambda: MMD(scales=(1.0, 0.0)), "`scales`.*positive"),
        (lambda: ScoreFunction(samples=1), "`samples`.*at least 2"),
        (lambda: ScoreFunction(baseline="mean"), "`baseline`"),
        (lambda: VIMCO(samples=1), "`samples`.*at least 2"),
        (lambda: LinearWarmup(0), "`steps`.*at least 1"),
        (lambda: LinearWarmup(10, start=1.0), "from `start` to another `end`"),
        (lambda: LinearWarmup(10, end=-1.0), "`end`.*not negative"),
        (lambda: Cyclical(1), "`period`.*at least 2"),
        (lambda: Cyclical(10, ratio=0.0), "`ratio`"),
        (lambda: Cyclical(10, cycles=0), "`cycles`"),
        (lambda: float("nan") * ELBO(), "`weight`.*finite"),
        (lambda: WeightedSum(()), "`terms`"),
    ],
)
def test_bad_arguments(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_passes_that_an_objective_is_not_defined_for_are_refused() -> None:
    truth = LinearGaussian.random()
    trace = truth.vae().trace(truth.sample(3))
    with pytest.raises(ValueError, match="at least 8 posterior samples"):
        MIWAE(samples=8)(trace)
    with pytest.raises(ValueError, match="at least 2 posterior samples"):
        VIMCO()(trace)
    with pytest.raises(ValueError, match=r"dataset_size=\.\.\."):
        TotalCorrelation("stratified")(trace)
    deep = replace(trace, latents=(*trace.latents, *trace.latents))
    for objective in (MMD(), DIP(), TotalCorrelation()):
        with pytest.raises(ValueError, match=r"one group of latents.*Received: 2"):
            objective(deep)
    full = tfp.distributions.MultivariateNormalTriL(tf.zeros([3, 2]), tf.eye(2))
    with pytest.raises(TypeError, match=r"independent.*MultivariateNormalTriL"):
        TotalCorrelation()(replace(trace, latents=(replace(trace.latents[0], posterior=full),)))


def test_what_they_require_of_a_posterior() -> None:
    both = {"reparameterised", "has_density"}
    assert ELBO().requires == IWAE().requires == Renyi().requires == both
    assert PIWAE().requires == both
    everywhere = both | {"pointwise"}
    assert ELBO(gradient="stl").requires == IWAE(gradient="dreg").requires == everywhere
    assert ScoreFunction().requires == VIMCO().requires == {"has_density", "pointwise"}
    assert (Reconstruction() + MMD()).requires == {"reparameterised"}
    assert (ScoreFunction() + DIP()).requires == {"has_density", "pointwise"}


def _first(trace: tfvae.Trace, samples: int, last: bool = False) -> tfvae.Trace:
    latent = trace.latents[0]
    kept = latent.z[-samples:] if last else latent.z[:samples]
    return replace(trace, latents=(replace(latent, z=kept),))


def _of_log_weights(log_weight: tf.Tensor) -> tfvae.Trace:
    """Return a pass with given log weights [S, B, ...]: all of a weight is in the likelihood."""
    samples = log_weight.shape[0]
    flat = tf.reshape(log_weight, [samples, -1])
    tfd = tfp.distributions

    class Given(tfd.Deterministic):
        def log_prob(self, _: tf.Tensor) -> tf.Tensor:
            return self.loc

    zero = Given(tf.zeros_like(flat))
    latent = tfvae.Latent(tf.zeros_like(flat), zero, zero)
    return tfvae.Trace(x=flat[0], latents=(latent,), decode=lambda _: Given(flat))
