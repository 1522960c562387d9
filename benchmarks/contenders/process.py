"""The near end of a contender's process."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from contenders import PACKAGES, Task

PAUSE = 0.3
"""Seconds before a block, in which the threads of the process before it go to sleep."""


class Block(NamedTuple):
    """What a contender says of a block: its seconds, what it returned, its peak memory in MiB."""

    seconds: float
    value: float
    peak: float


class ContenderError(RuntimeError):
    """A contender's process has ended, for the reason given."""


class Contender:
    """A contender in a process of its own, so that thread pools do not disturb each other.

    Args:
        name: one of `CONTENDERS`.
        task: what it trains or evaluates.
        data: an .npy or .npz file, or a folder of records.
    """

    def __init__(self, name: str, task: Task, data: Path) -> None:
        self.name = name
        self._log = tempfile.TemporaryFile()  # noqa: SIM115, it lives as long as the process
        self._started = time.perf_counter()
        arguments = (name, json.dumps(dataclasses.asdict(task)), str(data.resolve()))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "contenders", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )

    def run(self) -> Block:
        """Run one block and wait for it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        time.sleep(PAUSE)
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
            return Block(*json.loads(self._process.stdout.readline()))
        except (BrokenPipeError, json.JSONDecodeError) as error:
            self._process.wait()
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").strip().splitlines()
            errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
            reason = [*lines, *errors][-1:] or ["it said nothing"]
            raise ContenderError(reason[0]) from error

    def first(self) -> float:
        """Run the first block and return the seconds since the process was started."""
        self.run()
        return time.perf_counter() - self._started - PAUSE

    def __enter__(self) -> Contender:
        """Return the contender; its process ends with the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()


def is_installed(name: str) -> bool:
    """Say whether the package that a contender needs is installed."""
    return importlib.util.find_spec(PACKAGES.get(name, name)) is not None
