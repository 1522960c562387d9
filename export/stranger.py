"""Run an export as a stranger would: with no tfvae, no Keras model, nothing but its files.

A script, run in two fresh processes by file path::

    echo '["EXPORT_DIR", ...]' | python -P stranger.py onnxruntime
    echo '["EXPORT_DIR", ...]' | python -P stranger.py tensorflow

It blocks the import of everything a server does not have, runs every endpoint in onnxruntime with
and without its optimisations (TensorFlow blocked as well), through ``tf.saved_model.load`` and
through the C++ loader that TF Serving uses, on batches of 1, 3 and 64, and compares with the test
vectors that Keras recorded at the export. It prints one line of JSON. ``-P`` keeps this folder,
which has an ``onnx`` of its own, off the import path.

It imports the standard library, NumPy, onnxruntime and TensorFlow, and siblings by their paths
that import no more (``comparisons.py``, ``warmup.py``); it must stay so.
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
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np


def _sibling(name: str) -> ModuleType:
    """Import a file of this folder by its path: a process without tfvae knows no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


comparisons = _sibling("comparisons")
TOLERANCE: float = comparisons.TOLERANCE
allowed_flips = comparisons.allowed_flips

BATCHES = (1, 3, 64)

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
            (batch, call(comparisons.repeated(recorded["inputs"], batch)))
            for call in opened(endpoint)
            for batch in BATCHES
        ]
        judged = comparisons.judge(endpoint["outputs"], recorded["outputs"], results, tolerance)
    except Exception as error:  # a broken export must not hide the verdict on the others
        reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        judged = [
            comparisons.verdict(spec["name"], math.inf, tolerance, False, reason)
            for spec in endpoint["outputs"]
        ]
    return [{"endpoint": endpoint["name"], "runtime": runtime, **row} for row in judged]


def warm_up(folder: Path) -> list[dict[str, Any]]:
    """Replay the warm-up requests of an export as TF Serving does when it loads it."""
    warmup = _sibling("warmup")
    if not (folder / warmup.FILE).is_file():
        return []
    failed = warmup.failures(folder)
    row = comparisons.verdict("requests", float(len(failed)), 0.0, not failed, "; ".join(failed))
    return [{"endpoint": "warm-up", "runtime": "session", **row}]


def _vectors(path: Path, endpoint: dict[str, Any]) -> dict[str, Arrays]:
    with np.load(path, allow_pickle=False) as file:
        return {
            side: {spec["name"]: file[f"{endpoint['name']}/{spec['name']}"] for spec in specs}
            for side, specs in (("inputs", endpoint["inputs"]), ("outputs", endpoint["outputs"]))
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
