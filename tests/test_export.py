"""The export stage, against Keras and against itself in three runtimes.

One export here goes through the real fresh process, shared by the module; the others call the
same script in this process, for every import of TensorFlow costs some 8 s. Tests of what reads an
export without TensorFlow are in test_export_runtime.py.
"""

import itertools
import json
import os
import shutil
import signal
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from here import strangers_here
from scipy import stats

import tfvae
from tfvae.export import ExportError, pipeline, preparation, stranger, verification
from tfvae.export import onnx as onnx_format
from tfvae.export.endpoints import endpoints
from tfvae.export.manifest import Manifest
from tfvae.export.onnx import conversion

# Float32 rounding, as derived at `stranger.TOLERANCE`: 1e-5 of a scale that is 1 here.
TOLERANCE = 1e-5
LATENT = (3,)
UNOPTIMISED = "onnxruntime (not optimised)"
SEEDS = np.array([0, -1, 2**63 - 1, -(2**63), 7, 8], np.int64)


def make(network="mlp", likelihood="Bernoulli", decoder=None, data_shape=(7, 6)):
    """Make a model that passes for trained: its weights are not those it started with."""
    vae = tfvae.zoo.vae(
        data_shape, LATENT[0], network=network, likelihood=likelihood, decoder=decoder, seed=1
    )
    rng = np.random.default_rng(0)
    for weight in vae.decoder.weights:
        values = weight.value.numpy()
        weight.assign(values + 0.1 * rng.standard_normal(values.shape))
    vae.step.assign(1)
    return vae


@pytest.fixture
def in_process(monkeypatch):
    monkeypatch.setattr(verification, "strangers", strangers_here)


@pytest.fixture(scope="module")
def model():
    return make()


@pytest.fixture(scope="module")
def published(model, tmp_path_factory):
    """Export for real: fresh process, blocked imports."""
    return tfvae.export.export(model, tmp_path_factory.mktemp("saved") / "deep" / "digits")


