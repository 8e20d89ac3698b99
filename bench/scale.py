"""`python -m bench.scale`: what a request costs on a database that is empty, and on one that is very full.

Fills a database of its own, which is removed afterwards, or an empty one that is named by its URL and is emptied again.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from api import telemetry, views
from bench import filling, machine, pages
from bench.filling import OWNER, POINTS, SPEC, Sizes
from jobs import claims, datasets, db, events, history, listing, migrate, store
from jobs.allowances import USUAL
from jobs.listing import Filter
from jobs.record import MetricPoint
from jobs.states import Status
from jobs.tables.jobs import Job

SMALL = Sizes(500, 500, POINTS)
BATCH = 500
"""Points that a worker writes at once."""

Case = Callable[[], object]
Times = dict[str, tuple[float, float]]
"""Median and 99th percentile of each case, in milliseconds."""


def main() -> int:
    """0 when it is done."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--database", default="", help="of an empty database; else a SQLite file of its own")
    parser.add_argument("--jobs", type=int, default=100_000, help="that wait")
    parser.add_argument("--finished", type=int, default=1_000_000)
    parser.add_argument("--points", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=200, help="how often each request is made")
    parser.add_argument("--write", type=Path, help="a Markdown file to renew the table of")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.database or f"sqlite:///{folder}/fitd.db"
        migrate.upgrade(url)
        text = _compared(db.connect(url), Sizes(options.jobs, options.finished, options.points), options)
        if options.write:
            pages.renew(options.write, text, what=f"scale, {sa.make_url(url).get_backend_name()}")
        if options.database:
            migrate.downgrade(url, "base")
    return 0


def _compared(database: db.Database, sizes: Sizes, options: argparse.Namespace) -> str:
    empty, _ = _filled(database, SMALL, options.rounds)
    full, seconds = _filled(database, sizes, options.rounds)
    database.engine.dispose()
    rows = [_row(name, empty[name], full[name]) for name in empty]
    headings = ("", "empty, p50 ms", "full, p50 ms", "ratio", "empty, p99 ms", "full, p99 ms")
    table = Table(*headings)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    made = f"{sizes.queued:,} queued and {sizes.finished:,} ended jobs, {sizes.points:,} points"
    command = " ".join(["python -m bench.scale", *(word for word in sys.argv[1:] if "://" not in word)])
    where = f"{database.engine.dialect.name}, {machine.processor()}, load {machine.load():.1f}"
    return f"`{command}`: {made}, filled in {seconds:.0f} s; {where}.\n\n{pages.table(headings, rows)}"


def _filled(database: db.Database, sizes: Sizes, rounds: int) -> tuple[Times, float]:
    """The times of everything once that much has been added, and how long adding it took."""
    began = time.perf_counter()
    metered = filling.fill(database, sizes)[-1]
    if database.engine.dialect.name == "postgresql":  # what autovacuum does sooner or later
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("SET statement_timeout = 0"))
            connection.execute(sa.text("VACUUM ANALYZE"))
    seconds = time.perf_counter() - began
    return {name: _times(case, rounds) for name, case in _cases(database, metered).items()}, seconds


def _row(name: str, empty: tuple[float, float], full: tuple[float, float]) -> tuple[str, ...]:
    numbers = (empty[0], full[0], full[0] / empty[0], empty[1], full[1])
    return name, *(f"{number:.2f}" for number in numbers)


def _times(case: Case, rounds: int) -> tuple[float, float]:
    spent = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        case()
        spent.append((time.perf_counter() - began) * 1000)
    return statistics.median(spent[1:]), statistics.quantiles(spent[1:], n=100)[98]


def _cases(database: db.Database, metered: str) -> dict[str, Case]:
    now, steps = datetime.now(UTC), itertools.count(10**6, BATCH)
    queue = telemetry.Queue(database)
    newest, deep = _listed(database, Filter()), _deep(database)
    filters = {
        "list": Filter(),
        "list, queued": Filter(status=[Status.QUEUED]),
        "list, failed or running": Filter(status=[Status.FAILED, Status.RUNNING]),
        "list, by name": Filter(name="final"),
        "list, by name that there is not": Filter(name="absent"),
        "list, by dataset": Filter(dataset="ds_common"),
        "list, of the last hour": Filter(created_after=now - timedelta(hours=1)),
        "list, older than 50 days": Filter(created_before=now - timedelta(days=50)),
        "list, by metadata": Filter(metadata={"team": "text"}),
    }
    return {
        "submit": lambda: _submit(database),
        "claim": lambda: _claim(database),
        **{name: lambda chosen=chosen: _listed(database, chosen) for name, chosen in filters.items()},  # type: ignore[misc]
        "list, as answered, 20 jobs": lambda: _shown(database),
        "show the last queued job": lambda: _show(database, newest[0]),
        "show a queued job among the first 1,000": lambda: _show(database, deep),
        "show an ended job": lambda: _show(database, metered),
        f"metrics, {POINTS:,} points": lambda: _metrics(database, metered),
        f"metrics, {POINTS:,} points thinned to 500": lambda: _metrics(database, metered, 500),
        f"metrics, {BATCH} points of them": lambda: _metrics(database, metered, span=BATCH // 2),
        "events": lambda: _events(database, metered),
        f"write {BATCH} points": lambda: _append(database, metered, next(steps)),
        "scrape": lambda: list(queue.collect()),
    }


def _submit(database: db.Database) -> None:
    with database.writing() as session:
        store.create(session, OWNER, SPEC, datasets.resolve(session, OWNER, SPEC, USUAL))


def _claim(database: db.Database) -> None:
    with database.writing() as session:
        assert claims.claim(session, "bench", 3600)


def _listed(database: db.Database, chosen: Filter) -> list[str]:
    with database.reading() as session:
        return [job.id for job in listing.page(session, OWNER, chosen, None, 20).rows]


def _deep(database: db.Database) -> str:
    """A job whose place in the queue takes some counting."""
    ready = sa.select(Job.id).where(claims.ready(Job), Job.owner == OWNER, Job.priority == 0)
    with database.reading() as session:
        return list(session.scalars(ready.order_by(*claims.in_order(Job)).limit(900)))[-1]


def _shown(database: db.Database) -> None:
    with database.reading() as session:
        views.jobs(session, listing.page(session, OWNER, Filter(), None, 20).rows)


def _show(database: db.Database, job_id: str) -> None:
    with database.reading() as session:
        views.job(session, store.get(session, OWNER, job_id))


def _metrics(database: db.Database, job_id: str, most: int = POINTS, span: int | None = None) -> None:
    with database.reading() as session:
        series = history.series(session, job_id, None, 0, span and span - 1)
    for one in series:
        list(history.read(database, one, most))


def _events(database: db.Database, job_id: str) -> None:
    with database.reading() as session:
        events.page(session, job_id, 0, 100)


def _append(database: db.Database, job_id: str, start: int) -> None:
    points = [MetricPoint(name="lr", step=start + n, epoch=1, value=0.1, nonfinite=None) for n in range(BATCH)]
    with database.writing() as session:
        history.append(session, job_id, 1, points)


if __name__ == "__main__":
    sys.exit(main())
