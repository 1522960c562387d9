"""Vector quantisation: against NumPy's loops, closed forms, and the contract of every layer."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import special, stats

import tfvae
from tfvae.layers import VectorQuantizer
from tfvae.layers.codes import pick
from tfvae.layers.kl import has_closed_form
from tfvae.layers.quantized import CodeUsage
from tfvae.objectives import ELBO, IWAE, CodebookLoss, Commitment
from tfvae.priors import Codebook, StandardNormal

tfd = tfp.distributions

EVENT, CODES = (2, 3, 4), 7
POSITIONS = 6
UPDATES = ("ema", "gradient")


def vectors(*batch: int, seed: int = 1, spread: float = 1.0) -> Any:
    return np.random.default_rng(seed).normal(0, spread, (*batch, *EVENT)).astype("float32")


def brute_force(encoded: Any, codebook: Any) -> Any:
    """The nearest row of each last axis, by all differences in float64."""
    difference = np.float64(encoded)[..., np.newaxis, :] - np.float64(codebook)
    return np.argmin(np.sum(difference**2, axis=-1), axis=-1)


def learned_prior(layer: VectorQuantizer, seed: int = 2) -> Codebook:
    prior = Codebook(layer, learn=True)
    logits = np.random.default_rng(seed).normal(0, 1.5, prior.logits.shape)
    prior.logits.assign(logits)
    return prior


def vq_vae(
    event: tuple[int, ...] = (2, 2, 4), codes: int = 16, learn: bool = False, update: str = "ema"
) -> tfvae.VAE:
    """The VQ-VAE of 8 by 8 images."""
    posterior = VectorQuantizer(event, codes=codes, update=update)
    likelihood = tfvae.layers.Bernoulli((8, 8, 1))
    objective = ELBO() + 0.25 * Commitment()
    return tfvae.VAE(
        tfvae.networks.mlp_encoder((8, 8, 1), posterior.params_shape, hidden=(64,)),
        tfvae.networks.mlp_decoder(event, likelihood.params_shape, hidden=(64,)),
        prior=Codebook(posterior, learn=learn),
        posterior=posterior,
        likelihood=likelihood,
        objective=objective + CodebookLoss() if update == "gradient" else objective,
    )


@pytest.fixture(scope="module")
def digits() -> tfvae.data.Examples:
    return tfvae.data.load("digits", binarize="threshold").train


# ---------------------------------------------------------------- the posterior


def test_nearest_code_against_brute_force() -> None:
    layer = VectorQuantizer(EVENT, codes=300)
    # Far from the origin, where |v - c|² without its common part would be lost to rounding.
    layer.codebook.assign(np.asarray(layer.codebook) + 1000)
    encoded = vectors(50) + 1000
    posterior = layer(tf.constant(encoded))
    truth = brute_force(encoded, layer.codebook)
    np.testing.assert_array_equal(posterior.codes, truth)
    np.testing.assert_array_equal(posterior.quantized, np.asarray(layer.codebook)[truth])
    # Of equal ones the first.
    layer.codebook.assign(np.zeros((300, 4)))
    np.testing.assert_array_equal(layer(tf.constant(encoded)).codes, 0)


@pytest.mark.parametrize("event", [EVENT, (4,)], ids=str)
def test_shapes(event: tuple[int, ...]) -> None:
    layer = VectorQuantizer(event, codes=CODES)
    assert layer.params_shape == event
    posterior = layer(tf.zeros([5, *event]))
    assert (posterior.batch_shape, posterior.event_shape) == ([5], event)
    assert posterior.codes.shape == [5, *event[:-1]]
    for value in (posterior.mean(), posterior.stddev(), layer.mean(tf.zeros([5, *event]))):
        assert value.shape == [5, *event]
    draws = posterior.sample(3, seed=[0, 1])
    assert draws.shape == [3, 5, *event]
    assert posterior.log_prob(draws).shape == [3, 5]
    noise = tfvae.random.noise(layer.noise, 1, 3, 5, layer.noise_shape, layer.choices)
    z, same = layer.draw(noise, tf.zeros([5, *event]))
    np.testing.assert_array_equal(z, draws)
    np.testing.assert_array_equal(layer.transform(noise, tf.zeros([5, *event])), draws)
    np.testing.assert_array_equal(same.log_prob(z), np.zeros([3, 5]))
    assert layer.support.outside(draws) == 0


def test_a_point_mass_on_a_code() -> None:
    layer = VectorQuantizer(EVENT, codes=CODES)
    posterior = layer(tf.constant(vectors(4)))
    draw = posterior.sample(seed=[0, 0]).numpy()
    np.testing.assert_array_equal(draw, np.asarray(layer.codebook)[posterior.codes])
    np.testing.assert_array_equal(posterior.log_prob(draw), np.zeros(4))
    # Another code at one position, or a vector that is no code, has no mass.
    for other in (np.roll(layer.codebook, 1, axis=0)[posterior.codes], draw + 1e-3):
        moved = draw.copy()
        moved[2, 1, 0] = other[2, 1, 0]
        np.testing.assert_array_equal(posterior.log_prob(moved), [0, 0, -np.inf, 0])
    np.testing.assert_array_equal(posterior.stddev(), np.zeros_like(draw))


def test_gradients_pass_straight_through_a_draw() -> None:
    layer = VectorQuantizer(EVENT, codes=CODES, update="gradient")
    params, upstream = tf.constant(vectors(4)), vectors(3, 4, seed=2)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(params)
        z, _ = layer.draw(tf.zeros([3, 4]), params)
        mean = layer.mean(params)
        losses = [tf.reduce_sum(z * upstream), tf.reduce_sum(mean * upstream[0])]
    np.testing.assert_allclose(tape.gradient(losses[0], params), upstream.sum(0), rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(losses[1], params), upstream[0])
    for loss in losses:  # the codebook has a loss of its own
        assert tape.gradient(loss, layer.codebook.value) is None


@pytest.mark.parametrize("raw", [[-30.0], [30.0], [-30.0, 0.0, 30.0]], ids=len)
def test_everything_is_finite_at_extreme_outputs(raw: list[float]) -> None:
    layer = VectorQuantizer(EVENT, codes=CODES)
    params = tf.constant(np.random.default_rng(1).choice(raw, (50, *EVENT)), tf.float32)
    for _ in range(3):
        layer.observe(params)
    with tf.GradientTape() as tape:
        tape.watch(params)
        z, posterior = layer.draw(tf.zeros([2, 50]), params)
        value = tf.reduce_sum(z) + tf.reduce_sum(posterior.log_prob(z))
    np.testing.assert_allclose(tape.gradient(value, params), 2.0)
    assert np.all(np.isfinite(z))
    assert np.all(np.isfinite(layer.codebook))
    # Codes without vectors go to the origin, all of them; a draw's mass does not depend on it.
    np.testing.assert_array_equal(posterior.log_prob(z), np.zeros([2, 50]))


def test_dtypes(float64: None) -> None:
    for policy, dtype in (("mixed_float16", tf.float32), ("float64", tf.float64)):
        keras.config.set_dtype_policy(policy)
        layer = VectorQuantizer(EVENT, codes=CODES)
        params = tf.cast(vectors(2), keras.config.dtype_policy().compute_dtype)
        layer.observe(params)
        assert layer(params).dtype == layer(params).mean().dtype == dtype
        assert Codebook(layer)(None).sample(seed=[0, 0]).dtype == dtype


@pytest.mark.parametrize("update", UPDATES)
def test_configuration_round_trip(update: str) -> None:
    layer = VectorQuantizer(EVENT, codes=CODES, update=update, decay=0.9, epsilon=1e-3, seed=5)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    twin = keras.saving.deserialize_keras_object(config)
    # JSON has lists for tuples.
    assert {**twin.get_config(), "event_shape": EVENT} == layer.get_config()
    np.testing.assert_array_equal(twin.codebook, layer.codebook)
    assert len(layer.trainable_weights) == (update == "gradient")
    with pytest.raises(TypeError, match=r"symbolic Keras tensor.*tfvae\.VAE"):
        layer(keras.Input(EVENT))


# ---------------------------------------------------------------- the codebook


def test_moving_averages_against_a_loop(float64: None) -> None:
    decay, epsilon = 0.8, 1e-3
    layer = VectorQuantizer(EVENT, codes=CODES, decay=decay, epsilon=epsilon)
    codebook = np.array(layer.codebook)
    codebook[2] = 9.0  # near to nothing
    layer.codebook.assign(codebook)
    layer.sums.assign(codebook)
    counts, sums = np.ones(CODES), codebook.copy()
    for step in range(5):
        batch = np.float64(vectors(8, seed=step, spread=0.3))
        layer.observe(tf.constant(batch))
        codes = brute_force(batch, codebook).ravel()
        assert 2 not in codes
        for k in range(CODES):
            mine = batch.reshape(-1, 4)[codes == k]
            counts[k] = decay * counts[k] + (1 - decay) * len(mine)
            sums[k] = decay * sums[k] + (1 - decay) * mine.sum(0)
        total = counts.sum()
        for k in range(CODES):
            codebook[k] = sums[k] / ((counts[k] + epsilon) / (total + CODES * epsilon) * total)
        np.testing.assert_allclose(layer.counts, counts, rtol=1e-12)
        np.testing.assert_allclose(layer.codebook, codebook, rtol=1e-12)


def test_a_loop_compiled_by_xla_moves_codes_as_eager_steps_do() -> None:
    eager, compiled = (VectorQuantizer(EVENT, codes=CODES) for _ in range(2))
    batches = tf.constant(vectors(6, 8))

    @tf.function(jit_compile=True, autograph=False)
    def run() -> tuple[tf.Tensor, tf.Tensor]:
        def step(index: tf.Tensor) -> tuple[tf.Tensor]:
            compiled.observe(batches[index])
            return (index + 1,)

        tf.while_loop(lambda i: i < 6, step, [tf.constant(0)], parallel_iterations=1)
        z, posterior = compiled.draw(tf.zeros([2, 8]), batches[0])
        return z, posterior.log_prob(z)

    z, log_prob = run()
    for index in range(6):
        eager.observe(batches[index])
    np.testing.assert_allclose(compiled.codebook, eager.codebook, atol=1e-6)
    np.testing.assert_array_equal(compiled.usage.counts, eager.usage.counts)
    np.testing.assert_allclose(z[0], eager(batches[0]).mean(), atol=1e-6)
    np.testing.assert_array_equal(log_prob, np.zeros([2, 8]))


def test_what_leaves_the_codes_alone() -> None:
    layer = VectorQuantizer(EVENT, codes=CODES)
    weights = [np.array(w) for w in layer.weights]
    broken = vectors(8)
    broken[3, 1, 2, 0] = np.nan
    layer.observe(tf.constant(broken))
    layer.trainable = False
    layer.observe(tf.constant(vectors(8)))
    learned = VectorQuantizer(EVENT, codes=CODES, update="gradient")
    learned.observe(tf.constant(vectors(8)))
    np.testing.assert_array_equal(learned.codebook, weights[0])
    for before, after in zip(weights, layer.weights, strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-6)


@pytest.mark.parametrize(("shape", "codes"), [((64,), 64), ((2, 2, 32), 128), ((4, 4, 4), 512)])
def test_first_codes_are_as_long_in_any_dimension(shape: tuple[int, ...], codes: int) -> None:
    square = np.sum(np.asarray(VectorQuantizer(shape, codes=codes).codebook) ** 2, axis=1)
    # Chi-squared over d: a mean over the codes at 5 standard errors, 1 in 1.7 million seeds.
    assert abs(square.mean() - 1) < 5 * math.sqrt(2 / shape[-1] / codes)


def test_perplexity_by_hand() -> None:
    usage = CodeUsage(8)
    assert usage.result() == {}
    usage.update_state(tf.range(8)[tf.newaxis])
    assert float(usage.result()["perplexity"]) == pytest.approx(8, rel=1e-6)
    assert float(usage.result()["codes_used"]) == 1
    usage.reset_state()
    usage.update_state(tf.constant([3, 3, 3]))
    assert float(usage.result()["perplexity"]) == pytest.approx(1, rel=1e-6)
    assert float(usage.result()["codes_used"]) == 1 / 8
    usage.update_state(tf.constant([5]))
    expected = math.exp(stats.entropy([0.75, 0.25]))
    assert float(usage.result()["perplexity"]) == pytest.approx(expected, rel=1e-6)


# ---------------------------------------------------------------- the prior


def test_prior_is_a_categorical_at_each_position(float64: None) -> None:
    layer = VectorQuantizer(EVENT, codes=CODES)
    codes = np.random.default_rng(3).integers(0, CODES, (5, *EVENT[:-1]))
    z = np.asarray(layer.codebook)[codes]
    np.testing.assert_allclose(Codebook(layer)(None).log_prob(z), -POSITIONS * math.log(CODES))
    prior = learned_prior(layer)
    assert (prior(None).batch_shape, prior(None).event_shape) == ([], EVENT)
    table = special.log_softmax(np.asarray(prior.logits), axis=-1)
    truth = np.take_along_axis(table[np.newaxis], codes[..., np.newaxis], -1).sum((1, 2, 3))
    np.testing.assert_allclose(prior(None).log_prob(z), truth, rtol=1e-10)
    # A vector stands for the code nearest to it.
    np.testing.assert_allclose(prior(None).log_prob(z + 1e-3), truth, rtol=1e-10)
    mean = np.exp(table) @ np.asarray(layer.codebook)
    np.testing.assert_allclose(prior(None).mean(), mean, rtol=1e-10)
    square = np.exp(table) @ np.asarray(layer.codebook) ** 2
    np.testing.assert_allclose(prior(None).variance(), square - mean**2, atol=1e-12)


@pytest.mark.parametrize("codes", [2, 5, 8, 1000])
def test_uniform_numbers_pick_codes_by_the_inverse_cdf(codes: int) -> None:
    logits = np.random.default_rng(0).normal(0, 1, (3, codes))
    uniform = np.random.default_rng(1).random((500, 3)).astype("float32")
    uniform[:2] = [[0.0] * 3, [1 - 2.0**-24] * 3]
    steps = np.cumsum(special.softmax(logits, axis=-1), axis=-1)
    truth = np.stack([np.searchsorted(steps[i], uniform[:, i]) for i in range(3)], axis=1)
    picked = pick(tf.constant(uniform), tf.constant(logits)).numpy()
    # Steps are rounded to float32: within 6e-8 of one, of 500 numbers in 1000 codes 0.03 lie.
    assert np.all(np.abs(picked - truth) <= 1)
    assert np.count_nonzero(picked != truth) <= 1
    even = pick(tf.constant(uniform), tf.zeros([codes])).numpy()
    assert np.count_nonzero(even != np.floor(np.float64(uniform) * codes)) <= 1
    assert even.max() == codes - 1


@pytest.mark.parametrize("learn", [False, True])
def test_draws_have_the_distribution(learn: bool) -> None:
    layer = VectorQuantizer(EVENT, codes=CODES)
    prior = learned_prior(layer) if learn else Codebook(layer)
    n = 5000
    noise = tfvae.random.noise(prior.noise, 3, 1, n, prior.noise_shape, prior.choices)[0]
    compiled = tf.function(prior(None).sample, jit_compile=True)(n, seed=[0, 1])
    mass = special.softmax(np.broadcast_to(prior.logits, (*EVENT[:-1], CODES)), axis=-1)
    for draws in (prior.transform(noise, None), compiled):
        codes = brute_force(draws, layer.codebook)
        np.testing.assert_array_equal(draws, np.asarray(layer.codebook)[codes])
        # 24 tests at 1e-6: a false alarm once in 40,000 seeds.
        for index in np.ndindex(EVENT[:-1]):
            count = np.bincount(codes[(slice(None), *index)], minlength=CODES)
            assert stats.chisquare(count, n * mass[index], sum_check=False).pvalue > 1e-6
    np.testing.assert_array_equal(prior.tempered(noise, tf.constant(0.3)), noise)


@pytest.mark.parametrize("learn", [False, True])
def test_kl_is_exact(learn: bool, float64: None) -> None:
    layer = VectorQuantizer(EVENT, codes=CODES)
    prior = learned_prior(layer) if learn else Codebook(layer)
    posterior = layer(tf.constant(vectors(5)))
    assert has_closed_form(posterior, prior(None))
    kl = tfd.kl_divergence(posterior, prior(None))
    draw = posterior.sample(seed=[0, 0])
    np.testing.assert_allclose(kl, posterior.log_prob(draw) - prior(None).log_prob(draw))
    if not learn:
        np.testing.assert_allclose(kl, POSITIONS * math.log(CODES))


def test_gradient_of_learned_logits_is_softmax_less_frequency(float64: None) -> None:
    layer = VectorQuantizer(EVENT, codes=CODES)
    prior, posterior = learned_prior(layer), layer(tf.constant(vectors(40)))
    with tf.GradientTape() as tape:
        kl = tf.reduce_mean(tfd.kl_divergence(posterior, prior(None)))
    frequency = np.eye(CODES)[posterior.codes].mean(0)
    truth = special.softmax(np.asarray(prior.logits), axis=-1) - frequency
    np.testing.assert_allclose(tape.gradient(kl, prior.logits.value), truth, atol=1e-12)


# ---------------------------------------------------------------- objectives


@pytest.mark.parametrize(
    "objective", [Commitment(), CodebookLoss()], ids=lambda o: type(o).__name__
)
def test_losses_and_their_gradients_by_hand(
    objective: Commitment | CodebookLoss, digits: tfvae.data.Examples
) -> None:
    vae = vq_vae(update="gradient")
    codebook, x = vae.posterior.codebook, tf.constant(digits.values()[:9])
    encoded = vae.encoder(x).numpy()
    codes = brute_force(encoded, codebook)
    difference = encoded - np.asarray(codebook)[codes]
    bias = vae.encoder.layers[-2].bias
    with tf.GradientTape() as tape:
        loss = objective(vae.trace(x, samples=2))
    np.testing.assert_allclose(loss, np.sum(difference**2, axis=(1, 2, 3)), rtol=1e-5)
    gradients = tape.gradient(loss, [bias.value, codebook.value])
    if isinstance(objective, Commitment):
        truth = 2 * difference.sum(0).ravel()
        np.testing.assert_allclose(gradients[0], truth, rtol=1e-4, atol=1e-4)
        assert gradients[1] is None
    else:
        assert gradients[0] is None
        truth = np.zeros(codebook.shape)
        np.add.at(truth, codes, -2 * difference)
        np.testing.assert_allclose(gradients[1], truth, rtol=1e-4, atol=1e-4)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(objective)))
    assert keras.saving.deserialize_keras_object(config) == objective
    assert objective.requires == frozenset()


def test_the_elbo_is_a_bound(digits: tfvae.data.Examples) -> None:
    # p(x) is a sum over the 16 codes; the ELBO is the log of one of its terms.
    vae = vq_vae(event=(4,), codes=16)
    x = digits.values()[:50]
    each = vae.decode(np.asarray(vae.posterior.codebook)[:, np.newaxis]).log_prob(x)
    log_marginal = special.logsumexp(each, axis=0) - math.log(16)
    terms = vae.trace(x, samples=3)
    elbo = -ELBO()(terms).numpy()
    assert np.all(elbo <= log_marginal + 1e-4)
    index = vae.encode(x).codes.numpy()
    truth = np.take_along_axis(each.numpy(), index[np.newaxis], 0)[0] - math.log(16)
    np.testing.assert_allclose(elbo, truth, rtol=1e-5)
    np.testing.assert_allclose(-IWAE(samples=3)(terms).numpy(), truth, rtol=1e-5)
    np.testing.assert_allclose(-ELBO(kl="monte_carlo")(terms).numpy(), truth, rtol=1e-5)


# ---------------------------------------------------------------- the model


@pytest.mark.parametrize("update", UPDATES)
def test_trains_and_resumes(update: str, tmp_path: Path, digits: tfvae.data.Examples) -> None:
    """Save, load and go on: as if it had not stopped, with one codebook as before."""
    x, held_out = digits[:640], digits[640:800].values()
    vae = vq_vae(learn=True, update=update)
    vae.compile("adam", jit_compile=False)
    history = vae.fit(x, epochs=4, verbose=0, validation_data=held_out).history
    assert history["loss"][-1] < history["loss"][0]
    assert len(history["perplexity"]) == len(history["codes_used"]) == 4
    assert 2 < history["perplexity"][-1] <= 16
    # What is counted in training is not what is validated on.
    assert not {"val_perplexity", "val_codes_used"} & set(history)
    assert {"val_elbo", "val_kl"} <= set(history)
    identities = [id(w) for w in vae.trainable_weights]
    assert len(identities) == len(set(identities))
    vae.save(tmp_path / "vae.keras")
    loaded = tfvae.load_model(tmp_path / "vae.keras")
    assert loaded.prior.quantizer is loaded.posterior
    for ours, theirs in zip(loaded.weights, vae.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(loaded.generate(5, seed=1).z, vae.generate(5, seed=1).z)
    for model in (vae, loaded):
        model.fit(x, epochs=1, verbose=0)
    for ours, theirs in zip(loaded.weights, vae.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_xla_and_eager_train_alike(digits: tfvae.data.Examples) -> None:
    histories = []
    for options in ({"jit_compile": True}, {"run_eagerly": True}):
        vae = vq_vae()
        vae.compile("adam", **options)
        held_out = digits[:64].values()
        fit = vae.fit(digits[:256], epochs=2, verbose=0, validation_data=held_out)
        histories.append(fit.history)
    compiled, eager = histories
    assert "perplexity" in compiled
    assert compiled.keys() == eager.keys()
    for name, values in compiled.items():
        np.testing.assert_allclose(values, eager[name], rtol=1e-3, err_msg=name)


def test_perplexity_is_that_of_the_epoch(digits: tfvae.data.Examples) -> None:
    # With nothing trained, the codes of the epoch are those of the whole data set.
    vae = vq_vae()
    vae.posterior.trainable = False
    vae.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    history = vae.fit(digits[:300], epochs=2, batch_size=64, verbose=0).history
    codes = vae.encode(digits.values()[:300]).codes.numpy().ravel()
    frequency = np.bincount(codes, minlength=16) / len(codes)
    expected = math.exp(stats.entropy(frequency))
    np.testing.assert_allclose(history["perplexity"], [expected] * 2, rtol=1e-5)
    np.testing.assert_allclose(history["codes_used"], [np.mean(frequency > 0)] * 2)


def test_zoo_takes_it(digits: tfvae.data.Examples) -> None:
    posterior = VectorQuantizer((4,), codes=8)
    vae = tfvae.zoo.vae((8, 8, 1), 4, hidden=(8,), posterior=posterior, prior=Codebook(posterior))
    codes = brute_force(vae.generate(20).z, posterior.codebook)
    np.testing.assert_array_equal(vae.generate(20).z, np.asarray(posterior.codebook)[codes])
    np.testing.assert_array_equal(vae.generate(20, temperature=0.1).z, vae.generate(20).z)
    assert vae.reconstruct(digits.values()[:3]).shape == [3, 8, 8, 1]


@pytest.mark.slow
def test_export(tmp_path: Path) -> None:
    vae = vq_vae(learn=True)
    vae.prior.logits.assign(np.random.default_rng(0).normal(0, 2, vae.prior.logits.shape))
    vae.step.assign(1)  # it passes for trained
    exported = tfvae.export.load(vae.export(tmp_path / "vq"))
    for temperature in (1.0, 0.5):
        ours = exported.generate(np.arange(40), temperature)
        truth = vae.generate(40, temperature=temperature)
        np.testing.assert_array_equal(ours["z"], truth.z)
        np.testing.assert_allclose(ours["mean"], truth.mean, atol=1e-5)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "bad",
    [
        {"codes": 1},
        {"codes": 8.0},
        {"codes": True},
        {"decay": 1.0},
        {"decay": -0.1},
        {"decay": math.nan},
        {"epsilon": 0.0},
        {"epsilon": math.inf},
        {"update": "mean"},
    ],
    ids=str,
)
def test_arguments_are_checked(bad: dict[str, Any]) -> None:
    (name,) = bad
    with pytest.raises(ValueError, match=f"`{name}` to be .*Received: {name}="):
        VectorQuantizer(EVENT, **bad)


def test_more_codes_than_vectors(digits: tfvae.data.Examples) -> None:
    vae = vq_vae(codes=16)
    with pytest.raises(ValueError, match=r"posterior.*3 x 4 = 12.*codes=16.*fewer codes"):
        vae.fit(digits[:3], verbose=0)
    vae.posterior.check_examples(4)


def test_slots_that_do_not_fit(digits: tfvae.data.Examples) -> None:
    one, two = (VectorQuantizer((4,), codes=8) for _ in range(2))
    with pytest.raises(TypeError, match=r"`quantizer` to be a tfvae\.layers\.VectorQ"):
        Codebook(tfvae.layers.Normal((4,)))
    with pytest.raises(ValueError, match=r"rows of a codebook.*priors\.Codebook\(posterior\)"):
        tfvae.zoo.vae((8, 8, 1), 4, posterior=one, prior=StandardNormal((4,)))
    with pytest.raises(ValueError, match="over one codebook"):
        tfd.kl_divergence(one(tf.zeros([2, 4])), Codebook(two)(None))
    plain = tfvae.zoo.vae((8, 8, 1), 4, hidden=(8,), objective=ELBO() + Commitment())
    with pytest.raises(TypeError, match=r"VectorQuantizer.*Commitment.*Received: Independent"):
        plain.objective(plain.trace(digits.values()[:2]))
