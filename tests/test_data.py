"""Data: every source and bad file, splits that do not leak, draws that follow from seeds."""

import hashlib
import pickle
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tfvae.data import DataError, Dataset, Examples, load, sources

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"


def numbered(n, shape=(2, 2)):
    """Examples of which each holds its own number, so that leaks show."""
    return np.broadcast_to(np.arange(n).reshape(-1, *(1,) * len(shape)), (n, *shape))


def numbers(examples):
    return examples.x.reshape(len(examples), -1)[:, 0].tolist()


@pytest.fixture
def save(tmp_path):
    def save(**arrays):
        np.savez(tmp_path / "file.npz", **arrays)
        return tmp_path / "file.npz"

    return save


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


# --- bad files -------------------------------------------------------------------------------


class Trap:
    """An object whose unpickling would be noticed."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def pickled_array(path):
    np.save(path, np.array([Trap()], object), allow_pickle=True)


def pickled_npz(path):
    with zipfile.ZipFile(path, "w") as archive, archive.open("x_train.npy", "w") as member:
        np.lib.format.write_array(member, np.array([[Trap()]], object), allow_pickle=True)


def bare_pickle(path):
    path.write_bytes(pickle.dumps(Trap()))


def truncated(path, keep=0.6):
    if path.suffix == ".npz":
        np.savez(path, x_train=np.random.default_rng(0).random((50, 8)))
    else:
        np.save(path, np.random.default_rng(0).random((50, 8)))
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])


def damaged(path):
    np.savez_compressed(path, x_train=np.random.default_rng(0).random((500, 8)))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.npz", lambda p: None, r"a.npz \(no such file\); check the path"),
        ("a.npz", lambda p: p.mkdir(), r"a.npz \(a folder\)"),
        ("a.npz", lambda p: p.touch(), "it is empty"),
        ("a.npy", lambda p: p.touch(), "it is empty"),
        ("a.npz", truncated, "truncated or damaged"),
        ("a.npy", truncated, "truncated or damaged"),
        ("a.npy", lambda p: truncated(p, 0.01), "truncated or damaged"),
        ("a.npz", damaged, "truncated or damaged"),
        ("a.npz", pickled_npz, "'x_train' in .*a.npz: it holds pickled Python objects"),
        ("a.npy", pickled_array, "pickled Python objects.*save plain numeric"),
        ("a.npy", bare_pickle, "pickled Python objects"),
        ("a.npz", bare_pickle, "pickled Python objects"),
        ("a.npz", lambda p: p.write_text("x,y\n1,2\n"), "it is not .npz data"),
        ("a.npy", lambda p: p.write_text("x,y\n1,2\n"), "it is not .npy data"),
        (
            "a.csv",
            lambda p: p.write_text("x,y\n1,2\n"),
            r"ends in .npz, .npy or .txt. Received: .*a.csv",
        ),
    ],
)
def test_bad_files(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(DataError, match=message) as info:
        load(tmp_path / name)
    assert "\n" not in str(info.value)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are not POSIX's")
def test_unreadable_file(save, monkeypatch):
    path = save(x=np.zeros((4, 2)))

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")  # root reads what mode 000 forbids

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match="permission denied; make it readable"):
        load(path)


FLOATS = np.zeros((20, 3), np.float32)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": FLOATS, "labels": FLOATS}, "Received keys: images, labels; save it with"),
        ({"x_test": FLOATS}, "Received keys: x_test"),
        ({"x_train": FLOATS[:0], "x_test": FLOATS}, r"x of shape \(0, 3\)"),
        ({"x": FLOATS[:0]}, "at least 2 examples"),
        ({"x": FLOATS[:1]}, "at least 2 examples"),
        ({"x": FLOATS[:, 0]}, r"shape \(20,\); give x an axis"),
        ({"x": np.zeros((4, 0))}, r"shape \(4, 0\)"),
        ({"x": np.array([["a", "b"]] * 4)}, "Expected numbers in 'x' of file. Received: dtype <U1"),
        ({"x": FLOATS.astype(np.complex64)}, "dtype complex64"),
        ({"x_train": FLOATS, "x_test": FLOATS[:, :2]}, r"x_train \(20, 3\), x_test \(20, 2\)"),
        ({"x": FLOATS, "y": np.arange(19)}, r"y \(19,\), x \(20, 3\)"),
        ({"x_train": FLOATS, "x_test": FLOATS, "y_test": np.arange(3)}, r"y of shape \(3,\)"),
    ],
)
def test_bad_arrays(save, arrays, message):
    with pytest.raises(DataError, match=message):
        load(save(**arrays))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("MNIST", "did you mean 'mnist'"),
        ("digit", "did you mean 'digits'"),
        ("fashion-mnist", "did you mean 'fashion_mnist'"),
        (
            "xyz",
            "one of digits, grammar, oscillations, shapes, mnist, fashion_mnist, cifar10, or a "
            "path. Received: source='xyz'",
        ),
        ("no/such/file", r"ends in .npz, .npy or .txt"),
    ],
)
def test_unknown_sources(source, message):
    with pytest.raises(DataError, match=message):
        load(source)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"binarize": "dynamc"}, "did you mean 'dynamic'"),
        ({"binarize": None}, "one of none, threshold, dynamic"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 0.5}, "seed=0.5"),
        ({"scale": 0}, "scale=0; pass what to divide by"),
        ({"scale": "255"}, "scale='255'"),
        ({"scale": float("nan")}, "scale=nan"),
        ({"validation": 1.0}, r"a count from 1 to 1436, with 1437 examples. Received: .*=1.0"),
        ({"validation": 1437}, "validation=1437; hold out fewer"),
        ({"validation": -3}, "validation=-3"),
        ({"validation": True}, "validation=True"),
        ({"scale": 0.5, "binarize": "dynamic"}, r"values in \[0, 1\] for binarize='dynamic'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(DataError, match=message):
        load("digits", **options)


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


# --- examples --------------------------------------------------------------------------------


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
