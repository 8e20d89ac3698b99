"""What a proxy would do where there is none: connections that only wait, or talk without end, are closed."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

PATIENCE = 10.0
"""Seconds for a request's line and headers, from the connection or from their first byte on."""
LONGEST = 64 * 1024
"""Bytes of them that may come without an end in sight."""


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's, with limits on the head of a request."""

    _timer: asyncio.TimerHandle | None = None
    _head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._timer and not self.transport.is_closing():  # all of it was head
            self._head += len(data)
            if self._head > LONGEST:
                self.send_400_response("The request line and the headers are too long.")

    def on_message_begin(self) -> None:
        if self._timer is None:
            self._begin()
        super().on_message_begin()

    def on_headers_complete(self) -> Any:
        self._end()
        return super().on_headers_complete()

    def _begin(self) -> None:
        self._head = 0
        self._timer = self.loop.call_later(PATIENCE, self.timeout_keep_alive_handler)

    def _end(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
