"""ONNX files of any Keras decoder: what they compute, how they look, and their variants."""

from __future__ import annotations

import math
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from tf2onnx import optimizer

import tfvae
from tfvae.export import ExportError
from tfvae.export import onnx as onnx_format
from tfvae.export.endpoint import Endpoint
from tfvae.export.endpoints import endpoints
from tfvae.export.onnx import conversion, precision, weights
from tfvae.export.onnx.simplify import nodes

layers = keras.layers

# Float32 rounding of a network of a few layers, of the outputs' scale: see `stranger.TOLERANCE`.
TOLERANCE = 1e-5


def chain(*stack: Any) -> keras.Model:
    return keras.Sequential([keras.Input((3,)), *stack])


def grid(*stack: Any, channels: int = 4) -> keras.Model:
    """Lead from z to an image of 3 by 3 and through convolutions."""
    dense = layers.Dense(9 * channels, "relu")
    return chain(dense, layers.Reshape((3, 3, channels)), *stack)


def series(recurrent: Any) -> keras.Model:
    return chain(layers.RepeatVector(5), recurrent, layers.Dense(2))


def attention() -> keras.Model:
    z = keras.Input((3,))
    h = layers.Reshape((4, 6))(layers.Dense(24)(z))
    h = layers.LayerNormalization()(h + layers.MultiHeadAttention(2, 5)(h, h))
    return keras.Model(z, layers.Dense(2)(h))


def conv(filters: int, kernel: int = 3, **options: Any) -> Any:
    return layers.Conv2D(filters, kernel, padding="same", **options)


def transposed(filters: int, **options: Any) -> Any:
    return layers.Conv2DTranspose(filters, 5, strides=2, padding="same", **options)


DECODERS: dict[str, Callable[[], keras.Model]] = {
    "dense": lambda: chain(layers.Dense(8, "relu"), layers.Dense(16, "swish"), layers.Dense(5)),
    "batch_norm": lambda: chain(
        layers.Dense(8), layers.BatchNormalization(), layers.ReLU(), layers.Dense(5)
    ),
    "layer_norm": lambda: chain(layers.Dense(8), layers.LayerNormalization(), layers.Dense(5)),
    "exact_gelu": lambda: chain(layers.Dense(8, "gelu"), layers.Dense(5)),
    "celu": lambda: chain(layers.Dense(8, "celu"), layers.Dense(5, "softplus")),
    "conv_transpose": lambda: grid(
        transposed(4, activation="relu"), transposed(2), layers.Cropping2D(((0, 5), (0, 4)))
    ),
    "conv_transpose_batch_norm": lambda: grid(
        transposed(4, use_bias=False), layers.BatchNormalization(), layers.ReLU(), transposed(2)
    ),
    "conv_batch_norm": lambda: grid(
        conv(4), layers.BatchNormalization(), layers.LeakyReLU(), conv(2), layers.Flatten()
    ),
    "upsampling": lambda: grid(
        layers.UpSampling2D(), conv(4, activation="relu"), layers.UpSampling2D((3, 1)), conv(2)
    ),
    "upsampling_bilinear": lambda: grid(layers.UpSampling2D(interpolation="bilinear"), conv(2)),
    "group_norm": lambda: grid(
        conv(4), layers.GroupNormalization(2), layers.Activation("swish"), conv(2)
    ),
    "depthwise": lambda: grid(
        layers.DepthwiseConv2D(3, padding="same"), layers.SeparableConv2D(2, 3, padding="same")
    ),
    "conv_1d": lambda: chain(
        layers.Dense(12),
        layers.Reshape((4, 3)),
        layers.Conv1DTranspose(4, 3, strides=2, padding="same", activation="elu"),
        layers.Conv1D(2, 3, padding="same"),
    ),
    "conv_3d": lambda: chain(
        layers.Dense(16),
        layers.Reshape((2, 2, 2, 2)),
        layers.Conv3DTranspose(2, 3, strides=2, padding="same"),
    ),
    "gru": lambda: series(layers.GRU(6, return_sequences=True)),
    "lstm": lambda: series(layers.LSTM(6, return_sequences=True)),
    "bidirectional": lambda: series(layers.Bidirectional(layers.LSTM(6, return_sequences=True))),
    "attention": attention,
}
USUAL = ("attention", "conv_transpose_batch_norm", "dense", "exact_gelu", "lstm", "upsampling")
every_decoder = pytest.mark.parametrize(
    "name",
    [name if name in USUAL else pytest.param(name, marks=pytest.mark.slow) for name in DECODERS],
)