@pytest.fixture(scope="module")
def conv(tmp_path_factory):
    vae = make("conv", "Normal", data_shape=(7, 6, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verification, "strangers", strangers_here)
        path = tfvae.export.export(vae, tmp_path_factory.mktemp("saved") / "conv")
    return vae, path


def assert_nothing_left(folder):
    """Nothing published and nothing hidden; not even the folder, which was not there before."""
    assert not folder.exists()


# ---------------------------------------------------------------------------- what is computed


@pytest.mark.parametrize("runtime", ["onnx", "tensorflow"])
@pytest.mark.parametrize("kind", ["mlp", pytest.param("conv", marks=pytest.mark.slow)])
def test_decode_equals_tfp(kind, runtime, request):
    if kind == "mlp":
        vae, path = request.getfixturevalue("model"), request.getfixturevalue("published")
    else:
        vae, path = request.getfixturevalue("conv")
    z = np.random.default_rng(5).standard_normal((17, *LATENT)).astype(np.float32)
    outputs = tfvae.export.load(path, runtime=runtime).decode(z)
    truth = vae.decode(z)
    np.testing.assert_allclose(outputs["mean"], truth.mean(), rtol=0, atol=TOLERANCE)
    names = {"mlp": ["logits"], "conv": ["loc", "scale"]}[kind]
    assert list(outputs) == ["mean", *names]
    for name in names:
        parameter = getattr(truth.distribution, name)
        scale = max(1.0, np.abs(parameter).max())
        np.testing.assert_allclose(outputs[name], parameter, rtol=0, atol=TOLERANCE * scale)


@pytest.mark.parametrize("runtime", ["onnx", "tensorflow"])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_generate_equals_keras(model, published, runtime, temperature):
    loaded = tfvae.export.load(published, runtime=runtime)
    outputs = loaded.generate(SEEDS, temperature)
    truth = model.generate(seeds=SEEDS, temperature=temperature)
    # Normals reach 6.7, and their last bit may differ.
    np.testing.assert_allclose(outputs["z"], truth.z, rtol=0, atol=7 * np.finfo(np.float32).eps)
    np.testing.assert_allclose(outputs["mean"], truth.mean, rtol=0, atol=TOLERANCE)
    flips = np.count_nonzero(outputs["sample"] != truth.sample.numpy())
    assert flips <= stranger.allowed_flips(outputs["sample"].size)
    assert set(np.unique(outputs["sample"])) == {0.0, 1.0}


@pytest.mark.parametrize("runtime", ["onnx", "tensorflow"])
def test_row_depends_on_its_own_seed(published, runtime):
    loaded = tfvae.export.load(published, runtime=runtime)
    together = loaded.generate(SEEDS)
    order = np.array([4, 0, 5])
    for name, rows in loaded.generate(SEEDS[order]).items():
        np.testing.assert_allclose(rows, together[name][order], rtol=0, atol=1e-6)
    # One row's temperature is not another's.
    mixed = loaded.generate(SEEDS[:2], [1.0, 0.0])
    np.testing.assert_allclose(mixed["z"][0], together["z"][0], rtol=0, atol=1e-6)
    assert not mixed["z"][1].any()


def test_seeds_are_the_philox_words_of_tensorflow(published):
    """Bernoulli draws compare half a word with the mean: the oracle is TensorFlow's own kernel."""
    outputs = tfvae.export.load(published).generate(SEEDS)
    size = outputs["mean"][0].size
    for row, seed in enumerate(SEEDS):
        words = tf.random.stateless_uniform(
            [size // 2 + 1],
            [seed, tfvae.random.OBSERVATION],
            None,
            None,
            tf.uint32,
            alg="philox",
        ).numpy()
        halves = np.concatenate([words[:-1] >> 16, words[:-1] & 0xFFFF]) / 2**16
        unit = halves.reshape(outputs["mean"][0].shape)
        certain = np.abs(unit - outputs["mean"][row]) > 2**-15
        drawn = outputs["sample"][row] > 0
        np.testing.assert_array_equal(drawn[certain], (unit < outputs["mean"][row])[certain])


# ---------------------------------------------------------------------------- what is published


def test_layout(model, published):
    assert published.name == "1"
    assert sorted(p.name for p in published.parent.iterdir()) == ["1"]
    files = {p.relative_to(published).as_posix() for p in published.rglob("*") if p.is_file()}
    assert files >= {
        "README.md",
        "manifest.json",
        *(f"onnx/{name}.onnx" for name in ("decode", "generate", "encode", "reconstruct", "score")),
        "assets.extra/tf_serving_warmup_requests",
        "saved_model.pb",
        "test_vectors.npz",
        "variables/variables.index",
    }
    # The weights are stored once, though six signatures share them.
    data = next(published.glob("variables/variables.data*")).stat().st_size
    weights = 4 * (model.encoder.count_params() + model.decoder.count_params())
    assert weights <= data <= weights + 4096


def test_manifest(model, published):
    manifest = Manifest.read(published)
    names = ["decode", "generate", "encode", "reconstruct", "score"]
    assert [record.name for record in manifest.endpoints] == names
    decode, generate, encode, _, score = manifest.endpoints
    assert decode.signatures == ("serving_default", "decode")
    assert [(s.name, s.shape, s.dtype) for s in decode.inputs] == [("z", (None, 3), "float32")]
    assert [(s.name, s.bounds) for s in decode.outputs] == [
        ("mean", (0.0, 1.0)),
        ("logits", (None, None)),
    ]
    assert [(s.name, s.dtype, s.default) for s in generate.inputs] == [
        ("seed", "int64", None),
        ("temperature", "float32", 1.0),
    ]
    assert [(s.name, s.compare) for s in generate.outputs] == [
        ("z", "values"),
        ("mean", "scale"),
        ("sample", "flips"),
    ]
    assert [(s.name, s.bounds) for s in encode.inputs] == [("x", (0.0, 1.0))]
    assert [s.name for s in encode.outputs] == ["mean", "stddev"]
    assert [s.name for s in score.outputs] == ["elbo", "log_marginal"]
    assert manifest.slots["likelihood"]["class"] == "Bernoulli"
    assert manifest.slots["likelihood"]["config"]["event_shape"] == [7, 6]
    assert manifest.slots["decoder"]["parameters"] == model.decoder.count_params()
    assert manifest.versions["tensorflow"] == tf.__version__
    assert {(c.endpoint, c.runtime) for c in manifest.verification} == {
        ("warm-up", "session"),
        *itertools.product(names, stranger.RUNTIMES),
    }
    assert all(check.ok and check.difference <= check.tolerance for check in manifest.verification)


@pytest.mark.parametrize("name", ["decode", "generate"])
def test_onnx_graphs_name_their_dimensions(published, name):
    graph = onnx.load(published / "onnx" / f"{name}.onnx")
    record = Manifest.read(published).endpoint(name)
    assert [(o.domain, o.version) for o in graph.opset_import if not o.domain] == [("", 18)]
    for values, specs in ((graph.graph.input, record.inputs), (graph.graph.output, record.outputs)):
        assert [value.name for value in values] == [spec.name for spec in specs]
        for value, spec in zip(values, specs, strict=True):
            first, *rest = value.type.tensor_type.shape.dim
            assert first.dim_param == "batch"
            assert tuple(size.dim_value for size in rest) == spec.shape[1:]


def test_test_vectors_hold_extremes(published):
    with np.load(published / "test_vectors.npz") as vectors:
        assert [*vectors["decode/z"][:3, 0]] == [0.0, 6.0, -6.0]
        assert [*vectors["generate/seed"][:4]] == [0, -1, 2**63 - 1, -(2**63)]
        assert set(vectors["generate/temperature"]) == {np.float32(t) for t in (1.0, 0.7, 0.0)}


def test_likelihood_without_portable_sampler(model, tmp_path, in_process):
    class Opaque(tfvae.layers.Bernoulli):
        noise = None

    opaque = make(likelihood=Opaque((7, 6)))
    names = ["decode", "encode", "reconstruct", "score"]
    assert [endpoint.name for endpoint in endpoints(opaque)] == names
    with pytest.raises(ExportError, match=r"likelihood=Opaque.*endpoints=\('decode', 'encode'"):
        tfvae.export.export(opaque, tmp_path / "m", endpoints=["decode", "generate"])
    assert_nothing_left(tmp_path / "m")


def test_older_operator_sets(model, tmp_path, in_process):
    with pytest.raises(ExportError, match=r"at least 18 .*'generate'.*endpoints=\('decode', 'enc"):
        tfvae.export.export(model, tmp_path / "m", opset=15)
    with pytest.raises(ExportError, match=r"Expected `opset` to be one of 15, .*, 23"):
        tfvae.export.export(model, tmp_path / "m", opset=14)
    assert_nothing_left(tmp_path / "m")
    path = tfvae.export.export(model, tmp_path / "m", opset=15, endpoints=["decode"])
    graph = onnx.load(path / "onnx" / "decode.onnx")
    assert [o.version for o in graph.opset_import if not o.domain] == [15]
    assert not (path / "onnx" / "generate.onnx").exists()
    # A second export is a second version.
    again = tfvae.export.export(model, tmp_path / "m", opset=17, endpoints="decode")
    assert [path.name, again.name] == ["1", "2"]


def test_float64_model_speaks_float32():
    keras.config.set_dtype_policy("float64")
    try:
        described = endpoints(tfvae.zoo.vae((4,), latent_dim=2, hidden=(8,), likelihood="Normal"))
    finally:
        keras.config.set_dtype_policy("float32")
    assert {spec.dtype for endpoint in described for spec in endpoint.outputs} == {"float32"}


def test_exact_gelu_converts():
    vae = make(decoder=decoder_with(keras.layers.Dense(4, "gelu")), data_shape=(5,))
    (decode,) = endpoints(vae, ["decode"])
    graph = onnx_format.convert(decode).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    inputs = decode.examples(64)
    truth = decode.reference(**inputs)
    outputs = session.run(["logits"], inputs)[0]
    scale = max(1.0, np.abs(truth["logits"]).max())
    np.testing.assert_allclose(outputs, truth["logits"], rtol=0, atol=TOLERANCE * scale)


# ---------------------------------------------------------------------------- what clients see


def test_bytes_thresholds_and_variants(tmp_path, in_process):
    """Images as bytes, in and out, of a model that says what is an anomaly."""
    vae = make(likelihood="ContinuousBernoulli", data_shape=(8, 8))
    held_out = vae.generate(200, seed=1000).sample.numpy()
    path = tfvae.export.export(
        vae,
        tmp_path / "images",
        processing=tfvae.export.Processing("uint8"),
        calibration=held_out,
        samples=4,
        precision="float16",
        quantize="int8",
        keep=1,
    )
    manifest = Manifest.read(path)
    assert [t.false_alarm_rate for t in manifest.calibration.thresholds] == [0.01, 0.05]
    assert {row.runtime for row in manifest.verification} == {
        *stranger.RUNTIMES, "onnxruntime (float16)", "onnxruntime (int8)"
    }  # fmt: skip
    loaded = tfvae.export.load(path)
    x = np.random.default_rng(0).integers(0, 256, (5, 8, 8), np.uint8)
    truth = np.round(255 * np.asarray(vae.reconstruct(x / np.float32(255))))
    assert np.abs(loaded.reconstruct(x)["mean"].astype(int) - truth).max() <= 1
    assert loaded.generate(seeds=[1, 2])["sample"].dtype == np.uint8
    images = np.round(255 * vae.generate(400, seed=5000).sample.numpy()).astype(np.uint8)
    # At a rate of 0.05, Beta-binomial counts: more than 50 of 400 once in a million.
    assert loaded.is_anomaly(images, 0.05).sum() <= 50
    with pytest.raises(ExportError, match=r"`false_alarm_rate` to be one of 0\.01, 0\.05"):
        loaded.is_anomaly(images, 0.02)
    with pytest.raises(ValueError, match="`x` of dtype uint8"):
        loaded.encode(x / 255)
    z = np.random.default_rng(1).standard_normal((32, 3))
    exact, small = (
        each.decode(z)["logits"] for each in (loaded, tfvae.export.load(path, variant="int8"))
    )
    variant = next(v for v in manifest.endpoint("decode").variants if v.name == "int8")
    scale = max(1.0, np.abs(exact).max())
    np.testing.assert_allclose(small, exact, rtol=0, atol=variant.tolerance * scale)
    assert np.any(small != exact)


def test_classes_by_name(tmp_path, in_process):
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2 * LATENT[0])])
    prior = tfvae.priors.Conditional(network, tfvae.layers.Normal(LATENT))
    vae = tfvae.zoo.vae((7, 6), LATENT[0], hidden=(8,), prior=prior)
    vae.step.assign(1)
    path = tfvae.export.export(
        vae,
        tmp_path / "classes",
        processing=tfvae.export.Processing(classes=("cat", "dog", "eel")),
        endpoints=["generate", "score"],
        samples=2,
    )
    loaded = tfvae.export.load(path)
    assert loaded.manifest.classes == ("cat", "dog", "eel")
    drawn = loaded.generate(seeds=[3, 4], condition=["dog", "eel"])["z"]
    truth = vae.generate(seeds=[3, 4], condition=np.eye(3, dtype="float32")[1:]).z
    np.testing.assert_allclose(drawn, truth, atol=1e-6)
    alone = loaded.generate([3], condition="dog")["z"]
    np.testing.assert_allclose(drawn[:1], alone, atol=1e-6)
    with pytest.raises(ValueError, match=r"cat, dog, eel|Did you mean"):
        loaded.generate(seeds=[3], condition="dgo")


