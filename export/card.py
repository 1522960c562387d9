"""The model card of an export: ``README.md``, which people read before they use a model.

It says what the manifest knows, what :class:`Card` was told, and of the rest that it is not known.
Its front matter is the YAML that model hubs read. A card is written to be edited: it is the one
file of a version that the manifest does not fingerprint.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfvae import markup

from .card_parts import parts
from .errors import ExportError
from .manifest import CARD, EndpointRecord, Manifest


@dataclass(frozen=True)
class Card:
    """What only people know of a model, for its card.

    Args:
        description: what it is, in a sentence or more of Markdown.
        intended_use: what it is for, and what it is not for.
        limits: what it does badly, or was not tried on.
        license: the licence, as model hubs write it: ``"apache-2.0"``.
        data: what it was trained on: Markdown, or values by name.
        training: how it was trained: Markdown, or values by name.
        metrics: how good it is: numbers by name.
        measured_on: what the metrics were measured on.

    Raises:
        ExportError: for a value of the wrong kind.

    Example:
        >>> card = tfvae.export.Card(intended_use="Demonstrations.", license="apache-2.0")
        >>> vae.export("savedmodels/digits", card=card)  # doctest: +SKIP
    """

    description: str = ""
    intended_use: str = ""
    limits: str = ""
    license: str = ""
    data: str | Mapping[str, Any] = ""
    training: str | Mapping[str, Any] = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    measured_on: str = ""

    def __post_init__(self) -> None:
        texts = ("description", "intended_use", "limits", "license", "measured_on")
        for names, kinds, expected in (
            (texts, str, "text"),
            (("data", "training"), str | Mapping, "text, or values by name"),
            (("metrics",), Mapping, 'numbers by name, as in {"elbo": -104.2}'),
        ):
            for name in names:
                value = getattr(self, name)
                if not isinstance(value, kinds):
                    raise ExportError(
                        f"Expected `{name}` of a card to be {expected}. Received: {name}={value!r}."
                    )
        if "\n" in self.license.strip():
            raise ExportError(
                'Expected `license` to be the name of a licence, such as "apache-2.0". Received: '
                "text of several lines."
            )


def check(card: Any) -> Card:
    """Return a card, an empty one for None, or say that it is none.

    Raises:
        ExportError: if it is something else.
    """
    if card is None:
        return Card()
    if not isinstance(card, Card):
        raise ExportError(
            'Expected `card` to be a tfvae.export.Card, such as Card(intended_use="Research."). '
            f"Received: card={card!r}."
        )
    return card


def write(folder: Path, manifest: Manifest, card: Card, model: str) -> None:
    """Write the card of a version into its folder.

    Args:
        folder: of the version.
        manifest: with the checks that it passed.
        card: what is known beside it.
        model: the name of the model folder, by which servers know it.
    """
    text = _front_matter(manifest, card, model) + "\n\n".join(parts(manifest, card, model))
    (folder / CARD).write_text(text + "\n", encoding="utf-8")


def _front_matter(manifest: Manifest, card: Card, model: str) -> str:
    document: dict[str, Any] = {
        "library_name": "tfvae",
        "license": card.license.strip().lower() or "unknown",
        "tags": ["variational-autoencoder", "generative-model", "tensorflow", "onnx"],
    }
    name = card.data.get("name") if isinstance(card.data, Mapping) else None
    values = {key: float(each) for key, each in card.metrics.items() if _is_figure(each)}
    if name is not None:
        document["datasets"] = [str(name)]
    if values:
        document["model-index"] = [
            {
                "name": model,
                "results": [
                    {
                        "task": {"type": "unconditional-image-generation", "name": "generation"}
                        if _draws_images(manifest)
                        else {"type": "other", "name": "generation"},
                        "dataset": {"name": str(name or "unknown"), "type": "other"},
                        "metrics": [
                            {"type": key, "name": markup.MEANINGS.get(key, key), "value": value}
                            for key, value in values.items()
                        ],
                    }
                ],
            }
        ]
    # A value in JSON is one in YAML, whatever it holds.
    lines = (f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in document.items())
    return "---\n" + "\n".join(lines) + "\n---\n\n"


def _draws_images(manifest: Manifest) -> bool:
    record: EndpointRecord | None = manifest.endpoint("decode")
    means = [each for each in record.outputs if each.name == "mean"] if record else []
    return any(len(each.shape) == 4 and each.shape[-1] in (1, 3, 4) for each in means)


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
