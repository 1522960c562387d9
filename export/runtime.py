"""Run an export: from ONNX without importing TensorFlow, or as a SavedModel."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from tfvae.text import Tokeniser

from .calls import Calls
from .errors import ExportError, did_you_mean
from .inputs import Arrays, checked
from .manifest import VOCABULARY, EndpointRecord, Manifest
from .publish import resolve
from .sessions import Call, Open, in_onnxruntime, in_tensorflow, known_providers
from .shown import html


class LoadedExport(Calls):
    """A published version, ready to run. Made by :func:`load`.

    Attributes:
        path: the version folder.
        manifest: what the export says about itself.
        runtime: ``"onnx"`` or ``"tensorflow"``.
    """

    def __init__(self, path: Path, manifest: Manifest, runtime: str, opener: Open) -> None:
        self.path = path
        self.manifest = manifest
        self.runtime = runtime
        self._open = opener
        self._calls: dict[str, Call] = {}

    @property
    def endpoints(self) -> dict[str, EndpointRecord]:
        """The endpoints by name, with the shapes and dtypes of their inputs and outputs."""
        return {record.name: record for record in self.manifest.endpoints}

    @functools.cached_property
    def tokeniser(self) -> Tokeniser:
        """What the tokens of a sentence VAE stand for: ``tokeniser.decode(out["tokens"])``.

        Raises:
            ExportError: if the export is of another model.
        """
        if VOCABULARY not in self.manifest.files:
            raise ExportError(
                f"Expected an export of a sentence VAE. Received: {self.path}, which has no "
                "vocabulary."
            )
        document = json.loads((self.path / VOCABULARY).read_text(encoding="utf-8"))
        return Tokeniser.of(document)

    def is_anomaly(
        self,
        x: npt.ArrayLike,
        false_alarm_rate: float,
        seeds: npt.ArrayLike | None = None,
        condition: npt.ArrayLike | None = None,
    ) -> npt.NDArray[np.bool_]:
        """Say which data score below the threshold of a false-alarm rate.

        Args:
            x: data [B, *data].
            false_alarm_rate: one that the export was calibrated for: the probability that an
                example like those it was calibrated on is called an anomaly.
            seeds: as of :meth:`score`.
            condition: as of :meth:`score`.

        Returns:
            [B].

        Raises:
            ExportError: if the export was not calibrated, or not for this rate.
        """
        calibration = self.manifest.calibration
        if calibration is None:
            raise ExportError(
                f"Expected an export with thresholds. Received: {self.path}, which has none. "
                "Export with held-out data: vae.export(path, calibration=x)."
            )
        known = {each.false_alarm_rate: each.log_marginal for each in calibration.thresholds}
        if not isinstance(false_alarm_rate, float) or false_alarm_rate not in known:
            raise ExportError(
                f"Expected `false_alarm_rate` to be one of {', '.join(map(str, known))}, for which "
                f"{self.path} was calibrated. Received: {false_alarm_rate!r}."
            )
        scores = self.score(x, seeds, condition)["log_marginal"]
        return np.asarray(scores < known[false_alarm_rate])

    def run(self, endpoint: str, inputs: Mapping[str, npt.ArrayLike]) -> Arrays:
        """Run an endpoint by name.

        Args:
            endpoint: its name, a key of :attr:`endpoints`.
            inputs: its inputs by name; those with a default may be left out.

        Returns:
            Its outputs by name.

        Raises:
            ExportError: if the export has no such endpoint, or none in the variant asked for.
            ValueError: for missing or unknown inputs, a wrong shape or dtype, values that are
                not finite or out of bounds, or an empty batch.
            FileNotFoundError: if its file is gone.
        """
        record = self.endpoints.get(endpoint)
        if record is None:
            raise ExportError(
                f"Expected an endpoint of {self.path}: {', '.join(self.endpoints)}. "
                f"Received: {endpoint!r}.{did_you_mean(endpoint, self.endpoints)} What the slots "
                f"of a model do not allow is not exported: vae.export(..., endpoints=[{endpoint!r}"
                "]) says why."
            )
        arrays = checked(record, inputs, self.manifest.classes)
        if endpoint not in self._calls:
            self._calls[endpoint] = self._open(record)
        return self._calls[endpoint](arrays)

    def __repr__(self) -> str:
        names = ", ".join(self.endpoints)
        return f"<tfvae export {self.path} ({names}) in {self.runtime}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the endpoints and the checks they passed."""
        return html(self.path, self.manifest, f"runs in {self.runtime}")


def load(
    path: str | os.PathLike[str],
    version: int | None = None,
    runtime: Literal["onnx", "tensorflow"] = "onnx",
    *,
    variant: str | None = None,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
) -> LoadedExport:
    """Load a published export.

    Args:
        path: a model folder or a version folder.
        version: which version of a model folder; the newest by default.
        runtime: ``"onnx"`` runs in onnxruntime and imports no TensorFlow; ``"tensorflow"`` runs
            the SavedModel.
        variant: ``"float16"`` or ``"int8"``, where the export has such ONNX files beside those in
            full precision.
        threads: how many threads onnxruntime computes with; by default one for each core.
        providers: what onnxruntime computes on, the first that can; by default the CPU, where
            exports were verified.

    Raises:
        ValueError: for an unknown runtime, a variant that no endpoint has, threads or providers
            that cannot be, or a manifest that cannot be read.
        FileNotFoundError: if there is no such export or version.

    Example:
        >>> generator = tfvae.export.load("savedmodels/digits")  # doctest: +SKIP
        >>> generator.generate(seeds=range(3))["sample"].shape  # doctest: +SKIP
        (3, 8, 8)
    """
    if runtime not in ("onnx", "tensorflow"):
        raise ValueError(
            f"Expected `runtime` to be 'onnx' or 'tensorflow'. "
            f"Received: runtime={runtime!r}.{did_you_mean(runtime, ('onnx', 'tensorflow'))}"
        )
    options = {"variant": variant, "threads": threads, "providers": providers}
    if runtime == "tensorflow" and any(value is not None for value in options.values()):
        given = ", ".join(
            f"{name}={value!r}" for name, value in options.items() if value is not None
        )
        raise ValueError(f"Expected {given} with runtime='onnx' only. Received: {runtime!r}.")
    folder, manifest = _read(path, version)
    if variant is not None:
        _check_variant(manifest, variant)
    if threads is not None and (
        isinstance(threads, bool) or not isinstance(threads, int) or threads < 1
    ):
        raise ValueError(f"Expected `threads` to be at least 1. Received: threads={threads!r}.")
    if runtime == "tensorflow":
        opener = in_tensorflow(folder)
    else:
        opener = in_onnxruntime(folder, variant, threads, known_providers(providers))
    return LoadedExport(folder, manifest, runtime, opener)


def _read(path: str | os.PathLike[str], version: int | None) -> tuple[Path, Manifest]:
    folder = resolve(path, version)
    while True:
        try:
            return folder, Manifest.read(folder)
        except FileNotFoundError:
            # The newest a moment ago may have been pruned since, after a newer one came.
            newest = resolve(path, version)
            if newest == folder:
                raise
            folder = newest


def _check_variant(manifest: Manifest, name: str) -> None:
    there = sorted({variant.name for record in manifest.endpoints for variant in record.variants})
    if name not in there:
        raise ValueError(
            f"Expected `variant` to be {' or '.join(map(repr, [*there, None]))}. "
            f"Received: variant={name!r}.{did_you_mean(name, there)}"
            + ("" if there else " The export has full precision alone.")
        )
