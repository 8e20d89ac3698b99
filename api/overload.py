"""What keeps a service that is asked for too much useful: a bound on what is worked on at once, and on waiting for
bodies. Who comes in above it is told so at once; who only holds a connection open takes nobody's place."""

import asyncio
import time
from contextlib import ExitStack

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems

FREE = frozenset({"/livez", "/readyz", "/metrics"})
"""Asked by those who decide whether the service lives."""
PATIENCE = 30.0
"""Seconds for a body to begin with; each `SLOWEST` bytes give one more."""
SLOWEST = 16 * 1024
"""Bytes of a body per second."""


class Bound:
    """So many at once."""

    def __init__(self, most: int) -> None:
        self.free = most

    def take(self, places: ExitStack) -> bool:
        """Takes a place until `places` is left; False if there is none."""
        if self.free <= 0:
            return False
        self.free -= 1
        places.callback(self.give)
        return True

    def give(self) -> None:
        """Gives a place back."""
        self.free += 1


class Overload:
    """ASGI middleware. A request takes a place once its body is here, and gives it back with its answer, of a long one
    with the first part: how slowly somebody reads is nobody else's concern. An event stream takes one of its own."""

    def __init__(self, app: ASGIApp, requests: int, streams: int) -> None:
        self.app = app
        self.requests = Bound(requests)
        self.streams = Bound(streams)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in FREE:
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        live = scope["path"].endswith("/events") and "text/event-stream" in headers.get("accept", "")
        bound = self.streams if live else self.requests

        async def sending(message: Message) -> None:
            if message.get("more_body") and not live:
                places.close()
            await send(message)

        with ExitStack() as places:
            if scope["method"] in ("POST", "PATCH") and _has_body(headers):
                await self.app(scope, _Body(receive, bound, places).receive, sending)
            elif bound.take(places):
                await self.app(scope, receive, sending)
            else:
                code, detail = problems.BY_STATUS[503]
                busy = problems.answer(Request(scope), 503, code, detail, problems.RETRY_AFTER)
                await busy(scope, receive, send)


class _Body:
    """A body on its way in; when it is whole, its request takes a place."""

    def __init__(self, receive: Receive, bound: Bound, places: ExitStack) -> None:
        self.inner = receive
        self.bound = bound
        self.places = places
        self.deadline = time.monotonic() + PATIENCE
        self.whole = False

    async def receive(self) -> Message:
        if self.whole:
            return await self.inner()
        try:
            message = await asyncio.wait_for(self.inner(), max(0.0, self.deadline - time.monotonic()))
        except TimeoutError:
            raise HTTPException(408, headers={"Connection": "close"}) from None
        self.deadline += len(message.get("body", b"")) / SLOWEST
        self.whole = not message.get("more_body", False)
        if self.whole and not self.bound.take(self.places):
            raise HTTPException(503, headers=problems.RETRY_AFTER)
        return message


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
