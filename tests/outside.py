"""What lies around the tests: the repository, and real data beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"


def shared(name: str) -> Path:
    """Return a real data file that lies beside the project, or skip the test."""
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"needs {name}, real data that lies beside the project, which is not here")
    return path
