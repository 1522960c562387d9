"""How fast `fit` trains, beside what else one could train with, in one run.

    python benchmarks/training.py
    python benchmarks/training.py --data PATH/mnist.npz --rounds 9
    python benchmarks/training.py --quick    a look, whose figures mean little

Models of 28x28 binary images: dense 784-200-20, at batch 128 and 1024; the convolutional VAE;
IWAE with 50 samples. Contenders: `vae.fit` with a callback and its progress bar; the VAE of
Keras's documentation; the same model by hand in PyTorch, eager and compiled; Pythae's trainer; a
whole epoch as one jitted `lax.scan` in JAX. Those that are not installed are skipped.

Each contender is a process of its own; they take turns, a block of whole epochs each, round
after round, in an order that rotates. The first block warms up. A speed-up is the median over
rounds of the ratio within a round; an aim is met or missed if the middle half of the rounds
says so, and otherwise within the noise. Time to the first step is that of a fresh process, from
its start to the end of a `fit` of one batch. Writes results/training-DATE.json and .md.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import importlib.metadata
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from contenders import SHAPE, TASKS, Task, images
from contenders.process import Block, Contender, ContenderError, is_installed
from contenders.turns import HEAD, Row, in_turns, markdown
from paired import describe_machine

from tfvae import files

RESULTS = Path(__file__).parent / "results"
OURS, LIMIT = "tfvae", "matmul"
PEERS = ("keras", "torch", "torch.compile", "pythae", "jax")
AIMS = {
    ("dense, batch 128", "keras"): 2.8,
    ("dense, batch 1024", "keras"): 2.8,
    ("dense, batch 128", "pythae"): 2.5,
    ("dense, batch 1024", "pythae"): 2.5,
    ("dense, batch 128", "torch"): 1.5,
    ("dense, batch 1024", "torch"): 1.2,
    ("dense, batch 128", "jax"): 1.0,
    ("dense, batch 1024", "jax"): 1.0,
    ("conv, batch 128", "torch"): 1.0,
    ("conv, batch 128", "keras"): 2.0,
}
FIRST_STEP_AIM = 1.3

# Multiplications and additions of the dense model's layers, forwards and twice backwards; the
# gradient with respect to the images is counted, and not needed.
FLOPS = 3 * 2 * (784 * 200 + 200 * 40 + 20 * 200 + 200 * 784)
NEEDED_FLOPS = FLOPS - 2 * 784 * 200


@dataclasses.dataclass(frozen=True)
class Result:
    """The measured blocks of a task, of each contender that got through."""

    task: Task
    blocks: dict[str, list[Block]]

    def rates(self, name: str) -> list[float]:
        """Return a contender's samples per second, round by round."""
        examples = self.task.examples * self.task.epochs
        return [examples / block.seconds for block in self.blocks[name]]

    @property
    def rows(self) -> list[Row]:
        """Our speed-up over each peer."""
        task = self.task.name
        return [
            Row.of_rates(task, name, self.rates(OURS), self.rates(name), AIMS.get((task, name)))
            for name in PEERS
            if {OURS, name} <= set(self.blocks)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="an .npz file with x_train; generated if absent")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--starts", type=int, default=5, help="fresh processes of each")
    names = [task.name for task in TASKS]
    parser.add_argument("--tasks", nargs="+", default=names, choices=names)
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS)
    parser.add_argument("--quick", action="store_true", help="few examples, few rounds")
    parser.add_argument("--out", type=Path, help="a path without its ending")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.starts = min(arguments.rounds, 2), min(arguments.starts, 1)
    machine = describe_machine()
    contenders = [name for name in (OURS, *arguments.peers, LIMIT) if available(name)]
    machine["versions"] |= versions(contenders)
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "x.npy"
        for task in TASKS:
            if task.name not in arguments.tasks:
                continue
            if arguments.quick:
                task = dataclasses.replace(task, examples=task.examples // 10, epochs=1)  # noqa: PLW2901
            np.save(data, load(arguments.data, task.examples))
            entries = {name: (name, task) for name in contenders}
            results.append(Result(task, in_turns(entries, data, arguments.rounds)))
            for row in results[-1].rows:
                print(" | ".join(row.cells), flush=True)
        seconds = first_steps(contenders, Path(folder), arguments.starts)
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    document: dict[str, Any] = {
        "date": date,
        "machine": machine,
        "data": "generated" if arguments.data is None else arguments.data.name,
        "settings": {key: getattr(arguments, key) for key in ("rounds", "starts", "quick")},
        "rows": [
            dataclasses.asdict(row) | {"verdict": row.verdict}
            for result in results
            for row in result.rows
        ],
        "blocks": {
            result.task.name: {
                name: [block._asdict() for block in blocks]
                for name, blocks in result.blocks.items()
            }
            for result in results
        },
        "first_step_seconds": seconds,
    }
    out = arguments.out or RESULTS / f"training-{date}"
    page = report(document, results)
    files.replace_json(out.with_name(out.name + ".json"), document)
    files.replace_text(out.with_name(out.name + ".md"), page)
    print(page)


def available(name: str) -> bool:
    found = is_installed(name)
    if not found:
        print(f"{name} is not installed: skipped", flush=True)
    return found


def versions(names: Sequence[str]) -> dict[str, str]:
    packages = {name.partition(".")[0] for name in names} - {LIMIT}
    return {name: importlib.metadata.version(name) for name in sorted(packages)}


def load(path: Path | None, count: int) -> np.ndarray:
    """Return `count` binary images: the first of a file, or generated."""
    if path is None:
        return images(count)
    with np.load(path) as arrays:
        x = arrays["x_train"][:count]
    return (x >= (128 if x.dtype == np.uint8 else 0.5)).astype(np.float32).reshape(-1, *SHAPE)


def first_steps(names: Sequence[str], folder: Path, starts: int) -> dict[str, list[float]]:
    """Return the seconds from the start of a fresh process to the end of its first step."""
    task = dataclasses.replace(TASKS[0], examples=TASKS[0].batch_size, epochs=1)
    data = folder / "batch.npy"
    np.save(data, images(task.examples))
    seconds: dict[str, list[float]] = {name: [] for name in names if name != LIMIT}
    for _ in range(starts):
        for name, each in seconds.items():
            with Contender(name, task, data) as contender, contextlib.suppress(ContenderError):
                each.append(contender.first())
    return {name: each for name, each in seconds.items() if each}


def report(document: dict[str, Any], results: Sequence[Result]) -> str:
    """Write the figures as a page."""
    machine, settings = document["machine"], document["settings"]
    named = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    rows = [row.cells for result in results for row in result.rows]
    names = [name for name in (OURS, *PEERS) if any(name in each.blocks for each in results)]
    losses = [
        (result.task.name, *(last_loss(result.blocks.get(name)) for name in names))
        for result in results
    ]
    lines = [
        "# Training: samples per second, end to end",
        "",
        f"`python benchmarks/training.py`, {settings['rounds']} rounds, {document['date']}; "
        f"{document['data']} data; {machine['cores']} cores of {machine['cpu']}, load "
        f"{machine['load']} before it began; {named}. Speed-ups within rounds: median (quartiles).",
        "",
        *markdown(HEAD, rows),
        "",
        "The last loss of each, in nats, after as many epochs: all of them train. (Pythae's IWAE "
        "reports another loss.)",
        "",
        *markdown(("model", *names), losses),
        "",
        *limits(results),
        *starts(document["first_step_seconds"]),
    ]
    return "\n".join(lines)


def last_loss(blocks: Sequence[Block] | None) -> str:
    return f"{blocks[-1].value:.1f}" if blocks else ""


def limits(results: Sequence[Result]) -> Iterator[str]:
    """Yield how near the dense models come to the machine's matrix multiplication."""
    for result in results:
        task = result.task
        if task.network != "mlp" or task.samples > 1 or not {OURS, LIMIT} <= set(result.blocks):
            continue
        peak = max(block.value / block.seconds for block in result.blocks[LIMIT])
        rate = statistics.median(result.rates(OURS))
        yield (
            f"{task.name}: matrix products peak at {peak / 1e9:.0f} GFLOP/s. Ours is at "
            f"{rate * FLOPS / peak:.0%} of that at {FLOPS / 1e6:.2f} MFLOP a sample, and at "
            f"{rate * NEEDED_FLOPS / peak:.0%} at the {NEEDED_FLOPS / 1e6:.2f} that are needed, "
            "for the images need no gradient."
        )
        yield ""


def starts(seconds: dict[str, list[float]]) -> Iterator[str]:
    """Yield the times to the first step."""
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    text = ", ".join(f"{name} {value:.1f} s" for name, value in medians.items())
    yield f"From the start of a process to the end of its first step, median: {text}."
    if {OURS, "keras"} <= set(medians):
        pairs = zip(seconds[OURS], seconds["keras"], strict=True)
        ratio = statistics.median(ours / theirs for ours, theirs in pairs)
        verdict = "met" if ratio <= FIRST_STEP_AIM else "missed"
        yield f"Ours takes {ratio:.2f} times plain Keras's (aim: {FIRST_STEP_AIM}; {verdict})."
    yield ""


if __name__ == "__main__":
    main()
