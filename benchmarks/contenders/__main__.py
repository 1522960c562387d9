"""One contender's process: runs a block whenever it is told to, and says how long it took.

    python -m contenders NAME TASK DATA

TASK is JSON and DATA an .npy or .npz file or a folder. A line on standard input starts a block; a
line of JSON on standard output ends it. What contenders print of their progress goes to standard
error.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import TextIO

import numpy as np

from contenders import CONTENDERS, Task


def main(name: str, task: str, data: str, answers: TextIO) -> None:
    module, _, function = CONTENDERS[name].partition(":")
    prepare = getattr(importlib.import_module(f"contenders.{module}"), function)
    given = Path(data) if Path(data).is_dir() else np.load(data)
    run = prepare(Task(**json.loads(task)), given)
    for _ in sys.stdin:
        started = time.perf_counter()
        value = run()
        seconds = time.perf_counter() - started
        print(json.dumps([seconds, value, peak_memory()]), file=answers, flush=True)


def peak_memory() -> float:
    """Return the most memory that this process has held, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not what getrusage says: that counts what the parent held, too.
        lines = status.read_text().splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
        return int(peak) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    main(*sys.argv[1:4], answers=stream)
