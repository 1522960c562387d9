"""What converters write in ONNX, against SciPy over the whole range and against TensorFlow."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import test_kl
import test_layers
from scipy import special

from tfvae.export.onnx import conversion
from tfvae.export.onnx.simplify import nodes, simplify
from tfvae.layers.kl import has_closed_form

Arrays = dict[str, Any]


def converted(function: Callable[..., Any], arrays: list[Any]) -> onnx.ModelProto:
    """Convert a function of tensors to a dictionary, its first axis free."""
    signature = [
        tf.TensorSpec([None, *array.shape[1:]], array.dtype, f"input_{index}")
        for index, array in enumerate(arrays)
    ]
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    traced = tf.function(function, input_signature=signature, autograph=False)
    model = conversion.run_tf2onnx(traced, 18)
    simplify(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: onnx.ModelProto, arrays: list[Any]) -> Arrays:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = {f"input_{index}": np.asarray(array) for index, array in enumerate(arrays)}
    inputs = {value.name for value in session.get_inputs()}
    outputs = session.run(None, {name: feed[name] for name in feed if name in inputs})
    return dict(zip((value.name for value in session.get_outputs()), outputs, strict=True))


def in_onnx(function: Callable[..., Any], *arrays: Any) -> Arrays:
    return run(converted(function, list(arrays)), list(arrays))


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


# ------------------------------------------------------------------------------ linear algebra


def solves(matrix: Any, lower: Any, right: Any) -> dict[str, Any]:
    upper = tf.linalg.matrix_transpose(lower)
    solve = tf.linalg.triangular_solve
    return {
        "inverse": tf.linalg.inv(matrix),
        "inverse_adjoint": tf.linalg.inv(matrix, adjoint=True),
        "lower": solve(lower, right),
        "lower_adjoint": solve(lower, right, adjoint=True),
        "upper": solve(upper, right, lower=False),
        "upper_adjoint": solve(upper, right, lower=False, adjoint=True),
        "cholesky": tf.linalg.cholesky(lower @ upper),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 2, 7, 16])
def test_triangular_systems_and_inverses(size: int, dtype: type) -> None:
    rng = np.random.default_rng(size)
    matrix = rng.standard_normal((5, 2, size, size))
    matrix[0, 0] = np.eye(size)[::-1]  # zeros where pivots would be
    lower = np.tril(rng.standard_normal((5, 2, size, size)), -1) + 2 * np.eye(size)
    right = rng.standard_normal((5, 2, size, 3))
    outputs = in_onnx(solves, *(array.astype(dtype) for array in (matrix, lower, right)))
    transposed = np.swapaxes(lower, -1, -2)
    truth = {
        "inverse": np.linalg.inv(matrix),
        "inverse_adjoint": np.swapaxes(np.linalg.inv(matrix), -1, -2),
        "lower": np.linalg.solve(lower, right),
        "lower_adjoint": np.linalg.solve(transposed, right),
        "upper": np.linalg.solve(transposed, right),
        "upper_adjoint": np.linalg.solve(lower, right),
        "cholesky": lower,
    }
    for name, expected in truth.items():
        solved = matrix if "inverse" in name else lower
        # Backward stable: n units, times what the condition makes of them; squared by a factor's
        # own matrix.
        condition = np.linalg.cond(solved)
        condition = condition**2 if name == "cholesky" else condition
        scale = np.abs(expected).max((-1, -2))
        tolerance = 4 * size * np.finfo(dtype).eps * condition * scale
        error = np.abs(outputs[name] - expected).max((-1, -2))
        np.testing.assert_array_less(error, tolerance, err_msg=name)


def test_diagonals() -> None:
    rng = np.random.default_rng(0)
    wide, tall = rng.standard_normal((4, 3, 5)), rng.standard_normal((4, 5, 3))
    diagonal = rng.standard_normal((4, 3))

    def function(wide: Any, tall: Any, diagonal: Any) -> dict[str, Any]:
        return {
            "wide": tf.linalg.diag_part(wide),
            "tall": tf.linalg.diag_part(tall),
            "matrix": tf.linalg.diag(diagonal),
            "set": tf.linalg.set_diag(wide, diagonal),
        }

    model = converted(function, [wide, tall, diagonal])
    outputs = run(model, [wide, tall, diagonal])
    for name, expected in function(wide, tall, diagonal).items():
        np.testing.assert_array_equal(outputs[name], expected)
    assert len(model.graph.node) <= 10
    with pytest.raises(onnx.checker.ValidationError, match="MatrixDiagPartV3"):
        converted(lambda x: {"y": tf.linalg.diag_part(x, k=1)}, [wide])


@pytest.mark.parametrize(
    ("equation", "left", "right"),
    [
        ("aecd,abcd->acbe", (2, 3, 4, 5), (2, 6, 4, 5)),
        ("acbe,aecd->abcd", (2, 4, 6, 3), (2, 3, 4, 5)),
        ("abc,acd->abd", (2, 3, 4), (2, 4, 5)),
        ("abc,cde->abde", (2, 3, 4), (4, 5, 6)),
        ("ab,ab->a", (2, 3), (2, 3)),
        ("abc,abd->cd", (2, 3, 4), (2, 3, 5)),
    ],
)
def test_sums_of_products(equation: str, left: Any, right: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(left).astype("f"), rng.standard_normal(right).astype("f")
    outputs = in_onnx(lambda x, y: {"z": tf.einsum(equation, x, y)}, x, y)
    # At most 6 products of normals.
    np.testing.assert_allclose(outputs["z"], np.einsum(equation, x, y), rtol=0, atol=1e-5)


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


# ------------------------------------------------------------ what layers and priors are made of

SAMPLE = ("low_rank_normal", "relaxed_bernoulli")
every_layer = pytest.mark.parametrize(
    "name",
    [
        name if name in SAMPLE else pytest.param(name, marks=pytest.mark.slow)
        for name in test_layers.LAYERS
    ],
)


@every_layer
def test_every_layer_converts(name: str) -> None:
    layer = test_layers.LAYERS[name]()
    prior = not layer.params_shape
    params = test_layers.params_of(layer, 6)
    x = test_layers.draw(layer, params, 6 if prior else 1)
    x = tf.reshape(x, [6, *layer.event_shape])
    params = tf.zeros([6, 1]) if prior else params

    def function(params: Any, x: Any) -> dict[str, Any]:
        distribution = layer(None if prior else params)
        outputs = {"log_prob": distribution.log_prob(x)}
        for moment in ("mean", "stddev"):
            try:
                outputs[moment] = getattr(distribution, moment)()
            except NotImplementedError:
                continue
        return {key: value for key, value in outputs.items() if not prior or key == "log_prob"}

    outputs = in_onnx(function, params.numpy(), x.numpy())
    for key, expected in function(params, x).items():
        scale = max(1.0, np.abs(np.nan_to_num(expected)).max())
        np.testing.assert_allclose(outputs[key], expected, rtol=0, atol=1e-5 * scale, err_msg=key)


SAMPLE_PAIRS = ("inverse_gamma_gamma",)


@pytest.mark.parametrize(
    "name",
    [
        name if name in SAMPLE_PAIRS else pytest.param(name, marks=pytest.mark.slow)
        for name in test_kl.PAIRS
    ],
)
def test_closed_forms_of_the_kl_convert(name: str) -> None:
    q, p = test_kl.PAIRS[name]
    of_q, of_p = (
        {key: value.numpy() for key, value in test_kl.tensors(each).items()} for each in (q, p)
    )

    def function(scale: Any) -> dict[str, Any]:
        dtype = scale.dtype
        varied = {key: tf.constant(value, dtype) * scale for key, value in of_q.items()}
        fixed = {key: tf.constant(value, dtype) for key, value in of_p.items()}
        return {"kl": tfp.distributions.kl_divergence(type(q)(**varied), type(p)(**fixed))}

    scale = np.array([0.9, 1.0, 1.1])
    outputs = in_onnx(function, scale.astype(np.float32))
    # In float32 terms of up to 5 cancel, among them TFP's own.
    truth = function(tf.constant(scale))["kl"]
    np.testing.assert_allclose(outputs["kl"], truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("posterior", "prior"),
    [
        pytest.param("low_rank_normal", "multivariate_normal"),
        pytest.param("multivariate_student_t", "low_rank_normal", marks=pytest.mark.slow),
        pytest.param("normal", "low_rank_normal", marks=pytest.mark.slow),
        pytest.param("multivariate_normal", "multivariate_normal", marks=pytest.mark.slow),
    ],
)
def test_closed_forms_of_correlated_axes_convert(posterior: str, prior: str) -> None:
    layers = [test_layers.LAYERS[name]() for name in (posterior, prior)]
    params = [test_layers.params_of(layer, 6).numpy() for layer in layers]

    def function(*params: Any) -> dict[str, Any]:
        q, p = (layer(each) for layer, each in zip(layers, params, strict=True))
        assert has_closed_form(q, p)
        return {"kl": tfp.distributions.kl_divergence(q, p)}

    outputs = in_onnx(function, *params)
    expected = function(*params)["kl"].numpy()
    # Covariances with conditions up to some 1e3, inverted in float32.
    np.testing.assert_allclose(outputs["kl"], expected, rtol=1e-4)
