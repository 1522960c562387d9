"""Run an export as a stranger would: with no tfvae, no Keras model, nothing but its files.

A script, run in two fresh processes by file path::

    echo '["EXPORT_DIR", ...]' | python -P stranger.py onnxruntime
    echo '["EXPORT_DIR", ...]' | python -P stranger.py tensorflow

It blocks the import of everything a server does not have, runs every endpoint in onnxruntime with
and without its optimisations (TensorFlow blocked as well), through ``tf.saved_model.load`` and
through the C++ loader that TF Serving uses, on batches of 1, 3 and 64, and compares with the test
vectors that Keras recorded at the export. It prints one line of JSON. ``-P`` keeps this folder,
which has an ``onnx`` of its own, off the import path.

It imports the standard library, NumPy, onnxruntime and TensorFlow, and must stay so.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.abc
import importlib.util
import json
import math
import os
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
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
# From an endpoint to its calls in one runtime.
Open = Callable[[dict[str, Any]], Iterable[Call]]


class Blocker(importlib.abc.MetaPathFinder):
    """Refuses the import of top-level packages by name."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Raise for a blocked package; leave all others to the finders that follow."""
        del path, target
        if fullname.partition(".")[0] in self.names:
            raise ImportError(f"{fullname} is blocked: an export must run without it")


@contextlib.contextmanager
def _onnxruntime(folder: Path, optimise: bool = True) -> Iterator[Open]:
    """One call for an endpoint: its ONNX file."""
    import onnxruntime

    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL

    def calls(endpoint: dict[str, Any]) -> Iterator[Call]:
        session = onnxruntime.InferenceSession(
            str(folder / endpoint["onnx"]), options, providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]
        yield lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))

    yield calls


