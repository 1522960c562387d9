"""What converters write in ONNX, against SciPy over the whole range and against TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from converting import Arrays, converted, in_onnx, run
from scipy import special

from tfvae.export.onnx.simplify import nodes

# ------------------------------------------------------------------- functions of one argument

POLES = [0.0, -0.0, -1.0, -2.0, -1e9, np.inf, -np.inf, np.nan]


def order(n: int) -> Callable[..., Any]:
    return lambda x: tf.math.polygamma(tf.cast(n, x.dtype) * tf.ones_like(x), x)


def right(truth: Callable[..., Any]) -> Callable[..., Any]:
    """SciPy sums without end at large negative values, where we say NaN."""
    return lambda x: truth(np.where(x < 0, np.nan, x))


# TensorFlow's operation, SciPy's function, the tolerance in float32 in units in the last place (of
# which rounding is half a one) and for all of float32 near a root or among subnormals, and that in
# float64, relative and absolute.
#
# `log1p` is a logarithm, good to one, a quotient and a sum, half a one each, and what they leave
# near -1/2. `expm1` is a runtime's tanh, good to four and among subnormals to 1e-42, times an
# exponential. The others are computed in float64, where -x² in an exponential costs x² units and
# sums of terms up to 40 cost 1e-14. SciPy's digamma is good to 1e-12 near a negative pole, and its
# erfc is 0 below 1e-300.
FUNCTIONS: dict[str, tuple[Any, Any, float, float, float, float]] = {
    "digamma": (tf.math.digamma, special.digamma, 0.51, 2e-14, 1e-12, 2e-14),
    "erfc": (tf.math.erfc, special.erfc, 0.51, 0.0, 3e-13, 1e-300),
    "expm1": (tf.math.expm1, np.expm1, 8, 1e-42, 2e-15, 0.0),
    "lgamma": (tf.math.lgamma, special.gammaln, 0.51, 2e-14, 1e-13, 2e-14),
    "log1p": (tf.math.log1p, np.log1p, 4, 0.0, 1e-15, 0.0),
    "tetragamma": (order(2), right(lambda x: special.polygamma(2, x)), 0.51, 0, 1e-13, 0),
    "trigamma": (order(1), right(lambda x: special.polygamma(1, x)), 0.51, 0, 1e-13, 0),
    "pentagamma": (order(3), right(lambda x: special.polygamma(3, x)), 0.51, 0, 1e-13, 0),
}


def whole_range(dtype: type) -> Any:
    """Return numbers of any bit pattern, subnormal ones too, and ranges where functions bend."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 40_000, np.uint32).view(np.float32)
    steps = np.concatenate([np.linspace(-30, 30, 20_001), np.linspace(0.9, 2.1, 10_001)])
    near = np.concatenate([sign * np.logspace(-12, 2, 5_001) for sign in (-1, 1)])
    values = np.concatenate([bits[np.isfinite(bits)], steps, near]).astype(dtype)
    return values[values != np.rint(values)]  # poles have a test of their own


@pytest.fixture(scope="module")
def computed() -> dict[type, tuple[Any, Arrays]]:
    def every(x: Any) -> dict[str, Any]:
        return {name: row[0](x) for name, row in FUNCTIONS.items()}

    results = {}
    for dtype in (np.float32, np.float64):
        x = whole_range(dtype)
        results[dtype] = x, in_onnx(every, x)
    return results


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_over_its_whole_range(name: str, computed: Any) -> None:
    x, outputs = computed[np.float32]
    _, scipy, ulps, floor, _, _ = FUNCTIONS[name]
    with np.errstate(all="ignore"):
        truth = scipy(x.astype(np.float64))
        rounded = truth.astype(np.float32)
    value = outputs[name]
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(value[~finite], rounded[~finite])
    error = np.abs(value[finite] - truth[finite])
    tolerance = np.maximum(ulps * np.spacing(np.abs(rounded[finite])), floor)
    np.testing.assert_array_less(error, tolerance + np.finfo(np.float32).smallest_subnormal)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64(name: str, computed: Any) -> None:
    x, outputs = computed[np.float64]
    _, scipy, _, _, relative, absolute = FUNCTIONS[name]
    with np.errstate(all="ignore"):
        truth = scipy(x)
    np.testing.assert_allclose(outputs[name], truth, rtol=relative, atol=absolute)


def test_small_arguments_and_tails_lose_nothing() -> None:
    x = np.array([1e-8, -1e-8, 1e-20, 9.0], np.float32)
    outputs = in_onnx(
        lambda x: {"expm1": tf.math.expm1(x), "log1p": tf.math.log1p(x), "erfc": tf.math.erfc(x)}, x
    )
    np.testing.assert_allclose(outputs["log1p"][:3], x[:3], rtol=2e-7)
    np.testing.assert_allclose(outputs["expm1"][:3], x[:3], rtol=4e-7)
    assert outputs["erfc"][3] == pytest.approx(special.erfc(9.0), rel=1e-7)


def test_logarithms_of_float64_are_in_float64() -> None:
    x = np.logspace(-300, 300, 601)
    outputs = in_onnx(lambda x: {"log": tf.math.log(x)}, x)
    np.testing.assert_allclose(outputs["log"], np.log(x), rtol=4e-16)


