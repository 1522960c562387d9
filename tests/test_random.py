"""Words against TensorFlow's own generator; noise against its distribution and itself."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfvae import random

SEEDS = [0, 1, -1, 20260101, 2**63 - 1, -(2**63)]


@pytest.mark.parametrize("stream", [random.LATENT, random.OBSERVATION, 2**40 + 3])
@pytest.mark.parametrize("count", [1, 4, 11])
def test_row_words_equal_tensorflows_philox(count: int, stream: int) -> None:
    rows = random.row_words(tf.constant(SEEDS, tf.int64), count, stream)
    for seed, row in zip(SEEDS, rows.numpy(), strict=True):
        oracle = tf.random.stateless_uniform(
            [count], [seed, stream], None, None, tf.uint32, alg="philox"
        )
        np.testing.assert_array_equal(row, oracle)


def test_a_row_depends_on_its_own_seed_alone() -> None:
    one = random.Request("normal", (3, 5), random.LATENT)
    several = random.Request("uniform", (2,), random.POSTERIOR, samples=4)
    together = random.row_noise(tf.constant(SEEDS, tf.int64), one, several)
    assert together[1].shape == (4, len(SEEDS), 2)
    for row, seed in enumerate(SEEDS):
        alone = random.row_noise(tf.constant([seed], tf.int64), several)[0]
        np.testing.assert_array_equal(together[1][:, row], alone[:, 0])
        alone = random.row_noise(tf.constant([seed], tf.int64), one)[0]
        np.testing.assert_array_equal(together[0][row], alone[0])


def test_a_coin_is_half_a_word_and_seven_bits_of_the_last() -> None:
    (words,) = random.row_streams(tf.constant(SEEDS, tf.int64), [(4, 0)])
    (noise,) = random.row_noise(tf.constant(SEEDS, tf.int64), random.Request("coin", (6,), 0))
    own, last = words.numpy()[:, :3].astype(np.int64), words.numpy()[:, 3:].astype(np.int64)
    halves = np.concatenate([own >> 16, own & 0xFFFF], axis=1)
    np.testing.assert_array_equal(noise, (halves * 128 + (last >> 25) + 0.5) / 2**23)


@pytest.mark.parametrize("kind", ["normal", "uniform", "coin"])
def test_noise_is_equal_eagerly_and_compiled(kind: random.Noise) -> None:
    def draw(seed: tf.Tensor) -> tf.Tensor:
        return random.noise(kind, seed, 3, 5000, (7,))

    seed = random.as_seed(11)
    eager = draw(seed)
    np.testing.assert_array_equal(eager, tf.function(draw)(seed))
    # XLA has Giles's inverse error function, within 6e-6 of the true one.
    compiled = tf.function(draw, jit_compile=True)(seed)
    np.testing.assert_allclose(compiled, eager, rtol=1e-5 if kind == "normal" else 0)


@pytest.mark.parametrize("jit", [False, True])
def test_normal_training_noise_is_the_inverse_distribution_function_of_its_words(jit: bool) -> None:
    draw = tf.function(lambda: random.noise("normal", 5, 1, 50_000, (2,)), jit_compile=jit)
    words = random.words(5, [50_000, 1, 2]).numpy()[:, 0].astype(np.int64)
    exact = stats.norm.ppf(((words >> 9) + 0.5) * 2.0**-23)
    np.testing.assert_allclose(draw()[0], exact, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "cdf"), [("normal", "norm"), ("uniform", "uniform"), ("coin", "uniform")]
)
@pytest.mark.parametrize("rows", [False, True])
def test_noise_has_its_distribution(kind: random.Noise, cdf: str, rows: bool) -> None:
    # Kolmogorov-Smirnov at 1e-4: one false alarm in 1,600 choices of the seed for the six.
    if rows:
        seeds = tf.range(20_000, dtype=tf.int64)
        (draws,) = random.row_noise(seeds, random.Request(kind, (5,), random.LATENT))
    else:
        draws = random.noise(kind, 3, 1, 20_000, (5,))
    assert stats.kstest(np.ravel(draws), cdf).pvalue > 1e-4


def test_neighbouring_rows_and_columns_are_uncorrelated() -> None:
    (draws,) = random.row_noise(tf.range(10_000, dtype=tf.int64), random.Request("normal", (6,), 0))
    draws = draws.numpy()
    # A sample correlation of n independent pairs is about N(0, 1/n): 5 sigma on 15 + 6 pairs
    # is a false alarm once in some 80,000 choices of the seed.
    between_columns = np.corrcoef(draws.T)[np.triu_indices(6, 1)]
    between_rows = [np.corrcoef(draws[:-1, i], draws[1:, i])[0, 1] for i in range(6)]
    assert np.abs([*between_columns, *between_rows]).max() < 5 / np.sqrt(10_000)


def test_uniform_noise_never_reaches_its_ends() -> None:
    words = tf.constant([0, 2**32 - 1], tf.uint32)
    low, high = random.noise_from_words("uniform", words).numpy()
    assert (low, high) == (2.0**-24, 1 - 2.0**-24)
    low, _ = random.noise_from_words("coin", tf.constant([0, 0], tf.uint32)).numpy()
    _, high = random.noise_from_words("coin", tf.constant([2**32 - 1] * 2, tf.uint32)).numpy()
    assert (low, high) == (2.0**-24, 1 - 2.0**-24)


def test_noise_of_an_example_does_not_depend_on_the_batch() -> None:
    few = random.noise("normal", 3, 2, 5, (3,))
    many = random.noise("normal", 3, 2, 100, (3,))
    np.testing.assert_array_equal(few, many[:, :5])


def test_fold_separates_and_repeats() -> None:
    seeds = {tuple(random.fold(s, n).numpy()) for s in range(20) for n in range(20)}
    assert len(seeds) == 400
    folded = tf.function(lambda n: random.fold(1, n, 2), jit_compile=True)(tf.constant(5))
    np.testing.assert_array_equal(random.fold(1, 5, 2), folded)
    with pytest.raises(ValueError, match=r"`seed`.*shape \[2\].*\(3,\)"):
        random.fold(tf.zeros([3], tf.int64), 1)
