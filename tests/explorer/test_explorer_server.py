"""How a page is served, and the command that does it."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import tfvae
from tfvae.cli import cli
from tfvae.explorer import page as pages


def invoke(*line: object) -> Any:
    return CliRunner().invoke(cli, ["explore", *map(str, line)], prog_name="tfvae")


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
