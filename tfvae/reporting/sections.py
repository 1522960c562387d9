"""The sections of a report, each a function of the facts."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Sequence
from typing import Any

from tfvae import description, markup
from tfvae.export.shown import endpoint_rows
from tfvae.export.verification import by_runtime
from tfvae.markup import Table
from tfvae.reporting.blocks import Block, Code, Pictures, Section, TableBlock, Text
from tfvae.reporting.facts import Facts, lines
from tfvae.reporting.recorded import best_epoch, recorded_figures, watched

_COURSE = ("training",)
_DATA = ("samples", "reconstructions", "forecast", "levels")


def sections(facts: Facts) -> list[Section]:
    """Return all sections, in the page's order; of kinds of pictures that there are."""
    found = [
        _metrics(facts),
        _draws(facts),
        _curves(facts),
        _pictures(facts, "Latents", None),
        _model(facts),
        _data(facts),
        _export(facts),
        _repeat(facts),
    ]
    return [section for section in found if section.blocks or section.absent]


def _metrics(facts: Facts) -> Section:
    blocks: list[Block] = []
    absent = []
    if facts.scored is None:
        absent.append(facts.data_problem)
    else:
        rows = facts.scored.rows
        count, request = facts.scored.examples, facts.request
        every = facts.dataset is not None and count == len(facts.dataset.test)
        title = (
            f"On {'all ' if every else 'the first '}{count:,} test examples, "
            f"{request.samples:,} importance samples, seed {request.seed}; ± standard errors"
        )
        blocks.append(TableBlock(Table(rows, ("", "value", ""), title, (1,))))
        if facts.scored.problem:
            absent.append(facts.scored.problem)
        left_out = facts.scored.measured.left_out
        absent += [f"{name}: {why}" for name, why in left_out.items()]
    recorded = [
        (name, value, markup.MEANINGS.get(name, ""))
        for name, value in recorded_figures(facts.recorded).items()
    ]
    if recorded:
        known = facts.recorded
        title = (
            f"Recorded by the last `tfvae evaluate`: {markup.number(known.get('examples'))} "
            f"examples, {markup.number(known.get('samples'))} importance samples, "
            f"{known.get('weights', 'last')} weights, seed {known.get('seed')}"
        )
        blocks.append(TableBlock(Table(recorded, ("", "value", ""), title, (1,))))
    return Section("Metrics", blocks, absent)


def _pictures(facts: Facts, title: str, kinds: tuple[str, ...] | None) -> Section:
    def belongs(kind: str) -> bool:
        return kind in kinds if kinds is not None else kind not in (*_DATA, *_COURSE)

    shown = [picture for kind, picture in facts.pictures.items() if belongs(kind)]
    missing = {kind: why for kind, why in facts.undrawn.items() if belongs(kind)}
    blocks = [Pictures([picture]) for picture in shown]
    return Section(title, blocks, tuple(lines(missing)))


def _draws(facts: Facts) -> Section:
    title = "Samples and reconstructions"
    drawn, pairs = facts.sentences
    # Text is text: it can be searched, copied and read aloud, as a picture of it cannot.
    found = Section(title) if drawn else _pictures(facts, title, _DATA)
    blocks: list[Block] = []
    if drawn:
        title = "Sentences, each from a draw of the prior"
        blocks.append(TableBlock(Table([[text] for text in drawn], title=title)))
    if pairs:
        title = "Sentences of the test set, and what the model makes of their means"
        blocks.append(TableBlock(Table(pairs, ("original", "reconstruction"), title)))
    return dataclasses.replace(found, blocks=blocks) if blocks else found


def _curves(facts: Facts) -> Section:
    run = facts.run
    blocks: list[Block] = [
        Pictures([facts.pictures[kind]]) for kind in _COURSE if kind in facts.pictures
    ]
    missing = {kind: why for kind, why in facts.undrawn.items() if kind in _COURSE}
    if not any(run.history.values()):
        why = "its file is missing" if run.epochs else "no epoch was completed"
        return Section("Training", blocks, (f"The run has no history: {why}.",))
    name, watching = watched(run.history)
    best = best_epoch(watching)
    best = None if best == run.epochs - 1 else best  # it is the last, which stands there already
    header = ["", "first epoch", "last epoch"]
    if best is not None:
        header.append(f"epoch {best + 1}, best {name}")
    rows = []
    for term, values in run.history.items():
        if values:
            row = [term, values[0], values[-1]]
            if best is not None:
                row.append(values[best] if best < len(values) else None)
            rows.append(row)
    blocks.append(TableBlock(Table(rows, header, numeric=(1, 2, 3))))
    return Section("Training", blocks, tuple(lines(missing)))


