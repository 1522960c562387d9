"""How an endpoint of an export is opened: its ONNX file, or its signature of the SavedModel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import ExportError, did_you_mean
from .inputs import Arrays
from .manifest import EndpointRecord

Call = Callable[[Arrays], Arrays]
Open = Callable[[EndpointRecord], Call]


def known_providers(providers: Sequence[str] | None) -> list[str]:
    """Return what onnxruntime is to compute on, the CPU by default.

    Raises:
        ValueError: for one that this onnxruntime does not have.
    """
    if providers is None:
        return ["CPUExecutionProvider"]
    import onnxruntime

    wanted = [providers] if isinstance(providers, str) else list(providers)
    available = onnxruntime.get_available_providers()
    for name in wanted:
        if name not in available:
            raise ValueError(
                f"Expected `providers` that this onnxruntime has: {', '.join(available)}. "
                f"Received: {name!r}.{did_you_mean(name, available)}"
            )
    return wanted


def in_onnxruntime(
    path: Path, variant: str | None, threads: int | None, providers: list[str]
) -> Open:
    """Return how an endpoint of a version folder is opened in onnxruntime."""

    def open_endpoint(record: EndpointRecord) -> Call:
        import onnxruntime

        file = path / _file(record, variant)
        if not file.is_file():
            raise FileNotFoundError(
                f"Expected {file}, which the manifest lists. The export is damaged, or was pruned "
                "since it was loaded: load it again, or export again."
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0
        session = onnxruntime.InferenceSession(str(file), options, providers=providers)
        names = [output.name for output in record.outputs]
        return lambda arrays: dict(zip(names, session.run(names, arrays), strict=True))

    return open_endpoint


def _file(record: EndpointRecord, variant: str | None) -> str:
    if variant is None:
        return record.onnx
    for each in record.variants:
        if each.name == variant:
            return each.onnx
    raise ExportError(
        f"Expected an endpoint with the variant {variant!r}. Received: {record.name!r}, which has "
        f"{', '.join(repr(each.name) for each in record.variants) or 'full precision alone'}. "
        "Load the export without a variant for it."
    )


def in_tensorflow(path: Path) -> Open:
    """Return how an endpoint of a version folder is opened as a SavedModel's signature."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def open_endpoint(record: EndpointRecord) -> Call:
        # `loaded` is kept alive here: its functions hold its variables weakly.
        function = loaded.signatures[record.name]

        def call(arrays: Arrays) -> Arrays:
            outputs = function(**{name: tf.constant(value) for name, value in arrays.items()})
            return {spec.name: outputs[spec.name].numpy() for spec in record.outputs}

        return call

    return open_endpoint
