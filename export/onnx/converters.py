"""TensorFlow operations that tf2onnx lacks or gets wrong, each written in ONNX's own.

:data:`HANDLERS` is the one table, given to tf2onnx as its ``custom_op_handlers``. What layers,
priors and closed forms of the KL need was found by tracing them all; an operation that is neither
there nor in tf2onnx is refused by name before a byte is written.

Special functions of float32 are computed in float64 and rounded once, so that one formula without
branches is right over the whole range of float32.

References:
    Abramowitz and Stegun (1964), Handbook of mathematical functions, 6.1.41, 6.3.18, 6.4.11 and
    23.2. Kahan (1987), Branch cuts for complex elementary functions. Higham (2002), Accuracy and
    stability of numerical algorithms, 1.14. Shepherd and Laframboise (1981), Chebyshev
    approximation of (1 + 2x) exp(x²) erfc x in 0 <= x < infinity.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto

from .expressions import Value, become
from .matrices import (
    cholesky,
    diag,
    diag_part,
    einsum,
    matrix_inverse,
    set_diag,
    triangular_solve,
)

Handler = Callable[[Any, Any, str, Any], None]
"""What tf2onnx calls with the graph, the node to convert, its name, and nothing of ours."""

# Of the series below at y = x + 8: what is left out is under 2e-15.
_SHIFT = 8
_LOG_GAMMA = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_DIGAMMA = (-1 / 12, 1 / 120, -1 / 252, 1 / 240, -1 / 132, 691 / 32760, -1 / 12)
# B_2k / (2k)!, of Euler-Maclaurin's sum.
_BERNOULLI = (
    1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000,
    1 / 74724249600, -3617 / 10670622842880000,
)  # fmt: skip

# (1 + 2t) exp(t²) erfc(t), interpolated in u = (t - 3.75) / (t + 3.75) at 21 Chebyshev points.
_ERFC_CENTRE = 3.75
_ERFC = (
    1.2375126308378264, -0.14024059858550575, 0.0035854154857627857, 0.08227673848704045,
    -0.10880393015433062, 0.09230432122771155, -0.05869339838397541, 0.02836227674782648,
    -0.009746581262494456, 0.0017556295487634313, 0.0002937218341919264, -0.00029016639136143893,
    5.162479200942778e-05, 2.241015775977701e-05, -1.1397625287921655e-05, -1.0084713725546233e-06,
    1.6939254478276176e-06, -2.7685663849700945e-08, -2.1321360409864602e-07, 8.512559451761331e-09,
    1.7312209083118933e-08,
)  # fmt: skip


def expm1(x: Value) -> Value:
    """Return exp(x) - 1 by tanh(x/2) (exp(x) + 1), which loses nothing near 0."""
    return (x * 0.5).apply("Tanh") * (x.apply("Exp") + 1.0)


def log1p(x: Value) -> Value:
    """Return log(1 + x), corrected by what rounding took from 1 + x."""
    u = x + 1.0
    lost = (x - (u - 1.0)) / u
    near = x.apply("Abs") < 1.0
    # Where x is -1 or infinite, nothing was lost, and the formula for it is NaN.
    inside = (-1.0 + x.constant(0.0) < x).apply("And", near, dtype=TensorProto.BOOL)
    return u.apply("Log") + inside.where(lost, 0.0)


def xlogy(x: Value, y: Value) -> Value:
    """Return x log(y), and 0 where x is 0."""
    return x.equals(0.0).where(x.constant(0.0), x * y.apply("Log"))


def xlog1py(x: Value, y: Value) -> Value:
    """Return x log(1 + y), and 0 where x is 0."""
    return x.equals(0.0).where(x.constant(0.0), x * log1p(y))


def xdivy(x: Value, y: Value) -> Value:
    """Return x / y, and 0 where x is 0."""
    return x.equals(0.0).where(x.constant(0.0), x / y)


def mul_no_nan(x: Value, y: Value) -> Value:
    """Return x y, and 0 where y is 0."""
    return y.equals(0.0).where(x.constant(0.0), x * y)


def erfc(x: Value) -> Value:
    """Return 1 - erf(x) to its relative precision, far into the tail."""
    # Beyond 30 it is 0 even in float64, and u would be infinity by infinity.
    t = x.apply("Abs").apply("Min", 30.0)
    scaled = ((t - _ERFC_CENTRE) / (t + _ERFC_CENTRE)).polynomial(_ERFC) / (t * 2.0 + 1.0)
    tail = (-(t * t)).apply("Exp") * scaled
    return (x < 0.0).where(2.0 - tail, tail)


def lgamma(x: Value) -> Value:
    """Return log|Γ(x)| for every x: by Stirling's series, and by reflection below 1/2."""
    x = x.apply("Max", -1e300)  # minus infinity, too, is a pole
    distance = (x - x.apply("Round")).apply("Abs")
    left = x < 0.5
    right_of_half = _log_gamma(left.where(1.0 - x, x))
    reflected = (math.pi / (distance * math.pi).apply("Sin")).apply("Log")
    return left.where(reflected - right_of_half, right_of_half)


