"""Where data come from: embedded, through Keras, or files; as arrays, as they are.

This module imports neither TensorFlow nor Keras until a Keras data set is asked for.
"""

from __future__ import annotations

import difflib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from tfvae import shapes
from tfvae.state_space import OSCILLATIONS
from tfvae.text import corpus

Array = npt.NDArray[Any]
OnCorrupt = Literal["raise", "skip"]

TEST_SEED = 20131220
"""Of the held-out test set. It must not move with the user's seed: results of different seeds
would be measured on different examples, and could have been trained on each other's."""

EMBEDDED = ("digits", "grammar", "oscillations", shapes.NAME)
_KERAS = ("mnist", "fashion_mnist", "cifar10")
_DIGITS_TEST = 360
_DOWNLOAD_TIMEOUT = 30.0


class DataError(ValueError):
    """Data that cannot be read, or that is not what was said about it."""


def sources() -> tuple[str, ...]:
    """Names that `load` knows, besides paths.

    Example:
        >>> sources()
        ('digits', 'grammar', 'oscillations', 'shapes', 'mnist', 'fashion_mnist', 'cifar10')
    """
    return (*EMBEDDED, *_KERAS)


def is_name(source: str | os.PathLike[str]) -> bool:
    """Whether a source is a name, such as ``digits`` or ``shapes:size=64``, rather than a path."""
    text = os.fspath(source)
    return text in sources() or shapes.is_name(text)


def requested(source: str | os.PathLike[str]) -> shapes.Request | None:
    """What a source asks for, if it is a name of shapes.

    Raises:
        DataError: It is one, with settings that there are not.
    """
    if not shapes.is_name(os.fspath(source)):
        return None
    try:
        return shapes.parse(os.fspath(source))
    except ValueError as error:
        raise DataError(str(error)) from error


def read(
    source: str | os.PathLike[str], *, mapped: bool = False, on_corrupt: OnCorrupt = "raise"
) -> tuple[str, dict[str, Array]]:
    """Name and arrays of a source, as they are; of text also its ``vocabulary``.

    Where the columns of y are ground-truth factors that the source names, also ``factors``.

    Args:
        source: A name or a path.
        mapped: Whether to leave the array of an .npy file on disk until it is used.
        on_corrupt: Whether sentences that are too long are skipped.
    """
    text = os.fspath(source)
    if text in _READERS:
        return text, _READERS[text]()
    if (asked := requested(text)) is not None:
        return shapes.NAME, asked.shapes.arrays(asked.train, asked.test)
    if text in _KERAS:
        return text, _read_keras(text)
    path = Path(text).expanduser()
    if path.suffix.lower() in (".npz", ".npy"):
        return path.stem, _read_file(path, mapped)
    if path.suffix.lower() == ".txt":
        return path.stem, _read_text(path, on_corrupt)
    if isinstance(source, os.PathLike) or path.exists() or len(path.parts) > 1:
        raise DataError(
            f"Expected a folder, or a file that ends in .npz, .npy or .txt. Received: {text}; save "
            "arrays with numpy.savez(path, x_train=..., x_test=...)."
        )
    near = difflib.get_close_matches(text.lower().replace("-", "_"), sources(), n=1)
    fix = (
        f"did you mean {near[0]!r}?"
        if near
        else "or is it a file? Give its .npz, .npy or .txt path."
    )
    raise DataError(
        f"Expected source to be one of {', '.join(sources())}, or a path. Received: "
        f"source={text!r}; {fix}"
    )


def _read_digits() -> dict[str, Array]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = permutation(len(x), TEST_SEED)
    # Whole numbers from 0 to 16, which scikit-learn stores as floats.
    x, y = x[order].astype(np.uint8).reshape(-1, 8, 8, 1), y[order]
    cut = len(x) - _DIGITS_TEST
    return {"x_train": x[:cut], "y_train": y[:cut], "x_test": x[cut:], "y_test": y[cut:]}


def _read_oscillations() -> dict[str, Array]:
    x, lengths = OSCILLATIONS.generate(5000, 20, shortest=10, seed=1960)
    x_train, x_test = np.split(x, [4000])
    y_train, y_test = np.split(lengths, [4000])
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


_READERS = {
    "digits": _read_digits,
    "grammar": lambda: _tokens(corpus.generated()),
    "oscillations": _read_oscillations,
}


def _read_text(path: Path, on_corrupt: OnCorrupt) -> dict[str, Array]:
    try:
        return _tokens(corpus.read(path, on_long=on_corrupt))
    except (OSError, ValueError) as error:
        raise DataError(str(error)) from error


def _tokens(text: corpus.Corpus) -> dict[str, Array]:
    words = np.array(text.tokeniser.vocabulary)
    return {"x_train": text.train, "x_test": text.test, "vocabulary": words}


