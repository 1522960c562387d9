"""Publishing and reading exports: what needs no TensorFlow."""

import dataclasses
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import pytest

import tfvae.export
from tfvae.export import ExportError, publish, stranger
from tfvae.export.manifest import EndpointRecord, Manifest, Tensor, fingerprints


@pytest.fixture
def saved(tmp_path):
    """Two versions of a hand-made export: decode doubles z, generate casts the seed."""
    decode = EndpointRecord(
        "decode",
        "Doubles.",
        (Tensor("z", (None, 2), "float32"),),
        (Tensor("mean", (None, 2), "float32"),),
        ("serving_default", "decode"),
        "onnx/decode.onnx",
    )
    generate = EndpointRecord(
        "generate",
        "Scales its seed.",
        (
            Tensor("seed", (None,), "int64"),
            Tensor("temperature", (None,), "float32", bounds=(0.0, None)),
        ),
        (Tensor("sample", (None,), "float32"),),
        ("generate",),
        "onnx/generate.onnx",
    )
    node = onnx.helper.make_node
    graphs = {
        "decode": [node("Add", ["z", "z"], ["mean"])],
        "generate": [
            node("Cast", ["seed"], ["s"], to=onnx.TensorProto.FLOAT),
            node("Mul", ["s", "temperature"], ["sample"]),
        ],
    }
    types = {"float32": onnx.TensorProto.FLOAT, "int64": onnx.TensorProto.INT64}
    for version in (9, 10):
        folder = tmp_path / "m" / str(version)
        (folder / "onnx").mkdir(parents=True)
        for record in (decode, generate):
            inputs, outputs = (
                [
                    onnx.helper.make_tensor_value_info(
                        spec.name, types[spec.dtype], ["batch", *spec.shape[1:]]
                    )
                    for spec in specs
                ]
                for specs in (record.inputs, record.outputs)
            )
            graph = onnx.helper.make_graph(graphs[record.name], record.name, inputs, outputs)
            opset = [onnx.helper.make_opsetid("", 18)]
            model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
            onnx.save(model, folder / record.onnx)
        manifest = Manifest("m", "2026-01-01", 18, (decode, generate), {}, {}, "v.npz")
        dataclasses.replace(manifest, files=fingerprints(folder)).write(folder)
    return tmp_path / "m"


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
        (([2**63],), "between -9223372036854775808 and 9223372036854775807"),
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
    with pytest.raises(FileNotFoundError, match="export is damaged"):
        tfvae.export.load(saved).decode([[1.0, 2.0]])


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


# ---------------------------------------------------------------------------- publish


def write(folder, text="whole"):
    with publish.staging(folder) as staged:
        for number in range(20):
            (staged / f"{number}.txt").write_text(text)
        return publish.publish(staged)


def test_exporters_at_once_get_a_version_each(tmp_path):
    folder, exporters, stop = tmp_path / "m", 8, threading.Event()
    published, seen = [], set()

    def read():
        while not stop.is_set():
            for version in publish.versions(folder).values() if folder.exists() else ():
                assert len(list(version.iterdir())) == 20  # never half of one
                seen.add(version.name)

    def export():
        published.append(int(write(folder).name))

    reader = threading.Thread(target=read)
    reader.start()
    threads = [threading.Thread(target=export) for _ in range(exporters)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    reader.join()
    assert sorted(published) == list(range(1, exporters + 1))
    assert sorted(os.listdir(folder)) == sorted(map(str, published))


def test_versions_count_up(tmp_path):
    assert write(tmp_path / "m").name == "1"
    assert write(tmp_path / "m").name == "2"
    (tmp_path / "m" / "41").mkdir()
    (tmp_path / "m" / "notes").mkdir()
    assert write(tmp_path / "m").name == "42"
    (tmp_path / "m" / "43").write_text("a file is in the way, and stays")
    assert write(tmp_path / "m").name == "44"


def test_what_killed_exports_left_is_cleaned(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    host = socket.gethostname()
    dead = tmp_path / f".tfvae-{host}-{child.pid}-0123abcd.tmp"
    kept = [
        tmp_path / f".tfvae-{host}-{os.getpid()}-0123abcd.tmp",  # at work
        tmp_path / f".tfvae-not-{host}-{child.pid}-0123abcd.tmp",  # we cannot know
        tmp_path / ".tfvae-notes",  # not ours
    ]
    for folder in (dead, *kept):
        (folder / "variables").mkdir(parents=True)
    write(tmp_path)
    assert not dead.exists()
    assert all(folder.exists() for folder in kept)


def test_failure_leaves_nothing(tmp_path):
    def fail(folder):
        with publish.staging(folder) as staged:
            (staged / "half.txt").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail(tmp_path / "new" / "m")
    assert list(tmp_path.iterdir()) == []


def test_targets_that_cannot_be(saved, tmp_path, monkeypatch):
    for name in ("", "  "):
        with pytest.raises(ExportError, match="empty name"):
            publish.check_target(name)
    file = tmp_path / "file"
    file.write_text("")
    for path in (file, file / "m"):
        with pytest.raises(ExportError, match=f"where {file} is a file"):
            publish.check_target(path)
    with pytest.raises(ExportError, match=f"Pass {saved} to publish a new version"):
        publish.check_target(saved / "9")
    assert publish.check_target("model") == Path("model")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match=f"where {tmp_path} is read-only"):
        publish.check_target(tmp_path / "new" / "m")


def test_read_only_disk(tmp_path, monkeypatch):
    def refuse(self, *_args, **_kwargs):
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match=f"Cannot write into {tmp_path}: Read-only file system"):
        write(tmp_path)


# ---------------------------------------------------------------------------- the stranger


@pytest.mark.parametrize("size", [1, 100, 5_000, 50_000, 4_000_000])
def test_allowed_flips_is_the_poisson_quantile(size):
    from scipy.stats import poisson

    allowed = stranger.allowed_flips(size)
    assert poisson.sf(allowed, 1e-5 * size) < 1e-6 <= poisson.sf(allowed - 1, 1e-5 * size)


def judge(actual, expected, discrete=False):
    spec = {"name": "y", "discrete": discrete}
    return stranger._judge(spec, {"y": expected}, [(len(expected), {"y": actual})])


def test_judgement():
    expected = np.array([[100.0], [0.0]], np.float32)
    # 1e-5 of a scale of 100.
    assert judge(expected + np.float32(9e-4), expected)["ok"]
    assert not judge(expected + np.float32(2e-3), expected)["ok"]
    assert not judge(expected * np.float32(np.nan), expected)["ok"]
    assert "received float64" in judge(expected.astype(np.float64), expected)["detail"]
    assert (
        "received nothing"
        in stranger._judge({"name": "y", "discrete": False}, {"y": expected}, [(2, {})])["detail"]
    )
    bits = np.zeros((1_000, 1), np.float32)
    two, three = (np.where(np.arange(1_000)[:, None] < n, 1.0, bits) for n in (2, 3))
    assert judge(two.astype(np.float32), bits, discrete=True)["ok"]
    assert not judge(three.astype(np.float32), bits, discrete=True)["ok"]


def test_blocker_names_what_it_blocks():
    blocker = stranger.Blocker("tfvae", "tf_keras")
    for name in ("tfvae", "tfvae.zoo", "tf_keras.layers"):
        with pytest.raises(ImportError, match=f"{name} is blocked"):
            blocker.find_spec(name)
    assert blocker.find_spec("tfvae_tools") is None
