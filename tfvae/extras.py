"""Packages that not everyone needs: what is said where one is missing."""

from __future__ import annotations

import importlib.util


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
    if importlib.util.find_spec(package) is not None:
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