def test_any_keras_decoder(tmp_path, in_process):
    decoder = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(10)]
    )
    path = tfvae.export.export(decoder, tmp_path / "mine", likelihood="Normal")
    loaded = tfvae.export.load(path)
    assert list(loaded.endpoints) == ["decode", "generate"]
    z = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    np.testing.assert_allclose(loaded.decode(z)["mean"], decoder(z)[:, :5], atol=TOLERANCE)
    drawn = loaded.generate(seeds=np.arange(3000))
    assert stats.kstest(np.ravel(drawn["z"]), "norm").pvalue > 1e-4


# ---------------------------------------------------------------------------- what is refused


@keras.saving.register_keras_serializable("tests")
class Igamma(keras.layers.Layer):
    def call(self, x):
        return tf.math.igamma(1.0 + tf.square(x), 2.0)


@keras.saving.register_keras_serializable("tests")
class Noisy(keras.layers.Layer):
    def call(self, x):
        return x + tf.random.normal(tf.shape(x))


def decoder_with(layer):
    return keras.Sequential([keras.Input(LATENT), layer, keras.layers.Dense(5)])


def test_operation_without_onnx_counterpart(tmp_path, capfd):
    vae = make(decoder=decoder_with(Igamma(name="odd_layer")), data_shape=(5,))
    with pytest.raises(ExportError, match=r"'decode' .*Igamma.*odd_layer") as caught:
        tfvae.export.export(vae, tmp_path / "m")
    # All but the encoder's endpoint go through the decoder.
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    assert lines[-1] == "The others can be exported: endpoints=('encode',)."
    assert_nothing_left(tmp_path / "m")
    assert capfd.readouterr().out == ""


