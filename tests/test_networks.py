"""Networks: shapes for any image, seeded weights, plain Keras files, dtypes, clear errors."""

import math
import subprocess
import sys

import keras
import numpy as np
import pytest

from tfvae import networks

# Keras reads its variables through `__array__` without NumPy 2's `copy`, `Model.save` included.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

IMAGES = [(7, 5), (8, 8, 1), (28, 28), (33, 17, 3), (1, 9), (2, 2), (5, 3, 2)]


def stages(shape):
    return math.ceil(math.log2(max(shape[:2])))


def run(model, batch=2):
    x = np.random.default_rng(0).random((batch, *model.input_shape[1:]), np.float32)
    return keras.ops.convert_to_numpy(model(x))


def weights(model):
    return [keras.ops.convert_to_numpy(w) for w in model.weights]


def encoder(kind, **options):
    build = networks.mlp_encoder if kind == "mlp" else networks.conv_encoder
    return build((7, 5), (6,), **options)


def decoder(kind, **options):
    if kind == "mlp":
        return networks.mlp_decoder((3,), (7, 10), **options)
    return networks.conv_decoder((3,), (7, 10), data_shape=(7, 5), **options)


@pytest.fixture
def policy():
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("shape", [(5,), *IMAGES, (2, 3, 4, 2)])
@pytest.mark.parametrize("hidden", [(), (4,), (5, 4)])
def test_mlp_shapes(shape, hidden):
    encode = networks.mlp_encoder(shape, (2, 6), hidden=hidden)
    decode = networks.mlp_decoder((2, 3), shape, hidden=hidden)
    assert run(encode).shape == (2, 2, 6)
    assert run(decode).shape == (2, *shape)
    assert len(encode.weights) == 2 * (len(hidden) + 1)


@pytest.mark.parametrize("shape", IMAGES)
def test_conv_shapes_for_every_number_of_stages(shape):
    for count in range(1, stages(shape) + 1):
        filters = tuple(range(2, count + 2))
        assert run(networks.conv_encoder(shape, (6,), filters=filters, dense=4)).shape == (2, 6)
        for blocks in (1, 2, 3):
            params = (*shape[:-1], blocks * shape[-1])
            decode = networks.conv_decoder(
                (3,), params, data_shape=shape, filters=filters[::-1], dense=0
            )
            assert run(decode).shape == (2, *params)


@pytest.mark.parametrize("count", [1, 2, 100])
def test_conv_decoder_emits_any_number_of_parameters_per_pixel(count):
    decode = networks.conv_decoder((3,), (7, 5, count), data_shape=(7, 5, 3), filters=(4,))
    assert decode.output_shape == (None, 7, 5, count)
    decode.get_layer("params").bias.assign(100.0 * np.arange(count))
    # Parameter p of a pixel is channel p of the last convolution, whatever the data's channels.
    np.testing.assert_allclose(run(decode).mean((0, 1, 2)), 100.0 * np.arange(count), atol=50)


def test_conv_decoder_climbs_the_encoders_size_ladder():
    encode = networks.conv_encoder((33, 17), (4,), filters=(2, 3, 4))
    down = [(33, 17), *(layer.output.shape[1:3] for layer in encode.layers if "conv" in layer.name)]
    assert down == [(33, 17), (17, 9), (9, 5), (5, 3)]
    decode = networks.conv_decoder((2,), (33, 17), data_shape=(33, 17), filters=(4, 3, 2))
    assert decode.get_layer("to_grid").output.shape[1:] == (5, 3, 4)
    up = [
        tuple(layer.output.shape[1:3])
        for layer in decode.layers
        if layer.name.startswith("crop") and layer.output.shape[-1] != 1
    ]
    assert up == [(9, 5), (17, 9)]


def test_rank_2_blocks_lie_side_by_side():
    decode = networks.conv_decoder((3,), (7, 10), data_shape=(7, 5), filters=(4,))
    last = decode.get_layer("params")
    last.bias.assign([100.0, -100.0])  # one channel a block
    out = run(decode)
    assert (out[:, :, :5] > 50).all()
    assert (out[:, :, 5:] < -50).all()


