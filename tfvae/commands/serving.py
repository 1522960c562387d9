"""The command that writes what a server needs beside the exports."""

from __future__ import annotations

from typing import Any, Literal

import click

import tfvae
from tfvae.commands import support

_TARGETS = ("tf-serving", "triton", "kserve")


class _Versions(support.ParamType):
    """How many versions: a number, or all."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | Literal["all"]:
        """Read it."""
        if value == "all":
            return "all"
        try:
            return click.IntRange(min=1).convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is neither a number of versions nor 'all'.", param, ctx)


class _Label(support.ParamType):
    """A name for a version of a model."""

    name = "model:label=version"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str, int]:
        """Read it."""
        model, _, rest = str(value).rpartition(":")
        label, _, version = rest.rpartition("=")
        if not (model and label and version.isascii() and version.isdecimal()):
            self.fail(f"{value!r} is not of the form MODEL:LABEL=VERSION.", param, ctx)
        return model, label, int(version)


@click.command("serve-config")
@click.argument("folder")
@click.option("--out", help="Where the files go.  [default: FOLDER; of Triton FOLDER/triton]")
@click.option(
    "--target",
    type=click.Choice(_TARGETS),
    default=_TARGETS[0],
    show_default=True,
    help="The server.",
)
@click.option(
    "--versions",
    type=_Versions(),
    default=1,
    show_default=True,
    help="How many of a model's newest versions TF Serving serves, or 'all'.",
)
@click.option(
    "--label",
    "labels",
    type=_Label(),
    multiple=True,
    metavar="MODEL:LABEL=VERSION",
    help="A name for a version, such as digits:stable=1; repeatable.",
)
@click.option("--root", default="/models", show_default=True, help="Where TF Serving sees FOLDER.")
@click.option(
    "--storage", default="pvc://savedmodels", show_default=True, help="Where KServe finds FOLDER."
)
@click.option("--overwrite", is_flag=True, help="Replace files that were not written by this.")
def serve_config(
    folder: str,
    out: str | None,
    target: str,
    versions: int | Literal["all"],
    labels: tuple[tuple[str, str, int], ...],
    root: str,
    storage: str,
    overwrite: bool,
) -> None:
    """Write what a server needs to serve every model in FOLDER.

    For TF Serving: models.config, batching.config, monitoring.config, and a compose.yaml that
    `docker compose up` starts. For Triton: a model repository. For KServe: InferenceServices.
    """
    named: dict[str, dict[str, int]] = {}
    for model, label, version in labels:
        if label in named.setdefault(model, {}):
            raise click.UsageError(f"--label names {model}:{label} twice: give it one version.")
        named[model][label] = version
    written = tfvae.export.serve_config(
        folder,
        out,
        target,
        versions=versions,
        labels=named,
        root=root,
        storage=storage,
        overwrite=overwrite,
    )
    for path in written:
        click.echo(path)
