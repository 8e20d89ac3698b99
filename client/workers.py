"""Who trains: the workers of a service.

with Client() as fitd:
    for worker in fitd.workers.list():
        print(worker.name, worker.status, worker.jobs)
    fitd.workers.drain(worker.name)
"""

from datetime import datetime

from client import http
from client.answers import Answer

PATH = "/v1/workers"


class Worker(Answer):
    """A process that trains."""

    name: str
    status: str
    """`working`, `idle`, `draining`, `drained` or `silent`."""
    slots: int = 0
    threads: int = 0
    gpus: list[str] = []
    versions: dict[str, str] = {}
    started_at: datetime | None = None
    seen_at: datetime | None = None
    jobs: list[str] = []


class Workers:
    """The workers of one service."""

    def __init__(self, wire: http.Wire) -> None:
        self._wire = wire

    def list(self) -> list[Worker]:
        """Every worker, by name."""
        return [Worker.model_validate(item) for item in self._wire.pages(PATH, {})]

    def drain(self, name: str) -> Worker:
        """Asks a worker to hand back what it runs and to take nothing more."""
        return self._asked(name, "drain")

    def resume(self, name: str) -> Worker:
        """Ends a drain."""
        return self._asked(name, "resume")

    def _asked(self, name: str, what: str) -> Worker:
        return Worker.model_validate_json(self._wire.send("POST", f"{PATH}/{name}/{what}").content)
