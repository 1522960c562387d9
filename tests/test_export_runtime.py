"""Reading and running exports: what needs no TensorFlow."""

import dataclasses
import subprocess
import sys

import numpy as np
import onnx
import onnx.helper
import onnxruntime
import pytest

import tfvae.export
from tfvae.export import ExportError, comparisons, stranger
from tfvae.export.inputs import checked
from tfvae.export.manifest import EndpointRecord, Manifest, Tensor, Variant, fingerprints

TYPES = {
    "float32": onnx.TensorProto.FLOAT,
    "int64": onnx.TensorProto.INT64,
    "uint8": onnx.TensorProto.UINT8,
    "bool": onnx.TensorProto.BOOL,
}
SEED = Tensor("seed", (None,), "int64")
TEMPERATURE = Tensor("temperature", (None,), "float32", bounds=(0.0, None), default=1.0)
CONDITION = Tensor("condition", (None,), "int64", bounds=(0, 2))
BYTES = Tensor("x", (None, 2), "uint8", bounds=(0, 255))
CLASSES = ("shirt", "shoe", "bag")
FLOAT = onnx.TensorProto.FLOAT


def node(*arguments, **attributes):
    return onnx.helper.make_node(*arguments, **attributes)


def endpoint(name, inputs, outputs, **settings):
    tensors = tuple(Tensor(*output) for output in outputs)
    return EndpointRecord(
        name, "By hand.", inputs, tensors, (name,), f"onnx/{name}.onnx", **settings
    )


def save_graph(path, record, nodes):
    inputs, outputs = (
        [
            onnx.helper.make_tensor_value_info(
                spec.name, TYPES[spec.dtype], ["batch", *spec.shape[1:]]
            )
            for spec in specs
        ]
        for specs in (record.inputs, record.outputs)
    )
    graph = onnx.helper.make_graph(nodes, record.name, inputs, outputs)
    opset = [onnx.helper.make_opsetid("", 18)]
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def publish_by_hand(folder, endpoints, **settings):
    """Make a version folder of records and their nodes."""
    for record, nodes in endpoints:
        save_graph(folder / record.onnx, record, nodes)
    records = tuple(record for record, _ in endpoints)
    manifest = Manifest("m", "2026-01-01", 18, records, {}, {}, "v.npz", **settings)
    dataclasses.replace(manifest, files=fingerprints(folder)).write(folder)


@pytest.fixture
def saved(tmp_path):
    """Two versions of an export: decode doubles z, generate casts and scales the seed."""
    decode = endpoint(
        "decode", (Tensor("z", (None, 2), "float32"),), [("mean", (None, 2), "float32")]
    )
    generate = endpoint("generate", (SEED, TEMPERATURE), [("sample", (None,), "float32")])
    scaled = [
        node("Cast", ["seed"], ["s"], to=FLOAT),
        node("Mul", ["s", "temperature"], ["sample"]),
    ]
    for version in ("9", "10"):
        publish_by_hand(
            tmp_path / "m" / version,
            [(decode, [node("Add", ["z", "z"], ["mean"])]), (generate, scaled)],
        )
    return tmp_path / "m"


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """An export of all endpoints, with bytes for pixels, names for classes and an int8 variant."""
    decode = endpoint(
        "decode",
        (Tensor("z", (None, 2), "float32"),),
        [("mean", (None, 2), "float32")],
        variants=(Variant("int8", "onnx/decode.int8.onnx", 1e-2),),
    )
    folder = tmp_path_factory.mktemp("saved") / "m" / "1"
    save_graph(folder / "onnx/decode.int8.onnx", decode, [node("Identity", ["z"], ["mean"])])
    publish_by_hand(
        folder,
        [
            (decode, [node("Add", ["z", "z"], ["mean"])]),
            (
                endpoint(
                    "generate", (SEED, TEMPERATURE, CONDITION), [("sample", (None,), "float32")]
                ),
                [
                    node("Cast", ["condition"], ["c"], to=FLOAT),
                    node("Mul", ["c", "temperature"], ["sample"]),
                    node("Identity", ["seed"], ["unused"]),
                ],
            ),
            (
                endpoint(
                    "encode", (BYTES,), [(n, (None, 2), "float32") for n in ("mean", "stddev")]
                ),
                [
                    node("Cast", ["x"], ["mean"], to=FLOAT),
                    node("Add", ["mean", "mean"], ["stddev"]),
                ],
            ),
            (
                endpoint("reconstruct", (BYTES,), [("mean", (None, 2), "uint8")]),
                [node("Identity", ["x"], ["mean"])],
            ),
            (
                endpoint(
                    "score",
                    (BYTES, SEED, CONDITION),
                    [(n, (None,), "float32") for n in ("elbo", "log_marginal")],
                ),
                [
                    node("Cast", ["seed"], ["elbo"], to=FLOAT),
                    node("Cast", ["condition"], ["log_marginal"], to=FLOAT),
                ],
            ),
            (
                endpoint("mask", (Tensor("on", (None,), "bool"),), [("off", (None,), "bool")]),
                [node("Not", ["on"], ["off"])],
            ),
        ],
        classes=CLASSES,
    )
    return folder


