"""Runs the HTTP service: `python -m api`."""

import contextlib
import gc
import socket
import threading

import uvicorn

from api import access, exposition, guard
from api.app import create_app
from jobs import logs, migrate, settings


class Server(uvicorn.Server):
    """Tells open streams to end before it waits for connections to close."""

    def __init__(self, config: uvicorn.Config, stopping: threading.Event) -> None:
        super().__init__(config)
        self.stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.stopping.set()
        await super().shutdown(sockets)


def main() -> None:
    """Serves until SIGINT or SIGTERM; running requests get ten seconds to end."""
    chosen = settings.current()
    logs.configure(chosen.log_format)
    if chosen.migrate:
        migrate.upgrade(chosen.database)
    app = create_app(chosen)
    if chosen.metrics_port:
        host = chosen.metrics_host or chosen.host
        gate = access.Gate(app.state.database, chosen.model_copy(update={"host": host}))
        exposition.serve(exposition.create(app.state.registry, gate), host, chosen.metrics_port)
    gc.freeze()  # what is here now stays; without it, reading a large body looks through all of it many times over
    config = uvicorn.Config(
        app,
        host=chosen.host,
        port=chosen.port,
        http=guard.protocol(0 if chosen.behind_proxy else chosen.max_connections_per_address),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=chosen.behind_proxy,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=10,
    )
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn has ended in order and raises its signal once more
        Server(config, app.state.stopping).run()


if __name__ == "__main__":
    main()
