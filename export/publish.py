"""Version folders: which exist, which is newest, how a new one appears and old ones go.

An export is written into a hidden folder beside the versions and renamed when it is complete. A
version that is no longer kept goes the same way back, and is deleted under its hidden name::

    savedmodels/digits/1/                        becomes .tfvae-…-5c0ffee5.tmp by one rename
    savedmodels/digits/2/
    savedmodels/digits/.tfvae-…-9f86d081.tmp/    becomes 3 by one rename

The number is taken at the rename, not before: numbers rise in the order of publication, an
export that fails leaves no gap, and two exporters at once get two numbers.

Object stores mounted as folders cannot rename a folder. There the files are copied into the
version one by one, ``saved_model.pb`` last, without which no server takes it for a version.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import warnings
from pathlib import Path

from .errors import ExportError
from .manifest import FILENAME, FORMAT
from .staging import DISK_ERRORS, hidden, locked

_SAVED_MODEL = "saved_model.pb"
# How file systems say that they cannot rename a folder; gcsfuse says EMFILE.
_NO_RENAME = frozenset({errno.EXDEV, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMFILE})


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
        ExportError: if the name is empty, leads out of its folder ("..") or is taken for a
            version or for something hidden; if it is a file, a version folder, or a folder of
            models.
        PermissionError: if it, or the nearest folder above that exists, cannot be written.
    """
    _check_name(os.fspath(path))
    folder = Path(path)
    if (folder / FILENAME).exists() or (folder / _SAVED_MODEL).exists():
        raise ExportError(
            f"Expected `path` to be a model folder. Received: {folder}, which is one exported "
            f"version. Pass {folder.parent} to publish a new version beside it."
        )
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not existing.is_dir():
        raise ExportError(
            f"Expected `path` to be a folder. Received: {folder}, where {existing} is a file."
        )
    models = sorted({file.parents[1].name for file in folder.glob(f"*/[0-9]*/{FILENAME}")})
    if models and not versions(folder):
        raise ExportError(
            f"Expected `path` to be a model folder. Received: {folder}, which holds the models "
            f"{', '.join(models)}. Name the model too, as in {folder / models[0]}."
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(
            f"Expected a folder that can be written. Received: {folder}, where {existing} is "
            "read-only. Change its permissions or export elsewhere."
        )
    return folder


def check_keep(keep: int | None) -> int | None:
    """Return how many versions to keep, None for all, or say what is wrong with it.

    Raises:
        ExportError: unless it is None or a whole number of at least 1.
    """
    if keep is not None and (isinstance(keep, bool) or not isinstance(keep, int) or keep < 1):
        raise ExportError(
            "Expected `keep` to be a whole number of at least 1, for the new version is one of "
            f"those that stay, or None to keep all. Received: keep={keep!r}."
        )
    return keep


def publish(staged: Path) -> Path:
    """Rename a staged folder to the next version and return its new path.

    Raises:
        OSError: if the disk does not hold all of it.
    """
    folder = staged.parent
    for path in (*staged.rglob("*"), staged):
        _sync(path)
    with locked(folder):
        while True:
            number = max((int(path.name) for path in _numbered(folder)), default=0) + 1
            final = folder / str(number)
            try:
                _move(staged, final)
            except OSError as error:
                if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.EACCES} and final.is_dir():
                    continue  # another exporter was first, where there are no locks
                raise
            break
    with contextlib.suppress(OSError):  # it is there, whatever the disk says now
        _sync(folder)
    return final


def prune(folder: Path, keep: int) -> tuple[Path, ...]:
    """Remove all but the newest versions, once a new one is in place.

    Only what tfvae exported is counted and removed: folders by number that have its manifest, and
    no links. Each vanishes by one rename and is deleted under a hidden name, so that a reader
    finds it whole or not at all. A server that is still loading the version before the newest
    would lose it with ``keep=1``.

    Args:
        folder: the model folder.
        keep: how many to keep, at least 1.

    Returns:
        What was removed, oldest first.

    Raises:
        ExportError: for a `keep` below 1.

    Warns:
        UserWarning: if a version cannot be removed. It stays.
    """
    check_keep(keep)
    removed, doomed = [], []
    with locked(folder):
        ours = [path for path in versions(folder).values() if _is_ours(path)]
        for path in ours[:-keep]:
            try:
                doomed.append(_hide(path))
            except OSError as error:
                warnings.warn(f"Could not remove {path}: {error.strerror}.", stacklevel=2)
            else:
                removed.append(path)
    for path in doomed:
        shutil.rmtree(path, ignore_errors=True)  # what stays is cleaned by the next export
    return tuple(removed)


def _check_name(name: str) -> None:
    if not name.strip():
        raise ExportError(
            "Expected `path` to name a model folder, such as 'savedmodels/digits'. "
            "Received: an empty name."
        )
    if not name.isprintable():
        raise ExportError(
            f"Expected `path` to be a name that can be printed. Received: path={name!r}."
        )
    place = Path(name).absolute()
    climbs = [part == ".." for part in Path(name).parts]
    beginning = climbs.index(False) if False in climbs else len(climbs)
    if any(climbs[beginning:]) or (beginning and len(climbs) < beginning + 2):
        raise ExportError(
            "Expected `path` to name a folder of models and a model in it. Received: "
            f"path={name!r}, where '..' leads out of a folder. If that is what you want, pass "
            f"{os.path.normpath(place)}."
        )
    last = place.name
    if last.isascii() and last.isdecimal():
        raise ExportError(
            f"Expected `path` to be a model folder. Received: path={name!r}, where {last} would "
            f"be taken for a version of {place.parent.name!r}. Name the model, as in "
            f"{Path(name).parent / f'model-{last}'}."
        )
    if not last or last.startswith("."):
        raise ExportError(
            f"Expected `path` to name a model folder, one that is not hidden. "
            f"Received: path={name!r}."
        )


def _numbered(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.isascii() and path.name.isdecimal()]


def _is_ours(version: Path) -> bool:
    """Whether tfvae exported a version: by its manifest, whatever the format's version."""
    try:
        manifest = json.loads((version / FILENAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (
        not version.is_symlink() and isinstance(manifest, dict) and manifest.get("format") == FORMAT
    )


def _move(staged: Path, final: Path) -> None:
    """Give a folder its number: by a rename, or file by file where there is none."""
    try:
        staged.rename(final)
    except OSError as error:
        if error.errno not in _NO_RENAME:
            raise
        final.mkdir()
        try:
            _copy(staged, final)
        except BaseException:
            shutil.rmtree(final, ignore_errors=True)
            raise


def _copy(source: Path, target: Path) -> None:
    late = (FILENAME, _SAVED_MODEL)
    files = {path.relative_to(source): path for path in source.rglob("*") if path.is_file()}
    for name in sorted(files, key=lambda name: (str(name) in late, str(name) == _SAVED_MODEL)):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files[name], target / name)


def _hide(version: Path) -> Path:
    """Take a version away from its readers; return what is left to delete."""
    gone = hidden(version.parent)
    try:
        version.rename(gone)
    except OSError as error:
        if error.errno not in _NO_RENAME:
            raise
        (version / _SAVED_MODEL).unlink(missing_ok=True)
        return version
    return gone


def _sync(path: Path) -> None:
    """Have the disk hold a file, or a folder's list of names, before we rename.

    Raises:
        OSError: if the disk could not hold it. A disk may say so only now.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise
        # Some file systems refuse it for folders.
