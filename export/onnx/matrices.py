"""Linear algebra in plain ONNX operations: products, diagonals, factors, inverses.

ONNX has no triangular systems, no Cholesky factors and no inverses, and what tf2onnx makes of
diagonals and of attention's products is hundreds of nodes that compute shapes. Triangular inverses
double their blocks, so that a matrix of n rows takes log2(n) steps; factors and general inverses
are a ``Loop`` over the columns. All are batched.

References:
    Higham (2002), Accuracy and stability of numerical algorithms, chapters 10 and 14.
    Press, Teukolsky, Vetterling and Flannery (2007), Numerical recipes, 2.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto
from tf2onnx import utils
from tf2onnx.onnx_opset.math import Einsum

from .expressions import Value, become


def einsum(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Convert Einsum; a batch of matrix products, as in attention, to transposes and one MatMul.

    What tf2onnx makes of those computes shapes, in forty nodes for each.
    """
    del args
    terms, _, output = node.get_attr_value("equation").decode().partition("->")
    labels = terms.split(",")
    if len(labels) != 2 or not _is_matmul(labels[0], labels[1], output):
        Einsum.version_12(ctx, node)
        return
    left, right = labels
    batch = [label for label in output if label in left and label in right]
    (summed,) = set(left) & set(right) - set(output)
    (row,), (column,) = set(left) - set(right), set(right) - set(left)
    first, second = (Value(ctx, tensor, name) for tensor in node.input)
    product = _arranged(first, left, [*batch, row, summed]) @ _arranged(
        second, right, [*batch, summed, column]
    )
    become(node, _arranged(product, "".join([*batch, row, column]), list(output)))


def _is_matmul(left: str, right: str, output: str) -> bool:
    """Say whether one axis is summed and each factor has one axis of its own."""
    once = all(len(set(labels)) == len(labels) and labels.isalpha() for labels in (left, right))
    own = len(set(left) - set(right)) == 1 and len(set(right) - set(left)) == 1
    summed = (set(left) | set(right)) - set(output)
    return once and own and len(summed) == 1 and summed <= set(left) & set(right)


def _arranged(value: Value, labels: str, wanted: list[str]) -> Value:
    """Transpose axes that are labelled into an order."""
    order = [labels.index(label) for label in wanted]
    return value if order == sorted(order) else value.apply("Transpose", perm=order)