def _model(facts: Facts) -> Section:
    model, config = facts.model, facts.run.config
    slots = markup.slot_rows(description.slots(model))
    networks = [
        (each.name, each.kind, each.inputs, each.outputs, each.parameters)
        for each in description.networks(model)
    ]
    header = ("network", "class", "input", "output", "parameters")
    blocks: list[Block] = [
        Text(f"{config.model}({markup.settings(config.options)})"),
        Text(f"Latents {description.latents(model)}; x {list(model.data_shape)}."),
        TableBlock(Table(slots, ("slot", "class", "settings"))),
        TableBlock(Table(networks, header, numeric=(4,))),
    ]
    return Section("Model", blocks)


def _data(facts: Facts) -> Section:
    known, config = facts.run.environment.get("data", {}), facts.run.config
    rows: list[tuple[str, Any]] = [
        ("source", config.data),
        *((name, value) for name, value in known.items()),
        ("binarize", config.binarize),
        ("scale", "automatic" if config.scale is None else config.scale),
    ]
    if config.skip_corrupt:
        rows.append(("damaged records", "left out"))
    absent = (facts.data_problem,) if facts.data_problem else ()
    return Section("Data", [TableBlock(Table(rows))], absent)


def _export(facts: Facts) -> Section:
    exported = facts.exported
    if exported is None:
        where = shlex.quote(str(facts.run.path))
        return Section(
            "Export",
            absent=(
                "No export was given. Make one with `tfvae export "
                f"{where}`, and pass it: `tfvae report {where} --export FOLDER`.",
            ),
        )
    manifest = exported.manifest
    compared = {
        True: "It decodes its test vectors as the weights of this report do.",
        False: "It does NOT decode its test vectors as the weights of this report do.",
        None: "Whether it is of the weights of this report was not compared.",
    }
    header, rows = by_runtime(manifest.verification)
    about = f"{exported.path}, exported {manifest.created}, ONNX operator set {manifest.opset}."
    title = "Largest difference from Keras of any output, of what is allowed"
    columns = ("endpoint", "inputs", "outputs", "what it does")
    return Section(
        "Export",
        [
            Text(f"{about} {compared[exported.same]}"),
            TableBlock(Table(rows, header, title)),
            TableBlock(Table(endpoint_rows(manifest), columns)),
        ],
        exported.problems,
    )


def _repeat(facts: Facts) -> Section:
    run, environment = facts.run, facts.run.environment
    git = environment.get("git") or {}
    folder = shlex.quote(str(run.path))
    request = facts.request
    how = f"--samples {request.samples} --seed {request.seed}"
    how += "" if request.limit is None else f" --limit {request.limit}"
    how += "" if request.weights == "last" else f" --weights {request.weights}"
    how += "" if request.data is None else f" --data {shlex.quote(request.data)}"
    asked = "" if request.metrics is None else f" --metrics {_listed(request.metrics)}"
    if facts.exported is not None:
        asked += f" --export {shlex.quote(str(facts.exported.path))}"
    commands = [
        *([f"git checkout {git['commit']}"] if git.get("commit") else []),
        f"tfvae train --config {folder}/config.json --out {folder}-again",
        f"tfvae evaluate {folder} {how}",
        f"tfvae report {folder} {how}{asked}",
    ]
    state = "none was found"
    if git.get("commit"):
        state = git["commit"] + (", and files differed from it" if git.get("dirty") else "")
    about = [
        ("seed", run.config.seed),
        ("command", environment.get("command")),
        ("started", environment.get("created")),
        ("git commit", state),
        ("platform", environment.get("platform")),
        ("devices", ", ".join(environment.get("devices", ())) or None),
    ]
    versions = environment.get("versions", {})
    return Section(
        "Repeat it",
        [
            Code("\n".join(commands)),
            TableBlock(Table(about)),
            TableBlock(Table(list(versions.items()), ("package", "version"))),
            Code(json.dumps(json.loads(run.config.to_json()), indent=2), "config.json", True),
        ],
        () if environment else ("What it ran on was not recorded.",),
    )


def _listed(names: str | Sequence[str]) -> str:
    return shlex.quote(names if isinstance(names, str) else ",".join(names))