def test_poles_are_those_of_tensorflow() -> None:
    x = np.array(POLES, np.float32)
    names = ("digamma", "erfc", "expm1", "lgamma", "log1p")
    outputs = in_onnx(lambda x: {name: FUNCTIONS[name][0](x) for name in names}, x)
    for name in names:
        np.testing.assert_allclose(outputs[name], FUNCTIONS[name][0](x), rtol=1e-6, err_msg=name)
    x = np.array([0.0, np.inf, np.nan], np.float32)
    outputs = in_onnx(lambda x: {"trigamma": order(1)(x)}, x)
    np.testing.assert_array_equal(outputs["trigamma"], order(1)(x))


# ------------------------------------------------------------------ functions of two arguments

PAIRS: dict[str, tuple[Any, Any]] = {
    "mul_no_nan": (lambda x, y: tf.math.multiply_no_nan(y, x), lambda x, y: x * y),
    "xdivy": (tf.math.xdivy, lambda x, y: x / y),
    "xlog1py": (tf.math.xlog1py, special.xlog1py),
    "xlogy": (tf.math.xlogy, special.xlogy),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_that_are_zero_where_one_factor_is(dtype: type) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(4000).astype(dtype)
    y = (rng.standard_normal(4000) * 10.0 ** rng.integers(-20, 20, 4000)).astype(dtype)
    x[:4], y[:4] = 0.0, [np.nan, np.inf, -np.inf, 0.0]
    x[4:8], y[4:8] = [np.nan, 1.0, np.inf, -0.0], [1.0, 0.0, 2.0, np.nan]
    outputs = in_onnx(lambda x, y: {name: row[0](x, y) for name, row in PAIRS.items()}, x, y)
    for name, (tensorflow, truth) in PAIRS.items():
        with np.errstate(all="ignore"):
            expected = truth(x[8:].astype(np.float64), y[8:].astype(np.float64))
        # A logarithm and a product.
        np.testing.assert_allclose(
            outputs[name][8:], expected, rtol=4 * np.finfo(dtype).eps, err_msg=name
        )
        np.testing.assert_array_equal(outputs[name][:8], tensorflow(x[:8], y[:8]), err_msg=name)


def test_what_is_not_selected_may_be_anything() -> None:
    x = np.array([-1.0, 0.0, 1.0, 4.0], np.float32)
    integers = np.array([0, 1, 2**62, -(2**62)], np.int64)

    def function(x: Any, n: Any) -> dict[str, Any]:
        low, high = tf.reduce_min(x) * 1e38, tf.reduce_max(x) * 1e38
        outputs = {"density": tf.where(x > 0, tf.math.log(x), 0.0 * x)}
        outputs["infinite"] = tf.where(x > 0.5, x, tf.where(x < 0, low * high, 1.0 / x))
        for dtype in (tf.int32, tf.int64, tf.uint8, tf.uint32, tf.uint64, tf.bool, tf.float64):
            outputs[dtype.name] = tf.where(x > 0, tf.cast(n, dtype), tf.cast(x > 0.5, dtype))
        return outputs

    outputs = in_onnx(function, x, integers)
    for name, expected in function(tf.constant(x), tf.constant(integers)).items():
        np.testing.assert_allclose(outputs[name], expected, rtol=2e-7, err_msg=name)


def test_broadcast_shapes() -> None:
    def shape(x: Any, y: Any) -> dict[str, Any]:
        both = tf.broadcast_dynamic_shape(tf.shape(x), tf.shape(y))
        fewer = tf.broadcast_dynamic_shape(tf.shape(x), tf.shape(y)[1:])
        return {"both": both, "fewer": fewer}

    for rows in ((5, 5), (1, 5), (5, 1), (0, 1)):
        x, y = np.zeros((rows[0], 1, 4), "f"), np.zeros((rows[1], 3, 1), "f")
        outputs = in_onnx(shape, x, y)
        assert tuple(outputs["both"]) == np.broadcast_shapes(x.shape, y.shape)
        assert tuple(outputs["fewer"]) == np.broadcast_shapes(x.shape, y.shape[1:])


def test_bits_of_integers() -> None:
    seeds = np.array([0, -1, 2**63 - 1, -(2**63)], np.int64)
    words = np.array([0, 1, 2**31, 2**32 - 1], np.uint32)
    outputs = in_onnx(
        lambda a, b: {"a": tf.bitcast(a, tf.uint64), "b": tf.bitcast(b, tf.int32)}, seeds, words
    )
    np.testing.assert_array_equal(outputs["a"], seeds.view(np.uint64))
    np.testing.assert_array_equal(outputs["b"], words.view(np.int32))


def test_an_exact_gelu_is_made_of_what_runtimes_have() -> None:
    x = np.linspace(-12, 12, 1001, dtype=np.float32)
    model = converted(lambda x: {"y": tf.nn.gelu(x)}, [x])
    kinds = {node.op_type for node in nodes(model.graph)}
    assert "Erf" in kinds
    assert "Exp" not in kinds
    truth = x * special.ndtr(x.astype(np.float64))
    # Half a unit of 1 + erf, which is up to 2, times x / 2.
    np.testing.assert_allclose(run(model, [x])["y"], truth, rtol=3e-7, atol=12 * 2.0**-24)
    lone = converted(lambda x: {"y": x * tf.math.erfc(x + 1.0)}, [x])
    assert "Exp" in {node.op_type for node in nodes(lone.graph)}
