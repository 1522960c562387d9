"""The sections of a model card, in Markdown."""

from __future__ import annotations

import shlex
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfvae import markup

from .manifest import Manifest, Tensor
from .verification import by_runtime

if TYPE_CHECKING:
    from .card import Card

_UNKNOWN = "*Not stated.*"


def parts(manifest: Manifest, card: Card, model: str) -> Iterator[str]:
    """Yield the sections of the card, in Markdown."""
    yield f"# {_text(model)}"
    yield card.description or (
        f"A generative model ({_text(manifest.name)}), exported by tfvae "
        f"{manifest.versions.get('tfvae', '')} on {manifest.created}."
    )
    yield "## Intended use"
    yield card.intended_use or _UNKNOWN
    yield "## Limits"
    yield card.limits or _UNKNOWN
    yield "\n".join(_known_limits(manifest))
    yield f"Licence: {_text(card.license) if card.license else 'not stated'}."
    yield "## Model"
    yield _table(("part", "class", "settings"), _slots(manifest))
    for title, told in (("Data", card.data), ("Training", card.training)):
        yield f"## {title}"
        yield (
            _table(("", ""), told.items())
            if isinstance(told, Mapping) and told
            else (str(told) or _UNKNOWN)
        )
    yield "## Metrics"
    if card.metrics:
        if card.measured_on:
            yield f"Measured on {card.measured_on}."
        rows = [(key, each, markup.MEANINGS.get(key, "")) for key, each in card.metrics.items()]
        yield _table(("metric", "value", ""), rows)
    else:
        yield "*Not measured, or not stated.*"
    yield from _calibration(manifest)
    yield "## Endpoints"
    yield (
        "B is the batch, of any size. Each endpoint is a signature of the SavedModel and an ONNX "
        "file of its own."
    )
    table = [
        (f"`{each.name}`", _tensors(each.inputs), _tensors(each.outputs), each.description)
        for each in manifest.endpoints
    ]
    yield _table(("endpoint", "inputs", "outputs", "what it does"), table)
    if manifest.classes:
        yield f"Classes, 0 and up: {_text(', '.join(manifest.classes))}."
    yield "## How to run it"
    yield from _usage(manifest, model)
    yield "## Verification"
    yield from _verification(manifest)
    yield "## Versions"
    yield _table(("package", "version"), manifest.versions.items())


def _known_limits(manifest: Manifest) -> Iterator[str]:
    yield (
        "- Verification says that these files compute what the model computed in Keras. It does "
        "not say that the model is good at anything."
    )
    if manifest.endpoint("generate"):
        yield (
            "- What it generates is a function of the seeds given: the same seeds give the same "
            "draws, in every runtime, to the tolerance below."
        )
    if manifest.weight_seed is not None:
        yield f"- Its weights are one draw from their posterior, seed {manifest.weight_seed}."


def _slots(manifest: Manifest) -> list[tuple[str, str, str]]:
    sizes: list[tuple[str, str, str]] = [
        (name, str(slot.get("class", "")), f"{slot['parameters']:,} parameters")
        for name, slot in manifest.slots.items()
        if "parameters" in slot
    ]
    return [*markup.slot_rows(manifest.slots), *sizes]


def _calibration(manifest: Manifest) -> Iterator[str]:
    if manifest.calibration is None:
        return
    yield (
        f"Thresholds of anomaly detection, from {manifest.calibration.examples:,} held-out "
        "examples: a `log_marginal` below is called an anomaly."
    )
    yield _table(
        ("false-alarm rate", "log_marginal, nats"),
        [(each.false_alarm_rate, each.log_marginal) for each in manifest.calibration.thresholds],
    )


def _usage(manifest: Manifest, model: str) -> Iterator[str]:
    record = manifest.endpoint("decode") or manifest.endpoints[0]
    feeds = ", ".join(f'"{each.name}": {_zeros(each)}' for each in record.inputs)
    yield "With onnxruntime alone, from this folder:"
    yield _code(
        "python",
        "import numpy as np",
        "import onnxruntime",
        "",
        f'session = onnxruntime.InferenceSession("{record.onnx}")',
        f"inputs = {{{feeds}}}",
        "names = [output.name for output in session.get_outputs()]",
        "outputs = dict(zip(names, session.run(names, inputs)))",
    )
    yield "With tfvae, which imports no TensorFlow for it:"
    generate = manifest.endpoint("generate")
    seeds_alone = generate is not None and len(generate.inputs) == 2  # and temperatures
    yield _code(
        "python",
        "import tfvae",
        "",
        'model = tfvae.export.load(".")',
        "outputs = "
        + (
            "model.generate(seeds=range(3))"
            if seeds_alone
            else f'model.run("{record.name}", inputs)'
        ),
    )
    yield "With TensorFlow Serving, on port 8501:"
    yield _code(
        "sh",
        f'docker run --rm -p 8501:8501 -v "$(cd .. && pwd)":/models/{shlex.quote(model)} \\',
        f"    -e MODEL_NAME={shlex.quote(model)} tensorflow/serving",
        f"curl http://localhost:8501/v1/models/{urllib.parse.quote(model)}/metadata",
    )


def _verification(manifest: Manifest) -> Iterator[str]:
    if not manifest.verification:
        yield "*Not verified.*"
        return
    header, rows = by_runtime(manifest.verification)
    yield (
        "Before it was published, fresh processes without tfvae ran every endpoint on test "
        "vectors recorded from Keras. The difference of the output furthest from it, and the "
        "largest allowed:"
    )
    yield _table(header, rows)
    yield "`tfvae verify .` repeats this. It checks every file but this card, which is yours."


def _tensors(specs: Sequence[Tensor]) -> str:
    return "<br>".join(f"`{each.name}` {each.dtype} {markup.shape(each.shape)}" for each in specs)


def _zeros(spec: Tensor) -> str:
    """Return Python for the simplest input of a batch of one."""
    sizes = tuple(1 if size is None else size for size in spec.shape)
    low, _ = spec.bounds
    value = spec.default if spec.default is not None else low if low is not None else 0
    if spec.open and low is not None:
        value = low + 1
    number = int(value) if float(value).is_integer() else value
    return f'np.full({sizes}, {number}, "{spec.dtype}")'


def _table(header: Sequence[str], rows: Any) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: object) -> str:
    text = markup.number(value).replace("\n", " ").replace("|", "\\|")
    # Line breaks between tensors are ours; other markup is somebody's text.
    return text.replace("<", "&lt;").replace("&lt;br>", "<br>")


def _text(text: str) -> str:
    return text.replace("\n", " ").replace("<", "&lt;")


def _code(language: str, *lines: str) -> str:
    return "\n".join([f"```{language}", *lines, "```"])
