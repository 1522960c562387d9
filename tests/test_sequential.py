"""Deep Markov models: against the Kalman filter and smoother, alone and in ragged batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from state_space import StateSpace

import tfvae
from tfvae import objectives, sequences, zoo
from tfvae.families import Markov, Repeated, SequentialVAE, Structured
from tfvae.families.scan import scan

TRUTH = StateSpace()
# Sums of some hundred terms of order 10 in float64.
EXACT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}


def ragged(x: Any, lengths: Any) -> Any:
    return np.where((np.arange(x.shape[1]) < np.asarray(lengths)[:, None])[..., None], x, 0.0)


def test_at_the_exact_posterior_every_weight_is_the_kalman_filter_s(float64: None) -> None:
    vae, x = TRUTH.vae(), TRUTH.sample(6)
    trace = vae.trace(x, samples=5, seed=3)
    exact = TRUTH.lgssm().log_prob(x)
    np.testing.assert_allclose(trace.log_weight, np.tile(exact, (5, 1)), **EXACT)
    # The KL of each step is in closed form given the draw before, and so is no estimate of a
    # single draw: at the mean over draws it is that of the Monte Carlo estimate.
    many = vae.trace(x, samples=4000, seed=1)
    error = np.std(many.latents[0].log_posterior - many.latents[0].log_prior, axis=0)
    difference = np.abs(many.kl - many.kl_monte_carlo)
    # 5 standard errors of the one that varies more: at 6 values a false alarm in 300,000.
    assert np.all(difference < 5 * 2**0.5 * error / 4000**0.5)
    np.testing.assert_allclose(tf.reduce_sum(vae.kl_per_step(trace), -1), trace.kl, **EXACT)
    assert trace.latents[0].has_closed_form_kl


def test_the_path_of_means_is_the_smoother_s(float64: None) -> None:
    vae, x = TRUTH.vae(), TRUTH.sample(6)
    params, _ = vae.features(tf.constant(x), None)
    means, _ = TRUTH.lgssm().posterior_marginals(x)
    np.testing.assert_allclose(vae.posterior.mean(params), means, **EXACT)
    np.testing.assert_allclose(vae.reconstruct(x), means * np.array(TRUTH.w) + TRUTH.b, **EXACT)


def test_what_was_not_observed_is_marginalised(float64: None) -> None:
    vae, x = TRUTH.vae(), TRUTH.sample(5)
    values = np.random.default_rng(0).random(x.shape) < 0.6
    values[0, -3:], values[1, 2] = False, False
    trace = vae.trace(x, samples=3, seed=1, mask=values)
    exact = TRUTH.log_prob_of_observed(x, values)
    np.testing.assert_allclose(trace.log_weight, np.tile(exact, (3, 1)), **EXACT)
    # What stands in its place is not looked at.
    other = vae.trace(np.where(values, x, 99.0), samples=3, seed=1, mask=values)
    np.testing.assert_array_equal(other.log_weight, trace.log_weight)
    np.testing.assert_array_equal(vae.kl_per_step(trace)[0, -3:], 0.0)
    steps = values.any(axis=-1)
    masked = vae.trace(x, samples=3, seed=1, mask=steps)
    filtered = TRUTH.lgssm().log_prob(x, mask=~steps)
    np.testing.assert_allclose(masked.log_weight, np.tile(filtered, (3, 1)), **EXACT)


def test_lengths_cut_a_sequence_off(float64: None) -> None:
    vae, lengths = TRUTH.vae(), np.array([7, 4, 1])
    x = ragged(TRUTH.sample(3), lengths)
    trace = vae.trace(x, samples=2, seed=1, mask=lengths)
    exact = [TRUTH.lgssm(n).log_prob(row[:n]) for row, n in zip(x, lengths, strict=True)]
    np.testing.assert_allclose(trace.log_weight, np.tile(exact, (2, 1)), **EXACT)
    np.testing.assert_array_equal(trace.latents[0].z[:, 1, 4:], 0.0)
    scores = vae.score(x, samples=2, observed=lengths)
    np.testing.assert_allclose(scores.log_marginal, exact, **EXACT)
    result = tfvae.evaluate.evaluate(vae, x, samples=3, condition=lengths)
    np.testing.assert_allclose(result.log_marginal, np.mean(exact), **EXACT)
    # Per value of x, of which there are two a step.
    bits = -np.sum(exact) / np.log(2) / (2 * lengths.sum())
    np.testing.assert_allclose(result.bits_per_dim, bits, **EXACT)


def test_forecasts_are_the_kalman_filter_s(float64: None) -> None:
    vae, lengths = TRUTH.vae(), np.array([7, 3])
    x, samples, steps = ragged(TRUTH.sample(2), lengths), 20_000, 9
    drawn = vae.forecast(x, steps, observed=lengths, samples=samples, seed=5)
    assert drawn.sample.shape == (samples, 2, steps, 2)
    a, c, q = TRUTH.transition
    for row, n in enumerate(lengths):
        _, _, _, means, covariances, *_ = TRUTH.lgssm(int(n)).forward_filter(x[row, :n])
        # The filter's next step is predicted: of the last one.
        mean, variance = float(means[-1, 0]), float(covariances[-1, 0, 0])
        for t in range(steps):
            error = 5 * np.sqrt(variance / samples)
            expected = mean * np.array(TRUTH.w) + TRUTH.b
            # 5 standard errors: of 36 values a false alarm in 48,000.
            assert np.all(np.abs(np.mean(drawn.mean[:, row, t], 0) - expected) < error), (row, t)
            spread = variance * np.array(TRUTH.w) ** 2 + TRUTH.s**2
            ratio = np.var(drawn.sample[:, row, t], axis=0) / spread
            # Of a variance the relative standard error is √(2/n).
            assert np.all(np.abs(ratio - 1) < 5 * np.sqrt(2 / samples)), (row, t)
            mean, variance = a * mean + c, a**2 * variance + q**2


def test_imputations_are_the_smoother_s(float64: None) -> None:
    vae, x, samples = TRUTH.vae(), TRUTH.sample(2), 20_000
    steps = np.ones((2, 7), bool)
    steps[0, 2:4], steps[1, 5:] = False, False
    drawn = vae.impute(x, steps, samples=samples, seed=3)
    _, covariances = TRUTH.lgssm().posterior_marginals(x, mask=~steps)
    means, _ = TRUTH.lgssm().posterior_marginals(x, mask=~steps)
    for row, t in zip(*np.nonzero(~steps), strict=True):
        error = 5 * np.sqrt(float(covariances[row, t, 0, 0]) / samples)
        expected = float(means[row, t, 0]) * np.array(TRUTH.w) + TRUTH.b
        # 5 standard errors: of 8 values a false alarm in 200,000.
        assert np.all(np.abs(np.mean(drawn.mean[:, row, t], 0) - expected) < error), (row, t)
    for row, t in zip(*np.nonzero(steps), strict=True):
        np.testing.assert_array_equal(drawn.sample[:, row, t], np.tile(x[row, t], (samples, 1)))


def test_of_what_nothing_is_known_the_chain_itself_is_drawn(float64: None) -> None:
    vae, x, seed = TRUTH.vae(), TRUTH.sample(2), tf.constant([4, 5], tf.int64)
    drawn = vae.impute_rows(tf.constant(x), seed, tf.zeros([2, 7]), samples=3)
    path = vae.prior.transform(vae._row_noise(seed, 3))
    np.testing.assert_allclose(
        drawn.mean, np.transpose(path, [1, 0, 2, 3]) * np.array(TRUTH.w) + TRUTH.b, **EXACT
    )


def test_the_chain_draws_what_it_is(float64: None) -> None:
    prior = TRUTH.vae().prior
    z = prior(None).sample(20_000, seed=[1, 2])
    variance = TRUTH.initial[1] ** 2
    for t in range(TRUTH.steps):
        if t:
            variance = TRUTH.transition[0] ** 2 * variance + TRUTH.transition[2] ** 2
        assert abs(np.var(z[:, t]) / variance - 1) < 5 * np.sqrt(2 / 20_000)
    n, (a, c, q), (m, p) = tfvae.layers.base.tfd.Normal, TRUTH.transition, TRUTH.initial
    expected = n(np.float64(m), p).log_prob(z[:, 0]) + tf.reduce_sum(
        n(a * z[:, :-1] + c, q).log_prob(z[:, 1:]), axis=1
    )
    np.testing.assert_allclose(prior(None).log_prob(z), expected[:, 0], **EXACT)


def test_long_paths_stay_where_they_are_drawn_before_training() -> None:
    vae = zoo.deep_markov_model((200, 1), 4, hidden=(16,), units=4, likelihood="Normal")
    noise = tf.constant(np.random.default_rng(0).normal(size=(20, 200, 4)), tf.float32)
    z = tf.function(vae.prior.transform, autograph=False)(noise)
    # Each step keeps a part of the one before and adds noise of ln 2: some multiple of that.
    assert np.std(z) < 3.0


SLOW_CHAIN = StateSpace(transition=(0.95, 0.1, 0.3), s=0.8)


def test_learns_that_steps_follow_each_other() -> None:
    truth = SLOW_CHAIN
    test = truth.sample(500, seed=2)
    exact = np.asarray(truth.lgssm().log_prob(test))
    # What the best model of independent steps reaches: the truth's own distribution of each.
    mean, covariance = truth.joint()
    alone = [slice(2 * t, 2 * t + 2) for t in range(truth.steps)]
    independent = sum(
        stats.multivariate_normal(mean[each], covariance[each, each]).logpdf(test[:, t])
        for t, each in enumerate(alone)
    )
    vae = zoo.deep_markov_model(
        (7, 2), 1, hidden=(8,), units=8, direction="backward",
        likelihood=tfvae.layers.Normal((2,), scale="learned"),
    )  # fmt: skip
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    vae.fit(truth.sample(2000, seed=1), epochs=5, batch_size=50, verbose=0)
    bound = tfvae.evaluate.log_marginal(vae, test, samples=20)
    # Half of what there is to be known of a step from the others, and no more than all of it: of
    # a difference whose mean is negative, 4 standard errors above 0 is one time in 30,000.
    assert np.mean(bound) > np.mean(independent) + 0.5 * np.mean(exact - independent)
    difference = bound - exact
    assert np.mean(difference) < 4 * np.std(difference) / np.sqrt(len(test))


@pytest.mark.slow
def test_learned_inference_approaches_the_filter_and_the_smoother() -> None:
    truth = SLOW_CHAIN
    vae = zoo.deep_markov_model(
        (7, 2), 1, hidden=(32,), units=32, likelihood=tfvae.layers.Normal((2,), scale=truth.s)
    )
    slots = truth.slots()
    vae = SequentialVAE(
        vae.encoder, slots["decoder"], prior=slots["prior"], posterior=vae.posterior,
        likelihood=slots["likelihood"],
    )  # fmt: skip
    vae.decoder.trainable = vae.prior.trainable = False
    test = truth.sample(500, seed=2).astype("float32")
    exact = np.asarray(truth.lgssm().log_prob(test.astype("float64")))
    vae.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, 1600)),
        jit_compile=False,
    )
    vae.fit(truth.sample(4000, seed=1).astype("float32"), epochs=40, batch_size=100, verbose=0)
    result = tfvae.evaluate.evaluate(vae, test, samples=100)
    # Both bounds lie below, the importance weighted one nearer; what is left of it is a tenth of
    # a nat and of the ELBO's less than a quarter.
    assert result.elbo < result.log_marginal < np.mean(exact) + 0.02
    assert result.log_marginal > np.mean(exact) - 0.1
    assert result.elbo > np.mean(exact) - 0.25
    means, covariances = truth.lgssm().posterior_marginals(test.astype("float64"))
    error = np.asarray(vae.moments(tf.constant(test))[0]) - means
    # A fifth of what the data leave unknown.
    assert np.sqrt(np.mean(error**2)) < 0.2 * np.sqrt(np.mean(covariances))


def small(shape: tuple[int, ...] = (6, 3), **options: Any) -> SequentialVAE:
    options = {
        "hidden": (4,), "units": 4, "direction": "backward", "likelihood": "Normal",
    } | options  # fmt: skip
    return zoo.deep_markov_model(shape, 2, **options)


@pytest.fixture(scope="module")
def model() -> SequentialVAE:
    return small()


def walks(count: int = 32, shape: tuple[int, ...] = (6, 3), seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(count, *shape)).cumsum(axis=1)


@pytest.mark.parametrize("options", [{"direction": "both"}, {"cell": "lstm"}])
def test_a_padded_batch_is_each_sequence_alone(options: Any, float64: None) -> None:
    vae, lengths = small(**options), np.array([6, 2, 5])
    x = ragged(walks(3), lengths)
    noise = np.random.default_rng(1).normal(size=(4, 3, 6, 2))
    whole = vae.trace(x, mask=lengths, noise=tf.constant(noise))
    # The same networks, cut to the length: a model of that many steps.
    for row, n in enumerate(lengths):
        alone = small((int(n), 3), **options)
        alone.set_weights(vae.get_weights())
        trace = alone.trace(x[row : row + 1, :n], noise=tf.constant(noise[:, row : row + 1, :n]))
        for term in ("log_likelihood", "log_prior", "log_posterior", "log_weight"):
            ours = getattr(whole, term)[:, row]
            np.testing.assert_allclose(ours, getattr(trace, term)[:, 0], **EXACT)
        np.testing.assert_allclose(whole.kl[row], trace.kl[0], **EXACT)


def test_every_objective_trains_it(float64: None) -> None:
    o = objectives
    x, lengths = ragged(walks(8), [6] * 4 + [3] * 4), np.array([6] * 4 + [3] * 4)
    for objective in (
        o.ELBO(free_bits=0.5),
        o.ELBO(free_bits=0.1, free_bits_per="dimension"),
        o.ELBO(gradient="stl", samples=2),
        o.IWAE(samples=3),
        o.ELBO(kl="monte_carlo") + 0.1 * o.Reconstruction(),
    ):
        vae = small(objective=objective)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(objective(vae.trace(x, objective.samples, 1, mask=lengths)))
        for weight, gradient in zip(
            vae.trainable_variables, tape.gradient(loss, vae.trainable_variables), strict=True
        ):
            assert gradient is not None, weight.path
            assert np.all(np.isfinite(gradient)), weight.path


def test_sticking_the_landing_vanishes_at_the_exact_posterior(float64: None) -> None:
    vae, x = TRUTH.vae(), TRUTH.sample(4)
    params = tf.Variable(vae.features(tf.constant(x), None)[0])
    noise = tf.constant(np.random.default_rng(0).normal(size=(2, 4, 7, 1)))
    with tf.GradientTape() as tape:
        z = vae.posterior.transform(noise, params)
        latent = tfvae.Latent(z, vae.prior(None), vae.posterior(params))
        trace = tfvae.Trace(tf.constant(x), (latent,), lambda draws: vae.decode(draws[0]))
        loss = tf.reduce_sum(objectives.ELBO(gradient="stl", kl="monte_carlo")(trace))
    # Of log p(x, z) - log q(z|x), constant in z, there is no path derivative.
    np.testing.assert_allclose(tape.gradient(loss, params), 0.0, atol=1e-10)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_loop_over_steps_runs_either_way(reverse: bool) -> None:
    values = np.random.default_rng(0).integers(-9, 9, (2, 5, 3)).astype("float32")
    order = -1 if reverse else 1
    sums = np.cumsum(values[:, ::order], axis=1)[:, ::order]

    @tf.function(autograph=False)
    def summed(x: tf.Tensor) -> Any:
        start = tf.zeros_like(x[:, 0])
        with tf.GradientTape() as tape:
            tape.watch(x)
            whole = scan(lambda s, now: (s[0] + now[0],), (start,), [x], reverse=reverse)
            # Of whole numbers, which floats hold: exact.
            total = tf.reduce_sum(whole * tf.range(1.0, 6.0)[:, None])
        return whole, tape.gradient(total, x)

    whole, gradient = summed(tf.constant(values))
    np.testing.assert_array_equal(whole, sums)
    # Of what comes later in the loop, a step is a part.
    weights = np.arange(1.0, 6.0)
    later = np.cumsum(weights) if reverse else np.cumsum(weights[::-1])[::-1]
    np.testing.assert_array_equal(gradient, np.tile(later[:, None], (2, 1, 3)))


def test_trains_and_is_saved(tmp_path: Path) -> None:
    lengths = np.random.default_rng(0).integers(1, 7, 32)
    x = ragged(walks(), lengths).astype("float32")
    vae = small()
    vae.compile(keras.optimizers.Adam(1e-2))
    history = vae.fit(x, lengths, epochs=3, batch_size=8, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    vae.save(tmp_path / "vae.keras")
    loaded = tfvae.load_model(tmp_path / "vae.keras")
    assert isinstance(loaded, SequentialVAE)
    assert (loaded.ragged, loaded.latent_shape) == (True, (6, 2))
    for ours, theirs in zip(vae.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    mean = vae.reconstruct(x, observed=lengths)
    for other in (
        loaded.reconstruct(x, observed=lengths),
        vae.predict(x, observed=lengths, verbose=0),
    ):
        np.testing.assert_allclose(other, mean, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_loaded_model_goes_on_as_if_never_saved(tmp_path: Path) -> None:
    lengths = np.random.default_rng(0).integers(1, 7, 32)
    x = ragged(walks(), lengths).astype("float32")
    vae = small()
    history = vae.fit(x, lengths, epochs=1, verbose=0, validation_data=(x, lengths)).history
    assert np.isfinite(history["val_elbo"][-1])
    vae.save(tmp_path / "vae.keras")
    loaded = tfvae.load_model(tmp_path / "vae.keras")
    for each in (vae, loaded):
        each.fit(x, lengths, epochs=1, batch_size=8, verbose=0)
    for ours, theirs in zip(vae.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_rows_are_functions_of_their_seeds() -> None:
    vae = small()
    whole = vae.generate(5, seed=3, length=[6, 1, 6, 4, 2])
    for row, length in ((1, 1), (3, 4)):
        alone = vae.generate(seeds=[3 + row])
        for ours, theirs in zip(whole, alone, strict=True):
            np.testing.assert_allclose(ours[row, :length], theirs[0, :length], rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(ours[row, length:], 0.0)
    x = walks(3).astype("float32")
    many, one = (
        vae.forecast(x, 4, samples=2),
        vae.forecast(x[1:2], np.int64(4), samples=np.int64(2), seed=1),
    )
    np.testing.assert_allclose(many.sample[:, 1], one.sample[:, 0], rtol=1e-5, atol=1e-6)
    cold = vae.generate(2, temperature=0.0)
    np.testing.assert_array_equal(cold.z[0], cold.z[1])


@pytest.mark.parametrize(
    ("layer", "event"),
    [
        (tfvae.layers.MixtureOfGaussians((3,)), (3,)),
        (tfvae.layers.MultivariateNormal((3,)), (3,)),
        (tfvae.layers.Bernoulli((2, 2)), (2, 2)),
    ],
)
def test_a_distribution_at_each_step(layer: Any, event: Any) -> None:
    steps = Repeated(layer, 4)
    params = tf.random.stateless_normal([5, *steps.params_shape], [0, 1])
    noise = tf.random.stateless_uniform([5, *steps.noise_shape], [0, 2], 0.1, 0.9)
    x = steps.transform(noise, params)
    assert x.shape == (5, 4, *event)
    each = [layer(params[:, t]).log_prob(x[:, t]) for t in range(4)]
    np.testing.assert_allclose(steps(params).log_prob(x), sum(each), rtol=1e-5)
    if layer.choices:
        cut = layer.noise_shape[0] - layer.choices
        for t in range(4):
            picks = noise[:, t * layer.choices : (t + 1) * layer.choices]
            rest = noise[:, 4 * layer.choices :][:, t * cut : (t + 1) * cut]
            alone = layer.transform(tf.concat([picks, rest], -1), params[:, t])
            np.testing.assert_allclose(x[:, t], alone, rtol=1e-5)
    again = Repeated.from_config(steps.get_config())
    assert (again.steps, again.event_shape) == (4, (4, *event))


def test_likelihoods_that_are_not_independent_within_a_step(float64: None) -> None:
    vae = small(likelihood=tfvae.layers.MultivariateNormal((3,)))
    lengths = np.array([6, 3])
    trace = vae.trace(ragged(walks(2), lengths), mask=lengths)
    assert np.all(np.isfinite(trace.log_weight))
    with pytest.raises(TypeError, match="independent"):
        _ = vae.trace(walks(2), mask=np.ones((2, 6, 3))).log_weight
    with pytest.raises(ValueError, match="`observed` to be lengths"):
        vae.impute(walks(2), np.ones((2, 6, 3)))


def test_sequences_are_padded() -> None:
    x, lengths = sequences.pad([np.ones((2, 3)), np.ones((4, 3), int)], 5, value=-1.0)
    assert x.shape == (2, 5, 3)
    assert lengths.tolist() == [2, 4]
    assert np.all((x == 1).sum(axis=(1, 2)) == 3 * lengths)
    assert np.all(x[0, 2:] == -1)


def streamed(*arrays: Any) -> Any:
    return tf.data.Dataset.from_tensor_slices(arrays).batch(16)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda vae, x: vae.fit([*x[:2], x[2, :3]]), r"sequences\.pad"),
        (lambda vae, x: vae.fit(np.where(x > 3, np.nan, x)), r"sequences\.split_missing"),
        (lambda vae, x: vae.fit(x, np.zeros(32, int)), "lengths, whole numbers from 1 to 6"),
        (lambda vae, x: vae.fit(x, np.full(32, 7)), "lengths, whole numbers from 1 to 6"),
        (lambda vae, x: vae.fit(x, np.arange(32) % 6 + 1), "labels.*ragged=False"),
        (lambda vae, x: vae.fit(x, np.zeros((32, 6))), "nothing but 0"),
        (lambda vae, x: vae.fit(x, np.full((32, 6), 0.5)), "a mask, 1 where"),
        (lambda vae, x: vae.fit(x, np.ones((32, 5))), r"\['N', 6, 3\]"),
        (lambda vae, x: vae.fit(x[:, :5]), "shape"),
        (lambda vae, x: vae.fit(streamed(x, np.zeros(32, int))), "lengths, whole numbers from 1"),
        (lambda vae, x: vae.fit(iter(streamed(x, np.full(32, 99)))), "from 1 to 6"),
        (lambda vae, x: vae.forecast(x, 0), "`steps`.*at least 1"),
        (lambda vae, x: vae.forecast(x, 2, samples=0), "`samples`"),
        (lambda vae, x: vae.generate(2, length=0), "`length`.*1 to 6"),
        (lambda vae, x: vae.generate(2, length=7), "forecast"),
        (lambda vae, x: vae.generate(2, length=[1, 2, 3]), "`length`"),
        (lambda vae, x: vae.generate(2, condition=[1, 2]), "no `condition`"),
        (lambda vae, x: vae.score(x, seeds=[1]), "`seeds`"),
        (lambda vae, x: vae.fit_prior(x), "prior can be fitted"),
        (lambda vae, x: small((6,)), r"x\[\.\.\., None\]"),
        (lambda vae, x: small(direction="back"), 'Did you mean "backward"'),
        (lambda vae, x: sequences.pad([]), "at least one"),
        (lambda vae, x: sequences.pad([[]]), "at least one step"),
        (lambda vae, x: sequences.pad([x[0], x[1]], 3), "at least 6"),
        (lambda vae, x: sequences.pad([x[0], x[1, :, :2]]), "as in"),
        (lambda vae, x: Repeated(tfvae.layers.Normal((2,)), 0), "`steps`"),
        (lambda vae, x: Repeated(tfvae.priors.StandardNormal((2,)), 2), "`layer`"),
        (lambda vae, x: Markov(tfvae.priors.StandardNormal((2,)), vae.decoder, 2), "`initial`"),
        (lambda vae, x: Structured(vae.decoder, tfvae.layers.Normal((2,)), 2), "`combiner`"),
        (lambda vae, x: Structured(vae.decoder, tfvae.layers.Gamma((2,)), 2), "normal noise"),
    ],
)
def test_what_is_refused(call: Any, message: str, model: SequentialVAE) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call(model, walks().astype("float32"))


def test_labels_are_left_alone_where_they_are_labels() -> None:
    vae, x = small(ragged=False), walks().astype("float32")
    labels = np.arange(32) % 10
    vae.check_examples(tfvae.data.Examples(x, labels))
    assert vae.unpack((x, labels)).mask is None
    # What was observed may be said nevertheless.
    lengths = np.full(32, 2)
    mean = vae.reconstruct(x, observed=lengths)
    assert not np.allclose(mean, vae.reconstruct(x))
    vae.compile(run_eagerly=True)
    np.testing.assert_allclose(vae.predict(x, observed=lengths, verbose=0), mean, atol=1e-6)


def test_a_posterior_that_would_draw_its_weights_twice_is_refused() -> None:
    plain = small()
    combiner = tfvae.bayesian.to_bayesian(plain.posterior.combiner)
    posterior = Structured(combiner, plain.posterior.layer, plain.steps)
    parts = {"prior": plain.prior, "likelihood": plain.likelihood}
    with pytest.raises(ValueError, match=r"without Bayesian layers.*other weights"):
        SequentialVAE(plain.encoder, plain.decoder, posterior=posterior, **parts)


def test_weights_leave_zeros_observed(model: SequentialVAE) -> None:
    """Keras takes no weights without targets: what stands for them says nothing of x."""
    vae, weight = model, np.ones(32, "float32")
    x = np.where(walks() < 0, 0, walks()).astype("float32")
    vae.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    whole = vae.evaluate(x, batch_size=32, verbose=0, return_dict=True)
    stepwise = vae.evaluate(x, None, 32, 0, weight, steps=1, return_dict=True)
    # The same draws of the same examples, in one batch: float32 rounding is left.
    assert stepwise["elbo"] == pytest.approx(whole["elbo"], rel=1e-5)
