"""What is no data: files, arrays, names and options, each refused in words."""

import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tfvae.data import DataError, load


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
