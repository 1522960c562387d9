"""The verifying process, stood in for by this one: its imports of TensorFlow take longest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfvae.export import stranger
from tfvae.export.manifest import Check


def examine_here(folders: Sequence[Path]) -> list[tuple[Check, ...]]:
    """Stand in for ``verification.run_stranger``: the same checks, without imports blocked."""
    return [
        tuple(
            Check(**row)
            for rows in (
                *(stranger.examine(Path(folder), runtime) for runtime in stranger.RUNTIMES),
                stranger.warm_up(Path(folder)),
            )
            for row in rows
        )
        for folder in folders
    ]
