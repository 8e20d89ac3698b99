"""`python -m bench.cancel`: seconds from a cancel to the end of a running job and of its process."""

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console

from bench import machine
from tests.fleet import Fleet, digits, until

ENDLESS = digits(epochs=100_000)


def main() -> None:
    """Prints the median and the longest."""
    parser = argparse.ArgumentParser(prog="python -m bench.cancel", description=__doc__)
    parser.add_argument("--jobs", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder))
        try:
            times = sorted(_cancelled(fleet, random.Random(number)) for number in range(options.jobs))
        finally:
            fleet.close()
    cuts = statistics.quantiles(times, n=100)
    text = f"{options.jobs} jobs: median {cuts[49]:.2f} s, 99 % {cuts[98]:.2f} s, most {times[-1]:.2f} s"
    Console().print(f"{text} ({machine.processor()}, load {machine.load():.1f})")


def _cancelled(fleet: Fleet, rng: random.Random) -> float:
    job = fleet.client.submit(ENDLESS)
    until(lambda: fleet.client.job(job.id).progress)
    time.sleep(rng.uniform(0, 2))
    began = time.monotonic()
    fleet.client.cancel(job.id)
    until(lambda: fleet.client.job(job.id).is_terminal and not fleet.children())
    return time.monotonic() - began


if __name__ == "__main__":
    main()
