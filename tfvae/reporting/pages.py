"""Pages, written: a report of a run, and a comparison of several."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tfvae
from tfvae import files, markup
from tfvae.export.manifest import now
from tfvae.reporting import facts, judging
from tfvae.reporting.blocks import Page
from tfvae.reporting.comparison import Comparison
from tfvae.reporting.comparison_page import page_of
from tfvae.reporting.findings import figures, findings
from tfvae.reporting.request import Request
from tfvae.reporting.sections import sections
from tfvae.runs import REPORT, Run


def report(
    run: Run | str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    export: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Path:
    """Write a report of a run: one HTML file that needs no network.

    What was trained and on what, how to repeat it, curves, samples, reconstructions, latents,
    metrics, and what was verified of an export. What does not apply, or is not known, is said to
    be so in a line. The file appears whole or not at all.

    Args:
        run: the run, or its folder.
        out: the file; ``report.html`` in the run folder by default.
        export: an export of it: a version folder, or a model folder for its newest version.
        **options: ``samples``, importance samples of each example; ``limit``, only the first test
            examples; ``seed``; ``data``, where the data is now; ``weights``, as of
            :meth:`tfvae.runs.Run.model`; ``kinds``, which pictures of `tfvae.pictures.KINDS`;
            ``metrics``, which measurements of `tfvae.evaluate.MEASUREMENTS`; ``progress``,
            whether to show it; ``say``, where lines of text go.

    Returns:
        The file.

    Raises:
        FileNotFoundError: if there is no such run or export.
        RunError: if it is no run folder, a file is damaged, or there are no such weights.
        OSError: if the file cannot be written.
        TypeError: for an unknown option.

    Example:
        >>> tfvae.reporting.report("runs/m")  # doctest: +SKIP
        PosixPath('runs/m/report.html')
    """
    request = Request(**options)
    loaded = run if isinstance(run, Run) else Run.load(run)
    target = Path(out) if out is not None else loaded.path / REPORT
    known = facts.gather(loaded, request, None if export is None else Path(export))
    config = loaded.config
    data = loaded.environment.get("data", {}).get("name", config.data)
    page = Page(
        title=loaded.path.resolve().name,
        subtitle=f"{config.model} on {data}, {loaded.epochs} of {config.epochs} epochs"
        + ("" if request.weights == "last" else f", {request.weights} weights"),
        figures=list(figures(known)),
        findings=list(findings(known)),
        sections=sections(known),
        footer=_footer(),
    )
    return write(page, target)


def compare(
    runs: Sequence[Run | str | os.PathLike[str]],
    out: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Comparison:
    """Judge runs on the same test examples, and write a page of it: one HTML file.

    Args:
        runs: two or more, or their folders.
        out: the file; none by default.
        **options: those of :func:`report`. With ``data`` all are judged on these data; without,
            all have to be of the same data.

    Returns:
        The comparison: figures, and differences with paired standard errors.

    Raises:
        RunError: for fewer than two runs, runs of different data, or such as see them differently.
        OSError: if the file cannot be written.

    Example:
        >>> found = tfvae.reporting.compare(["runs/vae", "runs/iwae"])  # doctest: +SKIP
        >>> found.reference.name  # doctest: +SKIP
        'iwae'
    """
    request = Request(**options)
    loaded = [run if isinstance(run, Run) else Run.load(run) for run in runs]
    found = judging.gather(loaded, request)
    if out is not None:
        write(page_of(found, _footer()), Path(out))
    return found


def write(page: Page, path: Path) -> Path:
    """Write a page, whole or not at all."""
    text = markup.render("page.html", page=page)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace_text(path, text)
    return path


def _footer() -> str:
    return f"Written by tfvae {tfvae.__version__} on {now()}."
