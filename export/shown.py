"""What a notebook shows of an export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tfvae import markup

from .errors import ExportError
from .manifest import Manifest, Tensor
from .verification import by_runtime

if TYPE_CHECKING:
    _Path = Path
else:
    _Path = type(Path())  # Path itself can be a base class from Python 3.12 on only


class Published(_Path):
    """The path of a version folder, which a notebook shows as what lies there."""

    def _repr_html_(self) -> str | None:
        try:
            return html(self, Manifest.read(self))
        except (OSError, ExportError):  # removed since, or another path made of this one
            return None


def endpoint_rows(manifest: Manifest) -> list[tuple[str, str, str, str]]:
    """Return rows of a table: endpoint, inputs, outputs, what it does."""
    return [
        (
            each.name,
            _written(each.inputs),
            _written(each.outputs),
            each.description.replace("`", ""),
        )
        for each in manifest.endpoints
    ]


def html(path: Path, manifest: Manifest, *notes: str) -> str:
    """Describe an export for a notebook: endpoints, and how far runtimes are from Keras."""
    header, rows = by_runtime(manifest.verification)
    verified = all(check.ok for check in manifest.verification) and bool(manifest.verification)
    about = (
        f"{'version ' + path.name if path.name.isdecimal() else path.name}",
        f"exported {manifest.created}",
        "verified" if verified else "NOT verified",
        *notes,
    )
    return markup.notebook(
        f"{manifest.name}: {path}",
        [
            markup.Table(
                endpoint_rows(manifest), ("endpoint", "inputs", "outputs", "what it does")
            ),
            markup.Table(rows, header, "Largest difference from Keras, of what is allowed"),
        ],
        " · ".join(about),
    )


def _written(specs: tuple[Tensor, ...]) -> str:
    words = (f"{each.name} {each.dtype} {markup.shape(each.shape)}" for each in specs)
    return ", ".join(each.replace(" ", "\N{NO-BREAK SPACE}") for each in words)
