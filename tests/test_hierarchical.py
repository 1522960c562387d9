"""Hierarchies against a linear-Gaussian one of two levels, of which everything is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from endpoint_calls import call
from here import strangers_here
from outside import shared
from scipy import integrate, stats

import tfvae
from tfvae import layers, networks, objectives, options, priors, random, zoo
from tfvae.export import ExportError, verification
from tfvae.export.endpoints import endpoints
from tfvae.export.manifest import Manifest
from tfvae.export.subject import Subject
from tfvae.families.levels import product_of_normals
from tfvae.generation import base_noise
from tfvae.objectives import ELBO, IWAE, LinearWarmup, Reconstruction

INFERENCE = ("ladder", "bottom_up")
LAST = [keras.layers.Flatten(), keras.layers.Dense(6, name="last")]
both = pytest.mark.parametrize("inference", INFERENCE)
by_default_one = pytest.mark.parametrize(
    "inference", ["ladder", pytest.param("bottom_up", marks=pytest.mark.slow)]
)


@dataclass(frozen=True)
class Chain:
    """z_1 ~ N(0, I), z_0|z_1 ~ N(a z_1 + c, t² I), x|z_0 ~ N(W z_0 + b, s² I), a diagonal.

    The columns of W are orthogonal, so that all conditional posteriors are diagonal Normals.
    """

    w: Any
    b: Any
    a: Any
    c: Any
    s: float = 0.7
    t: float = 0.6

    @classmethod
    def random(cls) -> Chain:
        rng = np.random.default_rng(0)
        w = np.linalg.qr(rng.normal(size=(5, 2)))[0] * [2.0, 1.0]
        return cls(w, rng.normal(size=5), np.array([1.5, 0.8]), rng.normal(size=2))

    @property
    def joint(self) -> Any:
        variance = np.diag(self.a**2 + self.t**2)
        covariance = self.w @ variance @ self.w.T + self.s**2 * np.eye(5)
        return stats.multivariate_normal(self.w @ self.c + self.b, covariance)

    def sample(self, n: int, seed: int = 1) -> Any:
        return self.joint.rvs(n, random_state=seed)

    def vae(self, inference: str, objective: Any = None, error: float = 0.0) -> Any:
        """Return the model with its exact posteriors, or one whose top mean is off by `error`."""
        vae = zoo.hierarchical_vae(
            (5,), (2, 2), inference=inference, hidden=(), between=(),  # type: ignore[arg-type]
            likelihood=layers.Normal((5,), scale=self.s),
        )  # fmt: skip
        vae = tfvae.families.HierarchicalVAE(
            vae.encoder, vae.decoder, vae.bottom_up, priors=vae.priors,
            posteriors=vae.posteriors, likelihood=vae.likelihood, objective=objective,
        )  # fmt: skip
        vae.decoder.set_weights([self.w.T, self.b])
        t = np.full(2, self.t)
        floor = vae.priors[0].layer.min_scale
        vae.priors[0].network.set_weights(_affine(np.diag(self.a), self.c, t, floor))
        # What x says of z_0: the mean and variance of the likelihood as a function of it.
        squares = np.sum(self.w**2, axis=0)
        seen, spread = self.w / squares, self.s**2 / squares
        offset = -self.b @ seen
        if inference == "ladder":
            vae.encoder.get_layer("params").set_weights(_affine(seen, offset, np.sqrt(spread)))
            # Of z_1 it says what a z_1 + c with the noise of both would.
            noise = self.t**2 + spread
            above = vae.encoder.get_layer("level_1")
            means = (self.a / noise) / (1 + self.a**2 / noise)
            stddev = 1 / np.sqrt(1 + self.a**2 / noise)
            above.set_weights(_affine(seen * means, (offset - self.c) * means + error, stddev))
        else:
            prior = self.a**2 + self.t**2
            weight = prior / (prior + spread)
            stddev = np.sqrt(spread * weight)
            bias = offset * weight + self.c * (1 - weight)
            vae.encoder.set_weights(_affine(seen * weight, bias, stddev))
            back = self.a / prior
            stddev = self.t / np.sqrt(prior)
            vae.bottom_up[0].set_weights(_affine(np.diag(back), -self.c * back + error, stddev))
        return vae


def _affine(kernel: Any, bias: Any, stddev: Any, floor: float = 1e-4) -> list[Any]:
    """Return the weights of a linear layer that emits a mean and a standard deviation."""
    raw = np.log(np.expm1(stddev - floor))
    return [np.concatenate([kernel, 0 * kernel], axis=1), np.concatenate([bias, raw])]


@both
def test_with_exact_posteriors_every_weight_is_the_density_of_x(
    inference: str, float64: None
) -> None:
    truth = Chain.random()
    x = truth.sample(6)
    trace = truth.vae(inference).trace(x, samples=4)
    expected = np.tile(truth.joint.logpdf(x), (4, 1))
    # Float64 rounding of some thirty terms of order ten.
    np.testing.assert_allclose(trace.log_weight, expected, rtol=0, atol=1e-12)
    assert [latent.name for latent in trace.latents] == ["z_0", "z_1"]


@by_default_one
def test_the_bound_rises_to_the_density_of_x(inference: str) -> None:
    truth = Chain.random()
    x = truth.sample(200)
    vae = truth.vae(inference, error=0.4)
    exact = truth.joint.logpdf(x)
    bounds = [tfvae.evaluate.log_marginal(vae, x, samples=s).mean() for s in (1, 1000)]
    assert bounds[0] < bounds[1]
    # The weights' relative variance is that of a mean that is off by δ = 0.4 / σ in each of two
    # dimensions, exp(δ²) - 1 each, below 4 together: the bound is off by half of it over S.
    assert -4 / 2 / 1000 * 2 < bounds[1] - exact.mean() < 4 * np.sqrt(4 / 1000 / len(x))
    scores = vae.score(x, samples=1000)
    np.testing.assert_allclose(np.mean(scores.log_marginal), exact.mean(), atol=0.02)


def test_kl_of_each_level_of_a_ladder(float64: None) -> None:
    truth = Chain.random()
    x = truth.sample(6)
    trace = truth.vae("ladder").trace(x, samples=5000)
    assert all(latent.has_closed_form_kl for latent in trace.latents)
    z, posterior = trace.latents[1].z.numpy(), trace.latents[1].posterior
    mean, stddev = posterior.mean().numpy(), posterior.stddev().numpy()
    top = np.sum(stddev**2 + mean**2 - 1 - 2 * np.log(stddev), axis=-1) / 2
    np.testing.assert_allclose(trace.kl_per_latent[:, 1], top, rtol=1e-12)
    # Level 0: the posterior is off the prior's mean by a share of what x says beyond it.
    squares = np.sum(truth.w**2, axis=0)
    spread = truth.s**2 / squares
    said = (x - truth.b) @ truth.w / squares
    ratio = spread / (spread + truth.t**2)  # of the variances of posterior and prior
    shift = (1 - ratio) * (said - (truth.a * z + truth.c)) / truth.t
    each = np.sum(ratio + shift**2 - 1 - np.log(ratio), axis=-1) / 2
    np.testing.assert_allclose(trace.kl_per_latent[:, 0], each.mean(axis=0), rtol=1e-10)
    # And in expectation over the level above.
    means = (1 - ratio) * (said - truth.a * mean - truth.c) / truth.t
    spreads = (1 - ratio) * truth.a * stddev / truth.t
    expected = np.sum(ratio + means**2 + spreads**2 - 1 - np.log(ratio), axis=-1) / 2
    error = each.std(axis=0) / np.sqrt(len(each))
    # 4 standard errors, six examples: a false alarm once in some 2,600 choices of the seed.
    np.testing.assert_array_less(np.abs(trace.kl_per_latent[:, 0] - expected), 4 * error)


def test_bottom_up_the_lower_level_s_term_is_no_closed_form(float64: None) -> None:
    # q(z_0|x) is exact and z_1 is drawn given z_0: the mean of log q(z_0|x) - log p(z_0|z_1).
    truth = Chain.random()
    x = truth.sample(6)
    trace = truth.vae("bottom_up").trace(x, samples=20_000)
    lower, top = trace.latents
    assert (lower.has_closed_form_kl, top.has_closed_form_kl) == (False, True)
    q = lower.posterior.distribution
    prior = truth.a**2 + truth.t**2
    # z_0 - a z_1 - c has mean (1 - a²/prior)(z_0 - c) given z_0, and variance a² t²/prior.
    share = truth.t**2 / prior
    mean, variance = q.mean().numpy(), q.variance().numpy()
    square = share**2 * ((mean - truth.c) ** 2 + variance) + truth.a**2 * share
    expected = np.sum(
        -0.5 * np.log(variance) - 0.5 + np.log(truth.t) + square / (2 * truth.t**2), axis=-1
    )
    each = (lower.log_posterior - lower.log_prior).numpy()
    error = each.std(axis=0) / np.sqrt(len(each))
    # As above: 4 standard errors of six examples.
    np.testing.assert_array_less(np.abs(lower.kl - expected), 4 * error)
    per_dimension = tf.reduce_sum(lower.kl_per_dimension, axis=-1)
    np.testing.assert_allclose(per_dimension, lower.kl, rtol=1e-10)


@both
@pytest.mark.parametrize(
    "objective",
    [ELBO(kl="monte_carlo", gradient="stl"), IWAE(3, gradient="stl"), IWAE(3, gradient="dreg")],
)
def test_path_gradients_vanish_at_the_exact_posterior(
    inference: str, objective: Any, float64: None
) -> None:
    # Along z the log weight is a constant, whatever was drawn; its score is left out.
    truth = Chain.random()
    vae = truth.vae(inference, objective)
    x = tf.constant(truth.sample(5))
    variables = [
        *vae.encoder.trainable_variables,
        *(vae.bottom_up[0].trainable_variables if inference == "bottom_up" else ()),
    ]
    with tf.GradientTape() as tape:
        loss = objective(vae.trace(x, samples=objective.samples))
    np.testing.assert_allclose(loss, -truth.joint.logpdf(x), rtol=1e-12)
    for gradient in tape.gradient(loss, variables):
        np.testing.assert_allclose(gradient, np.zeros_like(gradient), atol=1e-11)


def test_the_product_of_two_gaussians() -> None:
    for m1, s1, m2, s2 in ((0.3, 0.5, -1.0, 2.0), (4.0, 3.0, 1.0, 0.2)):

        def density(z: float, power: int, m1: Any = m1, s1: Any = s1, m2: Any = m2,
                    s2: Any = s2) -> float:  # fmt: skip
            both = stats.norm.pdf(z, m1, s1) * stats.norm.pdf(z, m2, s2)
            return float(z**power * both)

        ends = (-30.0, 30.0)
        mass, first, second = (
            integrate.quad(density, *ends, args=(power,), points=[m1, m2])[0] for power in range(3)
        )
        loc, scale = product_of_normals(*map(tf.constant, (m1, s1, m2, s2)))
        np.testing.assert_allclose(loc, first / mass, rtol=1e-5)
        np.testing.assert_allclose(scale**2, second / mass - (first / mass) ** 2, rtol=1e-4)
    # A deviation whose precision float32 does not hold.
    loc, scale = product_of_normals(*map(tf.constant, (1.0, 1e-10, 0.0, 1.0)))
    np.testing.assert_allclose((loc, scale), (1.0, 1e-10), rtol=1e-6)
    loc, scale = product_of_normals(*map(tf.constant, (1.0, 1.0, 0.0, 1e-10)))
    np.testing.assert_allclose((loc, scale), (0.0, 1e-10), rtol=1e-6, atol=1e-19)


@by_default_one
def test_draws_have_the_joint_distribution(inference: str) -> None:
    truth, n = Chain.random(), 4000
    vae = truth.vae(inference)
    drawn = vae.generate(n, seed=3)
    log_prob = truth.joint.logpdf(drawn.sample)
    # -2 log p is chi-squared of 5 degrees and a constant: log p has variance 5/2. 4 standard
    # errors: a false alarm once in 16,000 seeds.
    assert abs(log_prob.mean() + truth.joint.entropy()) < 4 * np.sqrt(2.5 / n)
    assert [z.shape for z in drawn.z] == [(n, 2), (n, 2)]
    # Level by level: means, and both levels' joint covariance, a t² and a² + t².
    lower, top = (np.asarray(z, np.float64) for z in drawn.z)
    covariance = np.cov(np.concatenate([lower, top], axis=1).T)
    expected = np.block([
        [np.diag(truth.a**2 + truth.t**2), np.diag(truth.a)], [np.diag(truth.a), np.eye(2)]
    ])  # fmt: skip
    variances = np.diag(expected)
    # A covariance's standard error is sqrt((v_i v_j + c_ij²) / n); 10 of them at 4.5 errors: a
    # false alarm once in some 15,000 seeds.
    error = np.sqrt((np.outer(variances, variances) + expected**2) / n)
    np.testing.assert_array_less(np.abs(covariance - expected), 4.5 * error)


def test_a_temperature_for_each_level() -> None:
    truth = Chain.random()
    vae = truth.vae("ladder")
    whole = vae.generate(5, seed=1)
    cold = vae.generate(5, seed=1, temperature=(0.0, 1.0))
    np.testing.assert_array_equal(cold.z[1], whole.z[1])
    expected = truth.a * np.asarray(cold.z[1]) + truth.c
    np.testing.assert_allclose(cold.z[0], expected, rtol=1e-5, atol=1e-6)
    half = vae.generate(5, seed=1, temperature=(1.0, 0.5))
    np.testing.assert_allclose(half.z[1], 0.5 * np.asarray(whole.z[1]), rtol=1e-6)
    # The noise of level 0 is the same whatever is above it.
    noise = [(np.asarray(g.z[0]) - truth.a * np.asarray(g.z[1]) - truth.c) for g in (whole, half)]
    np.testing.assert_allclose(*noise, rtol=0, atol=1e-5)
    # Streams of the levels do not meet.
    assert abs(np.corrcoef(noise[0].ravel(), np.asarray(whole.z[1]).ravel())[0, 1]) < 0.999
    same = vae.generate(5, seed=1, temperature=0.5)
    np.testing.assert_array_equal(same.z[1], half.z[1])
    for wrong in ((1.0,), (1.0, 1.0, 1.0), (1.0, -1.0), "hot", (1.0, float("nan"))):
        with pytest.raises((ValueError, TypeError), match="temperature"):
            vae.generate(2, temperature=wrong)


def test_rows_are_functions_of_their_seeds() -> None:
    vae = Chain.random().vae("ladder")
    whole = vae.generate(6, seed=10)
    part = vae.generate(seeds=[13, 11], batch_size=1)
    for a, b in zip((*whole.z, whole.sample), (*part.z, part.sample), strict=True):
        np.testing.assert_allclose(np.asarray(a)[[3, 1]], b, rtol=1e-6, atol=1e-6)


@by_default_one
def test_of_one_level_it_is_the_flat_model(inference: Any) -> None:
    flat = zoo.vae((6,), 3, hidden=(8,), likelihood="Normal")
    x = np.random.default_rng(0).normal(size=(5, 6)).astype("float32")
    vae = zoo.hierarchical_vae((6,), 3, hidden=(8,), likelihood="Normal", inference=inference)
    assert vae.levels == 1
    for a, b in zip(flat.generate(4), vae.generate(4), strict=True):
        np.testing.assert_array_equal(a, b[0] if isinstance(b, tuple) else b)
    np.testing.assert_array_equal(flat(x), vae(x))
    for a, b in zip(flat.score(x), vae.score(x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_weights_and_free_bits_for_each_level() -> None:
    truth = Chain.random()
    vae = truth.vae("ladder", error=0.3)
    vae.step.assign(25)
    trace = vae.trace(truth.sample(8), samples=2)
    kl, reconstruction = trace.kl_per_latent.numpy(), Reconstruction()(trace).numpy()

    def loss(**options: Any) -> Any:
        return np.asarray(ELBO(**options)(trace))

    np.testing.assert_allclose(
        loss(beta=(2.0, 0.5)), reconstruction + 2 * kl[:, 0] + 0.5 * kl[:, 1], rtol=1e-5
    )
    # A quarter of a warm-up on level 1, none on level 0.
    np.testing.assert_allclose(
        loss(beta=(1.0, LinearWarmup(100))), reconstruction + kl[:, 0] + 0.25 * kl[:, 1], rtol=1e-5
    )
    means = kl.mean(axis=0)
    bits = (float(means[0]) / 2, float(means[1]) * 3)
    expected = reconstruction + 0.5 * means[0] + 0.25 * bits[1]
    np.testing.assert_allclose(loss(beta=(0.5, 0.25), free_bits=bits), expected, rtol=1e-5)
    each = [latent.kl_per_dimension.numpy().mean(axis=0) for latent in trace.latents]
    expected = reconstruction + np.maximum(each[0], 0.2).sum() + np.maximum(each[1], 0.7).sum()
    np.testing.assert_allclose(
        loss(free_bits=(0.2, 0.7), free_bits_per="dimension"), expected, rtol=1e-5
    )
    assert objectives.ELBO.from_config(
        ELBO(beta=(1.0, LinearWarmup(9)), free_bits=(0.1, 0.2)).get_config()
    ) == ELBO(beta=(1.0, LinearWarmup(9)), free_bits=(0.1, 0.2))


@by_default_one
def test_the_contract(inference: Any, binary_images: Any, tmp_path: Path) -> None:
    vae = zoo.hierarchical_vae(
        binary_images.shape[1:], (4, 3), inference=inference, hidden=(16,), between=(8,),
        free_bits=(0.1, 0.0), kl_warmup=(5,),
    )  # fmt: skip
    vae.compile(keras.optimizers.Adam(3e-3), jit_compile=False)
    logs = vae.fit(binary_images, epochs=6, batch_size=16, verbose=0).history
    assert logs["loss"][-1] < logs["loss"][0]
    levels = sum(np.array(logs[f"kl_{level}"]) for level in range(2))
    np.testing.assert_allclose(levels, logs["kl"], rtol=1e-4)
    np.testing.assert_allclose(np.subtract(logs["log_likelihood"], logs["kl"]), logs["elbo"],
                               rtol=1e-4)  # fmt: skip
    vae.save(tmp_path / "vae.keras")
    loaded = tfvae.load_model(tmp_path / "vae.keras")
    assert isinstance(loaded, tfvae.families.HierarchicalVAE)
    assert loaded.objective == vae.objective
    for a, b in zip(loaded.generate(3), vae.generate(3), strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, a, b)
    more = [each.fit(binary_images, epochs=1, verbose=0).history for each in (vae, loaded)]
    assert more[0] == more[1]
    again = vae.evaluate(binary_images, return_dict=True, verbose=0)
    assert again == vae.evaluate(binary_images, return_dict=True, verbose=0)
    assert [d.event_shape[0] for d in vae.encode(binary_images[:2])] == [4, 3]


@by_default_one
def test_levels_that_are_grids(inference: Any) -> None:
    vae = zoo.hierarchical_vae(
        (12, 10), (2, 3, 4), inference=inference, network="conv", filters=(4,), between=(8,),
        grid=True,
    )  # fmt: skip
    assert vae.latent_shapes == ((6, 5, 2), (3, 3, 3), (2, 2, 4))
    convolutions = {"Conv2D", "Conv2DTranspose"}
    weighted = [
        type(layer).__name__
        for part in vae.networks()
        for layer in part._flatten_layers()
        if layer.weights and not list(layer._flatten_layers(include_self=False))
    ]
    assert set(weighted) == convolutions
    x = np.random.default_rng(0).integers(0, 2, (3, 12, 10)).astype("float32")
    trace = vae.trace(x, samples=2)
    assert trace.kl_per_latent.shape == (3, 3)
    assert np.all(np.isfinite(trace.log_weight))
    assert vae.generate(2).sample.shape == (2, 12, 10)


@pytest.mark.slow
@both
def test_compiled_by_xla_it_trains_the_same(inference: Any, binary_images: Any) -> None:
    losses = []
    for jit in (False, True):
        vae = zoo.hierarchical_vae(
            binary_images.shape[1:], (4, 2), inference=inference, hidden=(16,), between=(8,)
        )
        vae.compile(keras.optimizers.SGD(1e-3), jit_compile=jit)
        losses.append(vae.fit(binary_images, epochs=2, verbose=0).history["loss"])
    # The words are the same; the floats' rounding is not.
    np.testing.assert_allclose(*losses, rtol=1e-4)


@by_default_one
def test_learns_the_density_of_a_chain(inference: str) -> None:
    truth = Chain.random()
    x = truth.sample(2000).astype("float32")
    vae = zoo.hierarchical_vae(
        (5,), (2, 2), inference=inference, hidden=(), between=(),  # type: ignore[arg-type]
        likelihood=layers.Normal((5,), scale=truth.s),
    )  # fmt: skip
    vae.compile(keras.optimizers.Adam(3e-2), jit_compile=False)
    vae.fit(x, epochs=12, batch_size=50, verbose=0)
    held_out = truth.sample(500, seed=2)
    exact = truth.joint.logpdf(held_out).mean()
    # What independent values, each with its own mean and variance, reach at most: half of what
    # the levels can gain over that is well above anything that ignores how values depend.
    independent = stats.norm(x.mean(axis=0), x.std(axis=0)).logpdf(held_out).sum(axis=1).mean()
    reached = tfvae.evaluate.log_marginal(vae, held_out, samples=50).mean()
    assert (independent + exact) / 2 < reached < exact + 0.1


def test_what_does_not_fit_is_refused() -> None:
    def ladder(**changed: Any) -> Any:
        vae = Chain.random().vae("ladder")
        slots: dict[str, Any] = {
            "encoder": vae.encoder, "decoder": vae.decoder, "bottom_up": None,
            "priors": vae.priors, "posteriors": vae.posteriors, "likelihood": vae.likelihood,
        }  # fmt: skip
        return tfvae.families.HierarchicalVAE(**slots | changed)

    good = ladder()
    normal, standard = layers.Normal((2,)), priors.StandardNormal((2,))
    for changed, error, message in (
        ({"priors": [], "posteriors": []}, ValueError, "at least one"),
        ({"priors": [standard]}, ValueError, "as many"),
        ({"priors": [standard, standard]}, TypeError, "Conditional"),
        ({"priors": [good.priors[0], normal]}, TypeError, "prior"),
        ({"posteriors": [layers.Laplace((2,)), normal]}, TypeError, "ladder inference multiplies"),
        ({"posteriors": [normal, layers.Normal((3,))]}, ValueError, r"priors\[0\].network"),
        ({"posteriors": [normal, layers.Deterministic((2,))]}, ValueError, "density"),
        ({"bottom_up": []}, ValueError, "network for each level above"),
        ({"bottom_up": [good.decoder]}, ValueError, r"bottom_up\[0\]"),
        ({"bottom_up": ["up"]}, TypeError, r"bottom_up\[0\]"),
        ({"encoder": networks.mlp_encoder((5,), (4,), hidden=())}, ValueError, "ladder_encoder"),
        ({"encoder": networks.mlp_encoder((6,), (4,))}, ValueError, "failed on an example"),
        ({"encoder": 3}, TypeError, "Keras model"),
        ({"decoder": networks.mlp_decoder((2,), (5,), condition=3)}, ValueError, "no condition"),
        ({"objective": ELBO(beta=(1.0, 1.0, 1.0))}, ValueError, "2 groups.*ELBO.*3"),
        ({"objective": ELBO() + objectives.MMD("imq")}, ValueError, "2 groups"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            ladder(**changed)
    with pytest.raises(TypeError, match="whose prior can be fitted"):
        good.fit_prior(np.zeros((4, 5)))
    with pytest.raises(ValueError, match="1 group "):
        zoo.vae((4,), 2, objective=ELBO(beta=(1.0, 2.0)))
    with pytest.raises(ValueError, match="free_bits"):
        ELBO(free_bits=())


def test_one_number_is_for_all_levels() -> None:
    small: Any = {"hidden": (4,), "between": (4,)}
    one = zoo.hierarchical_vae((4,), (3, 2), kl_warmup=100, free_bits=0.5, **small)
    other = zoo.hierarchical_vae((4,), (3, 2), kl_warmup=(100,), free_bits=(0.5,), **small)
    assert one.objective == other.objective == ELBO(beta=LinearWarmup(100), free_bits=0.5)
    option = options.options("hierarchical_vae")["kl_warmup"]
    assert option.check(100) == 100
    assert option.check([5, 6]) == option.parse("5,6") == (5, 6)
    with pytest.raises(ValueError, match="whole numbers"):
        option.check(1.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent_dim": ()}, "at least one"),
        ({"latent_dim": (3, 0)}, "positive integers"),
        ({"inference": "laddder"}, 'Did you mean "ladder"'),
        ({"kl_warmup": (-1,)}, "kl_warmup"),
        ({"kl_warmup": (1, 2, 3)}, "2 groups.*3"),
        ({"free_bits": (0.1, 0.1, 0.1)}, "2 groups.*3"),
        ({"free_bits": ()}, "free_bits"),
        ({"between": (0,)}, "hidden"),
        ({"network": "conv", "hidden": (1, 2)}, "one width"),
        ({"grid": True}, 'network="conv"'),
        ({"grid": True, "network": "conv", "between": (8, 8)}, "one number in `between`"),
        ({"grid": True, "network": "conv", "filters": (4, 4), "latent_dim": (1,) * 4}, "halved"),
        ({"encoder": keras.Sequential([keras.Input((6, 5)), *LAST])}, "'params'"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        zoo.hierarchical_vae(**{"data_shape": (6, 5), "latent_dim": (3, 2), **options})


@pytest.mark.slow
def test_digits_in_a_few_epochs() -> None:
    data = tfvae.data.load(shared("mnist/mnist.npz"), binarize="dynamic")
    train = data.train.take(20_000)
    vae = zoo.hierarchical_vae(train.shape, (20, 10), hidden=(256,), kl_warmup=(300,))
    vae.fit(train, epochs=5, verbose=0)
    # As of the plain VAE in `test_zoo`.
    assert tfvae.evaluate.evaluate(vae, data.test.take(300), samples=50).log_marginal > -130


def test_endpoints_at_the_exact_posterior() -> None:
    truth = Chain.random()
    vae, x = truth.vae("ladder"), truth.sample(6).astype("float32")
    subject = Subject(vae, samples=3)
    seeds = np.array([0, -1, 2**63 - 1, *range(3)], np.int64)
    score = call(subject, "score", x=x, seed=seeds)
    # Every importance weight is p(x). In float32 terms of about 10 nats cancel.
    np.testing.assert_allclose(score["log_marginal"], truth.joint.logpdf(x), atol=4e-5)
    # Means of a Gaussian chain are the posterior's: of z_0 by the joint's regression on x.
    seen = call(subject, "encode", x=x)
    scale = np.diag(truth.a**2 + truth.t**2) @ truth.w.T @ np.linalg.inv(truth.joint.cov)
    lower = truth.c + (x - truth.joint.mean) @ scale.T
    np.testing.assert_allclose(seen["mean_0"], lower, atol=1e-5)
    scale = np.diag(truth.a) @ truth.w.T @ np.linalg.inv(truth.joint.cov)
    np.testing.assert_allclose(seen["mean_1"], (x - truth.joint.mean) @ scale.T, atol=1e-5)
    covariance = np.eye(2) - scale @ truth.w @ np.diag(truth.a)
    np.testing.assert_allclose(
        seen["stddev_1"], np.tile(np.sqrt(np.diag(covariance)), (6, 1)), rtol=1e-5
    )
    mean = lower @ truth.w.T + truth.b
    np.testing.assert_allclose(call(subject, "reconstruct", x=x)["mean"], mean, atol=1e-5)
    np.testing.assert_allclose(call(subject, "decode", z_0=lower)["mean"], mean, atol=1e-5)
    scales = np.array([[1.0, 0.5], [0.0, 1.0]], np.float32)
    drawn = call(vae, "generate", seed=[4, 9], temperature=scales)
    for row, (seed, temperature) in enumerate(zip((4, 9), scales, strict=True)):
        one = vae.generate(1, seed=seed, temperature=temperature)
        expected = {"z_0": one.z[0], "z_1": one.z[1], "mean": one.mean, "sample": one.sample}
        for name, value in expected.items():
            np.testing.assert_allclose(drawn[name][row], value[0], rtol=1e-5, atol=1e-6)


def test_levels_move_and_those_below_follow() -> None:
    truth = Chain.random()
    rng = np.random.default_rng(2)
    z_0, z_1, *shift = rng.normal(size=(4, 6, 2)).astype("float32")
    given = {"z_0": z_0, "z_1": z_1, "shift_0": shift[0], "shift_1": shift[1]}
    found = call(Subject(truth.vae("ladder")), "move", **given)
    # Of a linear chain the deviations t do not change, and the means do by a times the shift.
    moved = z_0 + truth.a * shift[1] + shift[0]
    np.testing.assert_allclose(found["moved_1"], z_1 + shift[1], rtol=1e-6)
    np.testing.assert_allclose(found["moved_0"], moved, atol=1e-5)
    np.testing.assert_allclose(found["mean"], moved @ truth.w.T + truth.b, atol=2e-5)


def test_what_follows_keeps_its_noise() -> None:
    """Three levels, whose deviations do change, against draws of the same seeds' noise."""
    vae = zoo.hierarchical_vae((6,), (3, 2, 2), hidden=(8,), between=(8,), activation="tanh")
    seeds = tf.range(5, dtype=tf.int64)
    streams = [random.level(random.LATENT, level) for level in range(3)]
    noise = base_noise(seeds, list(zip(vae.priors, streams, strict=True)))
    z = []
    for prior, each in zip(vae.priors[::-1], noise[::-1], strict=True):
        z.insert(0, prior.transform(each, z[0] if z else None))
    shift = np.array([[2.0, -1.0]], np.float32)
    level_1 = vae.priors[1].transform(noise[1], z[2] + shift)
    level_0 = vae.priors[0].transform(noise[0], level_1)
    assert np.max(np.abs(level_0 - z[0])) > 0.1
    still = [np.zeros_like(each) for each in z]
    top = vae.moved(z, [*still[:2], np.tile(shift, (5, 1))])
    for found, expected in zip(top, (level_0, level_1, z[2] + shift), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"`shift` to hold one for each of the 3 levels.*: 1"):
        vae.moved(z, [shift])
    # Of the level in the middle, what is above stays.
    middle = vae.moved(z, [still[0], np.tile(shift, (5, 1)), still[2]])
    np.testing.assert_array_equal(middle[2], z[2])
    np.testing.assert_allclose(middle[1], z[1] + shift, atol=1e-6)
    expected = vae.priors[0].transform(noise[0], z[1] + shift)
    np.testing.assert_allclose(middle[0], expected, atol=1e-5)