@pytest.mark.parametrize("kind", ["mlp", "conv"])
@pytest.mark.parametrize("build", [encoder, decoder])
def test_weights_are_a_function_of_the_seed_alone(kind, build):
    keras.utils.set_random_seed(1)
    first = weights(build(kind, seed=3))
    keras.utils.set_random_seed(2)
    before = np.random.get_state()[1].copy()
    again, other = weights(build(kind, seed=3)), weights(build(kind, seed=4))
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        if a.ndim == 1:
            assert not a.any()
        else:
            assert not np.isclose(a, c).all()


def test_layers_and_networks_do_not_share_a_stream():
    same_shapes = {"hidden": (6, 6), "seed": 0, "activation": "tanh"}
    encode = networks.mlp_encoder((6,), (6,), **same_shapes)
    decode = networks.mlp_decoder((6,), (6,), **same_shapes)
    kernels = [w.ravel() for model in (encode, decode) for w in weights(model) if w.ndim == 2]
    correlation = np.corrcoef(kernels) - np.eye(len(kernels))
    # 15 pairs of 36 independent draws: P(any |r| > 0.75) < 15 · 2·P(t_34 > 6.6) < 1e-5.
    assert np.abs(correlation).max() < 0.75


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_initial_weights_keep_the_variance(activation):
    """Deep wide networks: unit variance in, unit variance out, through transposed kernels too."""
    x = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
    dense = networks.mlp_decoder((256,), (256,), hidden=(256,) * 4, activation=activation)
    out = keras.ops.convert_to_numpy(dense(x))
    assert 0.5 < out.var() < 2
    conv = networks.conv_decoder(
        (256,), (64, 64), data_shape=(64, 64), filters=(128,) * 3, dense=0, activation=activation
    )
    middle = keras.ops.convert_to_numpy(conv(x[:8]))[:, 8:-8, 8:-8]  # edges sum fewer terms
    assert 0.5 < middle.var() < 2


@pytest.mark.parametrize("kind", ["mlp", "conv"])
@pytest.mark.parametrize("build", [encoder, decoder])
def test_reloads_with_keras_alone(tmp_path, kind, build):
    model = build(kind, seed=1)
    model.save(tmp_path / "network.keras")
    code = (
        "import sys; sys.modules['tfvae'] = None; import keras; import numpy as np;"
        f"m = keras.saving.load_model({str(tmp_path / 'network.keras')!r});"
        "x = np.random.default_rng(0).random((2, *m.input_shape[1:]), np.float32);"
        f"np.save({str(tmp_path / 'out.npy')!r}, m(x))"
    )
    if (kind, build) == ("conv", decoder):  # the one with every kind of layer, in a fresh process
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        reloaded = np.load(tmp_path / "out.npy")
    else:
        reloaded = run(keras.saving.load_model(tmp_path / "network.keras"))
    np.testing.assert_array_equal(reloaded, run(model))
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)


@pytest.mark.parametrize("kind", ["mlp", "conv"])
@pytest.mark.parametrize("build", [encoder, decoder])
@pytest.mark.parametrize(
    ("name", "inner"),
    [
        ("mixed_float16", "float16"),
        ("mixed_bfloat16", "bfloat16"),
        ("float32", "float32"),
        ("float64", "float64"),
    ],
)
def test_parameters_are_never_below_float32(policy, kind, build, name, inner):
    policy(name)
    outer = "float64" if name == "float64" else "float32"
    model = build(kind)
    first = next(layer for layer in model.layers if layer.name in ("dense_1", "conv_1"))
    assert keras.backend.standardize_dtype(first.compute_dtype) == inner
    assert keras.backend.standardize_dtype(model.output.dtype) == outer
    assert run(model).dtype == outer
    # Float64 data must reach a float64 network unrounded.
    assert keras.backend.standardize_dtype(model.input.dtype) == outer