@contextlib.contextmanager
def _saved_model(folder: Path) -> Iterator[Open]:
    """One call for each signature of an endpoint, as Python loads it."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))

    def calls(endpoint: dict[str, Any]) -> Iterator[Call]:
        for name in endpoint["signatures"]:

            def call(inputs: Arrays, function: Any = loaded.signatures[name]) -> Arrays:
                outputs = function(**{key: tf.constant(value) for key, value in inputs.items()})
                return {key: value.numpy() for key, value in outputs.items()}

            yield call

    yield calls


@contextlib.contextmanager
def _session(folder: Path) -> Iterator[Open]:
    """One call for each signature of an endpoint, as the C++ loader has it."""
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))

        def calls(endpoint: dict[str, Any]) -> Iterator[Call]:
            for name in endpoint["signatures"]:

                def call(inputs: Arrays, signature: Any = meta.signature_def[name]) -> Arrays:
                    fetches = {key: value.name for key, value in signature.outputs.items()}
                    feeds = {signature.inputs[key].name: value for key, value in inputs.items()}
                    outputs: Arrays = session.run(fetches, feeds)
                    return outputs

                yield call

        yield calls


RUNTIMES: dict[str, Callable[[Path], contextlib.AbstractContextManager[Open]]] = {
    "onnxruntime": _onnxruntime,
    "onnxruntime (not optimised)": functools.partial(_onnxruntime, optimise=False),
    "saved_model": _saved_model,
    "session": _session,
}


def examine(folder: Path, runtime: str) -> list[dict[str, Any]]:
    """Check every endpoint of an export in one runtime.

    Args:
        folder: the version folder.
        runtime: a key of ``RUNTIMES``. In ``"onnxruntime"`` an endpoint's variants run too.

    Returns:
        A row for each output of each endpoint, with the fields of ``tfvae.export.Check``. What
        fails is a row that says so: nothing is raised.
    """
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    vectors = folder / manifest["test_vectors"]
    rows = []
    with contextlib.ExitStack() as stack:
        try:
            opened: Open = stack.enter_context(RUNTIMES[runtime](folder))
        except Exception as error:  # every endpoint fails with it
            opened = functools.partial(_refuse, error)
        for endpoint in manifest["endpoints"]:
            rows += _examine(endpoint, vectors, opened, TOLERANCE, runtime)
            for variant in endpoint.get("variants", ()) if runtime == "onnxruntime" else ():
                other = {**endpoint, "onnx": variant["onnx"]}
                name = f"{runtime} ({variant['name']})"
                rows += _examine(other, vectors, opened, variant["tolerance"], name)
    return rows


def _refuse(error: Exception, endpoint: dict[str, Any]) -> Iterator[Call]:
    del endpoint
    raise error


def _examine(
    endpoint: dict[str, Any], vectors: Path, opened: Open, tolerance: float, runtime: str
) -> list[dict[str, Any]]:
    try:
        recorded = _vectors(vectors, endpoint)
        results = [
            (batch, call(_rows(recorded["inputs"], batch)))
            for call in opened(endpoint)
            for batch in BATCHES
        ]
        judged = _judge(endpoint["outputs"], recorded["outputs"], results, tolerance)
    except Exception as error:  # a broken export must not hide the verdict on the others
        reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        judged = [
            _row(spec["name"], math.inf, tolerance, False, reason) for spec in endpoint["outputs"]
        ]
    return [{"endpoint": endpoint["name"], "runtime": runtime, **row} for row in judged]


def warm_up(folder: Path) -> list[dict[str, Any]]:
    """Replay the warm-up requests of an export as TF Serving does when it loads it."""
    # By its path, for this process has no tfvae; it imports none of it.
    spec = importlib.util.spec_from_file_location("warmup", Path(__file__).with_name("warmup.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not (folder / module.FILE).is_file():
        return []
    failed = module.failures(folder)
    row = _row("requests", float(len(failed)), 0.0, not failed, "; ".join(failed))
    return [{"endpoint": "warm-up", "runtime": "session", **row}]


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
    specs: Sequence[dict[str, Any]],
    recorded: Arrays,
    results: Sequence[tuple[int, Arrays]],
    tolerance: float,
) -> list[dict[str, Any]]:
    """Compare the outputs of an endpoint over all batches."""
    judged = []
    for spec in specs:
        rows = []
        for batch, outputs in results:
            expected = _rows(recorded, batch)
            row = _misshapen(spec["name"], outputs, expected, tolerance)
            if row is None:
                # Where a draw was picked otherwise, all that follows from it differs.
                same = _picked_alike(specs, spec, outputs, expected, tolerance)
                pair = (outputs[spec["name"]][same], expected[spec["name"]][same])
                row = COMPARISONS[spec["compare"]](spec["name"], *pair, tolerance)
            rows.append(row)
        failed = [row for row in rows if not row["ok"]]
        judged.append(max(failed or rows, key=lambda row: row["difference"]))
    return judged


def _misshapen(
    name: str, outputs: Arrays, expected: Arrays, tolerance: float
) -> dict[str, Any] | None:
    """Refuse an output that is missing, or of another shape or dtype."""
    actual, wanted = outputs.get(name), expected[name]
    if actual is not None and (actual.shape, actual.dtype) == (wanted.shape, wanted.dtype):
        return None
    got = "nothing" if actual is None else f"{actual.dtype} {list(actual.shape)}"
    detail = f"expected {wanted.dtype} {list(wanted.shape)}, received {got}"
    return _row(name, math.inf, tolerance, False, detail)


def _picked_alike(
    specs: Sequence[dict[str, Any]],
    spec: dict[str, Any],
    outputs: Arrays,
    expected: Arrays,
    tolerance: float,
) -> np.ndarray:
    """Return which rows agree in every *other* output that is compared by rows."""
    same = np.ones(len(expected[spec["name"]]), bool)
    for other in specs:
        name = other["name"]
        if other is not spec and other["compare"] == "rows" and name in outputs:
            close = _close(outputs[name], expected[name], tolerance)
            same &= close.reshape(len(close), -1).all(axis=1)
    return same


def _close(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> np.ndarray:
    """Whether each value is within `tolerance` of itself or of what is usual, and finite."""
    size = np.abs(expected.astype(np.float64))
    # Heavy tails have single values that dwarf the others: they excuse no other's error.
    usual = float(np.quantile(size, 0.9)) if size.size else 0.0
    difference = np.abs(actual.astype(np.float64) - expected)
    return np.asarray(difference <= tolerance * np.maximum(size, max(1.0, usual)))


def _by_scale(
    name: str, actual: np.ndarray, expected: np.ndarray, tolerance: float
) -> dict[str, Any]:
    """All values within `tolerance` of the output's scale: what a network's rounding leaves."""
    if not expected.size:
        return _row(name, 0.0, tolerance, True)
    allowed = tolerance * max(1.0, float(np.max(np.abs(expected))))
    difference = float(np.max(np.abs(actual.astype(np.float64) - expected)))
    return _row(name, difference, allowed, bool(difference <= allowed))  # NaN fails


def _by_value(
    name: str, actual: np.ndarray, expected: np.ndarray, tolerance: float
) -> dict[str, Any]:
    """Each value within `tolerance` of its own size: for draws, which may be heavy-tailed."""
    off = int(np.count_nonzero(~_close(actual, expected, tolerance)))
    size = np.maximum(np.abs(expected.astype(np.float64)), 1.0)
    difference = np.abs(actual.astype(np.float64) - expected) / size
    worst = float(np.max(difference, initial=0.0))
    return _row(name, worst, tolerance, off == 0, "relative to each value")


def _by_flips(
    name: str, actual: np.ndarray, expected: np.ndarray, tolerance: float
) -> dict[str, Any]:
    """Few values that differ by more: for draws that noise picks among values apart."""
    flips, size = int(np.count_nonzero(~_close(actual, expected, tolerance))), expected.size
    allowed = allowed_flips(size, tolerance)
    detail = f"{flips} of {size} values differ"
    return _row(name, flips / max(1, size), allowed / max(1, size), flips <= allowed, detail)


def _by_rows(
    name: str, actual: np.ndarray, expected: np.ndarray, tolerance: float
) -> dict[str, Any]:
    """Few rows that differ: for latents that noise picks, of which one changes all of a row."""
    rows = len(expected)
    close = _close(actual, expected, tolerance).reshape(rows, -1).all(axis=1)
    flips, allowed = int(np.count_nonzero(~close)), allowed_flips(expected.size, tolerance)
    detail = f"{flips} of {rows} rows differ"
    return _row(name, flips / rows, allowed / rows, flips <= allowed, detail)


def _by_levels(
    name: str, actual: np.ndarray, expected: np.ndarray, tolerance: float
) -> dict[str, Any]:
    """All values within one level of a byte, where rounding may go either way."""
    levels = max(1.0, math.ceil(255 * tolerance))
    difference = float(np.max(np.abs(actual.astype(np.float64) - expected), initial=0.0))
    return _row(name, difference, levels, difference <= levels, "levels of a byte")


COMPARISONS: dict[str, Callable[[str, np.ndarray, np.ndarray, float], dict[str, Any]]] = {
    "scale": _by_scale,
    "values": _by_value,
    "flips": _by_flips,
    "rows": _by_rows,
    "levels": _by_levels,
}


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
    if mean > 100:  # by Cornish and Fisher's expansion, within one of the exact count
        z = statistics.NormalDist().inv_cdf(1.0 - alarm)
        return math.ceil(mean + z * math.sqrt(mean) + (z * z - 1.0) / 6.0)
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


def main(library: str) -> None:
    """Examine the exports that standard input names, with imports blocked.

    Args:
        library: ``"onnxruntime"`` or ``"tensorflow"``. It is imported before input is read, so
            that a process may be started while an export is still being written.

    A JSON list of folders comes in, ``{folder: [row, ...]}`` goes out.
    """
    answer = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints goes to stderr: stdout is the answer
    blocked = (*BLOCKED, *(BLOCKED_FOR_ONNX if library == "onnxruntime" else ()))
    sys.meta_path.insert(0, Blocker(*blocked))
    importlib.import_module(library)
    folders: list[str] = json.loads(sys.stdin.read() or "[]")
    runtimes = [
        name for name in RUNTIMES if name.startswith("onnxruntime") == (library == "onnxruntime")
    ]
    rows: dict[str, list[dict[str, Any]]] = {folder: [] for folder in folders}
    for folder in folders:
        for runtime in runtimes:
            rows[folder] += examine(Path(folder), runtime)
        if library == "tensorflow":
            rows[folder] += warm_up(Path(folder))
    present = sorted({name.partition(".")[0] for name in sys.modules} & set(blocked))
    if present:
        raise SystemExit(f"imported in spite of the block: {', '.join(present)}")
    with os.fdopen(answer, "w", encoding="utf-8") as file:
        file.write(json.dumps(rows) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