# ---------------------------------------------------------------------------- load


def test_load_takes_the_newest_version(saved):
    (saved / ".tfvae-host-1-00000000.tmp").mkdir()
    (saved / "11.bak").mkdir()
    (saved / "12").write_text("a file")
    loaded = tfvae.export.load(saved)
    assert loaded.path == saved / "10"  # by number, not by name
    assert tfvae.export.load(saved, version=9).path == saved / "9"
    assert tfvae.export.load(str(saved / "9")).path == saved / "9"
    assert sorted(loaded.endpoints) == ["decode", "generate"]
    np.testing.assert_array_equal(loaded.decode([[1.0, 2.0]])["mean"], [[2.0, 4.0]])
    np.testing.assert_array_equal(loaded.generate(range(3), 2)["sample"], [0.0, 2.0, 4.0])
    np.testing.assert_array_equal(loaded.generate(5)["sample"], [5.0])


def test_onnx_runtime_imports_no_tensorflow(saved):
    code = (
        "import sys, tfvae.export\n"
        f"loaded = tfvae.export.load({str(saved)!r})\n"
        "loaded.decode([[1.0, 2.0]]), loaded.generate([1]), tfvae.export.verify\n"
        "heavy = {'tensorflow', 'keras', 'tensorflow_probability', 'tf2onnx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (np.zeros(2), r"shape \[B, 2\]. Received: shape \[2\]. Add a batch dimension"),
        (np.zeros((1, 3)), r"shape \[B, 2\]. Received: shape \[1, 3\]"),
        (np.zeros((0, 2)), "empty batch"),
        (np.full((1, 2), np.nan), "NaN or infinity"),
        (np.full((1, 2), 1e300), "finite in float32"),
        ([["a", "b"]], "dtype float32. Received: dtype <U1"),
        ([[True, False]], "dtype float32. Received: dtype bool"),
        ([[1.0, 2.0], [3.0]], "`z` to be an array. Received: rows of several lengths"),
        (None, r"shape \[B, 2\]. Received: shape \[\]"),
        ([[None, 1.0]], "Received: dtype object"),
        (np.zeros((1, 2), complex), "Received: dtype complex128"),
    ],
)
def test_bad_latents(saved, z, message):
    with pytest.raises(ValueError, match=message):
        tfvae.export.load(saved).decode(z)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5],), "`seed` of dtype int64. Received: dtype float64"),
        (([True],), "Received: dtype bool"),
        (([2**63],), r"`seed` in \[-9223372036854775808, 9223372036854775807\]"),
        (([[1]],), r"`seed` of shape \[B\]"),
        (([],), "empty batch"),
        (([1], -1.0), r"`temperature` in \[0.0, inf\]"),
        (([1, 2], [1.0]), "one batch size. Received: batch sizes {'seed': 2, 'temperature': 1}"),
    ],
)
def test_bad_seeds(saved, arguments, message):
    with pytest.raises(ValueError, match=message):
        tfvae.export.load(saved).generate(*arguments)


def test_bad_calls(saved):
    loaded = tfvae.export.load(saved)
    with pytest.raises(ExportError, match=r"decode, generate. Received: 'scroe'"):
        loaded.run("scroe", {})
    with pytest.raises(ValueError, match=r"Expected the inputs z for 'decode'. Received: x"):
        loaded.run("decode", {"x": [[1.0, 2.0]]})
    with pytest.raises(TypeError, match=r"`inputs` to be a dictionary.*Received: list"):
        loaded.run("decode", [[1.0, 2.0]])


