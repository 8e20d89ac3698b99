"""`python -m bench.warm`: what a job costs beside its training, on a worker that is warm and idle: time from the submit
to the claim, to the first report and to the end of a run of two epochs."""

import argparse
import statistics
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import machine
from tests.fleet import Fleet, digits

SPEC = digits(epochs=2)
MOMENTS = {"claimed": "started", "first report": "progress", "over": "succeeded"}
"""By the kinds of their events."""


def main() -> None:
    """Prints the median and the longest of each."""
    parser = argparse.ArgumentParser(prog="python -m bench.warm", description=__doc__)
    parser.add_argument("--jobs", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder))
        try:
            fleet.client.wait(fleet.client.submit(SPEC).id)
            runs = [_moments(fleet) for _ in range(options.jobs)]
        finally:
            fleet.close()
    table = Table("after the submit", "median ms", "most ms")
    for name, kind in MOMENTS.items():
        times = [1000 * run[kind] for run in runs]
        table.add_row(name, f"{statistics.median(times):.0f}", f"{max(times):.0f}")
    Console().print(table)
    Console().print(f"{options.jobs} jobs, {machine.processor()}, load {machine.load():.1f}")


def _moments(fleet: Fleet) -> dict[str, float]:
    job = fleet.client.wait(fleet.client.submit(SPEC).id)
    assert job.created_at
    began = job.created_at
    return {event.kind: (event.at - began).total_seconds() for event in fleet.client.follow(job.id)}


if __name__ == "__main__":
    main()