def model_of(decoder: keras.Model) -> tfvae.VAE:
    """Make a model of a decoder, with weights and statistics that are not those of the start."""
    rng = np.random.default_rng(0)
    for weight in decoder.weights:
        value = weight.value.numpy()
        spread = rng.uniform(0.5, 2.0, value.shape) if "variance" in weight.path else value
        weight.assign(spread + 0.1 * rng.standard_normal(value.shape))
    return tfvae.zoo.vae(decoder.output_shape[1:], 3, hidden=(8,), decoder=decoder, seed=1)


def endpoint_of(model: tfvae.VAE, name: str) -> Endpoint:
    return endpoints(model, [name])[0]


def run(model: onnx.ModelProto | Path, inputs: dict[str, Any]) -> dict[str, Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def assert_equal(outputs: Any, endpoint: Endpoint, count: int, tolerance: float) -> None:
    for name, truth in endpoint.reference(**endpoint.examples(count)).items():
        scale = max(1.0, np.abs(truth).max())
        np.testing.assert_allclose(outputs[name], truth, rtol=0, atol=tolerance * scale)


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in nodes(model.graph))


def opset_of(model: onnx.ModelProto) -> int:
    return next(entry.version for entry in model.opset_import if not entry.domain)


@pytest.fixture(scope="module")
def decode() -> Callable[[str], Endpoint]:
    made: dict[str, Endpoint] = {}

    def of(name: str) -> Endpoint:
        if name not in made:
            keras.utils.set_random_seed(0)
            made[name] = endpoint_of(model_of(DECODERS[name]()), "decode")
        return made[name]

    return of


# ------------------------------------------------------------------------------- any decoder