def test_bad_loads(saved, tmp_path):
    with pytest.raises(ValueError, match="Did you mean 'onnx'"):
        tfvae.export.load(saved, runtime="onx")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        tfvae.export.load(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match="is a file"):
        tfvae.export.load(saved / "9" / "manifest.json")
    with pytest.raises(FileNotFoundError, match=r"9, 10. Received: version=3"):
        tfvae.export.load(saved, version=3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="has none"):
        tfvae.export.load(tmp_path / "empty")
    (saved / "10" / "onnx" / "decode.onnx").unlink()
    with pytest.raises(FileNotFoundError, match="damaged, or was pruned since it was loaded"):
        tfvae.export.load(saved).decode([[1.0, 2.0]])


def test_load_where_the_newest_was_just_pruned(saved, monkeypatch):
    """A newer version came and this one went between two looks at the folder."""
    read = Manifest.read

    def read_late(folder):
        if folder.name == "10":
            folder.rename(saved / ".tfvae-gone.tmp")
            (saved / "9").rename(saved / "11")
        return read(folder)

    monkeypatch.setattr(Manifest, "read", read_late)
    assert tfvae.export.load(saved).path == saved / "11"


# ---------------------------------------------------------------------------- endpoints


def test_every_endpoint_has_a_method(conditional):
    loaded = tfvae.export.load(conditional)
    x = np.array([[0, 255], [7, 8], [9, 10]], np.uint8)
    encoded = loaded.encode(x)
    np.testing.assert_array_equal(encoded["mean"], x)
    np.testing.assert_array_equal(encoded["stddev"], 2.0 * x)
    reconstructed = loaded.reconstruct(x.astype(np.int64))["mean"]  # integers of any width
    np.testing.assert_array_equal(reconstructed, x)
    assert reconstructed.dtype == np.uint8
    scores = loaded.score(x, condition=[2, 0, 1])
    assert scores["elbo"].tolist() == [0.0, 1.0, 2.0]  # seeds 0 to B - 1
    assert scores["log_marginal"].tolist() == [2.0, 0.0, 1.0]
    assert loaded.score(x, [7, 7, 7], condition=1)["elbo"].tolist() == [7.0, 7.0, 7.0]
    assert loaded.run("mask", {"on": [True, False]})["off"].tolist() == [False, True]


def test_conditions(conditional):
    loaded = tfvae.export.load(conditional)

    def drawn(*arguments, **named):
        return loaded.generate(*arguments, **named)["sample"].tolist()

    assert drawn(range(3), 2.0, [0, 1, 2]) == [0.0, 2.0, 4.0]
    assert drawn(range(3), condition=2) == [2.0, 2.0, 2.0]
    assert drawn(range(2), condition=["bag", "shoe"]) == [2.0, 1.0]
    assert drawn(range(2), [1.0, 0.5], condition="bag") == [2.0, 1.0]
    # What a server fills in where it is left out.
    left_out = loaded.run("generate", {"seed": [1, 2], "condition": [1, 2]})
    assert left_out["sample"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (None, r"inputs seed, temperature, condition for 'generate'. Received: seed, temperature"),
        (["boot", "bag"], "among the classes shirt, shoe, bag, or their indices. Received: 'boot'"),
        ("show", "Received: 'show'. Did you mean 'shoe'"),
        ([0, 3], r"`condition` in \[0, 2\]. Received: values from 0 to 3"),
        ([-1, 0], r"`condition` in \[0, 2\]. Received: values from -1 to 0"),
        ([0.0, 1.0], "`condition` of dtype int64. Received: dtype float64"),
        ([True, False], "Received: dtype bool"),
        ([[0], [1]], r"`condition` of shape \[B\]. Received: shape \[2, 1\]"),
        ([0, 1, 2], "one batch size"),
    ],
)
def test_bad_conditions(conditional, condition, message):
    with pytest.raises(ValueError, match=message):
        tfvae.export.load(conditional).generate(range(2), condition=condition)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[0.5, 1.0]], "dtype uint8. Received: dtype float64. Send bytes, 0 to 255"),
        ([[0, 256]], r"`x` in \[0, 255\]. Received: values from 0 to 256"),
        ([[-1, 0]], r"`x` in \[0, 255\]. Received: values from -1 to 0"),
        ([[True, False]], "dtype uint8. Received: dtype bool"),
        ([["a", "b"]], "dtype uint8. Received: dtype <U1"),
        ([1, 2], "Add a batch dimension"),
    ],
)
def test_bad_bytes(conditional, x, message):
    loaded = tfvae.export.load(conditional)
    for call in (loaded.encode, loaded.reconstruct, lambda x: loaded.score(x, condition=0)):
        with pytest.raises(ValueError, match=message):
            call(x)


