"""What runs ONNX in a browser: onnxruntime-web, fetched once, pinned, and checked byte by byte."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tfvae.export import ExportError

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"
# Of the package as npm serves it, in npm's own notation.
INTEGRITY = (
    "sha512-"
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
FILES = {
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": (
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"
    ),
}
"""The two files that a page needs, in the package's folder ``dist``, by their SHA-256."""

ENVIRONMENT = "TFVAE_NODE_MODULES"
# How long npm may take for 30 MB, s.
_PATIENCE = 600
_FETCH = "Fetch it once with `tfvae explore --fetch-runtime`"


def cache() -> Path:
    """Return where the runtime is kept for this user.

    Raises:
        OSError: if this user has no home.
    """
    try:
        return _cache_home() / "tfvae" / f"{PACKAGE}-{VERSION}"
    except RuntimeError as error:
        raise OSError(
            f"Expected a home folder, where {PACKAGE} is kept. Received: none for this user. Set "
            "XDG_CACHE_HOME to a folder, or HOME."
        ) from error


def _cache_home() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def find(place: str | os.PathLike[str] | None = None) -> dict[str, Path]:
    """Return the runtime's files by name, checked.

    Args:
        place: a ``node_modules`` that has the package, or the package's own folder; by default
            the one that the environment variable TFVAE_NODE_MODULES names, else what
            :func:`fetch` has kept.

    Raises:
        FileNotFoundError: if the runtime is not there; the message says how to get it.
        ExportError: if it is another version, or a file is not what was published.
    """
    given = place if place is not None else os.environ.get(ENVIRONMENT) or None
    if given is None:
        folder, missing = cache(), f"{_FETCH}; offline use works from then on"
    else:
        folder = _package(Path(given))
        missing = f"{_FETCH}, or `npm install {PACKAGE}@{VERSION}` there"
    for name in FILES:
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"Expected {PACKAGE} {VERSION}, which runs ONNX in browsers. Received: {folder}, "
                f"which has no {name}. {missing}."
            )
    for name, digest in FILES.items():
        if _sha256(folder / name) != digest:
            raise ExportError(
                f"Expected {name} of {PACKAGE} {VERSION}. Received: {folder / name}, which "
                f"differs from it: another version, or a damaged file. {missing}."
            )
    return {name: folder / name for name in FILES}


def fetch(tarball: str | os.PathLike[str] | None = None) -> Path:
    """Fetch the runtime with npm, check it, and keep it for this user.

    npm asks the registry that it is configured for. Where there is no npm, have another machine
    run ``npm pack onnxruntime-web@VERSION`` and hand its file over.

    Args:
        tarball: the package's file, where it was fetched already.

    Returns:
        Where it is kept. What is there already, whole, stays as it is.

    Raises:
        FileNotFoundError: if there is no npm, or no such file.
        OSError: if npm cannot fetch it, or the cache cannot be written.
        ExportError: if what came is not the package that was pinned.
    """
    kept = cache()
    if tarball is None and all(
        (kept / name).is_file() and _sha256(kept / name) == digest for name, digest in FILES.items()
    ):
        return kept
    with tempfile.TemporaryDirectory() as folder:
        packed = _pack(Path(folder)) if tarball is None else Path(tarball)
        _check_integrity(packed)
        try:
            _keep(packed, kept)
        except OSError as error:
            raise OSError(
                f"Cannot keep {PACKAGE} in {kept}: {error.strerror or error}. Make room or a way "
                "there, or set XDG_CACHE_HOME to another folder."
            ) from error
    return kept


def _keep(packed: Path, kept: Path) -> None:
    """Unpack the package into its place, whole or not at all."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".") as beside:
        staged = Path(beside) / kept.name
        _unpack(packed, staged)
        if kept.exists() or kept.is_symlink():  # a damaged one
            os.replace(kept, Path(beside) / "damaged")
        os.replace(staged, kept)


def _package(place: Path) -> Path:
    """Return the folder ``dist`` of the package in a ``node_modules``, or of its own folder."""
    candidates = (place / PACKAGE / "dist", place / "node_modules" / PACKAGE / "dist")
    inside = next((each for each in candidates if each.is_dir()), place)
    if inside is place and (place / "dist").is_dir():
        inside = place / "dist"
    described = inside.parent / "package.json"
    if inside is not place and described.is_file():
        found = _version(described)
        if found != VERSION:
            raise ExportError(
                f"Expected {PACKAGE} {VERSION}. Received: {found} in {inside.parent}. {_FETCH}, or "
                f"`npm install {PACKAGE}@{VERSION}` there."
            )
    return inside


def _version(described: Path) -> str:
    """Return the version that a ``package.json`` says, or what is wrong with it."""
    try:
        document = json.loads(described.read_text(encoding="utf-8"))
        return str(document["version"])
    except (OSError, ValueError, TypeError, KeyError):
        return "a damaged package.json"


def _pack(folder: Path) -> Path:
    """Have npm download the package into a folder."""
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError(
            f"Expected npm, which comes with Node.js. Received: none on the PATH. Install it, or "
            f"run `npm pack {PACKAGE}@{VERSION}` on a machine that has it and pass the file: "
            "`tfvae explore --fetch-runtime --runtime FILE.tgz`."
        )
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", "--silent"]
    # Not a pipe: who waits for its end waits for all that npm has started, too.
    with (folder / "said.txt").open("w+", encoding="utf-8", errors="replace") as log:
        try:
            status = subprocess.run(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=log, check=False, timeout=_PATIENCE,
            ).returncode  # fmt: skip
            log.seek(0)
            said = log.read().strip().splitlines() or ["it said nothing"]
        except subprocess.TimeoutExpired:
            status, said = 1, [f"nothing in {_PATIENCE} seconds, after which it was ended."]
        except OSError as error:  # a file of that name that does not run
            status, said = 1, [f"{npm} does not run: {error.strerror}."]
    packed = sorted(folder.glob("*.tgz"))
    if status or not packed:
        raise OSError(
            f"Expected npm to fetch {PACKAGE} {VERSION}. Received: {said[-1]} "
            "`npm config get registry` says where it looks."
        )
    return packed[0]


def _check_integrity(packed: Path) -> None:
    if not packed.is_file():
        raise FileNotFoundError(
            f"Expected the package's file, as `npm pack {PACKAGE}@{VERSION}` makes it. Received: "
            f"{packed}, which is {'a folder' if packed.is_dir() else 'not there'}."
        )
    algorithm, _, wanted = INTEGRITY.partition("-")
    with packed.open("rb") as file:
        found = base64.b64encode(hashlib.file_digest(file, algorithm).digest()).decode("ascii")
    if found != wanted:
        raise ExportError(
            f"Expected {PACKAGE} {VERSION} with the integrity {INTEGRITY}. Received: {packed} with "
            f"{algorithm}-{found}. It is another version, or was changed on its way."
        )


def _unpack(packed: Path, folder: Path) -> None:
    """Write the files that a page needs, and no others."""
    folder.mkdir()
    with tarfile.open(packed) as archive:
        for name in FILES:
            source = archive.extractfile(f"package/dist/{name}")
            if source is None:
                raise ExportError(f"Expected dist/{name} to be a file in {packed}.")
            with source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