@every_decoder
def test_every_decoder_converts(name: str, decode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = decode(name)
    model = onnx_format.convert(endpoint)
    for count in (1, 7):
        assert_equal(run(model, endpoint.examples(count)), endpoint, count, TOLERANCE)
    # As if every weight were large: kept out of the conversion, it comes to the same graph.
    monkeypatch.setattr(weights, "_LARGE_BYTES", 1)
    assert len(weights.detach(endpoint)[1]) > 0
    detached = onnx_format.convert(endpoint)
    assert operators(detached) == operators(model)
    assert_equal(run(detached, endpoint.examples(7)), endpoint, 7, TOLERANCE)
    assert_clean(name, operators(model))


def assert_clean(name: str, found: Counter[str]) -> None:
    assert "Identity" not in found or name in ("gru", "lstm", "bidirectional")
    computed = {"Shape", "Cast", "Gather", "Expand", "Tile", "Concat", "Slice", "ReduceProd"}
    allowed = {
        "conv_transpose": {"Slice"},  # the crop
        "gru": computed,  # states of zeros, one for each row of the batch
        "lstm": computed,
        "bidirectional": computed,
    }
    assert not computed & found.keys() - allowed.get(name, set())
    outputs = 2  # both the mean and the logits go back to channels last
    if "conv" in name or "upsampling" in name or name == "depthwise":
        assert found["Transpose"] <= 1 + outputs
    assert found["Resize"] == {"upsampling": 2, "upsampling_bilinear": 1}.get(name, 0)


@pytest.mark.parametrize(
    "opset",
    [
        opset if opset in (15, 23) else pytest.param(opset, marks=pytest.mark.slow)
        for opset in onnx_format.OPSETS
    ],
)
def test_operator_sets(opset: int, decode: Any) -> None:
    for name in ("conv_transpose_batch_norm", "exact_gelu", "lstm"):
        endpoint = decode(name)
        model = onnx_format.convert(endpoint, opset)
        assert opset_of(model) == opset
        assert model.ir_version >= onnx.helper.find_min_ir_version_for(list(model.opset_import))
        assert_equal(run(model, endpoint.examples(3)), endpoint, 3, TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("opset", range(18, 24))
def test_operator_sets_of_generate_and_score(opset: int, wide: Any, scoring: Any) -> None:
    endpoint = endpoint_of(wide["dense"], "generate")
    model = onnx_format.convert(endpoint, opset)
    assert opset_of(model) == opset
    assert_same_draws(run(model, endpoint.examples(16)), endpoint, 16)
    score = scoring[0]
    outputs = run(onnx_format.convert(score, opset), score.examples(16))
    assert_equal(outputs, score, 16, TOLERANCE)


def assert_same_draws(outputs: Any, endpoint: Endpoint, count: int) -> None:
    truth = endpoint.reference(**endpoint.examples(count))
    # Words are integers and noise is float64, rounded once: the same to the bit.
    np.testing.assert_array_equal(outputs["z"], truth["z"])
    np.testing.assert_allclose(outputs["mean"], truth["mean"], rtol=0, atol=TOLERANCE)


def test_tensors_made_outside_become_constants() -> None:
    shift = tf.constant([1.0, 2.0, 3.0, 4.0, 5.0])
    decoder = chain(layers.Dense(5), layers.Lambda(lambda x: x + shift))
    endpoint = endpoint_of(model_of(decoder), "decode")
    model = onnx_format.convert(endpoint)
    assert [value.name for value in model.graph.input] == ["z"]
    assert_equal(run(model, endpoint.examples(3)), endpoint, 3, TOLERANCE)


class Odd(layers.Layer):
    def call(self, x: Any) -> Any:
        return tf.math.igamma(1.0 + x * x, 2.0)


@pytest.mark.parametrize("large", [False, True])
def test_an_operation_without_counterpart_is_named(
    large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(weights, "_LARGE_BYTES", 1)
    decoder = chain(layers.Dense(4), Odd(name="odd"), layers.Dense(5))
    endpoint = endpoint_of(model_of(decoder), "decode")
    expected = r"'decode' has operations .* set 18: Igamma \(in layer 'sequential[_0-9]*/odd[_0-9]*"
    with pytest.raises(ExportError, match=expected):
        onnx_format.convert(endpoint)


def test_an_optimisation_that_fails_is_left_out(
    decode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fail(self: Any, graph: Any) -> Any:
        calls.append(os.environ.get("TF2ONNX_CATCH_ERRORS"))
        graph.get_nodes().clear()
        raise RuntimeError("half done")

    monkeypatch.setattr(optimizer.IdentityOptimizer, "_optimize", fail)
    monkeypatch.delenv("TF2ONNX_CATCH_ERRORS", raising=False)
    endpoint = decode("dense")
    model = onnx_format.convert(endpoint)
    # Once in place, where it breaks the graph; then on copies of it.
    assert calls[0] == "FALSE"
    assert set(calls[1:]) == {None}
    assert_equal(run(model, endpoint.examples(3)), endpoint, 3, TOLERANCE)


# ---------------------------------------------------------------------- more than one file holds


@pytest.mark.parametrize("name", ["dense", "conv_transpose_batch_norm"])
def test_large_models_have_a_second_file(
    name: str, decode: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "_LARGE_BYTES", 1)
    monkeypatch.setattr(conversion, "MAXIMUM_BYTES", 0)
    endpoint = decode(name)
    path = onnx_format.write(endpoint, tmp_path)
    files = sorted(file.name for file in path.parent.iterdir())
    assert files == ["decode.onnx", "decode.onnx.data"]
    largest = max(math.prod(variable.shape) for variable in endpoint.variables)
    assert (path.parent / "decode.onnx.data").stat().st_size >= 4 * largest
    onnx.checker.check_model(path, full_check=True)
    assert_equal(run(path, endpoint.examples(7)), endpoint, 7, TOLERANCE)
    with pytest.raises(ExportError, match=r"at most .* GiB for the variant 'float16'"):
        precision.write(endpoint.record, tmp_path, ["float16"])


def test_an_interrupted_write_leaves_nothing(
    decode: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(weights, "_LARGE_BYTES", 1)
    monkeypatch.setattr(conversion, "MAXIMUM_BYTES", 0)
    monkeypatch.setattr(weights, "remove_unused", interrupt)
    with pytest.raises(KeyboardInterrupt):
        onnx_format.write(decode("dense"), tmp_path)
    assert list((tmp_path / "onnx").iterdir()) == []


# ------------------------------------------------------------------------------------- variants


@pytest.fixture(scope="module")
def wide() -> dict[str, tfvae.VAE]:
    """Decoders whose layers are large enough to be worth rounding."""
    keras.utils.set_random_seed(0)
    image = (transposed(16, activation="relu"), layers.GroupNormalization(4), transposed(2))
    decoders = {
        "dense": chain(*(layers.Dense(64, "relu") for _ in range(3)), layers.Dense(40)),
        "conv": grid(*image, channels=32),
        "mixed": chain(
            layers.Dense(64, "relu"),
            layers.Dense(288, "relu"),
            layers.Reshape((3, 3, 32)),
            conv(2),
        ),
    }
    return {
        name: tfvae.zoo.vae(decoder.output_shape[1:], 3, hidden=(64, 64), decoder=decoder)
        for name, decoder in decoders.items()
    }


@pytest.mark.parametrize(
    ("kind", "variant"),
    [("dense", "float16"), ("dense", "int8"), ("conv", "float16"), ("mixed", "int8")],
)
def test_variants_of_decode(
    kind: str, variant: str, wide: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    endpoint = endpoint_of(wide[kind], "decode")
    onnx_format.write(endpoint, tmp_path)
    (written,) = precision.write(endpoint.record, tmp_path, [variant])
    assert (written.name, written.onnx) == (variant, f"onnx/decode.{variant}.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["onnx"]  # no temporary files
    model = onnx.load(tmp_path / written.onnx)
    onnx.checker.check_model(model, full_check=True)
    values = [*model.graph.input, *model.graph.output]
    assert {v.type.tensor_type.elem_type for v in values} == {onnx.TensorProto.FLOAT}
    assert_equal(run(model, endpoint.examples(64)), endpoint, 64, written.tolerance)
    stored = Counter[int]()
    for tensor in model.graph.initializer:
        stored[tensor.data_type] += math.prod(tensor.dims)
    small = {"float16": onnx.TensorProto.FLOAT16, "int8": onnx.TensorProto.UINT8}[variant]
    assert stored[small] > 0.8 * sum(stored.values())


@pytest.fixture(scope="module")
def scoring() -> tuple[Endpoint, onnx.ModelProto]:
    """A narrow posterior: (z - loc) / scale is lost in 11 digits where the scale is 1e-3 of loc."""
    model = tfvae.zoo.vae((6,), 2, hidden=(64, 64), likelihood="Normal", seed=3)
    head = model.encoder.layers[-1]
    kernel, _ = head.get_weights()
    head.set_weights([0.1 * kernel, np.array([5.0, -5.0, -7.0, -7.0], np.float32)])
    endpoint = endpoint_of(model, "score")
    return endpoint, onnx_format.convert(endpoint)


@pytest.mark.parametrize("variant", ["float16", "int8"])
def test_variants_of_score(variant: str, scoring: Any) -> None:
    endpoint, model = scoring
    before = model.SerializeToString()
    smaller = {"float16": precision.half, "int8": precision.int8}[variant](model)
    assert model.SerializeToString() == before
    inputs = endpoint.examples(32)
    assert_equal(run(model, inputs), endpoint, 32, TOLERANCE)
    assert_equal(run(smaller, inputs), endpoint, 32, precision.TOLERANCES[variant])


def test_variants_draw_the_same_noise(wide: Any) -> None:
    endpoint = endpoint_of(wide["dense"], "generate")
    model = onnx_format.convert(endpoint)
    inputs = endpoint.examples(32)
    outputs = run(model, inputs)
    assert_same_draws(outputs, endpoint, 32)
    for make in (precision.half, precision.int8):
        np.testing.assert_array_equal(run(make(model), inputs)["z"], outputs["z"])


def test_variants_that_cannot_be() -> None:
    model = tfvae.zoo.vae((6,), 2, hidden=(8,), likelihood="Normal")
    decode = onnx_format.convert(endpoint_of(model, "decode"))
    with pytest.raises(ExportError, match=r"at least 1024 constant weights. Received: .*MatMul"):
        precision.int8(decode)
    kernel = model.decoder.layers[-1].kernel
    kernel.assign(kernel + 1e5)
    with pytest.raises(ExportError, match=r"at most 65504\. Received: 10000\d in"):
        precision.half(onnx_format.convert(endpoint_of(model, "decode")))