COUNTS = Tensor("x", (None, 2), "float32", bounds=(0.0, None), step=1.0)
BINARY = Tensor("x", (None, 2), "uint8", bounds=(0.0, 255.0), step=255.0)
GREY = Tensor("x", (None, 2), "float32", bounds=(0.0, 1.0), step=1 / 255)
FROM_ABOVE = Tensor("x", (None, 2), "float32", bounds=(None, 5.0), step=2.0)
OPEN = Tensor("x", (None, 2), "float32", bounds=(0.0, 1.0), open=True)


@pytest.mark.parametrize(
    ("spec", "x"),
    [
        (COUNTS, [0, 3e6]),
        (BINARY, [0, 255]),
        (GREY, [1 / 255, 254 / 255]),
        (FROM_ABOVE, [5.0, -3.0]),
        (OPEN, [1e-6, 1 - 1e-6]),
    ],
)
def test_data_in_their_support(spec, x):
    record = endpoint("score", (spec,), [("elbo", (None,), "float32")])
    np.testing.assert_array_equal(checked(record, {"x": [x]})["x"], np.array([x], spec.dtype))


@pytest.mark.parametrize(
    ("spec", "x", "message"),
    [
        (COUNTS, [1.5, 2.0], r"`x` in steps of 1 from 0, .* 1 of 2 values between, such as 1\.5"),
        (COUNTS, [-1.0, 2.0], r"`x` in \[0.0, inf\]. Received: values from -1.0 to 2.0"),
        (BINARY, [0, 128], r"`x` in steps of 255 from 0, .* such as 128\. Round or binarise"),
        (GREY, [0.5, 0.0], r"`x` in steps of 0\.00392157 from 0, .* such as 0\.5"),
        (FROM_ABOVE, [5.0, 4.0], r"`x` in steps of 2 from 5, .* such as 4"),
        (OPEN, [0.0, 0.5], r"`x` in \(0.0, 1.0\). Received: values from 0.0 to 0.5"),
        (OPEN, [1.0, 0.5], r"`x` in \(0.0, 1.0\). Received: values from 0.5 to 1.0"),
    ],
)
def test_data_outside_their_support(spec, x, message):
    record = endpoint("score", (spec,), [("elbo", (None,), "float32")])
    with pytest.raises(ValueError, match=message):
        checked(record, {"x": [x]})


def test_bad_masks(conditional):
    with pytest.raises(ValueError, match=r"`on` of dtype bool\. Received: dtype int64"):
        tfvae.export.load(conditional).run("mask", {"on": [0, 1]})


def test_unconditional_models_take_no_condition(saved):
    with pytest.raises(ValueError, match=r"temperature for 'generate'.*condition"):
        tfvae.export.load(saved).generate(range(2), condition=1)
    with pytest.raises(ExportError, match=r"Received: 'score'.*endpoints=\['score'\]\) says why"):
        tfvae.export.load(saved).score([[1.0, 2.0]])


def test_variants(conditional, saved):
    small = tfvae.export.load(conditional, variant="int8")
    np.testing.assert_array_equal(small.decode([[1.0, 2.0]])["mean"], [[1.0, 2.0]])
    exact = tfvae.export.load(conditional)
    np.testing.assert_array_equal(exact.decode([[1.0, 2.0]])["mean"], [[2.0, 4.0]])
    with pytest.raises(ExportError, match="'encode', which has full precision alone"):
        small.encode([[1, 2]])
    with pytest.raises(ValueError, match=r"`variant` to be 'int8' or None. Received: .*'float16'"):
        tfvae.export.load(conditional, variant="float16")
    with pytest.raises(ValueError, match=r"to be None. Received: .*full precision alone"):
        tfvae.export.load(saved, variant="int8")


