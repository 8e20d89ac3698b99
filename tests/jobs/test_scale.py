"""No request reads a whole table of jobs, however it is asked: held against the databases' own plans."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from api import views
from bench import filling
from bench.filling import OWNER, Sizes
from jobs import (
    artifacts,
    claims,
    datasets,
    db,
    deliveries,
    events,
    files,
    history,
    idempotency,
    ids,
    leases,
    listing,
    migrate,
    orphans,
    quotas,
    retention,
    runlog,
    store,
    unresolved,
    waiting,
    webhooks,
)
from jobs.allowances import USUAL
from jobs.deliveries import Outcome
from jobs.listing import Filter
from jobs.record import MetricPoint, Usage
from jobs.settings import Settings
from jobs.states import Status
from jobs.tables.jobs import Job, LogLine
from jobs.tables.keys import Audit
from jobs.tables.webhooks import Delivery, Webhook
from tests.servers import made

from .samples import HALFWAY, RESOLVED, SPEC

LARGE = "jobs|attempts|events|metrics|files|log_lines|deliveries|audit"
SCAN = re.compile(rf"SCAN ({LARGE})(_\d+)?\b(?! USING (COVERING )?INDEX jobs_(ready|held))")
"""SQLite's word for reading a whole table or a whole index; those of what waits and of what is held are small, or left
at the first hit."""
MANY = Sizes(queued=2000, finished=4000, points=20_000)
Statement = tuple[str, Any]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def full(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[db.Database]:
    """Full enough that PostgreSQL's planner knows better than to read tables whole."""
    with ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setattr(filling, "POINTS", 200)
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('full') / 'fitd.db'}"
        else:
            url = stack.enter_context(made(request.getfixturevalue("postgres")))
        migrate.upgrade(url)
        database = db.connect(url)
        yield filled(database)
        database.engine.dispose()


def filled(database: db.Database) -> db.Database:
    metered = filling.fill(database, MANY)
    now = datetime.now(UTC)
    webhook = {"id": "wh", "owner": OWNER, "url": "https://x.test", "events": [], "secret": "s"}
    delivery = {
        "webhook_id": "wh",
        "owner": OWNER,
        "kind": "failed",
        "payload": {},
        "created_at": now,
        "due_at": now,
        "tries": 1,
    }
    settled = [{**delivery, "id": f"d{n:05}", "status": "failed", "settled_at": now} for n in range(20_000)]
    pending = [{**delivery, "id": f"p{n:05}", "status": "pending"} for n in range(5000)]
    entry = {"at": now, "owner": OWNER, "action": "create_job", "path": "/v1/jobs", "status": 201, "request_id": "r"}
    entries = [{**entry, "id": ids.new("audit")} for _ in range(5000)]
    line = {"at": now, "attempt": 1, "level": "info", "message": "A line of the log."}
    lines = [{**line, "job_id": job_id, "seq": seq} for job_id in metered for seq in range(50)]
    with database.writing() as session:
        session.execute(sa.insert(Webhook), [{**webhook, "created_at": now, "updated_at": now}])
        session.execute(sa.insert(Delivery), settled)
        session.execute(sa.insert(Delivery), pending)
        session.execute(sa.insert(Audit), entries)
        session.execute(sa.insert(LogLine), lines)
    if database.engine.dialect.name == "postgresql":
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("VACUUM ANALYZE"))
    return database


