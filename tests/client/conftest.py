"""A small real HTTP server that answers what a test tells it to."""

import contextlib
import dataclasses
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

CREATED = "2026-01-02T03:04:05Z"


@dataclasses.dataclass(frozen=True)
class Reply:
    """One answer; with `cut` the connection breaks after so many bytes of the body."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    cut: int | None = None


@dataclasses.dataclass(frozen=True)
class Seen:
    """A request that arrived."""

    call: str
    headers: dict[str, str]
    body: bytes


class Canned(http.server.ThreadingHTTPServer):
    """Gives the replies of a call one after the other, the last one again and again."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies: dict[str, list[Reply]] = {}
        self.seen: list[Seen] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def say(self, call: str, *replies: Reply) -> None:
        """`call` is the method and the path, with the query if it matters."""
        self.replies[call] = list(replies)

    def calls(self) -> list[str]:
        return [seen.call for seen in self.seen]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Canned

    def do_GET(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        call = f"{self.command} {self.path}"
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append(Seen(call, headers, self.rfile.read(size)))
        left = self.server.replies.get(call) or self.server.replies[call.partition("?")[0]]
        self._send(left.pop(0) if len(left) > 1 else left[0])

    do_POST = do_PATCH = do_DELETE = do_GET

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body[: reply.cut])
        self.close_connection = reply.cut is not None

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def service() -> Iterator[Canned]:
    """The server, on a free port."""
    with Canned() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        with contextlib.ExitStack() as stack:
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            yield server


def said(value: object, status: int = 200, **headers: str) -> Reply:
    """A JSON reply; `retry_after` becomes `Retry-After`."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(json.dumps(value).encode(), status, {"Content-Type": "application/json", **named})


def job(id: str = "job_1", status: str = "queued", **more: object) -> dict[str, object]:
    """A job object of the contract."""
    ended = status in {"succeeded", "failed", "cancelled", "timed_out"}
    return {"id": id, "object": "job", "status": status, "created_at": CREATED, "is_terminal": ended, **more}


def file(name: str, content: bytes = b"") -> dict[str, object]:
    """A file of job_1, by the contract."""
    digest = hashlib.sha256(content).hexdigest()
    return {"id": name, "name": name, "bytes": len(content), "sha256": digest, "content": f"/files/{name}"}


def stream(*events: tuple[int, str, dict[str, Any]], cut: int | None = None) -> Reply:
    """An event stream of (seq, kind, data)."""
    blocks = [
        f"event: {kind}\nid: {seq}\ndata: "
        + json.dumps({"seq": seq, "kind": kind, "at": CREATED, "message": f"it is {kind}", "data": data})
        + "\n\n: ping\n\n"
        for seq, kind, data in events
    ]
    return Reply("".join(blocks).encode(), 200, {"Content-Type": "text/event-stream"}, cut)


def progress(epoch: int, **metrics: float) -> dict[str, Any]:
    """The data of a progress event of a run of four epochs."""
    steps = {"step": epoch * 10, "steps": 40, "fraction": epoch / 4, "samples_per_second": 1e4}
    return {"epoch": epoch, "epochs": 4, **steps, "lr": 0.01, "metrics": metrics}
