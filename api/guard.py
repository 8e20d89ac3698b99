"""What a proxy would do where there is none: connections that only wait, talk without end or are not read are closed,
and so are too many of one address."""

import array
import asyncio
import fcntl
import socket
import struct
import termios
from collections import Counter
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

PATIENCE = 10.0
"""Seconds without a request to work on: for the next one's line and headers, from their first byte on, and for what is
still on its way of a body that was answered before it was whole."""
UNREAD = 30.0
"""Seconds in which somebody takes nothing of what is sent to them."""
LOOK = 1.0
"""Seconds between two looks at a connection."""
LONGEST = 64 * 1024
"""Bytes of line and headers, or of what stands between and behind the pieces of a body, that may come without an end in
sight."""
AHEAD = 8
"""Requests of a connection that wait for their answers. Who sends more does not wait for any, and each takes memory."""


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's, looked after: its own timer for silence ends with any byte. The one of httptools, for h11 takes a
    request with both Content-Length and Transfer-Encoding."""

    most = 0
    """Connections of one address; 0 for as many as come."""
    addresses: Counter[str] = Counter()

    _timer: asyncio.TimerHandle
    _address = ""
    _open = 0
    """Requests whose head is here and whose answer is not whole."""
    _until = 0.0
    """When the patience ends, while there is none."""
    _in_head = False
    _around = 0
    """Bytes since the last that were a body's, or since the request began."""
    _unsent = 0
    _moved_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()
        self._look()
        self._address = self.client[0] if self.client else ""
        self.addresses[self._address] += 1
        if 0 < self.most < self.addresses[self._address]:
            self._reset()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self.addresses[self._address] -= 1
        if not self.addresses[self._address]:
            del self.addresses[self._address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._around += len(data)
        super().data_received(data)
        if self._around > LONGEST and not self.transport.is_closing():
            self.send_400_response("The request line and the headers are too long.")

    def on_message_begin(self) -> None:
        if self._open >= AHEAD:
            self._reset()
            raise ConnectionError  # nothing behind it is parsed
        self._in_head, self._around = True, 0
        self._wait()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Nothing that follows a body is a header: it would come after who asks was found, or instead of it."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> Any:
        self._in_head = False
        self._open += 1
        return super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._around = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        self._open -= 1
        self._wait()
        super().on_response_complete()

    def resume_writing(self) -> None:
        self._moved_at = self.loop.time()
        super().resume_writing()

    def _wait(self) -> None:
        self._until = self.loop.time() + PATIENCE

    def _look(self) -> None:
        now, unsent = self.loop.time(), _unsent(self.transport)
        if not unsent or unsent < self._unsent:
            self._moved_at = now
        self._unsent = unsent
        if now > self._moved_at + UNREAD:
            self._reset()
        elif not self._open and now > self._until:
            self.timeout_keep_alive_handler()
        self._timer = self.loop.call_later(LOOK, self._look)

    def _reset(self) -> None:
        """Closes without waiting for the reader; the system forgets what is unsent, too."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def protocol(most: int) -> type[GuardedProtocol]:
    """With so many connections of one address at most; 0 for as many as come."""
    return type("Protocol", (GuardedProtocol,), {"most": most, "addresses": Counter()})


def _unsent(transport: asyncio.Transport) -> int:
    """Bytes that wait here or in the system until the other side takes them; of the system's only Linux tells."""
    queued = array.array("i", [0])
    with suppress(OSError):
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, queued)
    return transport.get_write_buffer_size() + queued[0]
