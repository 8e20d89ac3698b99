"""What keeps a service that is asked for too much useful: a bound on what is worked on at once, and on waiting for
bodies. Who comes in above it is told so at once; who only holds a connection open takes nobody's place."""

import asyncio
import time
from collections import Counter
from contextlib import ExitStack

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from jobs.keys import Caller

FREE = "/livez"
"""Costs nothing, and decides whether the service lives."""
WATCHED = frozenset({"/readyz", "/metrics"})
"""Asked by those who watch the service: they find a place whatever others do, and leave the others theirs."""
WATCHERS = 4
PATIENCE = 30.0
"""Seconds for a body to begin with; each `SLOWEST` bytes give one more."""
SLOWEST = 16 * 1024
"""Bytes of a body per second."""
SMALL = 64 * 1024
"""Bytes of a body that are nobody's concern."""
BODIES = 8
"""Larger ones of one owner that may be on their way at once."""
EACH = 3
"""Places that an owner may have for each that is left to others."""


class Bound:
    """So many at once."""

    def __init__(self, most: int) -> None:
        self.free = most

    def take(self, places: ExitStack, number: int = 1) -> bool:
        """Takes places until `places` is left; False if there are not as many."""
        if self.free < number:
            return False
        self.free -= number
        places.callback(self.give, number)
        return True

    def give(self, number: int) -> None:
        """Gives places back."""
        self.free += number


class Shares:
    """So many at once of each owner. Where nobody needs a key there are no owners to tell apart, and no shares."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken: Counter[str] = Counter()

    def take(self, caller: Caller, places: ExitStack) -> bool:
        """Takes a place until `places` is left; False if the caller's owner has as many as one may."""
        if caller.key_id is None:
            return True
        if self.taken[caller.owner] >= self.most:
            return False
        self.taken[caller.owner] += 1
        places.callback(self.give, caller.owner)
        return True

    def give(self, owner: str) -> None:
        """Gives a place back."""
        self.taken[owner] -= 1
        if not self.taken[owner]:
            del self.taken[owner]


class Places(Bound):
    """Requests that are worked on. An owner may have one, and more while that leaves others enough: `EACH` times what
    is free then. So whoever asks alone has most of the places, and nobody has all."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.owners = Shares(most)

    def own(self, caller: Caller, places: ExitStack) -> bool:
        """Counts a place that was taken among those of the caller's owner; False if they have as many as they may."""
        self.owners.most = max(1, EACH * self.free)
        return self.owners.take(caller, places)


class Overload:
    """ASGI middleware. A request takes a place once its body is here, if there is one when it comes and then, and gives
    it back with its answer, of a long one with the first part: how slowly somebody reads is nobody else's concern. An
    event stream takes one of its own. `places` in a request's state are for whatever else is to be given back then."""

    def __init__(self, app: ASGIApp, requests: int, streams: int) -> None:
        self.app = app
        self.requests = Places(requests)
        self.streams = Bound(streams)
        self.watchers = Bound(WATCHERS)
        self.bodies = Shares(BODIES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == FREE:
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        live = scope["path"].endswith("/events") and "text/event-stream" in headers.get("accept", "")
        bound = self.streams if live else self.watchers if scope["path"] in WATCHED else self.requests

        async def sending(message: Message) -> None:
            if message.get("more_body") and not live:
                places.close()
            await send(message)

        if not bound.free:  # at once, whatever is still to come of it: refusing costs those who are worked on
            code, detail = problems.BY_STATUS[503]
            busy = problems.answer(Request(scope), 503, code, detail, problems.RETRY_AFTER)
            return await busy(scope, receive, send)
        with ExitStack() as places:
            scope["state"] |= {"places": places, "bound": None}
            if scope["method"] in ("POST", "PATCH") and _has_body(headers):
                with ExitStack() as coming:
                    body = _Body(scope, receive, bound, places, self.bodies, coming)
                    await self.app(scope, body.receive, sending)
            else:
                bound.take(places)
                scope["state"]["bound"] = bound
                await self.app(scope, receive, sending)


class _Body:
    """A body on its way in; when it is whole, its request takes a place. Until then it is one of those that its owner
    may have on their way, unless it is small."""

    def __init__(
        self, scope: Scope, receive: Receive, bound: Bound, places: ExitStack, shares: Shares, coming: ExitStack
    ) -> None:
        self.scope = scope
        self.inner = receive
        self.bound = bound
        self.places = places
        self.shares = shares
        self.coming = coming
        self.deadline = time.monotonic() + PATIENCE
        self.size = 0
        self.is_large = False
        self.whole = False

    async def receive(self) -> Message:
        if self.whole:
            return await self.inner()
        try:
            message = await asyncio.wait_for(self.inner(), max(0.0, self.deadline - time.monotonic()))
        except TimeoutError:
            raise HTTPException(408, headers={"Connection": "close"}) from None
        self.size += len(message.get("body", b""))
        self.deadline += len(message.get("body", b"")) / SLOWEST
        self.whole = not message.get("more_body", False)
        if self.whole:
            self.coming.close()
            if not self.bound.take(self.places):
                raise HTTPException(503, headers=problems.RETRY_AFTER)
            self.scope["state"]["bound"] = self.bound
            own(Request(self.scope))
        elif self.size > SMALL and not self.is_large:
            self._count()
        return message

    def _count(self) -> None:
        self.is_large = True
        caller: Caller | None = self.scope["state"].get("caller")
        if caller and not self.shares.take(caller, self.coming):
            text = f"{self.shares.most} of your requests are being sent already, as many as may; let some of them end."
            raise HTTPException(429, text, headers=problems.RETRY_AFTER)


def own(request: Request) -> None:
    """Counts the place of a request among its owner's, once it has one and its caller is known.

    Raises:
        HTTPException: 429 if they have as many as they may.
    """
    bound, caller = request.state.bound, getattr(request.state, "caller", None)
    if caller and isinstance(bound, Places) and not bound.own(caller, request.state.places):
        text = "As many of your requests are being worked on as may be, to leave room for others; let some of them end."
        raise HTTPException(429, text, headers=problems.RETRY_AFTER)


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
