"""A server of one page: what the page consists of, and nothing else."""

from __future__ import annotations

import contextlib
import errno
import http
import http.server
import io
import ipaddress
import os
import shutil
import socket
import socketserver
import urllib.parse
from pathlib import PurePosixPath
from typing import BinaryIO

from .page import POLICY, Asset, Page

PORT = 8765
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}


class Server(http.server.ThreadingHTTPServer):
    """Serves a page until it is closed. Made by :func:`serve`.

    Attributes:
        page: the page.
        url: where it is found.
    """

    daemon_threads = True
    # Elsewhere than on POSIX it would share the port with whoever has it.
    allow_reuse_address = os.name == "posix"

    def __init__(self, page: Page, host: str, port: int, family: socket.AddressFamily) -> None:
        self.page = page
        self.host = host
        self.address_family = family
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind, without the look-up of this machine's name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    @property
    def url(self) -> str:
        """The address of the page."""
        everywhere = self.host in ("0.0.0.0", "::")
        host = socket.gethostname() if everywhere else self.host
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.server_port}/"

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return _is_loopback(str(self.server_address[0]))

    def answers_to(self, name: str) -> bool:
        """Whether a request is meant for this server: a page elsewhere may name itself so."""
        return not self.loopback or name in ("localhost", self.host) or _is_loopback(name)


def serve(page: Page, host: str = "127.0.0.1", port: int = PORT) -> Server:
    """Return a server of a page that listens already; ``serve_forever()`` answers.

    Args:
        page: the page, as :func:`build` makes it.
        host: the name or address to listen on; by default this machine alone reaches it.
        port: which port; 0 for any that is free.

    Raises:
        ValueError: for a port that cannot be.
        OSError: if the port is in use or not allowed, or there is no such address.

    Example:
        >>> with tfvae.explorer.serve(page, port=0) as server:  # doctest: +SKIP
        ...     server.serve_forever()
    """
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 2**16:
        raise ValueError(f"Expected `port` to be between 0 and 65535. Received: port={port!r}.")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except (socket.gaierror, UnicodeError) as error:
        raise OSError(
            f"Expected `host` to be a name or address of this machine. Received: host={host!r}."
        ) from error
    try:
        return Server(page, host, port, family)
    except OSError as error:
        raise OSError(_refusal(error, host, port)) from error


def _refusal(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Expected a free port. Received: port {port} of {host}, which is in use. Pass "
            "another, as in --port 8766, or --port 0 for any that is free."
        )
    if error.errno == errno.EACCES:
        return (
            f"Expected a port that this user may listen on. Received: port {port}. Those below "
            "1024 are the administrator's: pass a higher one, as in --port 8765."
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"Expected `host` to be an address of this machine. Received: host={host!r}."
    return f"Cannot listen on port {port} of {host}: {error.strerror or error}."


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET and HEAD of the files of a page."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "tfvae"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:
        """Send a file."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Send a file's headers."""
        self._answer(body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep the terminal quiet: the page shows its own errors."""

    def _answer(self, *, body: bool) -> None:
        try:
            name = urllib.parse.urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
            path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).removeprefix("/")
        except ValueError:  # such as a bracket that is not closed
            self._refuse(http.HTTPStatus.BAD_REQUEST)
            return
        if not self.server.answers_to(name):
            self._refuse(http.HTTPStatus.MISDIRECTED_REQUEST)
            return
        path = path or "index.html"
        asset = self.server.page.files.get(path)
        # The files are those of the export, which may have been pruned since.
        file = None if asset is None else _opened(asset)
        if asset is None or file is None:
            self._refuse(http.HTTPStatus.NOT_FOUND)
            return
        # A browser that goes away in the middle has had enough.
        with contextlib.suppress(ConnectionError), file:
            self._send(file, path, f'"{asset.sha256}"', body=body)

    def _send(self, file: BinaryIO, path: str, tag: str, *, body: bool) -> None:
        if self.headers.get("If-None-Match") == tag:
            self._head(http.HTTPStatus.NOT_MODIFIED, {"ETag": tag})
            return
        length = file.seek(0, io.SEEK_END)
        file.seek(0)
        kind = _TYPES.get(PurePosixPath(path).suffix, "application/octet-stream")
        headers = {"Content-Type": kind, "Content-Length": str(length), "ETag": tag}
        self._head(http.HTTPStatus.OK, headers)
        if body:
            shutil.copyfileobj(file, self.wfile)

    def _refuse(self, status: http.HTTPStatus) -> None:
        text = f"{status.value} {status.phrase}\n".encode()
        headers = {"Content-Type": "text/plain", "Content-Length": str(len(text))}
        self._head(status, headers)
        if self.command != "HEAD":
            self.wfile.write(text)

    def _head(self, status: http.HTTPStatus, headers: dict[str, str]) -> None:
        self.send_response(status)
        common = {
            "Cache-Control": "no-cache",
            "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        for name, value in (headers | common).items():
            self.send_header(name, value)
        self.end_headers()


def _opened(asset: Asset) -> BinaryIO | None:
    """Return an asset to read from, or None where its file is gone or not ours to read."""
    if isinstance(asset.content, bytes):
        return io.BytesIO(asset.content)
    try:
        return asset.content.open("rb")
    except OSError:
        return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
