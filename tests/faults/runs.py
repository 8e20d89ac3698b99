"""What the api tells of a run."""

from client.answers import Job
from tests.fleet import Fleet


def listed(fleet: Fleet, part: str) -> bool:
    """Whether a worker has said that it is here: all is imported by then."""
    names = [worker.name for worker in fleet.client.workers.list()]
    return any(name.endswith(f"-{fleet.parts[part].pid}") for name in names)


def exits(fleet: Fleet, job: Job) -> list[str | None]:
    """How the attempts ended."""
    return [attempt.exit for attempt in fleet.client.job(job.id).attempts]


def resumed(fleet: Fleet, job: Job) -> list[int | None]:
    """Steps that the attempts went on from."""
    return [attempt.resumed_from_step for attempt in fleet.client.job(job.id).attempts]


def trained(fleet: Fleet, job: Job) -> int:
    """Steps so far."""
    progress = fleet.client.job(job.id).progress
    return progress.step if progress else 0


def saved(fleet: Fleet, job: Job) -> bool:
    """Whether there is something to go on from."""
    return any(file.resumable for file in fleet.client.checkpoints(job.id))
