"""What a server needs beside the exports: its configuration, written from what is published.

``tfvae serve-config savedmodels/`` writes the files with which TensorFlow Serving serves every
model below a folder; other targets are Triton's model repository and KServe's resources.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from .errors import ExportError, did_you_mean
from .layouts import HEADER, TARGETS, Model, Request
from .publish import versions as versions_of

Labels = Mapping[str, Mapping[str, int]]


def serve_config(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    target: str = "tf-serving",
    *,
    versions: int | Literal["all"] = 1,
    labels: Labels | None = None,
    root: str = "/models",
    storage: str = "pvc://savedmodels",
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write what a server needs to serve every model below a folder.

    Targets:

    - ``"tf-serving"``: ``models.config``, ``batching.config``, ``monitoring.config``, and a
      ``compose.yaml`` that starts the server with them.
    - ``"triton"``: a model repository, ``<model>_<endpoint>/config.pbtxt`` with the ONNX file of
      the newest version, copied.
    - ``"kserve"``: ``kserve.yaml``, an InferenceService for each model.

    Args:
        folder: what holds the model folders, such as ``"savedmodels"``.
        out: where the files go; by default `folder`, of Triton ``folder/triton``.
        target: one of the above.
        versions: how many of a model's newest versions TF Serving serves, or ``"all"``.
        labels: names for versions, by model: ``{"digits": {"stable": 1, "canary": 2}}``. A model
            with labels serves the versions that have one, and its newest.
        root: where TF Serving sees `folder`; ``compose.yaml`` mounts it there.
        storage: where KServe finds `folder`.
        overwrite: whether to replace files that were not written here.

    Returns:
        The paths of the files.

    Raises:
        FileNotFoundError: if there is no such folder.
        NotADirectoryError: if it is a file.
        ExportError: if it holds no model; for an unknown target, model or label's version; where
            two models would have one name; or where a file is there that was not written here.
        OSError: if a file cannot be written. Each file is whole or not there.

    Example:
        >>> tfvae.export.serve_config("savedmodels")[0]  # doctest: +SKIP
        PosixPath('savedmodels/models.config')
    """
    if target not in TARGETS:
        raise ExportError(
            f"Expected `target` to be one of {', '.join(TARGETS)}. "
            f"Received: target={target!r}.{did_you_mean(target, TARGETS)}"
        )
    if versions != "all" and (isinstance(versions, bool) or not isinstance(versions, int)):
        raise ExportError(f"Expected `versions` to be a number or 'all'. Received: {versions!r}.")
    if versions != "all" and versions < 1:
        raise ExportError(f"Expected `versions` to be at least 1. Received: {versions}.")
    if labels and target != "tf-serving":
        raise ExportError(
            f"Expected `labels` with target='tf-serving', which has them. Received: {target!r}."
        )
    place = Path(folder)
    request = Request(
        folder=place,
        out=Path(out) if out is not None else place / "triton" if target == "triton" else place,
        models=_models(place, labels or {}),
        versions=versions,
        root=root.rstrip("/"),
        storage=storage.rstrip("/"),
    )
    files = {request.out / name: content for name, content in TARGETS[target](request).items()}
    foreign = [str(path) for path, content in files.items() if not _is_ours(path, content)]
    if foreign and not overwrite:
        raise ExportError(
            f"Expected files that `serve_config` wrote, or none. Received: {', '.join(foreign)}. "
            "Move them, write elsewhere with `out`, or pass overwrite=True."
        )
    for path, content in files.items():
        _write(path, content)
    return tuple(files)


def _models(folder: Path, labels: Labels) -> tuple[Model, ...]:
    """Find the model folders, and give their versions labels."""
    if not folder.exists():
        raise FileNotFoundError(
            f"Expected a folder of exports. Received: {folder}, which does not exist."
        )
    if not folder.is_dir():
        raise NotADirectoryError(f"Expected a folder of exports. Received: {folder}, a file.")
    if _served(folder):
        raise ExportError(
            f"Expected a folder of model folders. Received: {folder}, which is one model's. "
            f"Pass {folder.absolute().parent}."
        )
    below = (path for path in sorted(folder.iterdir()) if path.is_dir())
    found = {path.name: served for path in below if (served := _served(path))}
    if not found:
        raise ExportError(
            f"Expected a folder of model folders with versions 1, 2, … Received: {folder}, which "
            "holds none. Export into it first: vae.export('savedmodels/digits')."
        )
    for name in found:
        if ":" in name:
            raise ExportError(
                f"Expected names of models without a colon, which ends them in a server's "
                f"addresses. Received: {name!r}. Rename the folder."
            )
    for model, names in labels.items():
        if model not in found:
            raise ExportError(
                f"Expected `labels` for one of {', '.join(found)}. "
                f"Received: {model!r}.{did_you_mean(model, found)}"
            )
        _check_labels(model, names, found[model])
    return tuple(Model(name, served, labels.get(name, {})) for name, served in found.items())


def _served(folder: Path) -> dict[int, Path]:
    return {
        number: path
        for number, path in versions_of(folder).items()
        if (path / "saved_model.pb").is_file()
    }


def _check_labels(model: str, labels: Mapping[str, int], served: Mapping[int, Path]) -> None:
    for label, version in labels.items():
        if not label or set(label) & set("/:"):
            raise ExportError(f"Expected a label without '/' and ':'. Received: {label!r}.")
        if version not in served:
            raise ExportError(
                f"Expected the label {label!r} of {model!r} to name one of the versions "
                f"{', '.join(map(str, served))}. Received: {version!r}."
            )


def _is_ours(path: Path, content: str | Path) -> bool:
    """Say whether a file may be replaced: it is not there, or was written here."""
    if not path.exists():
        return True
    # A copied graph carries no header: it belongs to the configuration of its model.
    text = path if isinstance(content, str) else path.parent.parent / "config.pbtxt"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return text.read_text(encoding="utf-8").startswith(HEADER)
    return False


def _write(path: Path, content: str | Path) -> None:
    """Write a text, or copy a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        if isinstance(content, Path):
            shutil.copyfile(content, beside)
        else:
            beside.write_text(content, encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