def test_mixed_precision_does_not_round_the_parameters(policy):
    policy("mixed_float16")
    for out in (run(decoder("mlp"), 64), run(decoder("conv"), 64)):
        assert (out != out.astype(np.float16).astype(np.float32)).mean() > 0.5


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_learns(kind):
    """A small network, trained, fits 8 images far better than their mean does."""
    x = np.random.default_rng(0).random((8, 7, 5), np.float32)
    z = np.eye(8, dtype=np.float32)
    build = {"hidden": (64,)} if kind == "mlp" else {"data_shape": (7, 5), "filters": (32, 16)}
    make = networks.mlp_decoder if kind == "mlp" else networks.conv_decoder
    model = make((8,), (7, 5), **build)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(np.tile(z, (150, 1)), np.tile(x, (150, 1, 1)), batch_size=8, verbose=0)
    assert np.mean((keras.ops.convert_to_numpy(model(z)) - x) ** 2) < 0.1 * x.var(axis=0).mean()


def mlp(**options):
    return lambda: networks.mlp_encoder(**{"data_shape": (4,), "params_shape": (2,), **options})


def conv(**options):
    return lambda: networks.conv_encoder(**{"data_shape": (7, 5), "params_shape": (2,), **options})


def up(params_shape=(7, 5), **options):
    return lambda: networks.conv_decoder(
        **{"latent_shape": (2,), "params_shape": params_shape, "data_shape": (7, 5), **options}
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (mlp(data_shape=()), r"Received: data_shape=\(\); give a scalar the shape"),
        (mlp(data_shape=(4, 0)), r"Received: data_shape=\(4, 0\)"),
        (mlp(data_shape=(None, 4)), r"Received: data_shape=\(None, 4\)"),
        (mlp(data_shape=4), r"Expected data_shape to be a tuple .* Received: data_shape=4"),
        (mlp(params_shape=(2.5,)), r"Received: params_shape=\(2.5,\)"),
        (mlp(hidden=(64, 0)), r"Expected hidden .* at least 1. Received: hidden=\(64, 0\)"),
        (mlp(hidden=64), "Received: hidden=64"),
        (mlp(seed=-1), "Expected seed to be an integer of at least 0. Received: seed=-1"),
        (mlp(seed=None), "Received: seed=None"),
        (mlp(activation="rleu"), "activation='rleu'; did you mean 'relu'"),
        (mlp(activation="ReLU"), "did you mean 'relu'"),
        (mlp(activation="glu"), "activation='glu'"),
        (mlp(activation="xyzzyx"), "choose one of .*tanh"),
        (conv(data_shape=(784,)), r"data_shape=\(784,\); use mlp_encoder"),
        (conv(data_shape=(4, 8, 8, 3)), "use mlp_encoder"),
        (conv(filters=(4, 4, 4, 4)), r"7x5 can be halved at most 3 times. Received: filters="),
        (conv(filters=()), "pass 1 to 3 filters"),
        (conv(filters=(4, -1)), r"Received: filters=\(4, -1\)"),
        (conv(data_shape=(1, 1), filters=(4,)), "at most 0 times.*use mlp_encoder"),
        (conv(dense=-1), "Expected dense to be an integer of at least 0. Received: dense=-1"),
        (up(data_shape=(35,)), "use mlp_decoder"),
        (up(params_shape=(5, 7)), r"params_shape=\(5, 7\), data_shape=\(7, 5\)"),
        (up(params_shape=(7, 12)), "pass likelihood.params_shape"),
        (up(params_shape=(7, 5, 2)), "pass likelihood.params_shape"),
        (up(params_shape=(7,)), "pass likelihood.params_shape"),
        (up(params_shape=(7, 6, 9), data_shape=(7, 5, 3)), r"\(H, W, any\).*\(7, 6, 9\)"),
        (up(params_shape=(7, 15), data_shape=(7, 5, 3)), "pass likelihood.params_shape"),
        (up(latent_shape=(0,)), r"latent_shape=\(0,\)"),
    ],
)
def test_errors_say_what_to_do(build, message):
    with pytest.raises(ValueError, match=message):
        build()
