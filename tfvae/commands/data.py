"""The commands that prepare data."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

import tfvae
from tfvae.commands import support

if TYPE_CHECKING:
    from tfvae.convert import Converted

_COUNT = click.IntRange(min=1)


class _Size(support.ParamType):
    """A height and a width."""

    name = "h[xw]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Read it."""
        numbers = str(value).lower().split("x")
        good = all(each.isascii() and each.isdecimal() and int(each) for each in numbers)
        if not good or len(numbers) > 2:
            self.fail(f"{value!r} is neither a number of pixels nor HEIGHTxWIDTH.", param, ctx)
        return int(numbers[0]), int(numbers[-1])


@click.group(cls=support.Commands)
def data() -> None:
    """Prepare data for training."""


@data.command()
@click.argument("src")
@click.argument("dest")
@click.option("--shards", type=_COUNT, help="Files of the training set.  [default: one per 128 MB]")
@click.option(
    "--validation",
    type=support.Number(),
    default=0,
    help="Part of the training data to hold out: a fraction, or a number of examples.",
)
@click.option("--size", type=_Size(), help="Scale images to this, and cut what stands over.")
@click.option(
    "--colour/--grey",
    default=None,
    help="Of images, keep colours or not.  [default: if any image has some]",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the order."
)
@click.option("--overwrite", is_flag=True, help="Replace a data set that is in DEST.")
@click.option("--skip-corrupt", is_flag=True, help="Leave out images that cannot be read.")
def convert(src: str, dest: str, skip_corrupt: bool, **options: Any) -> None:
    """Write SRC as a folder DEST that training streams.

    SRC is a name such as mnist, an .npz or .npy file, or a folder of PNG or JPEG images, in which
    folders are classes. DEST gets sharded TFRecords, for `tfvae train --data DEST`, and may be
    larger than memory.
    """
    with _progress() as progress:
        converted = tfvae.convert.convert(
            src, dest, on_corrupt="skip" if skip_corrupt else "raise", progress=progress, **options
        )
    _report(converted)


def _report(converted: Converted) -> None:
    if converted.left_out:
        click.echo(
            f"Left out {len(converted.left_out):,} of the images. {converted.left_out[0]}.",
            err=True,
        )
    parts = converted.layout.parts
    counts = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
    size = sum(shard.bytes for part in parts.values() for shard in part.shards)
    shape = "×".join(map(str, converted.layout.shape))
    click.echo(f"{converted.path}: {counts} examples of {shape}, {size / 2**20:,.1f} MB")


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int], object]]:
    """Show a bar on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Looking at the source", total=None)
        yield lambda done, total: bar.update(
            task, completed=done, total=total, description="Writing"
        )
