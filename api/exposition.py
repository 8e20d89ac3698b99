"""Metrics as Prometheus reads them, also on a port of their own."""

import socket
import threading

import prometheus_client
import uvicorn
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from api import access, guard, origins, overload, problems, telemetry

PATH = "/metrics"
CONNECTIONS = 16
"""Of one address, to the port of their own."""


def answer(request: Request) -> Response:
    """The metrics of the app's registry."""
    encode, media_type = choose_encoder(_sensible(request.headers.get("accept", "")))
    registry: prometheus_client.CollectorRegistry = request.app.state.registry
    return Response(encode(registry), media_type=media_type)


def _sensible(accept: str) -> str:
    """What a caller accepts; nothing, which stands for the plain format, where a version in it is none."""
    try:
        choose_encoder(accept)
    except (TypeError, ValueError):
        return ""
    return accept


def create(registry: prometheus_client.CollectorRegistry, gate: access.Gate) -> ASGIApp:
    """What their port serves; where the gate is open it is as deaf to the pages of other sites as the api is."""
    app = Starlette(routes=[Route(PATH, answer)], exception_handlers=dict(problems.HANDLERS))
    app.state.registry = registry
    bounded = overload.Overload(app, requests=overload.WATCHERS, streams=1)
    return telemetry.Requests(origins.Origins(bounded, gate), prometheus_client.CollectorRegistry())


def serve(app: ASGIApp, host: str, port: int) -> None:
    """From a thread of its own, with the api's defences."""
    listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    config = uvicorn.Config(
        app,
        http=guard.protocol(CONNECTIONS),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    threading.Thread(target=uvicorn.Server(config).run, args=([listening],), name="metrics", daemon=True).start()
