"""What layers and priors are made of converts to ONNX: densities, moments, closed forms of KL."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import test_kl
import test_layers
from converting import in_onnx

from tfvae.layers.kl import has_closed_form

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
