"""What a worker knows of its hold on a job: told by whoever renews the lease, asked by whoever writes for it."""

import time
from dataclasses import dataclass, field

from jobs.states import Status
from jobs.tables.jobs import Job

LONGEST_DISCONNECTED = 900.0
"""Seconds for which a run goes on while the database cannot be reached."""


class Lost(Exception):
    """The lease is somebody else's now: kill the child, touch nothing."""


@dataclass(eq=False)
class Hold:
    """One attempt's lease, shared by the heartbeat and the thread that works on the job."""

    job: Job
    lost: bool = False
    renewed_at: float = field(default_factory=time.monotonic)

    def renewed(self, status: Status | None, asked_at: float) -> None:
        """The database's answer to a renewal that was sent at `asked_at`: None says that the lease is lost."""
        if status is None:
            self.lost = True
        else:
            self.renewed_at = asked_at

    def check(self) -> None:
        """Raises `Lost` if the lease is known to be, or if the database has been away for too long."""
        if self.lost or time.monotonic() - self.renewed_at > LONGEST_DISCONNECTED:
            raise Lost