def _log_gamma(x: Value) -> Value:
    """For x >= 1/2: Stirling's series of x + 8, less the logarithm of the product between."""
    near = x < float(_SHIFT)
    small = x.apply("Min", float(_SHIFT))
    product = small
    for k in range(1, _SHIFT):
        product = product * (small + float(k))
    y = near.where(x + float(_SHIFT), x)
    series = (1.0 / (y * y)).polynomial(_LOG_GAMMA) / y
    # Grouped so that infinity stays infinity.
    stirling = (y - 0.5) * (y.apply("Log") - 1.0) + (0.5 * math.log(2.0 * math.pi) - 0.5)
    return stirling + series - near.where(product.apply("Log"), 0.0)


def digamma(x: Value) -> Value:
    """Return the derivative of log Γ(x); NaN at its poles 0, -1, -2, ... as in TensorFlow."""
    left = x < 0.5
    a = left.where(1.0 - x, x)
    near = a < float(_SHIFT)
    small = a.apply("Min", float(_SHIFT))
    total = 1.0 / small
    for k in range(1, _SHIFT):
        total = total + 1.0 / (small + float(k))
    y = near.where(a + float(_SHIFT), a)
    z = 1.0 / (y * y)
    right = y.apply("Log") - 0.5 / y + z * z.polynomial(_DIGAMMA) - near.where(total, 0.0)
    angle = (x - x.apply("Round")) * math.pi
    cotangent = (0.5 * math.pi - angle).apply("Sin") / angle.apply("Sin")
    pole = angle.equals(0.0).where(x.constant(math.nan), x.constant(math.pi))
    return left.where(right - pole * cotangent, right)


def polygamma(order: Value, x: Value) -> Value:
    r"""Return the derivative of order n of the digamma function, for x >= 0 and NaN below.

    .. math:: \psi^{(n)}(x) = (-1)^{n+1} n! \, \zeta(n + 1, x)
    """
    half = order * 0.5
    even = half.equals(half.apply("Floor"))
    sign = even.where(order.constant(-1.0), order.constant(1.0))
    factorial = lgamma(order + 1.0).apply("Exp")
    # Of order 0 the sum diverges: any other keeps it from being computed there.
    exponent = order.equals(0.0).where(order.constant(2.0), order + 1.0)
    value = sign * factorial * _hurwitz_zeta(exponent, x)
    defined = (x < 0.0).where(x.constant(math.nan), value)
    return order.equals(0.0).where(digamma(x), defined)


def _hurwitz_zeta(s: Value, x: Value) -> Value:
    """For s > 1 and x >= 0, the sum of (x + k)^-s by Euler and Maclaurin."""
    minus_s = -s
    total = x.apply("Pow", minus_s)
    for k in range(1, _SHIFT):
        total = total + (x + float(k)).apply("Pow", minus_s)
    y = x + float(_SHIFT)
    correction = y / (s - 1.0) + 0.5
    term = s / y
    for k, coefficient in enumerate(_BERNOULLI):
        if k:
            step = 2.0 * k
            term = term * (s + (step - 1.0)) * (s + step) / (y * y)
        correction = correction + term * coefficient
    # At infinity the power is 0, and 0 times infinity would be NaN.
    tail = y.apply("Pow", minus_s)
    return total + tail.equals(0.0).where(x.constant(0.0), tail * correction)


def elementwise(formula: Callable[..., Value], *, wide: bool = False) -> Handler:
    """Make a handler of a formula.

    Args:
        formula: from the operation's inputs to its output.
        wide: whether to compute in float64, whatever the inputs' precision.
    """

    def handler(ctx: Any, node: Any, name: str, args: Any) -> None:
        del args
        inputs = [Value(ctx, tensor, name) for tensor in node.input]
        dtype = inputs[0].dtype
        if wide:
            inputs = [value.cast(TensorProto.DOUBLE) for value in inputs]
        become(node, formula(*inputs).cast(dtype))

    return handler


