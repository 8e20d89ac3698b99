"""A service that asks nobody for a key must not be reached through somebody's browser: by the page of another site, or
by a name that another site has pointed at this machine (DNS rebinding)."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api import access, problems

PROXIED = ("forwarded", "via", "x-forwarded-", "x-real-ip")
"""How what a proxy adds begins: whoever is behind one is not at this machine, and `FITD_BEHIND_PROXY` is to be set. One
that adds nothing may still give itself away by HTTP/1.0, which is what nginx speaks unless it is told otherwise."""
DETAIL = (
    "Ask this service by the name localhost or 127.0.0.1, over HTTP/1.1, and not from the page of another site. "
    "Behind a proxy it needs FITD_BEHIND_PROXY=true."
)


class Origins:
    """ASGI middleware for a service without keys."""

    def __init__(self, app: ASGIApp, gate: access.Gate) -> None:
        self.app = app
        self.gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self.gate.is_open and not _is_near(scope):
            return await problems.answer(Request(scope), 403, "forbidden", DETAIL)(scope, receive, send)
        await self.app(scope, receive, send)


def _is_near(scope: Scope) -> bool:
    return scope["http_version"] != "1.0" and is_own(Headers(scope=scope))


def is_own(headers: Headers) -> bool:
    """Whether a request names this machine, and comes from no page of another and through no proxy."""
    origin = headers.get("origin")
    if any(name.lower().startswith(PROXIED) for name in headers):
        return False
    near = headers.get("sec-fetch-site", "none") in ("none", "same-origin")
    return near and _is_local(f"//{headers.get('host', '')}") and (origin is None or _is_local(origin))


def _is_local(address: str) -> bool:
    try:
        host = urlsplit(address).hostname
    except ValueError:
        return False
    return host is not None and access.is_loopback(host)
