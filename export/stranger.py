"""Run an export as a stranger would: with no tfvae, no Keras model, nothing but its files.

A script, run in a fresh process by file path::

    python -P stranger.py EXPORT_DIR [EXPORT_DIR ...]

It blocks the import of everything a server does not have, runs every endpoint in onnxruntime
(TensorFlow blocked as well), through ``tf.saved_model.load`` and through the C++ loader that TF
Serving uses, on batches of 1, 3 and 64, and compares with the test vectors that Keras recorded at
the export. It prints one line of JSON. ``-P`` keeps this folder, where a file is called
``onnx.py``, off the import path.

It imports the standard library, NumPy, onnxruntime and TensorFlow, and must stay so.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import json
import math
import os
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

BATCHES = (1, 3, 64)

# Of the output's scale. A float32 network of depth L and width n errs by about sqrt(L n) 6e-8 of
# its scale, whatever the order of summation: for L n = 10,000 that is 6e-6.
TOLERANCE = 1e-5

BLOCKED = ("tfvae", "tensorflow_probability", "tf_keras")
BLOCKED_FOR_ONNX = ("tensorflow", "keras", "tf2onnx")

Arrays = dict[str, np.ndarray]
Call = Callable[[Arrays], Arrays]


class Blocker(importlib.abc.MetaPathFinder):
    """Refuses the import of top-level packages by name."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Raise for a blocked package; leave all others to the finders that follow."""
        del path, target
        if fullname.partition(".")[0] in self.names:
            raise ImportError(f"{fullname} is blocked: an export must run without it")


def _onnxruntime(folder: Path, endpoint: dict[str, Any]) -> Generator[Call, None, None]:
    """One call: the endpoint's ONNX file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(folder / endpoint["onnx"]), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    yield lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def _saved_model(folder: Path, endpoint: dict[str, Any]) -> Generator[Call, None, None]:
    """One call for each signature, as Python loads it."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    for name in endpoint["signatures"]:

        def call(inputs: Arrays, function: Any = loaded.signatures[name]) -> Arrays:
            outputs = function(**{key: tf.constant(value) for key, value in inputs.items()})
            return {key: value.numpy() for key, value in outputs.items()}

        yield call


def _session(folder: Path, endpoint: dict[str, Any]) -> Generator[Call, None, None]:
    """One call for each signature, as the C++ loader has it."""
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        for name in endpoint["signatures"]:

            def call(inputs: Arrays, signature: Any = meta.signature_def[name]) -> Arrays:
                fetches = {key: value.name for key, value in signature.outputs.items()}
                feeds = {signature.inputs[key].name: value for key, value in inputs.items()}
                outputs: Arrays = session.run(fetches, feeds)
                return outputs

            yield call


RUNTIMES: dict[str, Callable[[Path, dict[str, Any]], Generator[Call, None, None]]] = {
    "onnxruntime": _onnxruntime,
    "saved_model": _saved_model,
    "session": _session,
}


def examine(folder: Path, runtime: str) -> list[dict[str, Any]]:
    """Check every endpoint of an export in one runtime.

    Args:
        folder: the version folder.
        runtime: a key of ``RUNTIMES``.

    Returns:
        A row for each output of each endpoint, with the fields of ``tfvae.export.Check``. What
        fails is a row that says so: nothing is raised.
    """
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    rows = []
    for endpoint in manifest["endpoints"]:
        try:
            vectors = _vectors(folder / manifest["test_vectors"], endpoint)
            with contextlib.closing(RUNTIMES[runtime](folder, endpoint)) as calls:
                results = [
                    (batch, call(_rows(vectors["inputs"], batch)))
                    for call in calls
                    for batch in BATCHES
                ]
            judged = [_judge(spec, vectors["outputs"], results) for spec in endpoint["outputs"]]
        except Exception as error:  # a broken export must not hide the verdict on the others
            reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            judged = [
                _row(spec["name"], math.inf, TOLERANCE, False, reason)
                for spec in endpoint["outputs"]
            ]
        rows += [{"endpoint": endpoint["name"], "runtime": runtime, **row} for row in judged]
    return rows


