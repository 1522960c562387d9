"""How fast `fit` trains on records from disk, beside arrays in memory, and in how much memory.

    python benchmarks/records.py
    python benchmarks/records.py --gigabytes 0.2 --rounds 2    a look, whose figures mean little

Writes 10 GB of 28x28 images of one byte a pixel as an .npy file, and has `tfvae data convert`
make records of it. The dense VAE 784-200-20 is trained at batch 128 and 1024: in turns, each in a
process of its own, on 60,000 images as an array of floats, twice over, and on as many examples of
the records. Then on all of them, in a fresh process, from files that the operating system was told
to forget; of which the peak of resident memory is kept. Writes results/records-DATE.json and .md.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from contenders import SHAPE, TASKS, Task, images
from contenders.process import Block, Contender
from contenders.turns import HEAD, Row, in_turns, markdown
from paired import describe_machine

from tfvae import files
from tfvae.records import shards

RESULTS = Path(__file__).parent / "results"
AIM, MEMORY_AIM = 0.6, 2500  # of the speed in memory; MB
IN_MEMORY = 60_000
DENSE = TASKS[:2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where there is room for twice as much")
    parser.add_argument("--out", type=Path, help="a path without its ending")
    arguments = parser.parse_args()
    machine = describe_machine()
    count = max(IN_MEMORY, round(arguments.gigabytes * 1e9 / np.prod(SHAPE)))
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        floats, folder = Path(place) / "floats.npy", Path(place) / "records"
        np.save(floats, images(IN_MEMORY))
        seconds = write(folder, Path(place) / "bytes.npy", count)
        trained = len(shards.read(folder).parts["train"])  # a tenth is held out
        rows = [compare(task, floats, folder, arguments.rounds) for task in DENSE]
        whole = {task.name: pass_over_all(task, folder, trained) for task in DENSE}
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    document: dict[str, Any] = {
        "date": date,
        "machine": machine,
        "settings": {"gigabytes": arguments.gigabytes, "rounds": arguments.rounds},
        "examples": trained,
        "convert_seconds": seconds,
        "rows": [dataclasses.asdict(row) | {"verdict": row.verdict} for row in rows],
        "whole": {name: block._asdict() for name, block in whole.items()},
    }
    page = report(document, rows, whole)
    out = arguments.out or RESULTS / f"records-{date}"
    files.replace_json(out.with_name(out.name + ".json"), document)
    files.replace_text(out.with_name(out.name + ".md"), page)
    print(page)


def write(folder: Path, array: Path, count: int) -> float:
    """Write an array of images and convert it; return the seconds that the conversion took."""
    base = (255 * images(IN_MEMORY)).astype(np.uint8)
    written = np.lib.format.open_memmap(array, "w+", np.uint8, (count, *SHAPE))
    for start in range(0, count, IN_MEMORY):
        # Other images every time, so that no file system can store them once.
        size = min(IN_MEMORY, count - start)
        written[start : start + size] = np.roll(base[:size], start // IN_MEMORY, axis=(1, 2))
    written.flush()
    del written
    started = time.perf_counter()
    command = (sys.executable, "-m", "tfvae", "data", "convert", str(array), str(folder))
    subprocess.run(command, check=True)
    array.unlink()
    return time.perf_counter() - started


def compare(task: Task, floats: Path, folder: Path, rounds: int) -> Row:
    """Train on records and on an array in turns."""
    streamed, memory = f"{task.name}, records", "array in memory"
    entries = {streamed: ("records", task), memory: ("tfvae", task)}
    data = {streamed: folder, memory: floats}
    blocks = in_turns(entries, data, rounds)
    examples = task.examples * task.epochs
    rates = {label: [examples / block.seconds for block in each] for label, each in blocks.items()}
    row = Row.of_rates(task.name, memory, rates[streamed], rates[memory], AIM)
    print(" | ".join(row.cells), flush=True)
    return row


def pass_over_all(task: Task, folder: Path, count: int) -> Block:
    """Train for one pass over all records, read from the disk."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())  # What is not written yet would not be forgotten.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    whole = dataclasses.replace(task, examples=count, epochs=1)
    with Contender("records", whole, folder) as alone:
        return alone.run()


def report(document: dict[str, Any], rows: Sequence[Row], whole: dict[str, Block]) -> str:
    """Write the figures as a page."""
    machine, settings, count = document["machine"], document["settings"], document["examples"]
    lines = [
        "# Training on records from disk",
        "",
        f"`python benchmarks/records.py`, {settings['rounds']} rounds, {document['date']}; "
        f"{machine['cores']} cores of {machine['cpu']}, load {machine['load']} before it began. "
        "Speed-ups within rounds: median (quartiles).",
        "",
        *markdown(HEAD, [row.cells for row in rows]),
        "",
        f"{settings['gigabytes']:g} GB were converted in {document['convert_seconds']:,.0f} s. One "
        f"pass over the {count:,} training examples, from the disk, compilation included:",
        "",
    ]
    for name, block in whole.items():
        memory = block.peak * 2**20 / 1e6
        lines.append(
            f"- {name}: {block.seconds:,.0f} s ({count / block.seconds:,.0f} samples/s), peak of "
            f"memory {memory:,.0f} MB (aim: {MEMORY_AIM:,}; "
            f"{'met' if memory <= MEMORY_AIM else 'missed'})."
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
