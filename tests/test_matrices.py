"""Linear algebra as ONNX writes it, against NumPy and TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf
from converting import converted, in_onnx, run


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
