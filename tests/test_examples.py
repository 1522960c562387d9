"""Examples: draws that follow from seeds, what is refused, and fingerprints."""

import hashlib

import numpy as np
import pytest

from tfvae import examples
from tfvae.data import DataError, Dataset, Examples, load
from tfvae.examples import some


def test_threshold_and_none():
    x = np.array([[0.0, 0.49, 0.5, 1.0]], np.float64)
    assert Examples(x, binarize="threshold").values().tolist() == [[0, 0, 1, 1]]
    values = Examples(x).values()
    assert values.dtype == np.float64  # precision is the model's to choose
    np.testing.assert_array_equal(values, x)


def test_the_draw_is_a_function_of_seed_index_and_pixel():
    x = np.random.default_rng(0).random((300, 5, 4)).astype(np.float32)
    examples = Examples(x, binarize="dynamic", seed=7)
    drawn = examples.values()
    assert drawn.dtype == np.float32
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_array_equal(examples.values(), drawn)
    np.testing.assert_array_equal(examples.take(100).values(), drawn[:100])
    # Neither other examples nor other pixels' values matter.
    changed = x.copy()
    changed[::2] = 0.3
    np.testing.assert_array_equal(
        Examples(changed, binarize="dynamic", seed=7).values()[1::2], drawn[1::2]
    )
    assert (Examples(x, binarize="dynamic", seed=8).values() != drawn).any()


def test_the_draw_follows_its_documented_words(monkeypatch):
    x = np.full((6, 10), 0.5)
    words = np.random.Philox(key=np.array([3, 0], np.uint64)).random_raw(60).reshape(6, 10)
    expected = (words >> np.uint64(11)) * 2.0**-53 < 0.5
    np.testing.assert_array_equal(Examples(x, binarize="dynamic", seed=3).values(), expected)
    monkeypatch.setattr("tfvae.examples._CHUNK", 7)  # memory is bounded, the draw is the same
    np.testing.assert_array_equal(Examples(x, binarize="dynamic", seed=3).values(), expected)


def test_the_draw_has_the_right_means():
    p = np.linspace(0, 1, 21)
    n = 20_000
    drawn = Examples(np.tile(p, (n, 1)), binarize="dynamic").values().mean(axis=0)
    assert drawn[0] == 0
    assert drawn[-1] == 1
    # Hoeffding: P(|mean − p| > t) ≤ 2 exp(−2 n t²); t = 0.0205 gives 21 · 1.1e-7 in total.
    assert np.abs(drawn - p).max() < 0.0205


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_values_are_counted_and_found(bad):
    x = np.zeros((4, 3, 2), np.float32)
    x[2, 1, 0] = x[3, 0, 0] = bad
    with pytest.raises(DataError, match=r"2 of 24 NaN or infinite, the first at x\[2, 1, 0\]"):
        Examples(x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": np.zeros((0, 3), np.float32)}, r"at least one example .* shape \(0, 3\)"),
        ({"x": np.zeros(3, np.float32)}, r"shape \(3,\)"),
        ({"x": np.zeros((3, 3), np.uint8)}, r"dtype uint8; scale it, as in x.astype\('float32'\)"),
        ({"y": np.zeros(4)}, r"y of shape \(4,\) with 5 examples"),
        ({"y": 3}, r"y of shape \(\)"),
        ({"weight": np.ones(4)}, r"weight of shape \(4,\) with 5 examples"),
        ({"weight": np.ones((5, 1))}, r"one per example. Received: weight of shape \(5, 1\)"),
        ({"weight": -np.ones(5)}, "at least 0"),
        ({"weight": np.full(5, np.nan)}, "finite"),
        ({"weight": np.array(list("abcde"))}, "dtype <U1"),
        ({"binarize": "bernoulli"}, "one of none, threshold, dynamic"),
        ({"seed": "0"}, "seed='0'"),
        ({"x": np.full((5, 2), 1.5), "binarize": "threshold"}, "x from 1.5 to 1.5; pass scale="),
        ({"x": np.full((5, 2), -0.1), "binarize": "dynamic"}, "x from -0.1 to -0.1"),
    ],
)
def test_bad_examples(arguments, message):
    with pytest.raises(DataError, match=message):
        Examples(**{"x": np.zeros((5, 2), np.float32), **arguments})


@pytest.mark.parametrize("n", [0, 6, -1, 2.0, True])
def test_take_only_what_there_is(n):
    examples = Examples(np.zeros((5, 2), np.float32))
    assert len(examples.take(5)) == 5
    with pytest.raises(DataError, match="between 1 and the 5 examples"):
        examples.take(n)


def test_some_are_as_many_as_fit(monkeypatch):
    part = Examples(np.zeros((10, 4, 4)))
    assert [len(some(part, most)) for most in (3, 10, 99)] == [3, 10, 10]
    monkeypatch.setattr(examples, "SOME_BYTES", 5 * 16 * 8)
    assert len(some(part, 99)) == 5
    monkeypatch.setattr(examples, "SOME_BYTES", 0)
    assert len(some(part, 99)) == 1


def test_frozen():
    with pytest.raises(AttributeError):
        Examples(np.zeros((5, 2), np.float32)).seed = 1


# --- fingerprint -----------------------------------------------------------------------------


def test_fingerprint_is_of_the_arrays_alone(save):
    x = np.arange(24, dtype=np.uint8).reshape(12, 2)

    def fingerprint(path, **options):
        data = load(path, **options)
        assert isinstance(data, Dataset)
        return data.fingerprint

    first = fingerprint(save(x=x))
    expected = hashlib.sha256(b"x |u1 (12, 2)\n" + x.tobytes()).hexdigest()
    assert first == expected
    assert fingerprint(save(x=x), seed=1, validation=2, binarize="dynamic", scale=255) == first
    flipped = x.copy()
    flipped[3, 1] ^= 1
    others = {
        fingerprint(save(x=flipped)),
        fingerprint(save(x=x.reshape(6, 4))),
        fingerprint(save(x=x.astype(np.float32))),
        fingerprint(save(x=x, y=np.arange(12))),
        fingerprint(save(x_train=x)),
    }
    assert first not in others
    assert len(others) == 5