def test_threads_and_providers(saved, monkeypatch):
    made, session = [], onnxruntime.InferenceSession

    def remember(path, options, providers):
        made.append((options.intra_op_num_threads, providers))
        return session(path, options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", remember)
    cpu = "CPUExecutionProvider"
    tfvae.export.load(saved).decode([[1.0, 2.0]])
    tfvae.export.load(saved, threads=3, providers=cpu).decode([[1.0, 2.0]])
    assert made == [(0, [cpu]), (3, [cpu])]
    for threads in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match=f"`threads` to be at least 1.*threads={threads}"):
            tfvae.export.load(saved, threads=threads)
    with pytest.raises(ValueError, match=f"Received: 'CPU'. Did you mean '{cpu}'|Received: 'CPU'"):
        tfvae.export.load(saved, providers=["CPU"])
    with pytest.raises(ValueError, match="Expected threads=2 with runtime='onnx' only"):
        tfvae.export.load(saved, runtime="tensorflow", threads=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "to be JSON"),
        ("[]", "not written by tfvae"),
        ('{"format": "other"}', "not written by tfvae"),
        ('{"format": "tfvae-export", "format_version": 99}', "newer tfvae"),
        ('{"format": "tfvae-export", "format_version": 1}', "complete manifest"),
    ],
)
def test_bad_manifests(saved, text, message):
    (saved / "10" / "manifest.json").write_text(text)
    with pytest.raises(ExportError, match=message):
        tfvae.export.load(saved)
    (saved / "10" / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"version folder with a manifest\.json"):
        tfvae.export.load(saved)


def test_manifest_round_trip(saved, tmp_path):
    manifest = Manifest.read(saved / "9")
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest


# ---------------------------------------------------------------------------- the stranger


@pytest.mark.parametrize("size", [1, 100, 5_000, 50_000, 4_000_000])
def test_allowed_flips_is_the_poisson_quantile(size):
    from scipy.stats import poisson

    allowed = comparisons.allowed_flips(size)
    assert poisson.sf(allowed, 1e-5 * size) < 1e-6 <= poisson.sf(allowed - 1, 1e-5 * size)


def judge(actual, expected, compare="scale", **known):
    specs = [{"name": "y", "compare": compare, **known}]
    results = [(len(expected), {} if actual is None else {"y": actual})]
    (row,) = comparisons.judge(specs, {"y": expected}, results, comparisons.TOLERANCE)
    return row


def test_judgement():
    expected = np.array([[100.0], [0.0]], np.float32)
    # 1e-5 of a scale of 100.
    assert judge(expected + np.float32(9e-4), expected)["ok"]
    assert not judge(expected + np.float32(2e-3), expected)["ok"]
    assert not judge(expected * np.float32(np.nan), expected)["ok"]
    # Of a sum of 64 terms, however small it is: 8 times what one may be off, by 1e-5.
    small = expected * np.float32(0.01)
    for compare in ("scale", "rows"):
        assert judge(small + np.float32(7e-5), small, compare, terms=64)["ok"]
        assert not judge(small + np.float32(9e-5), small, compare, terms=64)["ok"]
        assert not judge(small + np.float32(7e-5), small, compare, terms=None)["ok"]
    assert "received float64" in judge(expected.astype(np.float64), expected)["detail"]
    assert "received nothing" in judge(None, expected)["detail"]
    bits = np.zeros((1_000, 1), np.float32)
    two, three = (np.where(np.arange(1_000)[:, None] < n, 1.0, bits) for n in (2, 3))
    assert judge(two.astype(np.float32), bits, "flips")["ok"]
    assert not judge(three.astype(np.float32), bits, "flips")["ok"]


@pytest.mark.parametrize("compare", ["flips", "rows"])
def test_rounding_to_bytes_is_no_flip(compare):
    """Half of all values on a tie, rounded either way; picked otherwise, 2 of 1,000, not 3."""
    rounded = np.random.default_rng(0).integers(0, 255, (1_000, 1)).astype(np.uint8)
    ties = np.arange(1_000)[:, None] % 2 == 0
    either = np.where(ties, rounded + 1, rounded).astype(np.uint8)
    assert not judge(either, rounded, compare)["ok"]
    assert judge(either, rounded, f"level {compare}")["ok"]
    for count, ok in ((2, True), (3, False)):
        picked = either.copy()
        picked[:count] = rounded[:count] ^ 128
        assert judge(picked, rounded, f"level {compare}")["ok"] is ok


def test_blocker_names_what_it_blocks():
    blocker = stranger.Blocker("tfvae", "tf_keras")
    for name in ("tfvae", "tfvae.zoo", "tf_keras.layers"):
        with pytest.raises(ImportError, match=f"{name} is blocked"):
            blocker.find_spec(name)
    assert blocker.find_spec("tfvae_tools") is None