def diag_part(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Convert MatrixDiagPart, of the main diagonal."""
    del args
    matrix = Value(ctx, node.input[0], name)
    sizes = _sizes(matrix)
    if sizes is None or not _is_main(node.inputs[1]):
        return  # another diagonal: left as it is, and refused by name
    diagonal = matrix.constant(np.eye(*sizes), TensorProto.BOOL).where(matrix, 0.0)
    # The shorter axis stays.
    axis = matrix.constant([-1 if sizes[0] <= sizes[1] else -2], TensorProto.INT64)
    become(node, diagonal.apply("ReduceSum", axis, keepdims=0))


def diag(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Convert MatrixDiag: a square matrix of a main diagonal."""
    del args
    diagonal = Value(ctx, node.input[0], name)
    size = (diagonal.shape or [-1])[-1]
    defaults = [other.get_tensor_value() for other in node.inputs[2:5] if other.is_const()]
    if size < 0 or not _is_main(node.inputs[1]) or defaults != [-1, -1, 0]:
        return
    column = diagonal.apply("Unsqueeze", _last(diagonal))
    become(node, diagonal.constant(np.eye(size), TensorProto.BOOL).where(column, 0.0))


def set_diag(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Convert MatrixSetDiag, of the main diagonal of a matrix that is not taller than wide."""
    del args
    matrix, diagonal = (Value(ctx, tensor, name) for tensor in node.input[:2])
    sizes = _sizes(matrix)
    if sizes is None or sizes[0] > sizes[1] or not _is_main(node.inputs[2]):
        return
    column = diagonal.apply("Unsqueeze", _last(diagonal))
    become(node, matrix.constant(np.eye(*sizes), TensorProto.BOOL).where(column, matrix))


def triangular_solve(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Convert MatrixTriangularSolve: the inverse times the right-hand side."""
    del args
    matrix, right = (Value(ctx, tensor, name) for tensor in node.input)
    size = _size(matrix)
    if size is None:
        return  # of unknown size: left as it is, and refused by name
    inverse = _triangular_inverse(matrix, size, lower=bool(node.get_attr_value("lower", True)))
    if node.get_attr_value("adjoint", False):
        inverse = _transposed(inverse, matrix)
    become(node, inverse @ right)


def _triangular_inverse(matrix: Value, size: int, *, lower: bool) -> Value:
    """Invert blocks of 1, 2, 4, ... rows along the diagonal, each from the two before it.

    With A and C inverted, [[A, 0], [B, C]] has -C⁻¹ B A⁻¹ in its corner: what X ← X - X B X puts
    there.
    """
    rows, columns = np.indices((size, size))
    inverse = matrix.constant(rows == columns, TensorProto.BOOL).where(1.0 / matrix, 0.0)
    block = 1
    while block < size:
        corner = (rows // block == columns // block + 1) & (columns // block % 2 == 0)
        mask = matrix.constant(corner if lower else corner.T, TensorProto.BOOL)
        inverse = inverse - inverse @ mask.where(matrix, 0.0) @ inverse
        block *= 2
    return inverse


def cholesky(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Convert Cholesky: column by column, each taken off what is left of the matrix."""
    del args
    matrix = Value(ctx, node.input[0], name)
    size = _size(matrix)
    if size is None:
        return

    def step(index: Value, rest: Value) -> tuple[Value, Value]:
        column = _column(rest, index)
        column = column / _row(column, index).apply("Sqrt")
        return rest - column @ _transposed(column, matrix), column.apply("Squeeze", _last(column))

    columns = _loop(matrix, matrix, step, size, collect=True)
    # Collected along a new first axis, which is the last of the factor.
    rank = len(matrix.shape or ())
    factor = columns.apply("Transpose", perm=[*range(1, rank), 0])
    lower = matrix.constant(np.tri(size), TensorProto.BOOL)
    become(node, lower.where(factor, 0.0))


def matrix_inverse(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Convert MatrixInverse, by Gauss and Jordan's elimination with partial pivoting."""
    del args
    matrix = Value(ctx, node.input[0], name)
    size = _size(matrix)
    if size is None:
        return
    positions = np.arange(size)[:, np.newaxis]
    identity = (matrix * 0.0) + matrix.constant(np.eye(size))

    def step(index: Value, rest: Value) -> tuple[Value, None]:
        column = _column(rest, index)
        rows = index.constant(positions)
        done = rows < index
        size_of = done.where(column.constant(-1.0), column.apply("Abs"))
        pivot = size_of.apply("ArgMax", dtype=TensorProto.INT64, axis=-2, keepdims=1)
        here, there = rows.equals(index), rows.equals(pivot)
        upper, pivotal = _masked_sum(here, rest), _masked_sum(there, rest)
        swapped = here.where(pivotal, there.where(upper, rest))
        factors = _column(swapped, index)
        pivotal = pivotal / _row(factors, index)
        return here.where(pivotal, swapped - factors @ pivotal), None

    rank = len(matrix.shape or ())
    augmented = matrix.apply("Concat", identity, axis=rank - 1)
    solved = _loop(matrix, augmented, step, size, collect=False)
    vector = [solved.constant([value], TensorProto.INT64) for value in (size, 2 * size, rank - 1)]
    inverse = solved.apply("Slice", *vector)
    become(node, _transposed(inverse, matrix) if node.get_attr_value("adjoint", False) else inverse)


def _loop(
    matrix: Value,
    start: Value,
    step: Callable[[Value, Value], tuple[Value, Value | None]],
    size: int,
    *,
    collect: bool,
) -> Value:
    """Run a step once for each column: from (index, state) to (state, what to collect)."""
    ctx, scope = start.graph, start.scope
    body = ctx.create_new_graph_with_same_config()
    index, condition, state = (utils.make_name(f"{scope}/{part}") for part in ("i", "go", "state"))
    rank = len(matrix.shape or ())
    body.add_graph_input(index, TensorProto.INT64, [])
    body.add_graph_input(condition, TensorProto.BOOL, [])
    body.add_graph_input(state, start.dtype, [-1] * rank)
    after, collected = step(Value(body, index, scope), Value(body, state, scope))
    go = Value(body, condition, scope).apply("Identity")
    body.add_graph_output(go.name, TensorProto.BOOL, [])
    body.add_graph_output(after.name, start.dtype, [-1] * rank)
    dtypes, shapes = [start.dtype], [[-1] * rank]
    if collected is not None:
        body.add_graph_output(collected.name, start.dtype, [-1] * (rank - 1))
        dtypes, shapes = [*dtypes, start.dtype], [*shapes, [-1] * rank]
    trips = start.constant(size, TensorProto.INT64)
    always = start.constant(True, TensorProto.BOOL)
    loop = ctx.make_node(
        "Loop",
        [trips.name, always.name, start.name],
        output_count=len(dtypes),
        name=utils.make_name(f"{scope}/Loop"),
        shapes=shapes,
        dtypes=dtypes,
        branches={"body": body},
    )
    return Value(ctx, loop.output[-1 if collect else 0], scope)


def _size(matrix: Value) -> int | None:
    """Return the number of rows and columns, if it is known."""
    shape = matrix.shape
    known = [size for size in (shape or ())[-2:] if size >= 0]
    return known[0] if known else None


def _sizes(matrix: Value) -> tuple[int, int] | None:
    """Return how many rows and columns there are, if both are known."""
    sizes = (matrix.shape or ())[-2:]
    return (sizes[0], sizes[1]) if len(sizes) == 2 and min(sizes) >= 0 else None


def _is_main(offset: Any) -> bool:
    """Say whether the offset of a diagonal is a constant 0."""
    return bool(offset.is_const() and not np.any(offset.get_tensor_value(as_list=False)))


def _column(matrix: Value, index: Value) -> Value:
    """Return one column, [..., n, 1]."""
    return matrix.apply("Gather", index.apply("Unsqueeze", _first(index)), axis=-1)


def _row(matrix: Value, index: Value) -> Value:
    """Return one row, [..., 1, n]."""
    return matrix.apply("Gather", index.apply("Unsqueeze", _first(index)), axis=-2)


def _masked_sum(mask: Value, matrix: Value) -> Value:
    """Return the one row that a mask picks, [..., 1, n]."""
    axis = matrix.constant([-2], TensorProto.INT64)
    return mask.where(matrix, 0.0).apply("ReduceSum", axis, keepdims=1)


def _transposed(matrix: Value, like: Value) -> Value:
    """Swap the last two axes; the rank is that of another tensor."""
    rank = len(like.shape or ())
    return matrix.apply("Transpose", perm=[*range(rank - 2), rank - 1, rank - 2])


def _first(value: Value) -> Value:
    return value.constant([0], TensorProto.INT64)


def _last(value: Value) -> Value:
    return value.constant([-1], TensorProto.INT64)
