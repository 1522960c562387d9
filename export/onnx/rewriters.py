"""What TensorFlow's graph says in many nodes and ONNX can say in one, rewritten before conversion.

tf2onnx calls a rewriter with its graph, whose nodes are still TensorFlow's and whose static shapes
are TensorFlow's own. What is left to convert then has constants where Keras computes shapes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tf2onnx import utils


def constant_shapes(graph: Any, nodes: list[Any]) -> list[Any]:
    """Give a reshape, or a transposed convolution, its static shape in place of a computed one."""
    positions = {"Reshape": 1, "Conv2DBackpropInput": 0, "Conv3DBackpropInputV2": 0}
    for node in list(graph.get_nodes()):
        position = positions.get(node.type)
        shape = graph.get_shape(node.output[0]) if position is not None else None
        # A zero would be read as "as before", and two unknown sizes cannot be told apart.
        if shape is None or shape.count(-1) > 1 or 0 in shape or node.inputs[position].is_const():
            continue
        constant = graph.make_const(
            utils.make_name(f"{node.name}/shape"), np.array(shape, np.int32)
        )
        graph.replace_input(node, node.input[position], constant.output[0], position)
    return nodes


def cancelled_expansions(graph: Any, nodes: list[Any]) -> list[Any]:
    """Drop an axis that is added and taken away again: what is left of a repeat by 1."""
    for node in list(graph.get_nodes()):
        added = node.inputs[0] if node.type == "Reshape" else None
        if added is None or added.type != "ExpandDims":
            continue
        before, after = (graph.get_shape(name) for name in (added.input[0], node.output[0]))
        if before is not None and before == after and before.count(-1) <= 1:
            node.type = "Identity"
            graph.replace_inputs(node, [added.input[0]])
    return nodes


def repeats_to_resizes(graph: Any, nodes: list[Any]) -> list[Any]:
    """Make a nearest-neighbour resize of an image whose rows or columns are repeated.

    Keras's UpSampling2D repeats one axis after the other, each in three nodes; between two
    convolutions the five axes in between cost transposes too.
    """
    for node in list(graph.get_nodes()):
        if (source := _repeated(graph, node, axis=2)) is not None:
            rows = _repeated(graph, graph.get_node_by_output(source), axis=1)
            _resize(graph, node, rows or source)
    for node in list(graph.get_nodes()):  # rows alone
        if (source := _repeated(graph, node, axis=1)) is not None:
            _resize(graph, node, source)
    graph.delete_unused_nodes(graph.outputs)
    return nodes


def _repeated(graph: Any, node: Any, axis: int) -> str | None:
    """Return the image [B, H, W, C] whose slices a node repeats along an axis, if it does."""
    chain = []
    for operation in ("Reshape", "Tile", "ExpandDims"):
        if node is None or node.type != operation:
            return None
        chain.append(node)
        node = node.inputs[0]
    _, tile, expand = chain
    before, tiled, after = (
        graph.get_shape(name) for name in (expand.input[0], tile.output[0], chain[0].output[0])
    )
    if not before or not tiled or not after or len(before) != 4 or -1 in before[1:]:
        return None
    times = tiled[axis + 1] if len(tiled) == 5 else 0
    apart = [*before[: axis + 1], times, *before[axis + 1 :]]
    merged = [*before[:axis], before[axis] * times, *before[axis + 1 :]]
    return expand.input[0] if times > 0 and (tiled, after) == (apart, merged) else None


def _resize(graph: Any, node: Any, source: str) -> None:
    size = np.array(graph.get_shape(node.output[0])[1:3], np.int32)
    constant = graph.make_const(utils.make_name(f"{node.name}/size"), size)
    shapes, dtypes, outputs = node.output_shapes, node.output_dtypes, list(node.output)
    name = node.name
    graph.remove_node(name)
    graph.make_node(
        "ResizeNearestNeighbor",
        [source, constant.output[0]],
        attr={"align_corners": False, "half_pixel_centers": False},
        name=name,
        outputs=outputs,
        shapes=shapes,
        dtypes=dtypes,
        skip_conversion=False,
    )


REWRITERS = (constant_shapes, cancelled_expansions, repeats_to_resizes)
"""In the order in which they are applied."""
