"""Data sets: by name, from files, or from folders, in the range a likelihood expects.

`load` turns a source into a `Dataset` of `Examples`, which are in memory, or of `Records`, which
are streamed. This module imports neither TensorFlow nor Keras until one of them is needed.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from tfvae import images
from tfvae.examples import (
    Binarize,
    Examples,
    check_binarize,
    check_scale,
    check_seed,
    choose_rows,
    divided,
    divisor,
    held_out_count,
    is_number,
)
from tfvae.records import Records, shards
from tfvae.sources import (
    TEST_SEED,
    Array,
    DataError,
    OnCorrupt,
    check_on_corrupt,
    is_name,
    read,
    sources,
)

__all__ = ["Binarize", "DataError", "Dataset", "Examples", "Part", "Records", "load", "sources"]

_TEST_FRACTION = 0.1


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in its parts, as `load` returns it.

    Args:
        name: Name of the source: its own, or the file's without its ending.
        train: What to learn from.
        validation: What to watch while learning, or None.
        test: What to report on.
        fingerprint: SHA-256 (hexadecimal) of the source's arrays as read, before scaling; of a
            folder that `tfvae data convert` wrote, of its records.
        classes: Names of the labels 0, 1, ..., where there are any.
        vocabulary: Of text, the words by their tokens.
        factors: Names of the ground-truth factors that are the columns of y [N, K], where the
            source names them.
    """

    name: str
    train: Examples | Records
    validation: Examples | Records | None
    test: Examples | Records
    fingerprint: str
    classes: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()


class Part(NamedTuple):
    """Rows of arrays that are still to be copied.

    Attributes:
        x: Values as read [N, *shape].
        y: Labels [N, ...], or None.
        rows: Those that are meant, or None for all.
    """

    x: Array
    y: Array | None
    rows: Array | None = None

    def arrays(self) -> tuple[Array, Array | None]:
        """The rows of x and of y."""
        if self.rows is None:
            return self.x, self.y
        return self.x[self.rows], None if self.y is None else self.y[self.rows]


def load(
    source: str | os.PathLike[str],
    *,
    binarize: Binarize = "none",
    validation: float = 0,
    seed: int = 0,
    scale: float | Literal["auto"] = "auto",
    on_corrupt: OnCorrupt = "raise",
) -> Dataset:
    """Read a data set by name, from a file or from a folder.

    Sources:
    - `digits`: scikit-learn's 1,797 handwritten digits, embedded, shape (8, 8, 1), divided by 16.
      After a fixed permutation the last 360 are the test set.
    - `grammar`: 10,000 sentences of the grammar `tfvae.text.ENGLISH`, embedded, as tokens.
    - `oscillations`: 5,000 noisy oscillations, embedded, 10 to 20 steps of three values, padded to
      (20, 3); y are their lengths. `tfvae.state_space.OSCILLATIONS` knows their log-probability.
    - `shapes`: 10,000 images of shapes for training and 2,000 for testing, of shape (32, 32, 3),
      drawn when they are asked for; y [N, 6] are the factors that they are made of. Settings
      follow a colon, as in `shapes:size=64,colour=no,train=50000`; see `tfvae.shapes.parse`.
    - `mnist`, `fashion_mnist`, `cifar10`: through `keras.datasets`, downloaded once.
    - a path ending in `.npz`: arrays `x_train`, `x_test` and, if there, `y_train`, `y_test`. With
      `x_train` alone, or `x` (and `y`), a tenth of the examples, the same for every seed, is
      held out as the test set. An array of strings, `factors`, names the columns of y [N, K].
    - a path ending in `.npy`: one array, held out from likewise.
    - a path ending in `.txt`: a sentence a line, as tokens; see `tfvae.text.read`.
    - a folder that `tfvae data convert` wrote: streamed, so that it may be larger than memory.
    - a small folder of PNG or JPEG images of one size, read whole; see `tfvae.images`.

    Scaling, with scale="auto": uint8 is divided by 255, unless all it holds is 0 and 1; bool and
    other integers that are all 0 or 1 become floats; floats are left as they are.

    Args:
        source: A name or a path.
        binarize: See `Examples`.
        validation: Part of the training set to hold out: a fraction in (0, 1), a count, or 0.
        seed: Seed of the validation split and of the binarisation.
        scale: "auto", or a number to divide by, whatever the dtype.
        on_corrupt: "raise", or "skip" to leave out damaged images and records and sentences that
            are too long, with a warning that says how many. Finding damaged records takes a pass
            over all of them.

    Returns:
        The data set. Shapes are the source's own: no channel axis is added to a file's images.

    Raises:
        DataError: The source is unknown, missing, broken, pickled or not numbers, or its numbers
            are not what `binarize` or `scale` say.

    Example:
        >>> digits = load("digits", validation=100)
        >>> len(digits.train), len(digits.validation), len(digits.test), digits.test.shape
        (1337, 100, 360, (8, 8, 1))
    """
    check_binarize(binarize)
    check_seed(seed)
    check_scale(scale)
    check_on_corrupt(on_corrupt)
    folder = as_folder(source)
    if folder is not None and shards.is_converted(folder):
        return _streamed(
            folder, validation, seed, binarize=binarize, scale=scale, on_corrupt=on_corrupt
        )
    classes: tuple[str, ...] = ()
    if folder is None:
        name, raw = read(source, on_corrupt=on_corrupt)
    else:
        name, raw, classes = images.read(folder, on_corrupt=on_corrupt)
    parts = divide(name, raw)
    by = scale if scale != "auto" else known_scale(source) or _automatic(name, parts)
    found = {}
    for key, part in parts.items():
        x, y = part.arrays()
        found[key] = Examples(divided(x, float(by)), y, binarize=binarize, seed=seed)
    train, held_out = found["train"], found.get("validation")
    if validation:
        _check_own(name, held_out)
        train, held_out = train.split(
            held_out_count("validation", validation, len(train)), seed=seed
        )
    words_of = (words(raw, key) for key in ("vocabulary", "factors"))
    return Dataset(name, train, held_out, found["test"], fingerprint(raw), classes, *words_of)


