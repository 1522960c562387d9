"""What an export says about itself: ``manifest.json``, and the records it is made of.

The same records describe an endpoint while it is exported, verified, loaded and served. Nothing
here imports TensorFlow, for a manifest is also read where there is none.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import math
import platform
from pathlib import Path
from typing import Any

from .errors import ExportError

FILENAME = "manifest.json"
CARD = "README.md"
"""Beside the manifest: the model card, which people may edit."""
VOCABULARY = "vocabulary.json"
"""Beside the manifest of a sentence VAE: the words by their tokens."""
FORMAT = "tfvae-export"
FORMAT_VERSION = 1

_PACKAGES = (
    "tensorflow",
    "keras",
    "tensorflow-probability",
    "tf2onnx",
    "onnx",
    "onnxruntime",
    "numpy",
)


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One named input or output of an endpoint.

    Attributes:
        name: the key in signatures, ONNX graphs and dictionaries.
        shape: its dimensions; the first is the batch, always None.
        dtype: a NumPy dtype name.
        bounds: the smallest and largest value it takes; None where there is none.
        compare: of an output, how two runtimes are held against each other, a key of
            ``comparisons.COMPARISONS``.
        terms: of an output that is a sum, of how many terms; None where it is none. Runtimes may
            differ by the root of that many times what one may be off, of a scale of 1.
        default: of an input, the value for all rows where a SavedModel's client omits it.
        step: of an input, how far apart values are, counted from the smallest, or from the
            largest where there is no smallest: 1 for counts. None where any value will do.
        open: of an input, whether the bounds themselves are left out.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    bounds: tuple[float | None, float | None] = (None, None)
    compare: str = "scale"
    default: float | None = None
    step: float | None = None
    open: bool = False
    terms: int | None = None

    @property
    def row_size(self) -> int:
        """How many values a row of the batch holds."""
        return math.prod(size for size in self.shape if size is not None)


@dataclasses.dataclass(frozen=True)
class Variant:
    """Another ONNX file of an endpoint: smaller, and less exact.

    Attributes:
        name: ``"float16"`` or ``"int8"``.
        onnx: its file, relative to the version folder.
        tolerance: how far it may be from Keras, of the output's scale.
    """

    name: str
    onnx: str
    tolerance: float


@dataclasses.dataclass(frozen=True)
class EndpointRecord:
    """What a reader must know to call an endpoint.

    Attributes:
        name: the endpoint.
        description: one sentence.
        inputs: what it takes.
        outputs: what it returns.
        signatures: the SavedModel signatures that run it.
        onnx: its ONNX file, relative to the version folder.
        variants: other ONNX files of it.
    """

    name: str
    description: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    signatures: tuple[str, ...]
    onnx: str
    variants: tuple[Variant, ...] = ()


@dataclasses.dataclass(frozen=True)
class Check:
    """One output of one endpoint in one runtime, against what Keras computed.

    Attributes:
        endpoint: the endpoint.
        runtime: ``"onnxruntime"``, ``"saved_model"`` (``tf.saved_model.load``) or ``"session"``
            (the C++ loader, which is what TF Serving runs).
        output: the endpoint's output.
        difference: the largest absolute difference; of a discrete output, the fraction of
            values that differ.
        tolerance: the largest difference allowed.
        ok: the verdict.
        detail: what went wrong, or how a fraction came about.
    """

    endpoint: str
    runtime: str
    output: str
    difference: float
    tolerance: float
    ok: bool
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Threshold:
    """Below which score an example is called an anomaly.

    Attributes:
        false_alarm_rate: the largest probability that an example like those of the calibration
            scores below it.
        log_marginal: the score, in nats.
    """

    false_alarm_rate: float
    log_marginal: float


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What anomaly detection by the endpoint ``score`` was calibrated with.

    Attributes:
        examples: how many held-out examples.
        samples: importance samples of each, as the endpoint takes.
        thresholds: by rising false-alarm rate.
    """

    examples: int
    samples: int
    thresholds: tuple[Threshold, ...]


