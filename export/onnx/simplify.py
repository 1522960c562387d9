"""What is left to tidy once a graph is ONNX: computed shapes, constants, nodes that nobody reads.

Runtimes fold what they can when they load a model; what is done here holds for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.numpy_helper
import onnx.shape_inference
from onnx.reference import ReferenceEvaluator

# They move values or change their type, and no runtime does that another way.
_MOVING = frozenset(
    {"Cast", "Concat", "Gather", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield every node, those inside loops and branches too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from nodes(inner)


def simplify(model: onnx.ModelProto) -> None:
    """Tidy a graph in place; what it computes stays the same, to the bit.

    A reshape gets its static shape where only one size is unknown; what only moves constants is
    done now; loops read what they do not change where it is; nodes and constants that no output
    depends on go.
    """
    _loop_invariants(model.graph)
    _constant_reshapes(model)
    _fold_constants(model.graph)
    remove_unused(model.graph)


def _constant_reshapes(model: onnx.ModelProto) -> None:
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [
            size.dim_value if size.HasField("dim_value") else -1
            for size in value.type.tensor_type.shape.dim
        ]
        for value in (*inferred.value_info, *inferred.output)
        if value.type.tensor_type.HasField("shape")
    }
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Reshape" or node.input[1] in constants:
            continue
        shape = shapes.get(node.output[0], [0])
        # A zero would be read as "as before", and two unknown sizes cannot be told apart.
        if shape.count(-1) <= 1 and 0 not in shape:
            name = f"{node.output[0]}/shape"
            tensor = onnx.numpy_helper.from_array(np.array(shape, np.int64), name)
            model.graph.initializer.append(tensor)
            node.input[1] = name


def _loop_invariants(graph: onnx.GraphProto) -> None:
    """Have loops read from without what their body hands on as it came, the weights above all.

    As a state of the loop they are copied at each step, and no runtime knows that a product with
    them is one with constants.
    """
    outputs = {value.name for value in graph.output}
    for loop in [node for node in graph.node if node.op_type == "Loop"]:
        body = loop.attribute[0].g
        _loop_invariants(body)
        made = {name: node for node in body.node for name in node.output}
        for index in reversed(range(len(loop.input) - 2)):
            given, state = loop.input[2 + index], body.input[2 + index].name
            source = body.output[1 + index].name
            while source in made and made[source].op_type == "Identity":
                source = made[source].input[0]
            others = [value.name for value in body.output]
            del others[1 + index]
            if source != state or state in others or loop.output[index] in ("", *outputs):
                continue
            _read_instead(graph, loop.output[index], given)
            _read_instead(body, state, given)
            del loop.input[2 + index], loop.output[index]
            del body.input[2 + index], body.output[1 + index]


def _read_instead(graph: onnx.GraphProto, name: str, other: str) -> None:
    """Have every node that reads a tensor read another one."""
    for node in nodes(graph):
        for position, read in enumerate(node.input):
            if read == name:
                node.input[position] = other


def _fold_constants(graph: onnx.GraphProto) -> None:
    constants = {tensor.name for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    for node in list(graph.node):
        if node.output[0] in outputs:  # whose shape has a batch: nothing that is constant
            continue
        if node.op_type in _MOVING and constants.issuperset(node.input):
            tensor = onnx.numpy_helper.from_array(evaluate(node, graph, {}), node.output[0])
            graph.initializer.append(tensor)
            constants.add(tensor.name)
            graph.node.remove(node)


def only_mover(graph: onnx.GraphProto, name: str) -> onnx.NodeProto | None:
    """Return the one node that reads a tensor, if it only moves it by constants."""
    constants = {name, *(tensor.name for tensor in graph.initializer)}
    readers = [node for node in graph.node if name in _inputs(node)]
    if len(readers) != 1 or readers[0].op_type not in _MOVING:
        return None
    return readers[0] if constants.issuperset(readers[0].input) else None


def evaluate(
    node: onnx.NodeProto, graph: onnx.GraphProto, given: dict[str, npt.NDArray[Any]]
) -> npt.NDArray[Any]:
    """Return the output of a node all of whose inputs are given, or constants of the graph."""
    feed = dict(given)
    for tensor in graph.initializer:
        if tensor.name in node.input:
            feed[tensor.name] = onnx.numpy_helper.to_array(tensor)
    (value,) = ReferenceEvaluator(node).run(None, feed)
    return np.asarray(value)


def remove_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes and constants that no output depends on."""
    read = {value.name for value in graph.output}
    for index in reversed(range(len(graph.node))):
        if read.intersection(graph.node[index].output):
            read.update(_inputs(graph.node[index]))
        else:
            del graph.node[index]
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in read:
            del graph.initializer[index]


def _inputs(node: onnx.NodeProto) -> Iterator[str]:
    """Yield what a node reads, the nodes of its loops and branches too."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            for each in nodes(inner):
                yield from each.input
