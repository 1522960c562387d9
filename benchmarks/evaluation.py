"""How fast log p(x) is estimated by importance weighting, and in how much memory.

    python benchmarks/evaluation.py
    python benchmarks/evaluation.py --quick    a look, without the large evaluation

The dense VAE 784-200-20, trained for an epoch; 5,000 samples of each image. First in turns, each
in a process of its own: `tfvae.evaluate.log_marginal` with its progress bar on 64 images, and
Pythae's `get_nll`, where it is installed, on 4 of them with the same weights, at its default of
100 samples at a time and at 5,000. All must agree on the 4 images. Then 10,000 images in a fresh
process, of which the peak of resident memory is kept. Writes results/evaluation-DATE.json and
.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from contenders import COMPARED, Task, images, ours
from contenders.process import Block, Contender, is_installed
from contenders.turns import HEAD, Row, in_turns, markdown
from paired import describe_machine

from tfvae import files

RESULTS = Path(__file__).parent / "results"
TASK = Task("evaluation", "mlp", batch_size=64, examples=64, samples=5000, epochs=0)
OURS = "log_marginal"
PEER_BATCHES = (100, 5000)
AIM, MEMORY_AIM = 5.0, 1500  # times Pythae; MB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help="few rounds and images")
    parser.add_argument("--out", type=Path, help="a path without its ending")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.images = min(arguments.rounds, 2), 128
    machine = describe_machine()
    entries = {OURS: (OURS, TASK)}
    if is_installed("get_nll"):
        for batch in PEER_BATCHES:
            task = dataclasses.replace(TASK, examples=COMPARED, batch_size=batch)
            entries[f"Pythae, {batch} at a time"] = ("get_nll", task)
    else:
        print("pythae is not installed: skipped", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "model.npz"
        save_model(data, max(arguments.images, TASK.examples))
        blocks = in_turns(entries, data, arguments.rounds)
        task = dataclasses.replace(TASK, examples=arguments.images)
        with Contender(OURS, task, data) as alone:
            whole = alone.run()
    rates = {
        label: [entries[label][1].examples * TASK.samples / block.seconds for block in each]
        for label, each in blocks.items()
    }
    rows = [
        Row.of_rates("dense, 5,000 samples", label, rates[OURS], each, AIM)
        for label, each in rates.items()
        if label != OURS
    ]
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    document: dict[str, Any] = {
        "date": date,
        "machine": machine,
        "settings": {key: getattr(arguments, key) for key in ("rounds", "images", "quick")},
        "rows": [dataclasses.asdict(row) | {"verdict": row.verdict} for row in rows],
        "blocks": {label: [block._asdict() for block in each] for label, each in blocks.items()},
        "whole": whole._asdict(),
    }
    page = report(document, rows, blocks, whole)
    out = arguments.out or RESULTS / f"evaluation-{date}"
    files.replace_json(out.with_name(out.name + ".json"), document)
    files.replace_text(out.with_name(out.name + ".md"), page)
    print(page)


def save_model(path: Path, count: int) -> None:
    """Train the model on other images for an epoch, and keep it beside those to be evaluated."""
    vae = ours.model(TASK)
    vae.fit(images(20_000, seed=1), batch_size=128, epochs=1, verbose=0)
    kept = enumerate(ours.networks_weights(vae))
    weights = {f"weight_{index}": weight.numpy() for index, weight in kept}
    np.savez(path, x=images(count), **weights)


def report(
    document: dict[str, Any], rows: Sequence[Row], blocks: dict[str, list[Block]], whole: Block
) -> str:
    """Write the figures as a page."""
    machine, settings = document["machine"], document["settings"]
    means = ", ".join(
        f"{label} {np.mean([block.value for block in each]):.2f}" for label, each in blocks.items()
    )
    spread = max(float(np.std([block.value for block in each])) for each in blocks.values())
    count, memory = settings["images"], whole.peak * 2**20 / 1e6
    rate = count * TASK.samples / whole.seconds
    return "\n".join(
        [
            "# Evaluation: the importance weighted bound on log p(x)",
            "",
            f"`python benchmarks/evaluation.py`, {settings['rounds']} rounds, {document['date']}; "
            f"{machine['cores']} cores of {machine['cpu']}, load {machine['load']} before it "
            "began. A sample is one draw of z, decoded and weighed. Speed-ups within rounds: "
            "median (quartiles).",
            "",
            *markdown(HEAD, [row.cells for row in rows]),
            "",
            f"Mean bound on the same {COMPARED} images, nats: {means}; from one seed to the next "
            f"it varies by {spread:.2f}.",
            "",
            f"{count:,} images with {TASK.samples:,} samples each, compilation included: "
            f"{whole.seconds:,.0f} s ({rate:,.0f} samples/s), peak of memory {memory:,.0f} MB "
            f"(aim: {MEMORY_AIM:,}; {'met' if memory <= MEMORY_AIM else 'missed'}).",
            "",
        ]
    )


if __name__ == "__main__":
    main()