def _erfc(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Convert Erfc; within an exact gelu by the operation Erf, which runtimes have by hand.

    There the difference, under 1e-7 of x, is far below the rounding of what is added to it.
    """
    if _is_gelu(ctx, node):
        x = Value(ctx, node.input[0], name)
        become(node, 1.0 - x.apply("Erf"))
    else:
        elementwise(erfc, wide=True)(ctx, node, name, args)


def _is_gelu(ctx: Any, node: Any) -> bool:
    """Say whether erfc(c x) is multiplied by x, or by a multiple of it, and nothing else."""
    consumers = ctx.find_output_consumers(node.output[0])
    if len(consumers) != 1 or consumers[0].type != "Mul" or node.output[0] in ctx.outputs:
        return False
    other = next((name for name in consumers[0].input if name != node.output[0]), None)
    return other is not None and _multiplied(ctx, other) == _multiplied(ctx, node.input[0])


def _multiplied(ctx: Any, tensor: str) -> str:
    """Return what a tensor is a constant multiple of."""
    node = ctx.get_node_by_output(tensor)
    while node is not None and node.type in ("Mul", "Neg"):
        varying = [name for name in node.input if not ctx.get_node_by_output(name).is_const()]
        if len(varying) != 1:
            break
        tensor = varying[0]
        node = ctx.get_node_by_output(tensor)
    return tensor


def _bitcast(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Reinterpret integers of one width: ONNX defines an overflowing Cast as just that."""
    del name, args
    source, target = ctx.get_dtype(node.input[0]), ctx.get_dtype(node.output[0])
    widths = {
        TensorProto.INT32: 32,
        TensorProto.UINT32: 32,
        TensorProto.INT64: 64,
        TensorProto.UINT64: 64,
    }
    if source not in widths or widths[source] != widths.get(target):
        return  # left as it is, and refused by name
    node.type = "Cast"
    for attribute in list(node.attr):
        del node.attr[attribute]
    node.set_attr("to", target)


def _broadcast_args(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Return the shape to which two shapes broadcast: where one has a 1, the other's size."""
    del args
    shapes = [Value(ctx, tensor, name) for tensor in node.input]
    ranks = [value.shape for value in shapes]
    if any(rank is None or rank[0] < 0 for rank in ranks):
        return  # of unknown rank: left as it is, and refused by name
    longest = max(rank[0] for rank in ranks if rank)
    dtype = shapes[0].dtype
    padded = []
    for value, rank in zip(shapes, ranks, strict=True):
        missing = longest - (rank[0] if rank else 0)
        wide = value.cast(TensorProto.INT64)
        if missing:
            wide = wide.constant(np.ones(missing)).apply("Concat", wide, axis=0)
        padded.append(wide)
    first, second = padded
    become(node, first.equals(1).where(second, first).cast(dtype))


def _log(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Leave Log as it is: tf2onnx, for runtimes of old, takes that of a float64 in float32."""
    del ctx, node, name, args


# Types of which runtimes have no kernel of Where, and what holds their values.
_SELECTED_AS = {
    TensorProto.BOOL: TensorProto.UINT8,
    TensorProto.INT8: TensorProto.INT32,
    TensorProto.INT16: TensorProto.INT32,
    TensorProto.UINT16: TensorProto.INT32,
    TensorProto.UINT32: TensorProto.INT64,
    TensorProto.UINT64: TensorProto.INT64,  # an overflowing Cast keeps the bits
}


def _select(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Convert SelectV2 to Where.

    tf2onnx adds both values, the other one times 0: NaN where that one is infinite, as it is
    wherever a density's formula does not hold.
    """
    del args
    condition, yes, no = (Value(ctx, tensor, name) for tensor in node.input)
    dtype = yes.dtype
    held = _SELECTED_AS.get(dtype, dtype)
    become(node, condition.where(yes.cast(held), no.cast(held)).cast(dtype))


HANDLERS: dict[str, tuple[Handler, list[Any]]] = {
    "Bitcast": (_bitcast, []),
    "BroadcastArgs": (_broadcast_args, []),
    "Cholesky": (cholesky, []),
    "Digamma": (elementwise(digamma, wide=True), []),
    "Einsum": (einsum, []),
    "Erfc": (_erfc, []),
    "Expm1": (elementwise(expm1), []),
    "Lgamma": (elementwise(lgamma, wide=True), []),
    "Log": (_log, []),
    "Log1p": (elementwise(log1p), []),
    "MatrixDiagPartV3": (diag_part, []),
    "MatrixDiagV3": (diag, []),
    "MatrixInverse": (matrix_inverse, []),
    "MatrixSetDiagV3": (set_diag, []),
    "MatrixTriangularSolve": (triangular_solve, []),
    "MulNoNan": (elementwise(mul_no_nan), []),
    "Polygamma": (elementwise(polygamma, wide=True), []),
    "SelectV2": (_select, []),
    "Xdivy": (elementwise(xdivy), []),
    "Xlog1py": (elementwise(xlog1py), []),
    "Xlogy": (elementwise(xlogy), []),
}
