"""Version folders: which exist, which is newest, and how a new one appears whole or not at all.

An export is written into a hidden folder beside the versions and renamed when it is complete::

    savedmodels/digits/1/
    savedmodels/digits/2/
    savedmodels/digits/.tfvae-host-4242-9f86d081.tmp/     becomes 3 by one rename

The number is taken at the rename, not before: numbers rise in the order of publication, an
export that fails leaves no gap, and two exporters at once get two numbers because a rename onto
a version that exists is refused by the file system.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from .errors import ExportError
from .manifest import FILENAME

_STAGING = re.compile(r"\.tfvae-(?P<host>.+)-(?P<pid>\d+)-[0-9a-f]{8}\.tmp")


def versions(folder: Path) -> dict[int, Path]:
    """Return the version folders by number, in rising order; other names are ignored."""
    found = {int(path.name): path for path in _numbered(folder) if path.is_dir()}
    return dict(sorted(found.items()))


def resolve(path: str | os.PathLike[str], version: int | None = None) -> Path:
    """Return a version folder from itself, or from its model folder.

    Args:
        path: a version folder, or a model folder that holds versions.
        version: which version of a model folder; the newest by default.

    Raises:
        FileNotFoundError: if there is no such folder, no version, or not that version.
        NotADirectoryError: if the path is a file.
    """
    folder = Path(path)
    if not folder.exists():
        raise FileNotFoundError(f"Expected an export. Received: {folder}, which does not exist.")
    if not folder.is_dir():
        raise NotADirectoryError(
            f"Expected the folder of an export. Received: {folder}, which is a file."
        )
    if version is None and (folder / FILENAME).is_file():
        return folder
    found = versions(folder)
    if not found:
        raise FileNotFoundError(
            f"Expected a folder with versions 1, 2, … Received: {folder}, which has none. "
            "Export into it with `vae.export(...)`."
        )
    if version is None:
        return found[max(found)]
    if version not in found:
        raise FileNotFoundError(
            f"Expected `version` to be one of {', '.join(map(str, found))}. "
            f"Received: version={version!r}."
        )
    return found[version]


def check_target(path: str | os.PathLike[str]) -> Path:
    """Return the model folder to export into, or say why it cannot be.

    Cheap, and before any work: an export takes tens of seconds.

    Raises:
        ExportError: if the name is empty, a file, or a version folder.
        PermissionError: if it, or the nearest folder above that exists, cannot be written.
    """
    if not os.fspath(path).strip():
        raise ExportError(
            "Expected `path` to name a model folder, such as 'savedmodels/digits'. "
            "Received: an empty name."
        )
    folder = Path(path)
    if (folder / FILENAME).exists() or (folder / "saved_model.pb").exists():
        raise ExportError(
            f"Expected `path` to be a model folder. Received: {folder}, which is one exported "
            f"version. Pass {folder.parent} to publish a new version beside it."
        )
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not existing.is_dir():
        raise ExportError(
            f"Expected `path` to be a folder. Received: {folder}, where {existing} is a file."
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(
            f"Expected a folder that can be written. Received: {folder}, where {existing} is "
            "read-only. Change its permissions or export elsewhere."
        )
    return folder


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Give a hidden folder beside the versions, and remove it unless it was published.

    Whatever ends the block early, Ctrl-C included, leaves the model folder as it was. Folders
    that killed processes left behind are cleaned here.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    owner = f"{socket.gethostname()}-{os.getpid()}"
    staged = folder / f".tfvae-{owner}-{secrets.token_hex(4)}.tmp"
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _clean(folder)
            # Not tempfile.mkdtemp: its folders are closed to the server's user.
            staged.mkdir()
        except OSError as error:
            raise type(error)(
                error.errno, f"Cannot write into {folder}: {error.strerror}. Export elsewhere"
            ) from error
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        for place in missing:
            with contextlib.suppress(OSError):
                place.rmdir()  # refused where it is not empty


def publish(staged: Path) -> Path:
    """Rename a staged folder to the next version and return its new path."""
    folder = staged.parent
    for path in (*staged.rglob("*"), staged):
        _sync(path)
    while True:
        final = folder / str(max((int(path.name) for path in _numbered(folder)), default=0) + 1)
        try:
            staged.rename(final)
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.EACCES} and final.is_dir():
                continue  # another exporter was first
            raise
        _sync(folder)
        return final


def _numbered(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.isascii() and path.name.isdecimal()]


def _clean(folder: Path) -> None:
    """Remove what processes of this machine that are no longer there have left."""
    for path in folder.iterdir():
        match = _STAGING.fullmatch(path.name)
        if match and match["host"] == socket.gethostname() and not _alive(int(match["pid"])):
            shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    if os.name != "posix":
        return True  # elsewhere signal 0 is not a question
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync(path: Path) -> None:
    """Have the disk hold a file, or a folder's list of names, before we rename."""
    with contextlib.suppress(OSError):  # some file systems refuse it for folders
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
