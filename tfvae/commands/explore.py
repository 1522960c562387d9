"""The command that shows an export in a browser."""

from __future__ import annotations

import shlex

import click

import tfvae
from tfvae.commands import support


class _Shape(support.ParamType):
    """The shape of an image: whole numbers with commas."""

    name = "H,W"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Read it."""
        try:
            sizes = tuple(int(part) for part in value.split(","))
        except ValueError:
            sizes = ()
        if len(sizes) not in (2, 3) or min(sizes) < 1:
            self.fail(f"{value!r} is not H,W or H,W,3, as in 28,28.", param, ctx)
        return sizes


@click.command()
@click.argument("export", required=False)
@click.option("--out", help="Write the page into this folder, for any web server; do not serve it.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 for any."
)
@click.option("--open", "show", is_flag=True, help="Open the page in this machine's browser.")
@click.option("--version", type=click.IntRange(min=1), help="Of a model folder.  [default: newest]")
@click.option(
    "--image-shape", type=_Shape(), help="Of a model of flat vectors: how they become images."
)
@click.option(
    "--runtime",
    help="A node_modules with onnxruntime-web, or its package file for --fetch-runtime.  "
    "[default: $TFVAE_NODE_MODULES, else what was fetched]",
)
@click.option("--fetch-runtime", is_flag=True, help="Fetch onnxruntime-web with npm, once.")
def explore(
    export: str | None,
    out: str | None,
    host: str,
    port: int,
    show: bool,
    version: int | None,
    image_shape: tuple[int, ...] | None,
    runtime: str | None,
    fetch_runtime: bool,
) -> None:
    """Explore the latents of an EXPORT in a browser.

    Serves a page on which sliders, seeds and pictures of your own are decoded by the exported
    ONNX, in the browser; or writes it with --out. It needs onnxruntime-web, which --fetch-runtime
    gets once.
    """
    if export is None and not fetch_runtime:
        raise click.UsageError("Missing argument 'EXPORT', such as savedmodels/digits.")
    if fetch_runtime:
        click.echo(f"onnxruntime-web is in {tfvae.explorer.fetch(runtime)}")
        runtime = None
    if export is None:
        return
    if out is not None:
        written = tfvae.explorer.write(
            export, out, version, runtime=runtime, image_shape=image_shape
        )
        look = f"python -m http.server -d {shlex.quote(str(written))}"
        click.echo(f"Wrote {written}. Look at it with: {look}")
        return
    page = tfvae.explorer.build(export, version, runtime=runtime, image_shape=image_shape)
    with tfvae.explorer.serve(page, host, port) as server:
        click.echo(f"Exploring {export} at {server.url} (Ctrl-C ends it)")
        if not server.loopback:
            click.echo("Note: other machines that reach this one can see it too.", err=True)
        if show:
            click.launch(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("")
