"""`python -m bench.guards`: what keys, limits and the audit cost a submit, against a service without keys and, with
`--against FOLDER`, against another checkout of fitd. Requests take turns, so that all meet the same machine."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
from rich.console import Console
from rich.table import Table

from bench import machine
from jobs import db, keys
from jobs.settings import Settings
from tests.api import server

SPEC = {"dataset": {"source": "builtin", "name": "wine"}, "epochs": 3}
MANY = {"FITD_REQUESTS_PER_SECOND": "100000", "FITD_MAX_WAITING_JOBS": "1000000"}


def main() -> None:
    """Prints the median and the 99th percentile of each."""
    parser = argparse.ArgumentParser(prog="python -m bench.guards", description=__doc__)
    parser.add_argument("--submits", type=int, default=500, help="of each service")
    parser.add_argument("--against", type=Path, help="another checkout")
    options = parser.parse_args()
    with ExitStack() as stack:
        services = {
            "without keys": stack.enter_context(_service(MANY)),
            "with keys": stack.enter_context(_service({**MANY, "FITD_REQUIRE_KEYS": "true"})),
        }
        if options.against:
            other = {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(options.against.resolve())}
            services["the other checkout"] = stack.enter_context(_service(other))
        times = _measured(services, options.submits)
    table = Table("", "submit p50 ms", "p99 ms")
    for name, seconds in times.items():
        cuts = statistics.quantiles(seconds, n=100)
        table.add_row(name, f"{1000 * cuts[49]:.2f}", f"{1000 * cuts[98]:.2f}")
    Console().print(table)
    Console().print(f"{machine.processor()}, load {machine.load():.1f}")


@contextmanager
def _service(environment: dict[str, str]) -> Iterator[httpx2.Client]:
    """A client of a service of its own, with a key where that takes one."""
    with tempfile.TemporaryDirectory() as name, server.running(Path(name), **environment) as running:
        headers = _headers(Path(name)) if "FITD_REQUIRE_KEYS" in environment else {}
        with httpx2.Client(base_url=running.url, headers=headers) as client:
            yield client


def _headers(folder: Path) -> dict[str, str]:
    database = db.connect(Settings(data_dir=folder).database)
    with database.writing() as session:
        token = keys.create(session, "ann", "submit", None).token
    database.engine.dispose()
    return {"Authorization": f"Bearer {token}"}


def _measured(services: dict[str, httpx2.Client], submits: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in services}
    for number in range(submits + 20):
        for name, client in services.items():
            began = time.perf_counter()
            client.post("/v1/jobs", json=SPEC).raise_for_status()
            if number >= 20:  # the first ones warm up
                times[name].append(time.perf_counter() - began)
    return times


if __name__ == "__main__":
    main()