def test_random_layer(tmp_path):
    vae = make(decoder=decoder_with(Noisy()), data_shape=(5,))
    with pytest.raises(ExportError, match="random operation RandomStandardNormal"):
        tfvae.export.export(vae, tmp_path / "m")
    assert_nothing_left(tmp_path / "m")


def test_network_that_cannot_be_traced():
    class Branching(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(5)

        def call(self, z):
            h = self.dense(z)
            return h if tf.reduce_sum(h) > 0 else -h

    vae = make(decoder=Branching(), data_shape=(5,))
    with pytest.raises(ExportError, match="Could not trace endpoint 'decode'"):
        endpoints(vae)


def test_difference_too_large(model, tmp_path, in_process, monkeypatch):
    convert = onnx_format.convert

    def drift(endpoint, opset):
        graph = convert(endpoint, opset)
        bias = max(
            (t for t in graph.graph.initializer if list(t.dims) == [42]), key=lambda t: t.name
        )
        values = onnx.numpy_helper.to_array(bias) + np.float32(1e-3)
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
        return graph

    monkeypatch.setattr(conversion, "convert", drift)
    with pytest.raises(ExportError, match="do not compute what Keras computes") as caught:
        tfvae.export.export(model, tmp_path / "m", endpoints=["decode"])
    lines = str(caught.value).splitlines()[1:]
    assert lines
    assert all(" in onnxruntime" in line and ": difference " in line for line in lines)
    assert_nothing_left(tmp_path / "m")


@pytest.mark.parametrize("stage", ["write", "record", "warm-up", "verify", "card", "publish"])
def test_ctrl_c_publishes_nothing(stage, model, tmp_path, monkeypatch, in_process):
    def interrupt(*_args):
        signal.raise_signal(signal.SIGINT)

    def skip(*_args):
        return [()]

    order = {
        "write": (pipeline.onnx, "write"),
        "record": (pipeline, "record"),
        "warm-up": (pipeline.warmup, "write"),
        "verify": (pipeline, "_verified"),
        "card": (pipeline.cards, "write"),
        "publish": (pipeline, "publish"),
    }
    for name, (module, function) in order.items():
        monkeypatch.setattr(module, function, interrupt if name == stage else skip)
    # A shell starts what it runs in the background deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        tfvae.export.export(model, tmp_path / "new" / "m", endpoints=["decode"])
    assert_nothing_left(tmp_path / "new")
    # A folder that was there stays, as it was.
    (tmp_path / "m" / "1").mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        tfvae.export.export(model, tmp_path / "m", endpoints=["decode"])
    assert os.listdir(tmp_path / "m") == ["1"]


def test_broken_and_untrained_models(tmp_path):
    vae = make()
    weight = vae.decoder.weights[0]
    weight.assign(keras.ops.full(weight.shape, np.nan))
    with pytest.raises(ExportError, match=f"Expected finite weights.*{weight.path}"):
        tfvae.export.export(vae, tmp_path / "m")
    with pytest.warns(UserWarning, match="never trained"):
        preparation.check_model(tfvae.zoo.vae((5,), 2, hidden=(4,)))
    with pytest.raises(ExportError, match="Expected `likelihood` to say"):
        tfvae.export.export(vae.decoder, tmp_path / "m")
    assert_nothing_left(tmp_path / "m")


def test_outputs_of_keras_that_are_not_finite(tmp_path):
    vae = make(decoder=decoder_with(keras.layers.Dense(4, "exponential")), data_shape=(5,))
    hidden = vae.decoder.layers[0]
    hidden.set_weights([20 * np.ones_like(w) for w in hidden.get_weights()])
    with pytest.raises(ExportError, match="NaN or infinity in 'mean' of 'decode'"):
        pipeline.record(endpoints(vae, ["decode"]), tmp_path / "vectors.npz")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["decoed"], "Did you mean 'decode'"),
        (["sample"], "among decode, generate, encode, reconstruct, score"),
        ([], "Received: none"),
    ],
)
def test_unknown_endpoints(model, tmp_path, names, message):
    with pytest.raises(ExportError, match=message):
        tfvae.export.export(model, tmp_path / "m", endpoints=names)
    assert_nothing_left(tmp_path / "m")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"processing": "uint8"}, r"`processing` to be a tfvae\.export\.Processing"),
        ({"samples": 0}, "`samples` to be a whole number of at least 1"),
        ({"precision": "fp16"}, "`precision` to be None or 'float16'. Received: 'fp16'"),
        ({"quantize": True}, "`quantize` to be None or 'int8'"),
        ({"keep": 0}, "`keep` to be a whole number of at least 1"),
        ({"opset": "18"}, "`opset` to be one of 15, .*Received: opset='18'"),
        ({"opset": 18.0, "endpoints": "decode"}, "`opset` to be one of 15, .*opset=18.0"),
        ({"endpoints": 3}, "`endpoints` to be a list of names"),
        ({"likelihood": "Bernoulli"}, "Expected no `prior` and no `likelihood`"),
    ],
)
def test_bad_arguments(model, tmp_path, arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        tfvae.export.export(model, tmp_path / "m", **arguments)
    assert_nothing_left(tmp_path / "m")


# ---------------------------------------------------------------------------- verification


def test_verification_sees_every_change(published, tmp_path, in_process):
    folder = tmp_path / "m" / "1"
    shutil.copytree(published, folder)
    assert tfvae.export.verify(tmp_path / "m").ok

    vectors = dict(np.load(folder / "test_vectors.npz"))
    vectors["decode/mean"] = vectors["decode/mean"] + np.float32(1e-3)
    np.savez_compressed(folder / "test_vectors.npz", **vectors)
    (folder / "onnx" / "generate.onnx").unlink()
    (folder / "extra.txt").write_text("stranger")
    report = tfvae.export.verify(folder)
    assert not report.ok
    assert report.problems == (
        "extra.txt: not part of the export",
        "onnx/generate.onnx: missing",
        "test_vectors.npz: changed since it was published",
    )
    wrong = {(row.endpoint, row.output, row.runtime) for row in report.rows if not row.ok}
    assert wrong == {
        *(("decode", "mean", runtime) for runtime in stranger.RUNTIMES),
        *itertools.product(["generate"], ["z", "mean", "sample"], ["onnxruntime", UNOPTIMISED]),
    }
    assert "NOT verified" in str(report)
    json.dumps([vars(row) for row in report.rows])


def test_stranger_that_dies_is_an_error(published, monkeypatch):
    monkeypatch.setattr(verification.sys, "executable", "/bin/false")
    with pytest.raises(ExportError, match="ended with exit code 1"):
        tfvae.export.verify(published)


def test_a_float64_model_is_refused_with_advice(float64: None, tmp_path: Path) -> None:
    vae = tfvae.zoo.vae((4,), 2, hidden=())
    with pytest.raises(ExportError, match=r"computes in float32.*set_weights"):
        tfvae.export.export(vae, tmp_path / "m")
    assert not (tmp_path / "m").exists()
