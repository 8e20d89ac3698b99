"""`python -m tests.faults.writers URL SECONDS`: a worker that does nothing but write metrics; prints how long each
write took, in seconds, as JSON."""

import json
import sys
import time

from jobs import claims, db, leases
from jobs.record import MetricPoint, Progress, Usage

POINTS = 50
"""Values in each write."""


def main(url: str, seconds: float) -> list[float]:
    """Claims a job and writes for so long."""
    database = db.connect(url)
    with database.writing() as session:
        job = claims.claim(session, "writer", 3600)
        assert job is not None
    end, took = time.monotonic() + seconds, list[float]()
    while time.monotonic() < end:
        began = time.monotonic()
        write(database, job.id, len(took) * POINTS)
        took.append(time.monotonic() - began)
    return took


def write(database: db.Database, job_id: str, start: int) -> None:
    """One batch, as a worker writes it."""
    points = [MetricPoint(name="loss", step=start + n, epoch=1, value=0.5, nonfinite=None) for n in range(POINTS)]
    progress = Progress(epoch=1, epochs=2, step=start, steps=10**6, fraction=0.5, samples_per_second=None)
    with database.writing() as session:
        assert leases.record(session, job_id, 1, points, progress, {"loss": 0.5}, None, Usage(), 3600)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], float(sys.argv[2]))))
