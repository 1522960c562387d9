"""What an export can be asked: pure tensor functions, described once.

The tuple that :func:`endpoints` returns is the only list there is. SavedModel signatures, ONNX
files, the manifest, the test vectors and the verification are all made from it, so a new endpoint
is one builder and one line in ``_BUILDERS``.

Every endpoint is a function of a batch, row by row, in plain TensorFlow operations: no TFP
distribution, no Keras object and no random operation is left in its graph.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from .errors import ExportError, did_you_mean
from .manifest import EndpointRecord, Tensor

if TYPE_CHECKING:
    from tfvae.layers import DistributionLayer
    from tfvae.model import VAE

Arrays = dict[str, npt.NDArray[Any]]
# The smallest and the largest value, and whether values are discrete.
Range = tuple[tuple[float | None, float | None], bool]
_ANYTHING: Range = ((None, None), False)

SERVING_DEFAULT = "serving_default"

# Extremes first, so that batches of 1 and 3 meet them too.
_EDGE_LATENTS = (0.0, 6.0, -6.0)
_EDGE_SEEDS = (0, -1, 2**63 - 1, -(2**63))
_TEMPERATURES = (1.0, 0.7, 0.0)

# Operations that draw from a state or from a seed fixed in the graph.
_RANDOM_OPS = ("Random", "Multinomial", "ParameterizedTruncatedNormal")


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A pure tensor function of a batch, and what is known about it.

    Attributes:
        name: what it is called by.
        description: one sentence, for the manifest.
        inputs: its arguments, in order.
        outputs: what it returns, in order.
        function: a ``tf.function`` from tensors to a dictionary of tensors.
        reference: the same from arrays to arrays, by Keras's own methods, as the truth that
            exports are held against.
        examples: `count` rows of inputs to test it with.
        signatures: the SavedModel signatures it answers to.
        minimum_opset: the ONNX operator set its operations need.
    """

    name: str
    description: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    function: Any
    reference: Callable[..., Arrays]
    examples: Callable[[int], Arrays]
    signatures: tuple[str, ...]
    minimum_opset: int

    @property
    def concrete(self) -> Any:
        """The traced function; tracing happens once."""
        return self.function.get_concrete_function()

    @property
    def variables(self) -> tuple[tf.Variable, ...]:
        """The raw ``tf.Variable``s that the function reads."""
        return tuple(self.concrete.variables)

    @property
    def record(self) -> EndpointRecord:
        """What the manifest says about it."""
        return EndpointRecord(
            name=self.name,
            description=self.description,
            inputs=self.inputs,
            outputs=self.outputs,
            signatures=self.signatures,
            onnx=f"onnx/{self.name}.onnx",
        )


def endpoints(vae: VAE, names: Iterable[str] | None = None) -> tuple[Endpoint, ...]:
    """Return the endpoints of a model.

    Args:
        vae: a built model.
        names: which ones; by default all that the model's slots allow.

    Raises:
        ExportError: for an unknown name (the nearest is suggested), or for one that a slot of
            the model does not allow (the slot is named).

    Example:
        >>> vae = tfvae.zoo.vae((8, 8), latent_dim=2, hidden=(16,))
        >>> [endpoint.name for endpoint in endpoints(vae)]
        ['decode', 'generate']
    """
    if names is None:
        return tuple(build(vae) for name, build in _BUILDERS.items() if not _obstacle(vae, name))
    wanted = tuple(dict.fromkeys((names,) if isinstance(names, str) else names))
    if not wanted:
        raise ExportError(
            f"Expected `endpoints` to name some of {', '.join(_BUILDERS)}. Received: none."
        )
    for name in wanted:
        if name not in _BUILDERS:
            raise ExportError(
                f"Expected `endpoints` to be among {', '.join(_BUILDERS)}. "
                f"Received: {name!r}.{did_you_mean(name, _BUILDERS)}"
            )
        if obstacle := _obstacle(vae, name):
            raise ExportError(obstacle)
    return tuple(_BUILDERS[name](vae) for name in wanted)


def _obstacle(vae: VAE, name: str) -> str:
    """Say which slot does not allow an endpoint, or nothing."""
    if name != "generate":
        return ""
    if vae.prior.conditional:
        return (
            "Expected a prior without a condition for the endpoint 'generate'. "
            f"Received: prior={type(vae.prior).__name__}. Export the other endpoints: "
            "endpoints=('decode',)."
        )
    for slot in ("prior", "likelihood"):
        layer = getattr(vae, slot)
        if layer.noise is None:
            return (
                f"Expected a {slot} with a portable sampler for the endpoint 'generate'. "
                f"Received: {slot}={type(layer).__name__}, which has no map from base noise to "
                "draws. Write its `transform` and `noise`, or export the other endpoints: "
                "endpoints=('decode',)."
            )
    return ""


def _decode(vae: VAE) -> Endpoint:
    def parameters(params: Any) -> dict[str, Any]:
        return {"mean": vae.likelihood.mean(params), **vae.likelihood.parameters(params)}

    def decode(z: tf.Tensor) -> dict[str, tf.Tensor]:
        return parameters(vae.decoder(z, training=False))

    def reference(z: npt.NDArray[Any]) -> Arrays:
        return parameters(vae.decoder_params(tf.constant(z)))

    def examples(count: int) -> Arrays:
        z = np.random.default_rng(0).standard_normal((count, *vae.latent_shape), np.float32)
        for row, value in zip(z, _EDGE_LATENTS, strict=False):
            row[...] = value
        return {"z": z}

    return _endpoint(
        name="decode",
        description="Latents z to the mean and the parameters of p(x|z).",
        inputs=(Tensor("z", (None, *vae.latent_shape), "float32"),),
        function=decode,
        reference=reference,
        examples=examples,
        ranges={"mean": _mean_range(vae.likelihood)},
        signatures=(SERVING_DEFAULT, "decode"),
        minimum_opset=15,
    )


