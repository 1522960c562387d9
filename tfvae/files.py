"""Files that a reader never sees half written, and what is recorded of a run's surroundings."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tfvae.export.manifest import now, package_versions


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` make a file beside `path`, of the same ending, and rename it into place."""
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    replace(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def replace_json(path: Path, document: Any) -> None:
    """Write a JSON file, whole or not at all."""
    replace_text(path, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Make a folder and see that it can be written; leave no trace of it if the block fails.

    Raises:
        OSError: if it cannot be made or written.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            replace_text(folder / "probe.txt", "")
            (folder / "probe.txt").unlink()
        except OSError as error:
            raise type(error)(
                f"Expected a folder that can be written. Received: {folder} "
                f"({error.strerror}). Change its permissions or choose another."
            ) from error
        yield
    except BaseException:
        for place in missing:
            with contextlib.suppress(OSError):
                place.rmdir()  # refused where it is not empty
        raise


def environment() -> dict[str, Any]:
    """Describe what runs here: versions, machine, command and the folder's git commit."""
    return {
        "created": now(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "versions": package_versions(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "git": git_state(),
    }


def git_state() -> dict[str, Any] | None:
    """Return the commit of the current folder and whether files differ from it, if it has one."""
    try:
        commit = _git("rev-parse", "HEAD")
        dirty = bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": dirty}


def _git(*arguments: str) -> str:
    result = subprocess.run(
        ["git", *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return result.stdout.strip()
