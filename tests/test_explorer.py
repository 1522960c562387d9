"""The explorer: what a page is made of, where it is refused, and how it is served."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import importlib.resources
import json
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import handmade
import numpy as np
import pytest
from click.testing import CliRunner
from handmade import Tensor

import tfvae
from tfvae.cli import cli
from tfvae.explorer import page as pages
from tfvae.explorer import runtime
from tfvae.explorer.description import describe
from tfvae.export import ExportError

ASSETS = importlib.resources.files("tfvae.explorer") / "assets"


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node_modules with a runtime that is small, pinned as the real one is."""
    package = tmp_path / "node_modules" / runtime.PACKAGE
    (package / "dist").mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"version": runtime.VERSION}))
    digests = {}
    for name in runtime.FILES:
        (package / "dist" / name).write_bytes(name.encode())
        digests[name] = hashlib.sha256(name.encode()).hexdigest()
    monkeypatch.setattr(runtime, "FILES", digests)
    monkeypatch.setenv(runtime.ENVIRONMENT, str(tmp_path / "node_modules"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "node_modules"


@pytest.fixture
def painter(tmp_path: Path) -> Path:
    return handmade.painter(tmp_path / "painter" / "3")


def invoke(*line: object) -> Any:
    return CliRunner().invoke(cli, ["explore", *map(str, line)], prog_name="tfvae")


def described(folder: Path, **options: Any) -> dict[str, Any]:
    return describe(tfvae.export.load(folder), **options)


def test_what_a_page_is_told(painter: Path) -> None:
    found = described(painter.parent)
    assert (found["model"]["name"], found["model"]["version"]) == ("painter", "3")
    assert found["image"] == {"height": 3, "width": 4, "channels": 3, "low": 0.0, "high": 1.0}
    assert found["levels"] == 2
    assert found["condition"] == {
        "kind": "class", "names": list(handmade.CLASSES), "first": 0, "initial": 0
    }  # fmt: skip
    assert set(found["endpoints"]) == {"decode", "generate"}
    assert list(found["absent"]) == ["encode", "move"]
    assert "cannot be moved" in found["absent"]["move"]
    latents = found["latents"]
    assert [each["name"] for each in latents["groups"]] == ["z_0"]
    # z_0 of 256 seeds is (i + 1) / 40 sin(seed) + 0.1, and sliders reach three deviations.
    waves = np.sin(np.arange(256))
    ramp = np.arange(1, 41) / 40
    np.testing.assert_allclose(latents["centre"], ramp * waves.mean() + 0.1, atol=1e-5)
    width = np.subtract(latents["high"], latents["low"])
    np.testing.assert_allclose(width, 6 * ramp * waves.std(), rtol=1e-4)
    # Without an encoder, activity is what a latent moves: each of the first 36 one of 36 values,
    # by a tenth of a third of its slider's way up and down; the last four move none.
    moved = (0.1 * width / 3) ** 2 / 36
    np.testing.assert_allclose(
        latents["activity"], np.where(np.arange(40) < 36, moved, 0), rtol=1e-3
    )
    assert latents["order"][:36] == list(range(35, -1, -1))


def test_each_level_has_its_latents(tmp_path: Path) -> None:
    """Of a hierarchy that can be moved: against its draws, and moves in closed form."""
    folder = handmade.hierarchy(tmp_path / "h" / "1")
    found = described(folder)
    assert set(found["endpoints"]) == {"decode", "generate", "encode", "move"}
    assert found["absent"] == {}
    latents = found["latents"]
    assert latents["groups"] == [
        {"name": "z_0", "shape": [3], "start": 0, "size": 3},
        {"name": "z_1", "shape": [2], "start": 3, "size": 2},
    ]
    noise = np.sin(np.outer(np.arange(256), [1.0, 2.0, 3.0, 0.7, 1.3]))
    z_1 = noise[:, 3:]
    z_0 = noise[:, :3] * np.exp(z_1 @ handmade.LEVEL_SPREAD) + z_1 @ handmade.LEVEL_MEAN
    z = np.concatenate([z_0, z_1], axis=1)
    np.testing.assert_allclose(latents["centre"], z.mean(axis=0), atol=1e-5)
    width = np.subtract(latents["high"], latents["low"])
    np.testing.assert_allclose(width, 6 * z.std(axis=0), rtol=1e-5)
    # Without test vectors, activity is how far the picture moves when one latent does.
    centre = np.array(latents["centre"])

    def moved(i: int, step: float) -> Any:
        above, shift = centre[3:].copy(), np.zeros(3)
        if i < 3:
            shift[i] = step
        else:
            above[i - 3] += step
        place = (centre[:3] - centre[3:] @ handmade.LEVEL_MEAN) / np.exp(
            centre[3:] @ handmade.LEVEL_SPREAD
        )
        below = place * np.exp(above @ handmade.LEVEL_SPREAD) + above @ handmade.LEVEL_MEAN
        return (below + shift) @ handmade.LEVEL_IMAGE

    expected = [np.mean((moved(i, width[i] / 6) - moved(i, -width[i] / 6)) ** 2) for i in range(5)]
    np.testing.assert_allclose(latents["activity"], expected, rtol=1e-4)
    order = latents["order"]
    assert sorted(order[:3]) == [0, 1, 2]  # level by level
    for level in (order[:3], order[3:]):
        assert (np.diff(np.array(expected)[level]) <= 0).all()
    # With them it is what each carries.
    rng = np.random.default_rng(0)
    vectors = {
        f"encode/{moment}_{level}": rng.uniform(0.5, 2, (8, size)).astype(np.float32)
        for level, size in ((0, 3), (1, 2))
        for moment in ("mean", "stddev")
    }
    latents = described(handmade.hierarchy(tmp_path / "v" / "1", vectors))["latents"]
    carried = np.concatenate([
        np.log1p(
            vectors[f"encode/mean_{level}"].var(axis=0)
            / (vectors[f"encode/stddev_{level}"] ** 2).mean(axis=0)
        ) / 2
        for level in (0, 1)
    ])  # fmt: skip
    np.testing.assert_allclose(latents["activity"], carried, rtol=1e-4)


def test_activity_is_what_a_gaussian_channel_carries(tmp_path: Path) -> None:
    """Against the mutual information of z = signal + noise, both Gaussian; 0 of a dead latent."""
    signal, noise = np.array([2.0, 0.0, 0.1, 1.0]), np.array([0.5, 1.0, 1.0, 1.0])
    # A grid of two points has exactly the variance of the signal.
    mean = np.stack([signal, -signal]).astype(np.float32)
    vectors = {"encode/mean": mean, "encode/stddev": np.tile(noise, (2, 1)).astype(np.float32)}
    slots = {"prior": {"class": "StandardNormal"}}
    found = described(handmade.encoder(tmp_path / "m" / "1", vectors=vectors, slots=slots))[
        "latents"
    ]
    covariance = [[[s**2, s**2], [s**2, s**2 + n**2]] for s, n in zip(signal, noise, strict=True)]
    total = [np.log(s**2 + n**2) for s, n in zip(signal, noise, strict=True)]
    # I(signal; z) = (log var z - log var(z | signal)) / 2, the latter by the Schur complement.
    given = [np.log(c[1][1] - (c[0][1] ** 2 / c[0][0] if c[0][0] else 0.0)) for c in covariance]
    np.testing.assert_allclose(found["activity"], np.subtract(total, given) / 2, atol=1e-5)
    assert found["order"] == [0, 3, 2, 1]
    assert found["low"] == [-3.0] * 4
    assert found["high"] == [3.0] * 4


def test_activity_of_points_is_their_variance(tmp_path: Path) -> None:
    """An autoencoder's codes have no noise, against which nothing could be held."""
    mean = np.float32([[3, 0.1, 0, 1], [-3, -0.1, 0, -1]])
    vectors = {"encode/mean": mean, "encode/stddev": np.zeros_like(mean)}
    found = described(handmade.encoder(tmp_path / "m" / "1", vectors=vectors))["latents"]
    np.testing.assert_allclose(found["activity"], [9, 0.01, 0, 1], rtol=1e-6)
    assert found["order"] == [0, 3, 1, 2]


def test_ranges_without_generate_are_those_of_the_aggregate_posterior(tmp_path: Path) -> None:
    vectors = {"encode/mean": np.float32([[1, 5, 0, 0], [3, 5, 0, 0]])}
    found = described(handmade.encoder(tmp_path / "m" / "1", vectors=vectors))["latents"]
    assert found["centre"] == [2.0, 5.0, 0.0, 0.0]
    # Three deviations; where there are none, as far as a standard normal's.
    assert found["high"] == [5.0, 8.0, 3.0, 3.0]
    assert found["order"][0] == 0


def test_values_without_bounds_are_clipped_as_pictures_are(tmp_path: Path) -> None:
    for bounds, low, high in (
        ((-1.0, 1.0), -1.0, 1.0), ((None, None), 0.0, 1.0), ((0.0, None), 0.0, 1.0)
    ):  # fmt: skip
        folder = handmade.encoder(tmp_path / f"{low}{bounds}" / "1", bounds=bounds)
        image = described(folder)["image"]
        assert (image["low"], image["high"]) == (low, high)


def test_flat_images_become_pictures_by_their_shape(tmp_path: Path) -> None:
    folder = handmade.encoder(tmp_path / "flat" / "1", (16,))
    with pytest.raises(ExportError, match=r"Received: data of shape \[16\].*--image-shape 4,4"):
        described(folder)
    image = described(folder, image_shape=(2, 8))["image"]
    assert (image["height"], image["width"], image["channels"]) == (2, 8, 1)
    with pytest.raises(ExportError, match="as many values as the model's"):
        described(folder, image_shape=(4, 3))
    with pytest.raises(ExportError, match=r"Received: data of shape \[2, 2, 4\]"):
        described(folder, image_shape=(2, 2, 4))


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"data of shape \[5\]. Only images"):
        described(handmade.encoder(tmp_path / "vector" / "1", (5,)))
    with pytest.raises(ExportError, match=r"'decode' or 'generate'.*with encode"):
        described(handmade.encoder(tmp_path / "blind" / "1", decodes=False))
    z, x = Tensor("z", (None, 2), "float32"), Tensor("mean", (None, 3, 2), "float32")
    steps = Tensor("length", (None,), "int64")
    folder = tmp_path / "series" / "1"
    nodes = [
        handmade.node("Reshape", "z shape", "pair"),
        handmade.node("Expand", "pair whole", "mean"),
    ]
    record = handmade.endpoint(
        folder, "decode", [z, steps], [x], nodes,
        shape=np.array([-1, 1, 2]), whole=np.array([1, 3, 1]),
    )  # fmt: skip
    with pytest.raises(ExportError, match=r"draws sequences\. See them with `tfvae generate`"):
        described(handmade.publish(folder, record))


def test_latents_on_a_sphere_stay_there(tmp_path: Path) -> None:
    slots = {"prior": {"class": "HypersphericalUniform"}}
    assert described(handmade.encoder(tmp_path / "s" / "1", slots=slots))["latents"]["sphere"]
    assert not described(handmade.encoder(tmp_path / "n" / "1"))["latents"]["sphere"]


def test_the_names_of_what_lies_on_spheres_are_those_of_layers() -> None:
    from tfvae.explorer.description import _SPHERES

    known = {*dir(tfvae.layers), *dir(tfvae.priors)}
    assert known >= _SPHERES
    for name in _SPHERES & set(dir(tfvae.layers)):
        assert getattr(tfvae.layers, name)((3,)).support.kind == "sphere"


def test_a_page_is_all_that_a_browser_asks_for(painter: Path, modules: Path) -> None:
    page = tfvae.explorer.build(painter)
    own = {asset.name for asset in ASSETS.iterdir()} - {"LICENSE.txt"}
    assert set(page.files) == own | {
        "explorer.json", "model/decode.onnx", "model/generate.onnx",
        "runtime/LICENSE.txt", "runtime/ort.wasm.bundle.min.js",
        "runtime/ort-wasm-simd-threaded.wasm",
    }  # fmt: skip
    text = page.files["index.html"].content
    assert isinstance(text, bytes)
    html = text.decode()
    assert f'content="{pages.POLICY}"' in html
    # Whatever is asked for is there, and no other origin is named.
    asked = set(re.findall(r'(?:src|href)="([^"]+)"', html))
    for name in own:
        if name.endswith(".js"):
            script = (ASSETS / name).read_text(encoding="utf-8")
            asked |= set(re.findall(r'from "\./([^"]+)"', script))
            assert not re.search(r"https?://", script)
    assert asked <= set(page.files)
    for asset in page.files.values():
        content = asset.content if isinstance(asset.content, bytes) else asset.content.read_bytes()
        assert hashlib.sha256(content).hexdigest() == asset.sha256
    assert page.size == sum(asset.size for asset in page.files.values())


def test_elements_that_scripts_name_are_in_the_page() -> None:
    html = (ASSETS / "index.html").read_text(encoding="utf-8")
    there = re.findall(r'\bid="([^"]+)"', html)
    assert len(there) == len(set(there))
    for asset in ASSETS.iterdir():
        if asset.name.endswith(".js"):
            named = re.findall(r'\$\("([\w-]+)"\)', asset.read_text(encoding="utf-8"))
            assert set(named) <= set(there), asset.name


def test_an_export_that_was_changed_is_refused(painter: Path, modules: Path) -> None:
    graph = painter / "onnx" / "decode.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    with pytest.raises(ExportError, match="as it was published"):
        tfvae.explorer.build(painter)
    graph.unlink()
    with pytest.raises(FileNotFoundError, match="the manifest lists"):
        tfvae.explorer.build(painter)


def test_what_a_browser_cannot_hold_is_refused(painter: Path, modules: Path) -> None:
    (painter / "onnx" / "decode.onnx.data").write_bytes(b"weights")
    document = json.loads((painter / "manifest.json").read_text())
    document["files"]["onnx/decode.onnx.data"] = {"sha256": "", "size": 7}
    (painter / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(ExportError, match="less than 2 GB"):
        tfvae.explorer.build(painter)


def test_it_is_written_whole_and_replaced_whole(
    painter: Path, modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "site" / "page"
    assert tfvae.explorer.write(painter, out) == out
    page = tfvae.explorer.build(painter)
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert written == set(page.files)
    (out / "stale.js").write_text("old")
    before = (out / "index.html").stat().st_ino

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(OSError, match="No space left"):
            tfvae.explorer.write(painter, out)
        with pytest.raises(OSError, match="No space left"):
            tfvae.explorer.write(painter, tmp_path / "new" / "page")
    assert not (tmp_path / "new").exists()
    assert (out / "index.html").stat().st_ino == before
    assert (out / "stale.js").exists()
    tfvae.explorer.write(painter, out)
    assert not (out / "stale.js").exists()
    assert [path.name for path in out.parent.iterdir()] == ["page"]


def test_other_files_are_left_alone(painter: Path, modules: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(ExportError, match="which holds other files"):
        tfvae.explorer.write(painter, tmp_path / "mine")
    with pytest.raises(ExportError, match="which is a file"):
        tfvae.explorer.write(painter, tmp_path / "mine" / "thesis.tex")
    (tmp_path / "empty").mkdir()
    tfvae.explorer.write(painter, tmp_path / "empty")


def test_what_a_link_leads_to_is_replaced(painter: Path, modules: Path, tmp_path: Path) -> None:
    """Links to what is served are common: `current` stays one, and nothing lies beside it."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "current").symlink_to(tmp_path / "store" / "page")
    for _ in range(2):  # to where there is nothing yet, and to a page
        assert tfvae.explorer.write(painter, site / "current") == site / "current"
        assert (site / "current").is_symlink()
        assert (site / "current" / "index.html").is_file()
        assert [path.name for path in site.iterdir()] == ["current"]
        assert [path.name for path in (tmp_path / "store").iterdir()] == ["page"]
        (tmp_path / "store" / "page" / "stale.js").write_text("")
    (site / "loop").symlink_to(site / "loop")
    with pytest.raises(OSError, match="a link that leads to itself"):
        tfvae.explorer.write(painter, site / "loop")
    (site / "mine").symlink_to(tmp_path)
    with pytest.raises(ExportError, match="which holds other files"):
        tfvae.explorer.write(painter, site / "mine")


def test_where_the_runtime_is_found(modules: Path, tmp_path: Path) -> None:
    dist = modules / runtime.PACKAGE / "dist"
    for place in (None, modules, modules.parent, modules / runtime.PACKAGE, dist):
        assert {path.parent for path in runtime.find(place).values()} == {dist}
    with pytest.raises(FileNotFoundError, match=r"has no ort\..*`tfvae explore --fetch-runtime`"):
        runtime.find(tmp_path / "elsewhere")


def test_another_runtime_is_refused(modules: Path) -> None:
    package = modules / runtime.PACKAGE
    name = next(iter(runtime.FILES))
    (package / "dist" / name).write_bytes(b"changed")
    with pytest.raises(ExportError, match="differs from it"):
        runtime.find()
    (package / "package.json").write_text(json.dumps({"version": "1.2.3"}))
    with pytest.raises(ExportError, match=rf"{re.escape(runtime.VERSION)}. Received: 1.2.3"):
        runtime.find()
    for text in ("{", "[]", "{}", "\udc80"):
        (package / "package.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(ExportError, match=r"Received: a damaged package\.json in"):
            runtime.find()


def test_the_runtime_is_fetched_once(
    modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(runtime.ENVIRONMENT)
    with pytest.raises(FileNotFoundError, match="--fetch-runtime"):
        runtime.find()
    packed = tmp_path / "package.tgz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(modules / runtime.PACKAGE, "package")
    with pytest.raises(ExportError, match="with the integrity sha512-"):
        tfvae.explorer.fetch(packed)
    assert not runtime.cache().exists()
    # What `npm` would say of this package.
    said = subprocess.run(
        ["openssl", "dgst", "-sha512", "-binary", packed], capture_output=True, check=True
    ).stdout  # fmt: skip
    encoded = subprocess.run(
        ["openssl", "base64", "-A"], input=said, capture_output=True, check=True
    ).stdout  # fmt: skip
    monkeypatch.setattr(runtime, "INTEGRITY", f"sha512-{encoded.decode()}")
    for wrong, kind in ((modules, "a folder"), (tmp_path / "none.tgz", "not there")):
        with pytest.raises(FileNotFoundError, match=f"Expected the package's file.*is {kind}"):
            tfvae.explorer.fetch(wrong)
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(packed))
        with pytest.raises(OSError, match=r"Cannot keep .*set XDG_CACHE_HOME"):
            tfvae.explorer.fetch(packed)
    assert tfvae.explorer.fetch(packed) == runtime.cache()
    assert {path.name for path in runtime.cache().iterdir()} == set(runtime.FILES)
    assert set(runtime.find()) == set(runtime.FILES)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert tfvae.explorer.fetch() == runtime.cache()  # it is there: nothing is asked for
    damaged = runtime.cache() / next(iter(runtime.FILES))
    damaged.write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="Expected npm"):
        tfvae.explorer.fetch()
    tfvae.explorer.fetch(packed)
    assert damaged.read_bytes()


def test_what_npm_says_is_passed_on(
    modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = tmp_path / "npm"
    npm.write_text('#!/bin/sh\necho "npm error 404 Not Found" >&2\nexit 1\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(OSError, match="404 Not Found"):
        tfvae.explorer.fetch()
    # What it has started may go on for longer than it.
    npm.write_text("#!/bin/sh\nsleep 3\n")
    monkeypatch.setattr(runtime, "_PATIENCE", 0.1)
    began = time.monotonic()
    with pytest.raises(OSError, match=r"nothing in 0\.1 seconds, after which it was ended"):
        tfvae.explorer.fetch()
    assert time.monotonic() - began < 2.5
    npm.write_text("#!/no/such/shell\n")
    with pytest.raises(OSError, match="npm does not run: "):
        tfvae.explorer.fetch()
    assert not runtime.cache().exists()


def test_a_user_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in (runtime.ENVIRONMENT, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(OSError, match=r"none for this user\. Set XDG_CACHE_HOME"):
        runtime.find()


@contextlib.contextmanager
def serving(page: pages.Page) -> Iterator[tfvae.explorer.Server]:
    with tfvae.explorer.serve(page, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_it_serves_the_page_and_nothing_else(painter: Path, modules: Path) -> None:
    page = tfvae.explorer.build(painter)
    with serving(page) as server:

        def ask(path: str, method: str = "GET", **headers: str) -> tuple[Any, bytes]:
            address = "127.0.0.1", server.server_port
            with contextlib.closing(http.client.HTTPConnection(*address, timeout=10)) as connection:
                connection.request(method, path, headers=headers)
                response = connection.getresponse()
                return response, response.read()

        kinds = {
            "/": "text/html; charset=utf-8",
            "/explorer.js": "text/javascript; charset=utf-8",
            "/explorer.css": "text/css; charset=utf-8",
            "/explorer.json?x=1": "application/json",
            "/runtime/ort-wasm-simd-threaded.wasm": "application/wasm",
            "/model/decode.onnx": "application/octet-stream",
        }
        for path, kind in kinds.items():
            response, body = ask(path)
            assert (response.status, response.getheader("Content-Type")) == (200, kind)
            assert response.getheader("X-Content-Type-Options") == "nosniff"
            assert response.getheader("Content-Security-Policy").startswith(pages.POLICY)
            name = path.removeprefix("/").partition("?")[0] or "index.html"
            assert hashlib.sha256(body).hexdigest() == page.files[name].sha256
            again, nothing = ask(path, **{"If-None-Match": response.getheader("ETag")})
            assert (again.status, nothing) == (304, b"")
        head, nothing = ask("/", "HEAD")
        assert (head.status, nothing) == (200, b"")
        assert int(head.getheader("Content-Length")) == page.files["index.html"].size
        for path in ("/../manifest.json", "/%2e%2e/%2e%2e/etc/passwd", "/model/", "/no.js"):
            assert ask(path)[0].status == 404, path
        assert ask("/", "POST")[0].status == 501
        # A page of another site whose name was made to lead here learns nothing.
        assert ask("/", Host="evil.example")[0].status == 421
        for host in ("[::1", "[no]", "]"):
            assert ask("/", Host=host)[0].status == 400, host
        assert ask("http://[/", Host="localhost")[0].status == 400
        # Exports are pruned while their pages are open.
        (painter / "onnx" / "decode.onnx").unlink()
        tag = f'"{page.files["model/decode.onnx"].sha256}"'
        for method, text in (("GET", b"404 Not Found\n"), ("HEAD", b"")):
            response, body = ask("/model/decode.onnx", method, **{"If-None-Match": tag})
            assert (response.status, body) == (404, text)
        assert ask("/model/generate.onnx")[0].status == 200


def test_a_port_in_use_is_named(painter: Path, modules: Path) -> None:
    page = tfvae.explorer.build(painter)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"port {port} of 127.0.0.1.*in use. .*--port 8766"):
            tfvae.explorer.serve(page, port=port)
        result = invoke(painter, "--port", port)
        assert result.exit_code == 1
        assert f"port {port}" in result.output
    with pytest.raises(ValueError, match="between 0 and 65535"):
        tfvae.explorer.serve(page, port=70000)
    with pytest.raises(OSError, match="Expected `host`"):
        tfvae.explorer.serve(page, "no such host", port=0)
    with tfvae.explorer.serve(page, "0.0.0.0", port=0) as server:
        assert not server.loopback
        assert server.url == f"http://{socket.gethostname()}:{server.server_port}/"
    with tfvae.explorer.serve(page, "localhost", port=0) as server:
        assert server.loopback
        assert server.url == f"http://localhost:{server.server_port}/"


def test_mistakes_on_the_command_line(painter: Path, modules: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    for line, said in {
        (): "Missing argument 'EXPORT'",
        (tmp_path / "none",): "which does not exist",
        (tmp_path / "plain",): "which has none",
        (painter.parent, "--version", "9"): "Expected `version`",
        (painter, "--image-shape", "28"): "'28' is not H,W",
        (painter, "--image-shape", "28,x"): "is not H,W",
        (painter, "--port", "99999"): "99999",
        (painter, "--runtime", tmp_path / "plain"): "--fetch-runtime",
        (painter, "--out", painter): "which holds other files",
    }.items():
        result = invoke(*line)
        assert result.exit_code != 0
        assert said in result.output, result.output


def test_the_command_writes_the_page(painter: Path, modules: Path, tmp_path: Path) -> None:
    result = invoke(painter.parent, "--out", tmp_path / "page")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "page" / "index.html").is_file()
    assert f"-d {tmp_path / 'page'}" in result.output


def test_no_tensorflow_is_imported(painter: Path, modules: Path) -> None:
    code = (
        "import sys, tfvae; tfvae.explorer.build(sys.argv[1]); "
        "assert not {'tensorflow', 'keras'} & sys.modules.keys()"
    )
    # The runtime's digests are those of the fixture, which another process does not see.
    patch = f"from tfvae.explorer import runtime; runtime.FILES = {runtime.FILES!r}; "
    subprocess.run([sys.executable, "-c", patch + code, str(painter)], check=True)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node, for the page's scripts")
def test_what_scripts_compute(tmp_path: Path) -> None:
    """The page's own arithmetic, in Node, against NumPy."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 5))
    picture = rng.integers(0, 256, (6, 12, 4), np.uint8)
    grey = rng.random((4, 6)).astype(np.float32) * 1.4 - 0.2
    given = {
        "a": a.tolist(),
        "b": b.tolist(),
        "picture": picture.ravel().tolist(),
        "grey": grey.ravel().tolist(),
    }
    (tmp_path / "given.json").write_text(json.dumps(given))
    script = tmp_path / "run.mjs"
    for name in ("maths.js", "link.js"):
        text = (ASSETS / name).read_text(encoding="utf-8").replace('"./maths.js"', '"./maths.mjs"')
        (tmp_path / name.replace(".js", ".mjs")).write_text(text, encoding="utf-8")
    script.write_text(
        """
        import { readFileSync } from "node:fs";
        import * as maths from "./maths.mjs";
        import * as link from "./link.mjs";
        const { a, b, picture, grey } = JSON.parse(readFileSync("given.json"));
        const image = { height: 4, width: 6, channels: 1, low: 0, high: 1 };
        const small = { height: 2, width: 3, channels: 1, low: -1, high: 1 };
        const part = maths.middle(12, 6, 3, 2);
        const seeds = ["0", " -1 ", "+7", "9223372036854775807", "-9223372036854775808",
          "9223372036854775808", "-9223372036854775809", "1.5", "", "0x10", "1e3",
          "\u22125", "\u00a0\u20137 ", "--5", "+\u22125", "5-"];
        const state = { seed: -5n, temperatures: [0.5, 1], shown: "sample", condition: 2,
          axes: [3, 0], source: "edited", z: Float32Array.from(a) };
        const groups = [{ start: 0, size: 2 }, { start: 2, size: 3 }];
        const whole = [{ start: 0, size: 5 }];
        const condition = { kind: "class", first: 0, names: "abc" };
        const told = { size: 5, groups: whole, levels: 2, condition };
        const back = link.read(link.write(state), told);
        console.log(JSON.stringify({
          slerp: [0, 0.25, 1].map((t) => [...maths.slerp(a, b, t)]),
          same: [...maths.slerp(a, a, 0.5)],
          zero: [...maths.slerp([0, 0], [1, 1], 0.5)],
          lerp: [...maths.lerp(a, b, 0.25)],
          sphere: [...maths.onSphere(Float32Array.of(3, 4, 0, 2, 0, 0), 2)],
          pixels: [...maths.toPixels(grey, image)],
          wide: part,
          resampled: [...maths.resample(picture, 12, { x: 0, y: 0, width: 12, height: 6 }, 3, 2)],
          odd: [...maths.resample(picture, 12, part, 3, 2)],
          values: [...maths.fromPixels([0, 0, 0, 255, 255, 255, 51, 51, 51, 255, 0, 0, 0, 255, 0,
            0, 0, 255], small)],
          inverted: [...maths.fromPixels(Array(18).fill(0), small, true)],
          seeds: seeds.map((text) => String(maths.parseSeed(text))),
          next: [String(maths.nextSeed(2n ** 63n - 1n, 1)), String(maths.nextSeed(0n, -1))],
          link: { ...back, seed: String(back.seed), z: [...back.z] },
          apart: Object.keys(link.read("#axes=1,2", { ...told, groups })),
          nonsense: Object.keys(link.read("#seed=x&t=9,9&show=all&c=7&axes=1,99&z=AAAA", told)),
        }));
        """
    )
    result = subprocess.run(
        ["node", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    found = json.loads(result.stdout)
    angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    for t, z in zip((0, 0.25, 1), found["slerp"], strict=True):
        expected = (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)
        np.testing.assert_allclose(z, expected, atol=1e-6)
    np.testing.assert_allclose(found["same"], a, rtol=1e-6)
    assert found["zero"] == [0.5, 0.5]  # no angle to the origin: the line
    np.testing.assert_allclose(found["lerp"], 0.75 * a + 0.25 * b, rtol=1e-6)
    np.testing.assert_allclose(found["sphere"], [0.6, 0.8, 0, 1, 0, 0], rtol=1e-6)
    # As `plots.save_grid` rounds them.
    grey_bytes = (255 * np.clip(grey, 0, 1) + 0.5).astype(np.uint8)
    pixels = np.array(found["pixels"]).reshape(4, 6, 4)
    np.testing.assert_array_equal(pixels[..., :3], np.repeat(grey_bytes[..., None], 3, axis=-1))
    assert (pixels[..., 3] == 255).all()
    assert found["wide"] == {"x": 1.5, "y": 0, "width": 9, "height": 6}
    means = picture[..., :3].reshape(2, 3, 3, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(np.reshape(found["resampled"], (2, 3, 3)), means, atol=1e-9)
    # Cells three pixels wide from 1.5 on: half of the first and the last pixel.
    shares = np.array([0.5, 1, 1, 0.5])
    down = picture[..., :3].reshape(2, 3, 12, 3).mean(axis=1)
    cells = [down[:, start : start + 4] for start in (1, 4, 7)]
    exact = np.stack([np.average(cell, axis=1, weights=shares) for cell in cells], axis=1)
    np.testing.assert_allclose(np.reshape(found["odd"], (2, 3, 3)), exact, atol=1e-9)
    np.testing.assert_allclose(
        found["values"], 2 * np.array([0, 1, 0.2, 0.299, 0.587, 0.114]) - 1, atol=1e-6
    )
    assert found["inverted"] == [1.0] * 6
    assert found["seeds"] == [
        "0", "-1", "7", str(2**63 - 1), str(-(2**63)), *["null"] * 6, "-5", "-7", *["null"] * 3
    ]  # fmt: skip
    assert found["next"] == [str(-(2**63)), "-1"]
    assert found["link"] == {
        "seed": "-5", "temperatures": [0.5, 1], "shown": "sample", "condition": 2,
        "axes": [3, 0], "source": "edited", "z": [float(np.float32(each)) for each in a],
    }  # fmt: skip
    assert found["apart"] == []  # axes of two levels
    assert found["nonsense"] == []
