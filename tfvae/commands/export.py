"""The commands of the export stage: publish, verify and run generators.

TensorFlow is imported only where something is exported or verified.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import tfvae
from tfvae.commands import support
from tfvae.runs import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tfvae.export import Check

_COUNT = click.IntRange(min=1)


@click.command()
@click.argument("run")
@click.option("--to", help="The model folder.  [default: savedmodels/NAME-OF-RUN]")
@click.option("--endpoint", "endpoints", multiple=True, help="Only this one; repeatable.")
@click.option("--opset", type=int, default=18, show_default=True, help="The ONNX operator set.")
@click.option("--uint8", is_flag=True, help="Clients send and receive bytes: values are x / 255.")
@click.option(
    "--calibrate",
    is_flag=True,
    help="Find thresholds of anomaly detection on the run's validation set, or its test set where "
    "there is none.",
)
@click.option("--samples", type=_COUNT, help="Importance samples of `score`.  [default: 50]")
@click.option(
    "--precision",
    type=click.Choice(["float16"]),
    help="Add ONNX files in half precision.",
)
@click.option(
    "--quantize",
    type=click.Choice(["int8"]),
    help="Add ONNX files with quantised matrix products.",
)
@support.weights
@click.option(
    "--weight-seed",
    type=int,
    help="Of a model with Bayesian layers: export the draw of their weights with this seed.  "
    "[default: their means]",
)
@click.option("--keep", type=_COUNT, help="Remove all but this many of the newest versions.")
@click.option("--license", "licence", default="", help="For the model card, such as apache-2.0.")
@click.option("--intended-use", default="", help="For the model card: a sentence or more.")
def export(
    run: str,
    to: str | None,
    endpoints: tuple[str, ...],
    opset: int,
    uint8: bool,
    calibrate: bool,
    samples: int | None,
    weights: str,
    licence: str,
    intended_use: str,
    **settings: Any,
) -> None:
    """Export a RUN as SavedModel and ONNX, verified.

    It becomes the next version in a model folder, or nothing is published. Its model card says
    what the run knows, with the figures of the last `tfvae evaluate`.
    """
    from tfvae.export.manifest import Manifest
    from tfvae.export.publish import check_target as check_models_folder
    from tfvae.export.verification import worst

    loaded = Run.load(run)
    target = check_models_folder(
        to if to is not None else f"savedmodels/{loaded.path.resolve().name}"
    )
    if loaded.status != "complete":
        click.echo(f"Note: {loaded.path} is {loaded.status}, {loaded.epochs} epochs.", err=True)
    if uint8:
        settings["processing"] = tfvae.export.Processing("uint8")
    if samples is not None:
        settings["samples"] = samples
    settings["card"] = tfvae.reporting.card(
        loaded, weights, license=licence, intended_use=intended_use
    )
    if calibrate:
        data = loaded.data()
        settings["calibration"] = data.validation or data.test
    click.echo("Exporting, and verifying in a process without tfvae …", err=True)
    with _nothing_published():
        model = loaded.model(weights)
        path = tfvae.export.export(
            model, target, endpoints=endpoints or None, opset=opset, **settings
        )
    with contextlib.suppress(FileNotFoundError):  # another export, with --keep 1, was faster
        _print_checks(worst(Manifest.read(path).verification))
    click.echo(f"Published {path}")


@contextlib.contextmanager
def _nothing_published() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Interrupted. Nothing was published.") from None


@click.command()
@click.argument("exports", nargs=-1, required=True)
@click.pass_context
def verify(ctx: click.Context, exports: tuple[str, ...]) -> None:
    """Verify EXPORTS in a process without tfvae.

    Their outputs are compared with those recorded from Keras, in every runtime. Each is a
    version folder, or a model folder for its newest version.
    """
    from tfvae.export.verification import worst

    reports = tfvae.export.verify_all(exports)
    for report in reports:
        _print_checks(worst(report.rows))
        for problem in report.problems:
            click.echo(problem)
        click.echo(f"{report.path}: {'verified' if report.ok else 'NOT verified'}")
    if not all(report.ok for report in reports):
        ctx.exit(1)


def _print_checks(checks: tuple[Check, ...]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in ("endpoint", "runtime", "worst output"):
        table.add_column(name)
    for name in ("max difference", "tolerance"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for check in checks:
        failed = Text.assemble(("FAILED", "red"), f" {check.detail}")
        verdict = Text("ok", "green") if check.ok else failed
        figures = (f"{check.difference:.1e}", f"{check.tolerance:.1e}")
        table.add_row(check.endpoint, check.runtime, check.output, *figures, verdict)
    support.console().print(table)


@click.command()
@click.argument("export")
@click.option("--num", type=_COUNT, default=64, show_default=True, help="How many.")
@click.option(
    "--seed",
    type=click.IntRange(-(2**63), 2**63 - 1),
    default=0,
    show_default="0",
    help="Row i has seed + i.",
)
@click.option(
    "--temperature",
    type=support.Temperatures(),
    default="1.0",
    show_default=True,
    help="Scale of the prior's noise; of a hierarchy, one or one for each level: 1.0,0.5.",
)
@click.option(
    "--token-temperature",
    type=click.FloatRange(min=0),
    help="Of sentences: what the logits of words are divided by.  [default: 1.0]",
)
@click.option("--length", type=_COUNT, help="Of sequences: how many steps.  [default: all]")
@click.option(
    "--means/--samples",
    default=True,
    help="Draw the means of p(x|z), which look best, or draws from it.  [default: means]",
)
@click.option(
    "--condition", help="Of a conditional model: a class by name or number, or numbers with commas."
)
@click.option("--version", type=_COUNT, help="Of a model folder.  [default: the newest]")
@click.option("--variant", help="ONNX files in float16 or int8, where the export has them.")
@click.option("--out", help="The picture.  [default: generated.png, unless --npz is given]")
@click.option("--npz", help="Save latents, means and samples as arrays.")
def generate(
    export: str,
    num: int,
    seed: int,
    temperature: tuple[float, ...],
    token_temperature: float | None,
    length: int | None,
    means: bool,
    condition: str | None,
    version: int | None,
    variant: str | None,
    out: str | None,
    npz: str | None,
) -> None:
    """Generate from an EXPORT, without TensorFlow: a picture, or sentences as text.

    Images are drawn in a grid, sequences as lines; vectors go into --npz.
    """
    import numpy as np

    from tfvae import files, plots
    from tfvae.export.manifest import VOCABULARY

    generator = tfvae.export.load(export, version, variant=variant)
    sentences = VOCABULARY in generator.manifest.files
    if sentences and out is not None:
        raise click.UsageError("--out is for pictures: sentences are printed, or go into --npz.")
    if token_temperature is not None and not sentences:
        raise click.UsageError(f"--token-temperature is for sentences, which {export} has not.")
    record = generator.endpoints.get("generate")
    sequences = record is not None and any(spec.name == "length" for spec in record.inputs)
    if length is not None and not sequences:
        raise click.UsageError(f"--length is for sequences, which {export} has not.")
    vectors = record is not None and any(
        spec.name == "mean" and len(spec.shape) == 2 for spec in record.outputs
    )
    if vectors and (out is not None or npz is None):
        raise click.UsageError(f"What {export} draws are vectors, and no picture: pass --npz FILE.")
    out = "generated.png" if out is None and npz is None and not sentences else out
    given = support.condition(condition, generator.manifest.classes)
    for path in (out, npz):
        if path is not None:
            support.picture(path)
    seeds = np.arange(num, dtype=np.uint64) + np.uint64(seed % 2**64)
    scales = temperature if len(temperature) > 1 else temperature[0]
    parts = [
        generator.generate(rows, scales, given, token_temperature, length)
        for rows in np.array_split(seeds.view(np.int64), -(-num // 1024))
    ]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if npz is not None:
        arrays_and_seeds = {"seed": seeds.view(np.int64), **arrays}
        files.replace(
            Path(npz),
            lambda beside: np.savez_compressed(beside, allow_pickle=False, **arrays_and_seeds),
        )
        *others, last = arrays
        click.echo(f"{npz}: {', '.join(others)} and {last} of {num} rows")
    if sentences and npz is None:
        click.echo("\n".join(generator.tokeniser.decode(arrays["tokens"])))
    if out is not None:
        shown = "mean" if means else "sample"
        if sequences:
            plots.series(arrays[shown][:, :length], out)
        else:
            plots.save_grid(arrays[shown], out)
        other = "--samples draws from p(x|z)" if means else "--means shows the means of p(x|z)"
        click.echo(f"{out}: {num} {shown}s from {generator.path} ({other})")
