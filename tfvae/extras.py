"""Packages that not everyone needs: what is said where one is missing."""

from __future__ import annotations

import importlib.util
import sys

MATPLOTLIB = ("matplotlib", "which draws pictures", "'tfvae[plot]'")
"""What :func:`missing` and :func:`check` are asked of it."""


def missing(package: str, purpose: str, install: str) -> str | None:
    """Say how to install a package, if it is not there, in a clause without its full stop.

    Args:
        package: by which it is imported.
        purpose: what it does, as in "matplotlib, which draws pictures".
        install: what pip is to install.

    Example:
        >>> missing("no_such_package", "which knits", "'tfvae[wool]'")
        "Expected no_such_package, which knits. It is not installed: pip install 'tfvae[wool]'"
        >>> missing("json", "which is always there", "python")
    """
    there = sys.modules[package] if package in sys.modules else importlib.util.find_spec(package)
    if there is not None:
        return None
    return f"Expected {package}, {purpose}. It is not installed: pip install {install}"


def check(package: str, purpose: str, install: str) -> None:
    """Refuse to go on without a package.

    Raises:
        ImportError: if it is not installed. It has no `name`, as that of a broken one has.
    """
    reason = missing(package, purpose, install)
    if reason is not None:
        raise ImportError(f"{reason}.")
