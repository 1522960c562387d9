"""The page, assembled: our own assets, the export's ONNX files, and the browser's runtime."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.resources
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfvae import export
from tfvae.export import ExportError, LoadedExport
from tfvae.export.staging import hidden, staging

from . import runtime as runtimes
from .description import FILENAME, FORMAT, describe, runs

# Scripts and data of the same origin alone; `wasm-unsafe-eval` compiles WebAssembly, not text.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'"
)
# A browser's WebAssembly addresses 4 GB, for weights and all else, and pages are downloaded.
_MAXIMUM_BYTES = 2**31


@dataclasses.dataclass(frozen=True)
class Asset:
    """One file of a page.

    Attributes:
        content: its bytes, or the file that has them.
        sha256: of its bytes.
    """

    content: bytes | Path
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Asset:
        """Make one of bytes."""
        return cls(content, hashlib.sha256(content).hexdigest())

    @property
    def size(self) -> int:
        """How many bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


@dataclasses.dataclass(frozen=True)
class Page:
    """All that a browser may ask for.

    Attributes:
        files: by path relative to the page.
        description: what ``explorer.json`` holds.
    """

    files: dict[str, Asset]
    description: dict[str, Any]

    @property
    def size(self) -> int:
        """How many bytes all of it is."""
        return sum(asset.size for asset in self.files.values())


def build(
    path: str | os.PathLike[str],
    version: int | None = None,
    *,
    runtime: str | os.PathLike[str] | None = None,
    image_shape: Sequence[int] | None = None,
) -> Page:
    """Assemble the page of an export.

    Args:
        path: a model folder or a version folder.
        version: which version of a model folder; the newest by default.
        runtime: where onnxruntime-web is, as :func:`tfvae.explorer.runtime.find` takes it.
        image_shape: of a model of flat vectors, how they become pictures: (H, W) or (H, W, 3).

    Raises:
        FileNotFoundError: if there is no such export, or no runtime; the message says how to get
            it.
        ExportError: if what the export draws are no pictures, or a file of it is damaged or too
            large for a browser.

    Example:
        >>> page = tfvae.explorer.build("savedmodels/digits")  # doctest: +SKIP
        >>> sorted(page.description["endpoints"])  # doctest: +SKIP
        ['decode', 'encode', 'generate']
    """
    loaded = export.load(path, version)
    found = runtimes.find(runtime)
    graphs = {name: _graph(loaded, name) for name in runs(loaded)}
    description = describe(loaded, image_shape)
    document = json.dumps(description, ensure_ascii=False, allow_nan=False)
    files = {FILENAME: Asset.of(document.encode())}
    for asset in importlib.resources.files(__package__).joinpath("assets").iterdir():
        if asset.is_file() and not asset.name.startswith("."):
            content = asset.read_bytes()
            if asset.name == "index.html":
                content = content.replace(b"@POLICY@", POLICY.encode())
            # Its licence travels with what it is of.
            place = f"runtime/{asset.name}" if asset.name == "LICENSE.txt" else asset.name
            files[place] = Asset.of(content)
    for name, each in description["endpoints"].items():
        files[each["file"]] = graphs[name]
    for name, source in found.items():
        # Some web servers do not know `.mjs`, and browsers refuse modules of an unknown type.
        served = name.replace(".mjs", ".js")
        files[f"runtime/{served}"] = Asset(source, runtimes.FILES[name])
    return Page(dict(sorted(files.items())), description)


def write(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    version: int | None = None,
    *,
    runtime: str | os.PathLike[str] | None = None,
    image_shape: Sequence[int] | None = None,
) -> Path:
    """Write the page of an export into a folder that any web server can serve.

    The folder appears whole or not at all. One that this function wrote before is replaced.

    Args:
        path: as of :func:`build`.
        out: the folder.
        version: as of :func:`build`.
        runtime: as of :func:`build`.
        image_shape: as of :func:`build`.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: as of :func:`build`.
        ExportError: as of :func:`build`; or if `out` holds something else.
        OSError: if it cannot be written.
    """
    folder = Path(out)
    final = _target(folder)
    _check_target(final)
    page = build(path, version, runtime=runtime, image_shape=image_shape)
    with staging(final.parent) as staged:
        for name, asset in page.files.items():
            target = staged / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(asset.content, bytes):
                target.write_bytes(asset.content)
            else:
                shutil.copyfile(asset.content, target)
        _swap(staged, final)
    return folder


def _target(folder: Path) -> Path:
    """Return where a folder lies: a link is kept, and what it leads to is replaced."""
    try:
        return folder.resolve()
    except (OSError, RuntimeError) as error:
        raise OSError(
            f"Expected `out` to be a folder. Received: {folder}, a link that leads to itself."
        ) from error


def _swap(staged: Path, final: Path) -> None:
    """Put a finished folder in the place of an older one, if there is one."""
    if not final.exists():
        os.rename(staged, final)
        return
    old = hidden(final.parent)
    os.rename(final, old)
    try:
        os.rename(staged, final)
    except OSError:
        os.rename(old, final)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _check_target(folder: Path) -> None:
    """Refuse a folder that holds something else than a page of ours, before any work."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ExportError(f"Expected `out` to be a folder. Received: {folder}, which is a file.")
    if folder.is_mount() or folder == Path.cwd().resolve():
        raise ExportError(
            f"Expected `out` to be a folder that can be replaced. Received: {folder}. Name one "
            "inside it."
        )
    if any(folder.iterdir()) and not _is_ours(folder):
        raise ExportError(
            f"Expected `out` to be new, empty, or a page that was written here before. Received: "
            f"{folder}, which holds other files. Choose another folder."
        )


def _is_ours(folder: Path) -> bool:
    try:
        document = json.loads((folder / FILENAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("format") == FORMAT


def _graph(loaded: LoadedExport, name: str) -> Asset:
    """Return an endpoint's ONNX file, as it was published."""
    record = loaded.endpoints[name]
    path = loaded.path / record.onnx
    known = loaded.manifest.files.get(record.onnx)
    if not path.is_file() or known is None:
        raise FileNotFoundError(
            f"Expected {path}, which the manifest lists. The export is damaged: export again."
        )
    beside = [other for other in loaded.manifest.files if other.startswith(f"{record.onnx}.")]
    if known.size > _MAXIMUM_BYTES or beside:
        raise ExportError(
            f"Expected ONNX files of less than 2 GB, which browsers can hold. Received: {path}. "
            "Serve it instead: `tfvae serve-config`."
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != known.sha256:
        raise ExportError(
            f"Expected {path} as it was published. Received: a file that was changed since. "
            "`tfvae verify` says more; export again."
        )
    return Asset(path, found)
