"""Data: every source, scaling, and splits that do not leak."""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numbered import numbered, numbers

from tfvae.data import DataError, Examples, load, sources

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"


# --- sources ---------------------------------------------------------------------------------


def test_import_needs_neither_tensorflow_nor_sklearn():
    code = (
        "import sys, tfvae.data;"
        "print([m for m in ('tensorflow', 'keras', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_digits():
    from sklearn.datasets import load_digits

    data = load("digits")
    assert (data.name, data.validation) == ("digits", None)
    assert (len(data.train), len(data.test)) == (1437, 360)
    assert data.train.shape == data.test.shape == (8, 8, 1)
    assert data.train.x.dtype == np.float32
    # Together they are scikit-learn's digits, each once, with its own label.
    mine = {
        (x.tobytes(), int(y))
        for part in (data.train, data.test)
        for x, y in zip(part.x, part.y, strict=True)
    }
    x, y = load_digits(return_X_y=True)
    theirs = {((a / 16).astype(np.float32).tobytes(), int(b)) for a, b in zip(x, y, strict=True)}
    assert mine == theirs
    # Every class in about its share: 36 expected of each, standard deviation below 6.
    assert np.bincount(data.test.y, minlength=10).min() > 15


@pytest.mark.parametrize("seed", [0, 1])
def test_the_test_set_does_not_move_with_the_seed(seed, save):
    np.testing.assert_array_equal(load("digits", seed=seed).test.x, load("digits").test.x)
    path = save(x=numbered(50, (3,)).astype(np.float32))
    assert numbers(load(path, seed=seed).test) == numbers(load(path).test)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_keras_sources(monkeypatch, name):
    import keras

    x, y = np.full((4, 3, 3), 255, np.uint8), np.arange(4).reshape(4, 1)
    monkeypatch.setattr(
        getattr(keras.datasets, name), "load_data", lambda: ((x, y), (x[:2] // 5, y[:2]))
    )
    data = load(name)
    assert (data.name, data.train.shape) == (name, (3, 3))
    assert np.unique(data.train.x).tolist() == [1.0]
    assert np.unique(data.test.x).tolist() == [np.float32(0.2)]
    assert data.train.y.tolist() == [0, 1, 2, 3]


def test_offline_says_to_pass_a_path(monkeypatch):
    import keras

    timeouts = []

    def fail():
        timeouts.append(socket.getdefaulttimeout())
        raise Exception("URL fetch failure on https://example.org/x:\n None -- no route")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", fail)
    with pytest.raises(DataError, match=r"offline, pass the path of an \.npz") as info:
        load("mnist")
    assert "\n" not in str(info.value)
    assert "no route" in str(info.value)
    assert timeouts[0] is not None  # a silent network must not hang it
    assert socket.getdefaulttimeout() is None


def test_npz_with_its_own_test_set(save):
    x = numbered(12, (5, 4)).astype(np.uint8)
    data = load(save(x_train=x[:9], y_train=np.arange(9), x_test=x[9:], y_test=np.arange(3)))
    assert (data.name, data.train.shape) == ("file", (5, 4))  # no channel axis is added
    np.testing.assert_array_equal(data.train.x, x[:9].astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(data.test.x, x[9:].astype(np.float32) / np.float32(255))
    assert data.train.y.tolist() == list(range(9))
    assert data.test.y.tolist() == [0, 1, 2]


@pytest.mark.parametrize("keys", [("x", "y"), ("x_train", "y_train")])
@pytest.mark.parametrize("empty_test", [False, True])
def test_a_tenth_is_held_out_where_there_is_no_test_set(save, keys, empty_test):
    x = numbered(50).astype(np.float64)
    arrays = dict(zip(keys, (x, np.arange(50)), strict=True))
    if empty_test:
        arrays |= {"x_test": x[:0], "y_test": np.arange(0)}
    data = load(save(**arrays), validation=10)
    assert [len(p) for p in (data.train, data.validation, data.test)] == [35, 10, 5]
    assert data.train.x.dtype == np.float64  # floats are left as they are
    parts = [numbers(p) for p in (data.train, data.validation, data.test)]
    assert sorted(n for part in parts for n in part) == list(range(50))
    for part, numbered_part in zip((data.train, data.validation, data.test), parts, strict=True):
        assert part.y.tolist() == numbered_part


def test_npy_string_paths_and_no_labels(tmp_path):
    np.save(tmp_path / "a.npy", numbered(20).astype(np.float32))
    data = load(str(tmp_path / "a.npy"))
    assert (len(data.train), len(data.test)) == (18, 2)
    assert data.train.y is None
    assert data.test.y is None


def test_labels_of_one_part_only(save):
    x = np.zeros((6, 2), np.float32)
    data = load(save(x_train=x, x_test=x, y_train=np.arange(6)))
    assert data.train.y is not None
    assert data.test.y is None


# --- scaling ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "scale", "expected"),
    [
        (np.array([0, 51, 255], np.uint8), "auto", [0, 0.2, 1]),
        (np.array([0, 1, 1], np.uint8), "auto", [0, 1, 1]),  # binary, not nearly black
        (np.array([0, 1, 1], np.int64), "auto", [0, 1, 1]),
        (np.array([False, True, True]), "auto", [0, 1, 1]),
        (np.array([0.0, -3.5, 200.0], np.float32), "auto", [0, -3.5, 200]),
        (np.array([0, 8, 16], np.int16), 16, [0, 0.5, 1]),
        (np.array([0, 8, 16], np.uint8), 16.0, [0, 0.5, 1]),
        (np.array([0.0, 127.5, 255.0], np.float32), 255, [0, 0.5, 1]),
        (np.array([-2, 0, 7], np.int32), 1, [-2, 0, 7]),
    ],
)
def test_scaling(save, values, scale, expected):
    x = np.stack([values, values])
    data = load(save(x_train=x, x_test=x), scale=scale)
    assert data.train.x.dtype == data.test.x.dtype == np.float32
    np.testing.assert_array_equal(data.train.x, np.float32([expected, expected]))


def test_scaling_is_decided_on_both_parts_together(save):
    dark, bright = np.ones((3, 4), np.uint8), np.full((3, 4), 255, np.uint8)
    data = load(save(x_train=dark, x_test=bright))
    assert data.train.x.max() == np.float32(1) / np.float32(255)


@pytest.mark.parametrize("low", [-1, 0])
def test_other_integers_need_a_scale(save, low):
    x = np.array([[low, 2, 1000]] * 4, np.int32)
    with pytest.raises(DataError, match=f"int32 from {low} to 1000; pass scale="):
        load(save(x=x))


# --- splits ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("validation", "count"), [(0.1, 8), (7, 7), (np.int64(7), 7), (1e-9, 1)])
def test_validation_is_held_out_of_training_alone(save, validation, count):
    x = numbered(100, (2,)).astype(np.float32)
    path = save(x_train=x[:80], x_test=x[80:], y_train=np.arange(80), y_test=np.arange(20))
    data = load(path, validation=validation, seed=3)
    assert len(data.validation) == count
    assert numbers(data.test) == list(range(80, 100))
    assert sorted(numbers(data.train) + numbers(data.validation)) == list(range(80))
    assert data.validation.y.tolist() == numbers(data.validation)
    assert data.train.y.tolist() == numbers(data.train)
    again, other = (load(path, validation=validation, seed=s) for s in (3, 4))
    assert numbers(again.validation) == numbers(data.validation)
    assert count == 1 or numbers(other.validation) != numbers(data.validation)


@pytest.mark.parametrize("validation", [0, 0.0])
def test_no_validation(validation):
    assert load("digits", validation=validation).validation is None


def test_split_takes_everything_along():
    examples = Examples(
        numbered(10).astype(np.float32) / 10,
        y=np.arange(10),
        weight=np.arange(10.0),
        binarize="dynamic",
        seed=5,
    )
    rest, held_out = examples.split(3, seed=1)
    for part in (rest, held_out):
        np.testing.assert_array_equal(part.y, part.weight)
        np.testing.assert_allclose(part.x[:, 0, 0], part.y / 10, rtol=1e-6)
        assert (part.binarize, part.seed) == ("dynamic", 5)
    assert sorted([*rest.y, *held_out.y]) == list(range(10))


def test_every_example_is_held_out_equally_often():
    held = np.zeros(20)
    runs = 2000
    examples = Examples(numbered(20, (1,)).astype(np.float32))
    for seed in range(runs):
        held[examples.split(5, seed=seed)[1].x.astype(int)] += 1
    # Binomial(2000, 1/4): standard deviation 19.4; 20 counts beyond 5 of them: P < 20 · 6e-7.
    assert np.abs(held - runs / 4).max() < 5 * np.sqrt(runs * 0.25 * 0.75)


# --- real data -------------------------------------------------------------------------------


def shared(*parts):
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs the data file {'/'.join(parts)}, which is not in the repository")
    return path


def test_mnist_file():
    data = load(shared("mnist", "mnist.npz"), binarize="dynamic", validation=5000)
    assert [len(p) for p in (data.train, data.validation, data.test)] == [55_000, 5_000, 10_000]
    assert data.train.shape == (28, 28)
    assert data.test.y[:5].tolist() == [7, 2, 1, 0, 4]  # as published
    assert data.test.x.max() == 1.0
    drawn = data.test.values()
    # A sum of independent Bernoulli draws: Hoeffding at t = 0.001, 2 exp(−2 · 7.84e6 · 1e-6).
    assert abs(float(drawn.mean(dtype=float) - data.test.x.mean(dtype=float))) < 1e-3


def test_fashion_sprite_file():
    data = load(shared("fashion_mnist", "fashion_sprite_900.npz"))
    assert (len(data.train), len(data.test), data.train.shape) == (810, 90, (28, 28))


def test_file_with_other_keys():
    with pytest.raises(DataError, match="Received keys: train, valid, test"):
        load(shared("binarized_mnist", "binarized_mnist_packed.npz"))


def test_sources_are_listed():
    embedded, downloaded = sources()[:4], sources()[4:]
    assert embedded == ("digits", "grammar", "oscillations", "shapes")
    assert downloaded == ("mnist", "fashion_mnist", "cifar10")
