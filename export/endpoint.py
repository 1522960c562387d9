"""One endpoint: a pure tensor function of a batch, traced, and what is known about it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from .errors import ExportError
from .manifest import EndpointRecord, Tensor
from .subject import Subject

Arrays = dict[str, npt.NDArray[Any]]
Function = Callable[..., dict[str, tf.Tensor]]

# Operations that draw from a state or from a seed fixed in the graph.
_RANDOM_OPS = ("Random", "Multinomial", "ParameterizedTruncatedNormal")


@dataclasses.dataclass(frozen=True)
class Values:
    """What is known of an output's values before it is traced.

    Attributes:
        bounds: the smallest and the largest; None where there is none.
        compare: how runtimes are held against each other; see :class:`Tensor`.
        terms: of a sum, of how many terms.
    """

    bounds: tuple[float | None, float | None] = (None, None)
    compare: str = "scale"
    terms: int | None = None


@dataclasses.dataclass(frozen=True)
class Definition:
    """An endpoint as it is written down, before it is traced.

    Attributes:
        description: one sentence, for the manifest.
        inputs: its arguments, in order.
        function: from tensors to a dictionary of tensors, in plain TensorFlow operations.
        reference: the same from arrays to arrays, by Keras's own methods, as the truth that
            exports are held against.
        examples: `count` rows of inputs to test it with.
        values: what is known of outputs, by name.
    """

    description: str
    inputs: tuple[Tensor, ...]
    function: Function
    reference: Callable[..., dict[str, Any]]
    examples: Callable[[int], Arrays]
    values: Mapping[str, Values]


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line in a family's table of endpoints.

    Attributes:
        build: from what is exported to the endpoint's definition.
        obstacle: says what does not allow it, or nothing.
        minimum_opset: the ONNX operator set its operations need.
        signatures: SavedModel signatures it answers to beside its own name.
    """

    build: Callable[[Subject], Definition]
    obstacle: Callable[[Subject], str] = lambda subject: ""
    minimum_opset: int = 15
    signatures: tuple[str, ...] = ()


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


def trace(
    name: str, definition: Definition, signatures: tuple[str, ...], minimum_opset: int
) -> Endpoint:
    """Trace a definition; its outputs' names, shapes and dtypes are learned from the graph.

    Raises:
        ExportError: if it cannot be traced, draws at random, or an output's shape is not known.
    """

    def cast(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        return {key: _float32(value) for key, value in definition.function(*tensors).items()}

    # The arguments' names become the names of both formats' inputs.
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    cast.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(spec.name, kind) for spec in definition.inputs]
    )

    def recorded(**arguments: npt.NDArray[Any]) -> Arrays:
        outputs = definition.reference(**arguments)
        return {key: np.asarray(_float32(value)) for key, value in outputs.items()}

    signature = [tf.TensorSpec(spec.shape, spec.dtype, spec.name) for spec in definition.inputs]
    traced = tf.function(cast, input_signature=signature, autograph=False)
    try:
        concrete = traced.get_concrete_function()
    except Exception as error:  # whatever a layer of the user's raises
        raise ExportError(
            f"Could not trace endpoint {name!r} into a graph: {type(error).__name__}: {error}"
        ) from error
    _refuse_random_ops(name, concrete.graph)
    outputs = tuple(
        _output(name, key, tensor, definition.values.get(key, Values()))
        for key, tensor in concrete.structured_outputs.items()
    )
    return Endpoint(
        name=name,
        description=definition.description,
        inputs=definition.inputs,
        outputs=outputs,
        function=traced,
        reference=recorded,
        examples=definition.examples,
        signatures=signatures,
        minimum_opset=minimum_opset,
    )


def _output(endpoint: str, name: str, spec: tf.TensorSpec, values: Values) -> Tensor:
    shape = tuple(spec.shape)
    if shape[:1] != (None,) or None in shape[1:]:
        raise ExportError(
            f"Expected output {name!r} of endpoint {endpoint!r} to have a free batch dimension "
            f"and otherwise a known shape. Received: shape {shape}. Does a layer of the network "
            "fix the batch, or leave a dimension unknown?"
        )
    return Tensor(name, shape, spec.dtype.name, values.bounds, values.compare, terms=values.terms)


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
