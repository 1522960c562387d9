"""Hidden folders beside the versions: where an export is written, and what killed ones left.

A folder ``.tfvae-<machine>-<random>.tmp`` is an export at work, a version on its way out, or what
a killed process left of either. Which of these is asked of a lock: who works in a folder holds
one on the folder itself, and the kernel lets go of it when the process ends, however it ends. A
process number could not tell: numbers are used again, and in a container every exporter is 1.

A lock is known to one running kernel, which containers share. So `<machine>` names the kernel,
and what another one left, or this one before a restart, is removed when nothing in it has changed
for a day. The same is done where the file system has no locks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where only age tells
    fcntl = None  # type: ignore[assignment]

_NAME = re.compile(r"\.tfvae-(?P<machine>.+)-[0-9a-f]{8}\.tmp")
_ABANDONED = 24 * 3600.0  # seconds; an export takes seconds, of the largest models minutes

# What a disk says that takes no more.
DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Give a hidden folder beside the versions, and remove it unless it was published.

    Whatever ends the block early, Ctrl-C and a full disk included, leaves the model folder as it
    was. What killed processes left behind is cleaned here, before anything is written.

    Raises:
        OSError: if the folder cannot be written, or the disk is full.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    staged, handle = hidden(folder), None
    try:
        try:
            handle = _claim(staged)
        except OSError as error:
            raise _refusal(folder, error) from error
        try:
            yield staged
        except OSError as error:
            if error.errno in DISK_ERRORS:
                raise _refusal(folder, error) from error
            raise
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        _unlock(handle)
        for place in missing:
            with contextlib.suppress(OSError):
                place.rmdir()  # refused where it is not empty


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other exporters from beginning, publishing and pruning in a model folder meanwhile.

    Where the file system has no locks this does nothing: a rename onto a version that exists is
    refused all the same.
    """
    handle = _lock(folder)
    try:
        yield
    finally:
        _unlock(handle)


def hidden(folder: Path) -> Path:
    """Return a hidden name in a model folder that nobody has."""
    return folder / f".tfvae-{_machine()}-{secrets.token_hex(4)}.tmp"


def _claim(staged: Path) -> int | None:
    """Make the staging folder and return a lock on it."""
    folder = staged.parent
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        # An exporter that fails takes away the folder it made, perhaps just now: once more.
        with contextlib.suppress(FileNotFoundError), locked(folder):
            _clean(folder)
            # Not tempfile.mkdtemp: its folders are closed to the server's user.
            staged.mkdir()
            return _lock(staged)


def _clean(folder: Path) -> None:
    """Remove what nobody works in. Its caller holds the folder's lock: the dead stay dead."""
    for path in folder.iterdir():
        match = _NAME.fullmatch(path.name)
        if match and _abandoned(path, match["machine"]):
            shutil.rmtree(path, ignore_errors=True)


def _abandoned(path: Path, machine: str) -> bool:
    if machine == _machine():
        try:
            handle = _lock(path, wait=False)
        except OSError:  # somebody works in it, or it is not ours to open
            return False
        if handle is not None:
            _unlock(handle)
            return True
    return time.time() - _last_change(path) > _ABANDONED


def _last_change(folder: Path) -> float:
    """Return when anything in a folder was last written, seconds since 1970."""
    try:
        return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))
    except OSError:  # it changes as we look
        return time.time()


def _machine() -> str:
    """Name the running kernel."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        return socket.gethostname()
    return boot.strip().replace("-", "")


def _lock(folder: Path, *, wait: bool = True) -> int | None:
    """Lock a folder; return what to unlock, or None where there are no locks.

    Raises:
        BlockingIOError: if another holds it and we do not wait.
        OSError: if the folder cannot be opened.
    """
    if fcntl is None:
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException as error:
        os.close(handle)
        if isinstance(error, OSError) and not isinstance(error, BlockingIOError):
            return None
        raise
    return handle


def _unlock(handle: int | None) -> None:
    if handle is not None:
        os.close(handle)


def _refusal(folder: Path, error: OSError) -> OSError:
    return type(error)(
        error.errno,
        f"Cannot write into {folder}: {error.strerror}. Nothing was published. "
        "Make room there, or export elsewhere",
    )
