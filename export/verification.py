"""Check an export from its files alone, in two fresh processes that know nothing of tfvae.

``export`` does this before it publishes; ``tfvae verify`` repeats it at any later time, on any
machine. Nothing here imports TensorFlow: one of the fresh processes (``stranger.py``) does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .errors import ExportError
from .manifest import Check, Manifest, fingerprints
from .publish import resolve


@dataclasses.dataclass(frozen=True)
class Report:
    """The verdict on one export.

    Attributes:
        path: the version folder.
        rows: a check for each endpoint, runtime and output.
        problems: what is wrong with the files: changed, missing or unknown ones.
    """

    path: Path
    rows: tuple[Check, ...]
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every file is as it was published and every check passed."""
        return bool(self.rows) and not self.problems and all(row.ok for row in self.rows)

    @property
    def failures(self) -> tuple[str, ...]:
        """One line for each thing that is wrong."""
        return (*self.problems, *(describe(row) for row in self.rows if not row.ok))

    def __str__(self) -> str:
        """Return the table that ``tfvae verify`` prints."""
        header = ("endpoint", "runtime", "worst output", "difference", "tolerance", "verdict")
        lines = [
            (
                row.endpoint,
                row.runtime,
                row.output,
                f"{row.difference:.1e}",
                f"{row.tolerance:.1e}",
                "ok" if row.ok else "FAILED " + row.detail,
            )
            for row in worst(self.rows)
        ]
        widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
        table = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in (header, *lines)
        ]
        verdict = "verified" if self.ok else "NOT verified"
        return "\n".join([*table, *self.problems, f"{self.path}: {verdict}"])


def verify(path: str | os.PathLike[str]) -> Report:
    """Verify one export.

    Args:
        path: a version folder, or a model folder for its newest version.

    Returns:
        The report; a failed check is in it, not raised.

    Raises:
        FileNotFoundError: if there is no export.
        ExportError: if its manifest cannot be read or a fresh process cannot run.

    Example:
        >>> print(tfvae.export.verify("savedmodels/digits"))  # doctest: +SKIP
        endpoint  runtime      worst output  difference  tolerance  verdict
        decode    onnxruntime  mean          1.2e-07     1.0e-05    ok
        ...
        savedmodels/digits/1: verified
    """
    return verify_all([path])[0]


def verify_all(paths: Sequence[str | os.PathLike[str]]) -> tuple[Report, ...]:
    """Verify many exports in the same two processes: importing TensorFlow outlasts a check."""
    folders = [resolve(path) for path in paths]
    problems = [changes(folder, Manifest.read(folder)) for folder in folders]
    with strangers() as examine:
        checked = examine(folders)
    return tuple(
        Report(folder, rows, wrong)
        for folder, rows, wrong in zip(folders, checked, problems, strict=True)
    )


Examine = Callable[[Sequence[Path]], list[tuple[Check, ...]]]


@contextlib.contextmanager
def strangers() -> Iterator[Examine]:
    """Start fresh processes with imports blocked and yield what has them run exports.

    One has onnxruntime and no TensorFlow, the other TensorFlow; see ``stranger.py``. They import
    these while the caller goes on, and are gone when the block ends, however it ends.

    Raises:
        ExportError: of what is yielded, if a process fails, with the end of what it said.
    """
    environment = os.environ | {
        # TF32 and other reduced precisions of accelerators are not what is being verified.
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_USE_LEGACY_KERAS": "0",
        "PYTHONWARNINGS": "ignore",
    }
    script = str(Path(__file__).with_name("stranger.py"))
    with contextlib.ExitStack() as stack:
        processes = []
        for library in ("onnxruntime", "tensorflow"):
            process = subprocess.Popen(
                [sys.executable, "-P", script, library],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            # Last in, first out: killed if it still runs, then waited for.
            stack.enter_context(process)
            stack.callback(process.kill)
            processes.append(process)
        yield functools.partial(_examined, processes)


def _examined(
    processes: Sequence[subprocess.Popen[str]], folders: Sequence[Path]
) -> list[tuple[Check, ...]]:
    names = [str(folder.absolute()) for folder in folders]
    rows: dict[str, list[Check]] = {name: [] for name in names}
    for process in processes:
        said, errors = process.communicate(json.dumps(names))
        try:
            answer = json.loads(said) if process.returncode == 0 else None
        except json.JSONDecodeError:
            answer = None
        if answer is None:
            last = (errors.strip() or said.strip()).splitlines()[-8:]
            raise ExportError(
                f"The verifying process ended with exit code {process.returncode}. It said:\n"
                + "\n".join(last)
            )
        for name in names:
            rows[name] += [Check(**row) for row in answer[name]]
    return [_in_order(rows[name]) for name in names]


def describe(row: Check) -> str:
    """Return a failed check as one line."""
    return (
        f"{row.endpoint}.{row.output} in {row.runtime}: difference {row.difference:.2e}, "
        f"tolerance {row.tolerance:.2e}" + (f" ({row.detail})" if row.detail else "")
    )


def worst(rows: Sequence[Check]) -> tuple[Check, ...]:
    """Return for each endpoint and runtime the output that is furthest from Keras.

    A failure comes before what passed; differences count in units of their tolerance.
    """
    groups: dict[tuple[str, str], list[Check]] = {}
    for row in rows:
        groups.setdefault((row.endpoint, row.runtime), []).append(row)

    def badness(row: Check) -> tuple[bool, float]:
        return not row.ok, row.difference / row.tolerance if row.tolerance else row.difference

    return tuple(max(group, key=badness) for group in groups.values())


def by_runtime(rows: Sequence[Check]) -> tuple[list[str], list[list[str]]]:
    """Return a table, header and rows: for each endpoint, what each runtime made of it."""
    cells = {(row.endpoint, row.runtime): row for row in worst(rows)}
    runtimes = list(dict.fromkeys(runtime for _, runtime in cells))

    def cell(row: Check | None) -> str:
        if row is None:
            return ""
        figures = " of ".join(
            f"{each:.1e}" if each else "0" for each in (row.difference, row.tolerance)
        )
        return figures if row.ok else f"FAILED: {figures}. {row.detail}".strip()

    table = [
        [endpoint, *(cell(cells.get((endpoint, runtime))) for runtime in runtimes)]
        for endpoint in dict.fromkeys(row.endpoint for row in rows)
    ]
    return ["endpoint", *runtimes], table


def _in_order(rows: Sequence[Check]) -> tuple[Check, ...]:
    """Put an output's runtimes below each other."""
    order = list(dict.fromkeys((row.endpoint, row.output) for row in rows))
    return tuple(sorted(rows, key=lambda row: order.index((row.endpoint, row.output))))


def changes(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """Say which files are not as they were published."""
    published, present = manifest.files, fingerprints(folder)
    faults = {
        **dict.fromkeys(published.keys() - present.keys(), "missing"),
        **dict.fromkeys(present.keys() - published.keys(), "not part of the export"),
        **{
            name: "changed since it was published"
            for name in published.keys() & present.keys()
            if published[name] != present[name]
        },
    }
    return tuple(f"{name}: {fault}" for name, fault in sorted(faults.items()))
