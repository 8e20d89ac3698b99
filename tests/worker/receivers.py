"""A real HTTP server on loopback that behaves as a test tells it to."""

import contextlib
import http.server
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from worker.outbound import Policy

LOOPBACK = ip_network("127.0.0.0/8")
HERE = Policy([LOOPBACK])


@dataclass(frozen=True)
class Seen:
    """A request that arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver(http.server.ThreadingHTTPServer):
    """Answers each request by the next of its `acts`, the last one again and again."""

    daemon_threads = True

    def __init__(self, *acts: "Act", host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((host, port), _Handler)
        self.acts = list(acts)
        self.callers = 0
        """Connections, whatever came through them."""
        self.seen: list[Seen] = []
        self.lock = threading.Lock()
        self.over = threading.Event()
        """Set at the end of the test: whoever dawdles stops."""

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def verify_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> bool:
        self.callers += 1
        return True

    def next_act(self, seen: Seen) -> "Act":
        with self.lock:
            self.seen.append(seen)
            return self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            self.server.next_act(Seen(self.command, self.path, headers, body))(self)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


Act = Callable[[_Handler], None]


def status(code: int, body: bytes = b"", **headers: str) -> Act:
    """An answer."""

    def act(handler: _Handler) -> None:
        handler.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return act


def drip(handler: _Handler) -> None:
    """A header that never ends, a byte at a time."""
    while not handler.server.over.wait(0.05):
        handler.wfile.write(b"H")
        handler.wfile.flush()


def flood(handler: _Handler) -> None:
    """A body that never ends."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not handler.server.over.is_set():
        handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def nonsense(handler: _Handler) -> None:
    """No HTTP."""
    handler.wfile.write(b"220 smtp.example.com ESMTP\r\n")
    handler.close_connection = True


@contextlib.contextmanager
def receiving(
    *acts: Act, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> Iterator[Receiver]:
    """A receiver for the length of the block."""
    with Receiver(*acts, host=host, port=port) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()
