"""The one error of the export stage, and how it suggests a name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ExportError(ValueError):
    """A model cannot be exported, or an export cannot be used. Nothing was published."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean …?`` for the nearest known name, or nothing.

    Example:
        >>> did_you_mean("decoed", ["decode", "generate"])
        " Did you mean 'decode'?"
    """
    near = difflib.get_close_matches(str(word), list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
