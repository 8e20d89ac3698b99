"""What the calls on workers answer with."""

from datetime import datetime
from typing import Literal

from api.schemas import Page, Shown

WorkerStatus = Literal["working", "idle", "draining", "drained", "silent"]


class Worker(Shown):
    """A process that trains."""

    object: Literal["worker"] = "worker"
    name: str
    status: WorkerStatus
    """`draining`: asked to hand back what it runs, `drained`: has done so and takes nothing; `silent`: not heard of
    for 45 seconds, its jobs go to others."""
    slots: int
    """Jobs that it runs at a time."""
    threads: int
    """Cores for each."""
    gpus: list[str]
    """Their names."""
    versions: dict[str, str]
    """Of fitd, Python, torch and the spec's language."""
    started_at: datetime
    seen_at: datetime
    """Its last heartbeat."""
    jobs: list[str]
    """Those that it holds."""


class WorkerPage(Page[Worker]):
    """Every worker, by name."""
