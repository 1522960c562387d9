"""Run an export: from ONNX without importing TensorFlow, or as a SavedModel."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .errors import ExportError, did_you_mean
from .manifest import EndpointRecord, Manifest, Tensor
from .publish import resolve

Arrays = dict[str, npt.NDArray[Any]]
Call = Callable[[Arrays], Arrays]


class LoadedExport:
    """A published version, ready to run. Made by :func:`load`.

    Attributes:
        path: the version folder.
        manifest: what the export says about itself.
        runtime: ``"onnx"`` or ``"tensorflow"``.
    """

    def __init__(self, path: Path, manifest: Manifest, runtime: str) -> None:
        self.path = path
        self.manifest = manifest
        self.runtime = runtime
        self._open = _RUNTIMES[runtime](path)
        self._calls: dict[str, Call] = {}

    @property
    def endpoints(self) -> dict[str, EndpointRecord]:
        """The endpoints by name, with the shapes and dtypes of their inputs and outputs."""
        return {record.name: record for record in self.manifest.endpoints}

    def decode(self, z: npt.ArrayLike) -> Arrays:
        """Decode latents.

        Args:
            z: latents [B, *latent].

        Returns:
            ``mean`` [B, *data], and the named parameters of p(x|z).
        """
        return self.run("decode", {"z": z})

    def generate(self, seeds: npt.ArrayLike, temperature: npt.ArrayLike = 1.0) -> Arrays:
        """Draw rows, each a function of its own seed and temperature.

        Args:
            seeds: integers [B], any int64.
            temperature: scale of the prior's noise, one for all or [B].

        Returns:
            ``z`` [B, *latent], ``mean`` [B, *data] and ``sample`` [B, *data].
        """
        seeds = np.atleast_1d(np.asarray(seeds))
        temperature = np.asarray(temperature)
        if temperature.ndim == 0:
            temperature = np.broadcast_to(temperature, seeds.shape)
        return self.run("generate", {"seed": seeds, "temperature": temperature})

    def run(self, endpoint: str, inputs: Mapping[str, npt.ArrayLike]) -> Arrays:
        """Run an endpoint by name.

        Raises:
            ExportError: if the export has no such endpoint.
            ValueError: for missing or unknown inputs, a wrong shape or dtype, values that are
                not finite or out of bounds, or an empty batch.
        """
        record = self.endpoints.get(endpoint)
        if record is None:
            raise ExportError(
                f"Expected an endpoint of {self.path}: {', '.join(self.endpoints)}. "
                f"Received: {endpoint!r}.{did_you_mean(endpoint, self.endpoints)} "
                "A model whose prior or likelihood has no portable sampler exports no 'generate'."
            )
        arrays = _checked(record, inputs)
        if endpoint not in self._calls:
            self._calls[endpoint] = self._open(record)
        return self._calls[endpoint](arrays)

    def __repr__(self) -> str:
        names = ", ".join(self.endpoints)
        return f"<tfvae export {self.path} ({names}) in {self.runtime}>"


def load(
    path: str | os.PathLike[str],
    version: int | None = None,
    runtime: Literal["onnx", "tensorflow"] = "onnx",
) -> LoadedExport:
    """Load a published export.

    Args:
        path: a model folder or a version folder.
        version: which version of a model folder; the newest by default.
        runtime: ``"onnx"`` runs in onnxruntime and imports no TensorFlow; ``"tensorflow"`` runs
            the SavedModel.

    Raises:
        ValueError: for an unknown runtime, or a manifest that cannot be read.
        FileNotFoundError: if there is no such export or version.

    Example:
        >>> generator = tfvae.export.load("savedmodels/digits")  # doctest: +SKIP
        >>> generator.generate(seeds=range(3))["sample"].shape  # doctest: +SKIP
        (3, 8, 8)
    """
    if runtime not in _RUNTIMES:
        raise ValueError(
            f"Expected `runtime` to be {' or '.join(map(repr, _RUNTIMES))}. "
            f"Received: runtime={runtime!r}.{did_you_mean(runtime, _RUNTIMES)}"
        )
    folder = resolve(path, version)
    return LoadedExport(folder, Manifest.read(folder), runtime)


def _onnx(path: Path) -> Callable[[EndpointRecord], Call]:
    def open_endpoint(record: EndpointRecord) -> Call:
        import onnxruntime

        file = path / record.onnx
        if not file.is_file():
            raise FileNotFoundError(
                f"Expected {file}, which the manifest lists. The export is damaged: export again."
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in record.outputs]
        return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))

    return open_endpoint


def _tensorflow(path: Path) -> Callable[[EndpointRecord], Call]:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def open_endpoint(record: EndpointRecord) -> Call:
        # `loaded` is kept alive here: its functions hold its variables weakly.
        function = loaded.signatures[record.name]

        def call(inputs: Arrays) -> Arrays:
            outputs = function(**{name: tf.constant(value) for name, value in inputs.items()})
            return {spec.name: outputs[spec.name].numpy() for spec in record.outputs}

        return call

    return open_endpoint


_RUNTIMES = {"onnx": _onnx, "tensorflow": _tensorflow}


def _checked(record: EndpointRecord, inputs: Mapping[str, npt.ArrayLike]) -> Arrays:
    """Return inputs as the runtime takes them, or say what is wrong in our own words."""
    names = [spec.name for spec in record.inputs]
    if set(inputs) != set(names):
        raise ValueError(
            f"Expected the inputs {', '.join(names)} for {record.name!r}. "
            f"Received: {', '.join(inputs) or 'none'}."
        )
    arrays = {spec.name: _array(spec, inputs[spec.name]) for spec in record.inputs}
    sizes = {name: len(array) for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"Expected inputs with one batch size. Received: batch sizes {sizes}.")
    return arrays


def _array(spec: Tensor, value: npt.ArrayLike) -> npt.NDArray[Any]:
    array = np.asarray(value)
    shape = ", ".join("B" if size is None else str(size) for size in spec.shape)
    if array.ndim != len(spec.shape) or array.shape[1:] != spec.shape[1:]:
        raise ValueError(
            f"Expected `{spec.name}` of shape [{shape}]. Received: shape {list(array.shape)}."
            + (" Add a batch dimension." if array.shape == spec.shape[1:] else "")
        )
    if not len(array):
        raise ValueError(f"Expected `{spec.name}` with at least one row. Received: an empty batch.")
    # "same_kind": float64 to float32 and int32 to int64, but no float where an integer belongs.
    if array.dtype == bool or not np.can_cast(array.dtype, spec.dtype, "same_kind"):
        raise ValueError(
            f"Expected `{spec.name}` of dtype {spec.dtype}. Received: dtype {array.dtype}."
        )
    if np.issubdtype(array.dtype, np.integer) and np.issubdtype(spec.dtype, np.integer):
        limits = np.iinfo(spec.dtype)
        if int(array.max()) > limits.max or int(array.min()) < limits.min:
            raise ValueError(
                f"Expected `{spec.name}` between {limits.min} and {limits.max}. "
                f"Received: values from {array.min()} to {array.max()}."
            )
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(array, spec.dtype)
    if not np.isfinite(cast).all():
        raise ValueError(
            f"Expected `{spec.name}` to be finite in {spec.dtype}. Received: NaN or infinity."
        )
    low, high = spec.bounds
    if (low is not None and cast.min() < low) or (high is not None and cast.max() > high):
        raise ValueError(
            f"Expected `{spec.name}` in [{'-inf' if low is None else low}, "
            f"{'inf' if high is None else high}]. "
            f"Received: values from {cast.min()} to {cast.max()}."
        )
    return cast