def test_levels_that_cannot_be_moved_are_named() -> None:
    with pytest.raises(ExportError, match="two levels or more for the endpoint 'move'"):
        endpoints(zoo.hierarchical_vae((6,), (3,), hidden=(8,)), "move")
    truth = Chain.random()
    vae = truth.vae("bottom_up")
    vae.priors[0].layer = layers.Uniform((2,))
    with pytest.raises(ExportError, match=r"below the top level.*Received: Uniform at level 0"):
        endpoints(vae, "move")


@pytest.mark.slow
def test_an_export_takes_a_temperature_for_each_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "strangers", strangers_here)
    vae = zoo.hierarchical_vae((4, 3), (3, 2), inference="bottom_up", hidden=(8,), between=(4,))
    vae.step.assign(1)
    path = vae.export(tmp_path / "chain", samples=4)
    manifest = Manifest.read(path)
    names = ["decode", "generate", "encode", "reconstruct", "score", "move"]
    assert [record.name for record in manifest.endpoints] == names
    assert all(check.ok for check in manifest.verification)
    loaded = tfvae.export.load(path)
    for temperature in (0.5, (1.0, 0.5), [[1.0, 0.5], [1.0, 0.5]]):
        drawn = loaded.generate([5, 6], temperature=temperature)
        levels = np.broadcast_to(temperature, (2, 2))[0]
        expected = vae.generate(seeds=[5, 6], temperature=tuple(levels.tolist()))
        for name, value in (("z_0", expected.z[0]), ("z_1", expected.z[1])):
            np.testing.assert_allclose(drawn[name], value, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(drawn["mean"], expected.mean, rtol=1e-5, atol=1e-6)
    mean = loaded.decode(drawn["z_0"])["mean"]
    np.testing.assert_allclose(mean, drawn["mean"], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="temperature"):
        loaded.generate([5], temperature=(1.0, 1.0, 1.0))
    z = drawn["z_0"], drawn["z_1"]
    moved = loaded.move(z, {1: [0.5, -1.0]})
    expected = vae.moved(z, [np.zeros((2, 3)), np.tile(np.float32([0.5, -1.0]), (2, 1))])
    np.testing.assert_allclose(moved["moved_0"], expected[0], rtol=1e-5, atol=1e-6)
    mean = loaded.decode(moved["moved_0"])["mean"]
    np.testing.assert_allclose(moved["mean"], mean, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="Expected the inputs z_0, z_1, shift_0, shift_1"):
        loaded.move([], {})
    with pytest.raises(TypeError, match=r"by level how far.*Received: a list"):
        loaded.move(z, [0.5])  # type: ignore[arg-type]


@by_default_one
def test_rates_and_frozen_slots_are_those_of_all_levels(inference: Any) -> None:
    vae = zoo.hierarchical_vae((4,), (3, 2), inference=inference, hidden=(8,), between=(4,))
    named = {slot: vae.slot_layers(slot) for slot in ("encoder", "decoder", "prior", "posterior")}
    variables = [w for parts in named.values() for each in parts for w in each.trainable_variables]
    assert {id(w) for w in variables} == {id(w) for w in vae.trainable_variables}
    x = np.random.default_rng(0).integers(0, 2, (16, 4)).astype("float32")
    vae.compile(
        keras.optimizers.SGD(1e-2), jit_compile=False, run_eagerly=True, slot_rates={"prior": 1e-9}
    )
    before = [[w.numpy() for w in each.trainable_variables] for each in vae.priors]
    encoder = vae.encoder.get_weights()
    vae.fit(x, verbose=0)
    assert not np.array_equal(encoder[0], vae.encoder.get_weights()[0])
    for each, old in zip(vae.priors, before, strict=True):
        for weight, value in zip(each.trainable_variables, old, strict=True):
            np.testing.assert_allclose(weight.numpy(), value, rtol=0, atol=1e-6)