def as_folder(source: str | os.PathLike[str]) -> Path | None:
    """The folder that a source is, or None where it is a name or a file."""
    if is_name(source):
        return None
    path = Path(source).expanduser()
    return path if path.is_dir() and path.suffix.lower() not in (".npz", ".npy", ".txt") else None


def known_scale(source: str | os.PathLike[str]) -> float | None:
    """What divides the values of a source whose range its type does not say."""
    text = os.fspath(source)
    if text == "grammar" or text.lower().endswith(".txt"):
        return 1.0
    return 16.0 if text == "digits" else None


def words(raw: dict[str, Array], key: str) -> tuple[str, ...]:
    """The words that a source has beside its numbers: a vocabulary, or the names of factors."""
    return tuple(raw[key].tolist()) if key in raw else ()


def divide(name: str, raw: dict[str, Array]) -> dict[str, Part]:
    """The training, test and, if there is one, validation set of a source.

    Args:
        name: Of the source.
        raw: Its arrays. Where there is no `x_test`, a tenth of the examples is held out.

    Raises:
        DataError: Values are not numbers, or shapes do not fit each other.
    """
    for key, array in raw.items():
        if key.startswith("x") and not is_number(array):
            raise DataError(
                f"Expected numbers in {key!r} of {name}. Received: dtype {array.dtype}; save a "
                "float, integer or bool array."
            )
    key = "x_train" if "x_train" in raw else "x"
    x, y = raw[key], raw.get(key.replace("x", "y"))
    parts = {"train": Part(x, y)}
    for each in ("validation", "test"):
        other = raw.get(f"x_{each}")
        if other is not None:
            if other.shape[1:] != x.shape[1:]:
                raise DataError(
                    f"Expected x_train and x_{each} of {name} to hold examples of one shape. "
                    f"Received: x_train {x.shape}, x_{each} {other.shape}; reshape one."
                )
            parts[each] = Part(other, raw.get(f"y_{each}"))
    if "test" in parts:
        return parts
    if x.ndim < 2 or len(x) < 2 or not x.size:
        raise DataError(
            f"Expected {name} to hold at least 2 examples, [N, ...]. Received: shape {x.shape}; "
            "give x an axis of examples and one of values."
        )
    if y is not None and y.shape[:1] != x.shape[:1]:
        raise DataError(
            f"Expected the labels of {name} to match its examples. Received: y {y.shape}, "
            f"x {x.shape}; save as many labels as examples."
        )
    rest, test = held_out_rows(len(x))
    return {**parts, "train": Part(x, y, rest), "test": Part(x, y, test)}


def held_out_rows(n: int) -> tuple[Array, Array]:
    """The rows of the training and of the test set, of a source that does not say."""
    return choose_rows(n, held_out_count("test", _TEST_FRACTION, n), TEST_SEED)


def _automatic(name: str, parts: dict[str, Part]) -> float:
    dtypes = [part.x.dtype for part in parts.values()]
    filled = [part.x for part in parts.values() if part.x.size and part.x.dtype.kind in "biu"]
    low = min((x.min() for x in filled), default=0)
    high = max((x.max() for x in filled), default=0)
    return divisor(name, dtypes, low, high)


def _streamed(folder: Path, validation: float, seed: int, **options: Any) -> Dataset:
    found = {
        part: Records.open(folder, part, seed=seed, **options) for part in shards.read(folder).parts
    }
    train, held_out = found["train"], found.get("validation")
    layout = train.layout
    if validation:
        _check_own(layout.name, held_out)
        train, held_out = train.split(
            held_out_count("validation", validation, len(train)), seed=seed
        )
    return Dataset(
        layout.name,
        train,
        held_out,
        found["test"],
        layout.fingerprint,
        layout.classes,
        layout.vocabulary,
        layout.factors,
    )


def _check_own(name: str, held_out: Examples | Records | None) -> None:
    if held_out is not None:
        raise DataError(
            f"Expected validation=0, for {name} has a validation set of its own. Received: a part "
            "of the training set to hold out; leave it away."
        )


def fingerprint(raw: dict[str, Array]) -> str:
    """SHA-256 of named arrays, hexadecimal."""
    digest = hashlib.sha256()
    for key in sorted(raw):
        array = np.ascontiguousarray(raw[key])
        digest.update(f"{key} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data if array.size and array.dtype.kind in "biuf" else array.tobytes())
    return digest.hexdigest()
