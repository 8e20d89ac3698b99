"""Metrics as Prometheus reads them, also on a port of their own."""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import prometheus_client
from prometheus_client.exposition import choose_encoder
from starlette.datastructures import Headers

from api import origins


def sensible(accept: str) -> str:
    """What a caller accepts; nothing, which stands for the plain format, where a version in it is none."""
    try:
        choose_encoder(accept)
    except (TypeError, ValueError):
        return ""
    return accept


def serve(host: str, port: int, registry: prometheus_client.CollectorRegistry, is_open: bool) -> None:
    """From a thread of its own; where nobody needs a key it is as deaf to the pages of other sites as the api is."""
    server, _ = prometheus_client.start_http_server(port, host, registry)
    server.set_app(_guarded(server.get_app(), is_open))


def _guarded(app: WSGIApplication | None, is_open: bool) -> WSGIApplication:
    assert app is not None

    def answer(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        given = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name[:5] == "HTTP_"}
        if is_open and not origins.is_own(Headers(given)):
            start("403 Forbidden", [("Content-Type", "text/plain")])
            return [origins.DETAIL.encode()]
        return app(environ | {"HTTP_ACCEPT": sensible(given.get("accept", ""))}, start)

    return answer