@dataclasses.dataclass(frozen=True)
class FileRecord:
    """A file's fingerprint: its SHA-256 and its size in bytes."""

    sha256: str
    size: int

    @classmethod
    def of(cls, path: Path) -> FileRecord:
        """Fingerprint a file."""
        with path.open("rb") as file:
            return cls(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The contents of ``manifest.json``.

    Attributes:
        name: the model's name.
        created: when it was exported, ISO 8601 in UTC.
        opset: the ONNX operator set.
        endpoints: what can be called.
        slots: class and configuration of prior, posterior, likelihood and objective; class and
            size of the networks.
        versions: of Python and the packages that made the export.
        test_vectors: the ``.npz`` of inputs and of outputs recorded from Keras.
        classes: names of the classes that an integer ``condition`` picks among.
        calibration: the thresholds of anomaly detection, or None.
        weight_seed: the seed of the draw of weights that this is, of a model with Bayesian layers;
            None for their means, and for all other models.
        verification: the checks that were passed before it was published.
        files: the fingerprint of every other file but the model card, by path relative to the
            version folder.
    """

    name: str
    created: str
    opset: int
    endpoints: tuple[EndpointRecord, ...]
    slots: dict[str, Any]
    versions: dict[str, str]
    test_vectors: str
    classes: tuple[str, ...] = ()
    calibration: Calibration | None = None
    weight_seed: int | None = None
    verification: tuple[Check, ...] = ()
    files: dict[str, FileRecord] = dataclasses.field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write ``manifest.json`` into a version folder."""
        document = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            **dataclasses.asdict(self),
        }
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
        (folder / FILENAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a version folder.

        Raises:
            FileNotFoundError: if there is none.
            ExportError: if it is not JSON, not an export's, from a later version of the format,
                or incomplete.
        """
        path = folder / FILENAME
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise FileNotFoundError(
                f"Expected a version folder with a {FILENAME}. Received: {folder}. "
                "Was it made by `vae.export(...)`?"
            ) from None
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ExportError(
                f"Expected {path} to be JSON. Received: {error}. The file is damaged: export again."
            ) from error
        if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
            raise ExportError(
                f'Expected {path} to say "format": "{FORMAT}". It was not written by tfvae.'
            )
        version = document.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise ExportError(
                f"Expected a manifest of format version {FORMAT_VERSION}. "
                f"Received: {version!r} in {path}. Read it with a newer tfvae."
            )
        try:
            return cls(
                **document
                | {
                    "endpoints": tuple(map(_endpoint, document["endpoints"])),
                    "classes": tuple(document.get("classes", ())),
                    "calibration": _calibration(document.get("calibration")),
                    "verification": tuple(Check(**row) for row in document["verification"]),
                    "files": {name: FileRecord(**row) for name, row in document["files"].items()},
                }
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ExportError(
                f"Expected {path} to be a complete manifest. Received: one that is damaged "
                f"({type(error).__name__}: {error}). Export again."
            ) from error

    def endpoint(self, name: str) -> EndpointRecord | None:
        """Return the record of an endpoint, or None."""
        return next((record for record in self.endpoints if record.name == name), None)


def fingerprints(folder: Path) -> dict[str, FileRecord]:
    """Fingerprint every file of a version folder but manifest, model card and hidden files."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    return {
        name: FileRecord.of(path)
        for name, path in files.items()
        if path.is_file()
        and path.name != FILENAME
        and name != CARD
        and not path.name.startswith(".")
    }


def package_versions() -> dict[str, str]:
    """Return the versions of Python, tfvae and the packages an export is made with."""
    import tfvae

    versions = {"python": platform.python_version(), "tfvae": tfvae.__version__}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            # Nightly and vendor builds (tensorflow-cpu, onnxruntime-gpu) have other names.
            versions[package] = "unknown"
    return versions


def now() -> str:
    """Return the time in UTC, to the second, in ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _endpoint(row: dict[str, Any]) -> EndpointRecord:
    return EndpointRecord(
        **row
        | {
            "inputs": tuple(map(_tensor, row["inputs"])),
            "outputs": tuple(map(_tensor, row["outputs"])),
            "signatures": tuple(row["signatures"]),
            "variants": tuple(Variant(**variant) for variant in row.get("variants", ())),
        }
    )


def _calibration(row: dict[str, Any] | None) -> Calibration | None:
    if row is None:
        return None
    return Calibration(
        **row | {"thresholds": tuple(Threshold(**each) for each in row["thresholds"])}
    )


def _tensor(row: dict[str, Any]) -> Tensor:
    low, high = row["bounds"]
    return Tensor(**row | {"shape": tuple(row["shape"]), "bounds": (low, high)})