@contextmanager
def listening(database: db.Database) -> Iterator[list[Statement]]:
    """What is sent to the database meanwhile."""
    said: list[Statement] = []

    def note(connection: object, cursor: object, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if not many and statement.split()[0] in ("SELECT", "WITH", "UPDATE", "DELETE"):
            said.append((statement, parameters))

    sa.event.listen(database.engine, "before_cursor_execute", note)
    yield said
    sa.event.remove(database.engine, "before_cursor_execute", note)


def scans(connection: sa.Connection, statement: Statement) -> list[str]:
    """Large tables that the database would read as a whole."""
    text, parameters = statement
    if connection.dialect.name == "sqlite":
        steps = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", parameters)]
        named = dict(re.findall(rf"\b({LARGE}) AS (\w+)", text))
        return [step for step in steps if SCAN.match(step) or step.removeprefix("SCAN ") in named.values()]
    plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {text}", parameters).scalar_one()
    return [f"{node['Node Type']} {node['Relation Name']}" for node in _nodes(plan[0]["Plan"]) if _reads_all(node)]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from _nodes(part)


def _reads_all(node: dict[str, Any]) -> bool:
    return node["Node Type"] == "Seq Scan" and re.fullmatch(LARGE, node["Relation Name"]) is not None


def found(database: db.Database, act: Callable[[Session], object]) -> list[str]:
    """What is read as a whole to do something."""
    with listening(database) as said, database.writing() as session:
        act(session)
    assert said
    with database.engine.connect() as connection:
        return [f"{scan}: {statement[0]}" for statement in said for scan in scans(connection, statement)]


NOW = datetime.now(UTC)
FILTERS = {
    "all": Filter(),
    "queued": Filter(status=[Status.QUEUED]),
    "failed or running": Filter(status=[Status.FAILED, Status.RUNNING]),
    "name": Filter(name="final"),
    "dataset": Filter(dataset="ds_rare"),
    "young": Filter(created_after=NOW - timedelta(days=1)),
    "old": Filter(created_before=NOW - timedelta(days=50)),
    "a bit of all": Filter(status=[Status.FAILED], name="final", dataset="ds_rare", metadata={"team": "text"}),
}


def owners_acts(database: db.Database, job: Job) -> dict[str, Callable[[Session], object]]:
    spec, one = filling.SPEC, [job]
    lists = {
        f"list: {name}": lambda session, chosen=chosen: listing.page(session, OWNER, chosen, job.id, 20)
        for name, chosen in FILTERS.items()
    }
    return lists | {
        "get": lambda session: store.get(session, OWNER, job.id),
        "quotas": lambda session: quotas.check_job(session, job, Settings()),
        "stored": lambda session: quotas.check_stored(session, OWNER, 1),
        "position": lambda session: waiting.positions(session, one),
        "show": lambda session: views.job(session, job),
        "submit": lambda session: store.create(session, OWNER, spec, datasets.resolve(session, OWNER, spec, USUAL)),
        "idempotency": lambda session: idempotency.find(session, OWNER, "key", "00"),
        "metrics": lambda session: history.series(session, job.id, None, 3, 9),
        "points": lambda session: list(history.batches(database, history.Series(job.id, "loss", 3, 9, 7, 7))),
        "events": lambda session: events.page(session, job.id, 0, 100),
        "log": lambda session: runlog.page(session, job.id, 0, 100),
        "files": lambda session: files.list_of(session, job.id, "checkpoint"),
        "webhooks": lambda session: webhooks.page(session, OWNER, None, 20),
        "test": lambda session: deliveries.test(session, OWNER, "wh"),
        "deliveries": lambda session: deliveries.page(session, OWNER, "wh", None, 20),
        "cancel": lambda session: store.cancel(session, OWNER, job.id),
        "delete": lambda session: store.delete(session, OWNER, job.id),
    }


def test_what_an_owner_asks_for_is_found_by_an_index(full: db.Database) -> None:
    with full.reading() as session:
        job = listing.page(session, OWNER, Filter(status=[Status.QUEUED]), None, 20).rows[-1]
    acts = owners_acts(full, job)
    assert {name: found(full, act) for name, act in acts.items()} == dict.fromkeys(acts, [])


def failed_delivery(session: Session) -> None:
    due = deliveries.take(session)
    assert due
    assert deliveries.settle(session, due, Outcome(500, "answered_500"))


def disabled(database: db.Database) -> None:
    """Nothing is sent to the webhook; what waits for it is given up."""
    with database.writing() as session:
        webhooks.disable(session, "wh", "Its owner disabled it.")
    deliveries.give_up(database)


def test_what_a_worker_asks_for_is_found_by_an_index(full: db.Database) -> None:
    with full.writing() as session:
        job = claims.claim(session, "w1", 30)
        assert job
    point = [MetricPoint(name="loss", step=1, epoch=1, value=1.0, nonfinite=None)]
    acts: dict[str, Callable[[Session], object]] = {
        "claim": lambda session: claims.claim(session, "w2", 30),
        "any ready": claims.any_ready,
        "renew": lambda session: leases.renew(session, job.id, 1, 30),
        "held": leases.held,
        "unread": datasets.any_unread,
        "unresolved": unresolved.any_left,
        "resolve": lambda session: unresolved._go_on(session, "ds_common", USUAL),
        "record": lambda session: leases.record(session, job.id, 1, point, HALFWAY, {}, None, Usage(), 30),
        "resume": lambda session: leases.resume_from(session, job.id, 1, 0),
        "due delivery": deliveries.take,
        "deliveries waiting": lambda session: deliveries.waiting(session, 8),
        "failed delivery": failed_delivery,
        "finish": lambda session: leases.finish(session, job.id, 1, Status.SUCCEEDED, "Done.", usage=Usage()),
    }
    assert {name: found(full, act) for name, act in acts.items()} == dict.fromkeys(acts, [])


def test_what_is_forgotten_is_found_by_an_index(
    full: db.Database, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MOST_MESSAGES", 4000)
    store = artifacts.connect(tmp_path_factory.mktemp("store").as_uri())
    with full.reading() as session:
        paths = [f"jobs/{id}/a1/x" for id in session.scalars(sa.select(Job.id).order_by(Job.id).limit(5))]
    kinds = [retention.METRICS, retention.EVENTS, retention.LOGS, retention.CHECKPOINTS]
    acts: dict[str, Callable[[], object]] = {
        "walk": lambda: retention.Walk(kinds, (1.0, "")).step(full, store, 99),
        "jobs": lambda: retention.drop_jobs(full, store, 99.9),
        "deliveries": lambda: retention.drop_deliveries(full, 1),
        "messages": lambda: retention.bound_deliveries(full),
        "audit": lambda: retention.drop_audit(full, 1),
        "disabled webhooks": lambda: disabled(full),
        "orphans": lambda: orphans.Sweep(full, store)._of_jobs(paths),
    }
    for name, act in acts.items():
        with listening(full) as said:
            act()
        with full.engine.connect() as connection:
            assert (name, [scan for statement in said for scan in scans(connection, statement)]) == (name, [])
        assert said


def test_a_batch_of_points_is_one_statement(database: db.Database) -> None:
    sizes: list[tuple[str, int]] = []
    with database.writing() as session:
        job = store.create(session, OWNER, SPEC, RESOLVED)
        points = [MetricPoint(name="loss", step=step, epoch=1, value=0.5, nonfinite=None) for step in range(500)]
        at = "before_cursor_execute"
        sa.event.listen(database.engine, at, lambda *said: sizes.append((said[2].split()[0], len(said[3]))), once=False)
        history.append(session, job.id, 1, points)
    assert sizes == [("INSERT", 500)]