def _generate(vae: VAE) -> Endpoint:
    def generate(seed: tf.Tensor, temperature: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(vae.generate_rows(seed, temperature)._asdict())

    def reference(seed: npt.NDArray[Any], temperature: npt.NDArray[Any]) -> Arrays:
        # The public method takes one temperature: one call for each, rows put back in place.
        outputs: Arrays = {}
        for value in np.unique(temperature):
            rows = temperature == value
            drawn = vae.generate(seeds=seed[rows], temperature=float(value))
            for name, part in drawn._asdict().items():
                array = np.asarray(part)
                whole = outputs.setdefault(
                    name, np.empty((len(seed), *array.shape[1:]), array.dtype)
                )
                whole[rows] = array
        return outputs

    def examples(count: int) -> Arrays:
        seed = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, count, endpoint=True)
        seed[: len(_EDGE_SEEDS)] = _EDGE_SEEDS[:count]
        return {"seed": seed, "temperature": np.resize(np.array(_TEMPERATURES, np.float32), count)}

    return _endpoint(
        name="generate",
        description=(
            "Draws: row i is a function of seed[i] and temperature[i] alone. `temperature` "
            "scales the prior's noise; `mean` is that of p(x|z), `sample` a draw from it."
        ),
        inputs=(
            Tensor("seed", (None,), "int64"),
            Tensor("temperature", (None,), "float32", bounds=(0.0, None)),
        ),
        function=generate,
        reference=reference,
        examples=examples,
        ranges={
            "z": _range(vae.prior),
            "mean": _mean_range(vae.likelihood),
            "sample": _range(vae.likelihood),
        },
        signatures=("generate",),
        minimum_opset=18,  # BitwiseAnd, BitwiseXor
    )


# In the order in which they are listed and run.
_BUILDERS: dict[str, Callable[[VAE], Endpoint]] = {"decode": _decode, "generate": _generate}


def _endpoint(
    *,
    name: str,
    inputs: tuple[Tensor, ...],
    function: Callable[..., dict[str, tf.Tensor]],
    reference: Callable[..., Arrays],
    ranges: dict[str, Range],
    **known: Any,
) -> Endpoint:
    """Trace a function and learn its outputs' names, shapes and dtypes from the graph."""

    # `wraps` keeps the arguments' names, which become the names of both formats' inputs.
    @functools.wraps(function)
    def cast(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        return {key: _float32(value) for key, value in function(*tensors).items()}

    def recorded(**arguments: npt.NDArray[Any]) -> Arrays:
        return {key: np.asarray(_float32(value)) for key, value in reference(**arguments).items()}

    signature = [tf.TensorSpec(spec.shape, spec.dtype, spec.name) for spec in inputs]
    traced = tf.function(cast, input_signature=signature, autograph=False)
    try:
        concrete = traced.get_concrete_function()
    except Exception as error:  # whatever a layer of the user's raises
        raise ExportError(
            f"Could not trace endpoint {name!r} into a graph: {type(error).__name__}: {error}"
        ) from error
    _refuse_random_ops(name, concrete.graph)
    outputs = tuple(
        _output(name, key, tensor, ranges.get(key, _ANYTHING))
        for key, tensor in concrete.structured_outputs.items()
    )
    return Endpoint(
        name=name, inputs=inputs, outputs=outputs, function=traced, reference=recorded, **known
    )


def _output(endpoint: str, name: str, spec: tf.TensorSpec, values: Range) -> Tensor:
    shape = tuple(spec.shape)
    if shape[:1] != (None,) or None in shape[1:]:
        raise ExportError(
            f"Expected output {name!r} of endpoint {endpoint!r} to have a free batch dimension "
            f"and otherwise a known shape. Received: shape {shape}. Does a layer of the network "
            "fix the batch, or leave a dimension unknown?"
        )
    return Tensor(name, shape, spec.dtype.name, *values)


def _range(layer: DistributionLayer) -> Range:
    """Where a layer's draws lie, and whether they are discrete."""
    low, high = (float(bound) if math.isfinite(bound) else None for bound in layer.support.bounds)
    return (low, high), layer.support.discrete


def _mean_range(layer: DistributionLayer) -> Range:
    """Where a layer's mean lies: between its draws, and never discrete."""
    return _range(layer)[0], False


def _float32(value: Any) -> Any:
    """Cast floats of any precision, for clients know one; integers pass."""
    value = tf.convert_to_tensor(value)
    return tf.cast(value, tf.float32) if value.dtype.is_floating else value


def _refuse_random_ops(endpoint: str, graph: tf.Graph) -> None:
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    for node in nodes:
        if any(part in node.op for part in _RANDOM_OPS):
            raise ExportError(
                f"Expected endpoint {endpoint!r} to be a function of its inputs. Received: the "
                f"random operation {node.op} ({node.name}), which no caller can seed. A layer "
                "that is random outside of training cannot be exported."
            )