def _vectors(path: Path, endpoint: dict[str, Any]) -> dict[str, Arrays]:
    with np.load(path, allow_pickle=False) as file:
        return {
            side: {spec["name"]: file[f"{endpoint['name']}/{spec['name']}"] for spec in specs}
            for side, specs in (("inputs", endpoint["inputs"]), ("outputs", endpoint["outputs"]))
        }


def _rows(arrays: Arrays, batch: int) -> Arrays:
    """Make a batch of the recorded rows, from the first, around again where they end."""
    return {name: rows[np.arange(batch) % len(rows)] for name, rows in arrays.items()}


def _judge(
    spec: dict[str, Any], recorded: Arrays, results: Sequence[tuple[int, Arrays]]
) -> dict[str, Any]:
    """Compare one output over all batches."""
    name = spec["name"]
    pairs = []
    for batch, outputs in results:
        expected = _rows(recorded, batch)[name]
        actual = outputs.get(name)
        if actual is None or (actual.shape, actual.dtype) != (expected.shape, expected.dtype):
            got = "nothing" if actual is None else f"{actual.dtype} {list(actual.shape)}"
            wanted = f"{expected.dtype} {list(expected.shape)}"
            return _row(name, math.inf, TOLERANCE, False, f"expected {wanted}, received {got}")
        pairs.append((actual, expected))
    if spec["discrete"]:
        size = max(expected.size for _, expected in pairs)
        flips = max(int(np.count_nonzero(actual != expected)) for actual, expected in pairs)
        allowed = allowed_flips(size)
        detail = f"{flips} of {size} values differ"
        return _row(name, flips / size, allowed / size, flips <= allowed, detail)
    difference = max(
        float(np.max(np.abs(actual.astype(np.float64) - expected))) for actual, expected in pairs
    )
    tolerance = TOLERANCE * max(1.0, float(np.max(np.abs(recorded[name]))))
    # Written so that NaN fails.
    return _row(name, difference, tolerance, bool(difference <= tolerance))


def allowed_flips(size: int, rate: float = TOLERANCE, alarm: float = 1e-6) -> int:
    """Return how many of `size` discrete values may differ between two runtimes.

    A value flips where its noise falls between the two runtimes' thresholds, which are at most
    `rate` apart: the number of flips is at most Poisson(rate * size). The smallest count that
    this exceeds with probability below `alarm`.

    Example:
        >>> [allowed_flips(n) for n in (1, 1_000, 50_000, 10_000_000)]
        [1, 2, 7, 151]
    """
    mean = rate * size
    count, term = 0, math.exp(-mean)
    tail = 1.0 - term
    while tail >= alarm:
        count += 1
        term *= mean / count
        tail -= term
    return count


def _row(
    output: str, difference: float, tolerance: float, ok: bool, detail: str = ""
) -> dict[str, Any]:
    return {
        "output": output,
        "difference": difference,
        "tolerance": tolerance,
        "ok": ok,
        "detail": detail,
    }


def main(folders: Sequence[str]) -> None:
    """Examine exports with imports blocked and print ``{folder: [row, ...]}``."""
    answer = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints goes to stderr: stdout is the answer
    blocker = Blocker(*BLOCKED, *BLOCKED_FOR_ONNX)
    sys.meta_path.insert(0, blocker)
    rows = {folder: examine(Path(folder), "onnxruntime") for folder in folders}
    blocker.names -= set(BLOCKED_FOR_ONNX)
    for runtime in ("saved_model", "session"):
        for folder in folders:
            rows[folder] += examine(Path(folder), runtime)
    present = sorted({name.partition(".")[0] for name in sys.modules} & set(BLOCKED))
    if present:
        raise SystemExit(f"imported in spite of the block: {', '.join(present)}")
    with os.fdopen(answer, "w", encoding="utf-8") as file:
        file.write(json.dumps(rows) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