def _read_keras(name: str) -> dict[str, Array]:
    import keras

    try:
        with _download_timeout():
            (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises a bare Exception when it cannot download
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"Could not get {name!r} through keras.datasets ({reason}); if this machine is "
            f"offline, pass the path of an .npz file with x_train and x_test in place of {name!r}."
        ) from error
    labels = {"y_train": y_train.reshape(-1), "y_test": y_test.reshape(-1)}
    return {"x_train": x_train, "x_test": x_test, **labels}


@contextmanager
def _download_timeout() -> Iterator[None]:
    # Keras downloads without a timeout: behind a wall that drops packets it would hang for ever.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT if before is None else before)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _read_file(path: Path, mapped: bool) -> dict[str, Array]:
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise DataError(f"Expected a data file. Received: {path} ({what}); check the path.")
    try:
        # Opened here: NumPy leaves a file it opened itself, and cannot read, open.
        with path.open("rb") as file:
            magic = file.read(6)
            file.seek(0)
            if path.suffix.lower() == ".npy":
                _check_magic(path, magic, b"\x93NUMPY")
                if mapped:
                    return {"x": np.load(path, mmap_mode="r", allow_pickle=False)}
                return {"x": np.load(file, allow_pickle=False)}
            _check_magic(path, magic, b"PK")
            with np.load(file, allow_pickle=False) as archive:
                return _members(path, archive)
    except DataError:
        raise
    except PermissionError as error:
        raise DataError(f"Could not open {path}: permission denied; make it readable.") from error
    except Exception as error:
        # By where the damage falls: ValueError, EOFError, BadZipFile, zlib.error, KeyError, ...
        raise _broken(path, error) from error


def _members(path: Path, archive: Any) -> dict[str, Array]:
    """The arrays of an .npz that `load` reads, empty test sets dropped."""
    found = list(archive.files)
    key = next((k for k in ("x_train", "x") if k in found), None)
    if key is None:
        raise DataError(
            f"Expected {path} to hold x_train (and x_test), or x. Received keys: "
            f"{', '.join(found) or 'none'}; save it with numpy.savez(path, x_train=..., "
            "x_test=...)."
        )
    arrays = {}
    for wanted in (key, key.replace("x", "y"), "x_test", "y_test"):
        if wanted in found:
            try:
                arrays[wanted] = archive[wanted]
            except ValueError as error:
                if "pickle" in str(error):
                    raise _pickled(path, f"{wanted!r} in ") from error
                raise
    if (names := _factors(archive)) is not None:
        arrays["factors"] = names
    if key == "x" or arrays.get("x_test", np.empty(0)).shape[:1] in ((), (0,)):
        arrays.pop("x_test", None)
        arrays.pop("y_test", None)
    return arrays


def _factors(archive: Any) -> Array | None:
    """Names in an .npz, unless an array of that name is something else of its owner's."""
    try:
        names = np.asarray(archive["factors"])
    except (KeyError, ValueError):
        return None
    return names if names.dtype.kind == "U" and names.ndim == 1 else None


def _check_magic(path: Path, magic: bytes, expected: bytes) -> None:
    if magic.startswith(b"\x80"):
        raise _pickled(path)
    if not magic.startswith(expected):
        kind = "is empty" if not magic else f"is not {path.suffix} data"
        raise DataError(f"Could not read {path}: it {kind}; write it again with numpy.")


def _broken(path: Path, error: Exception) -> DataError:
    if "pickle" in str(error) or "Object arrays" in str(error):
        return _pickled(path)
    return DataError(
        f"Could not read {path}: it is truncated or damaged "
        f"({' '.join(str(error).split()) or type(error).__name__}); copy or write it again."
    )


def _pickled(path: Path, where: str = "") -> DataError:
    return DataError(
        f"Could not read {where}{path}: it holds pickled Python objects, which could run code; "
        "save plain numeric arrays (arr.astype('float32')) instead."
    )


def check_on_corrupt(on_corrupt: str) -> None:
    """Refuse an unknown way to treat damage."""
    if on_corrupt not in get_args(OnCorrupt):
        raise DataError(
            "Expected on_corrupt to be 'raise' or 'skip'. Received: "
            f"on_corrupt={on_corrupt!r}; choose one of them."
        )


def permutation(n: int, seed: int) -> npt.NDArray[np.intp]:
    """A permutation of range(n)."""
    return np.argsort(philox(seed, 1, n), kind="stable")


def philox(seed: int, stream: int, count: int) -> npt.NDArray[np.uint64]:
    """Raw Philox words, which NumPy keeps for good, unlike what its generators make of them."""
    return np.random.Philox(key=np.array([seed, stream], np.uint64)).random_raw(count)
