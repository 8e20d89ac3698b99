"""The states of a job and every move between them. Nobody assigns a status but by `ALLOWED`."""

from enum import StrEnum


class Status(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.TIMED_OUT})
HELD = frozenset({Status.RUNNING, Status.PAUSING, Status.CANCELLING})
"""A worker has a lease on these."""
AT_REST = frozenset({Status.QUEUED, Status.PAUSED})
"""These have yet to end, and nobody holds them."""

ALLOWED: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED, Status.FAILED, Status.PAUSED}),
    Status.RUNNING: frozenset({Status.QUEUED, Status.PAUSING, Status.CANCELLING}) | TERMINAL - {Status.CANCELLED},
    Status.PAUSING: frozenset({Status.PAUSED, Status.QUEUED, Status.CANCELLING}) | TERMINAL - {Status.CANCELLED},
    Status.PAUSED: frozenset({Status.QUEUED, Status.CANCELLED, Status.FAILED}),
    Status.CANCELLING: TERMINAL,
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.TIMED_OUT: frozenset(),
}


def sources(target: Status) -> frozenset[Status]:
    """The states from which a job may move to this one."""
    return frozenset(status for status, targets in ALLOWED.items() if target in targets)


def allowed_actions(status: Status) -> list[str]:
    """What a caller may do with a job in this state. A retry is a new job: what has ended stays ended."""
    match status:
        case Status.QUEUED | Status.RUNNING:
            return ["pause", "cancel"]
        case Status.PAUSING:
            return ["cancel"]
        case Status.PAUSED:
            return ["resume", "cancel"]
        case Status.CANCELLING:
            return []
        case Status.SUCCEEDED:
            return ["delete"]
        case Status.FAILED | Status.CANCELLED | Status.TIMED_OUT:
            return ["retry", "delete"]
