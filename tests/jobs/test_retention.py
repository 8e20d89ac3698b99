"""What is forgotten after its time, what stays, and that nothing is taken from those who still need it."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from jobs import artifacts, datasets, db, events, history, ids, orphans, retention, runlog
from jobs.artifacts import Artifacts
from jobs.intake import Intake
from jobs.orphans import Sweep
from jobs.record import MetricPoint
from jobs.retention import DAY, Walk
from jobs.settings import Settings
from jobs.states import Status
from jobs.tables.jobs import File, Job
from jobs.tables.keys import Audit
from jobs.tables.webhooks import Delivery, Webhook

from .samples import counts, created, file, finished, found, kinds, metrics, running


@pytest.fixture
def place(tmp_path: Path) -> Artifacts:
    return artifacts.connect((tmp_path / "artifacts").as_uri())


@pytest.fixture(params=["file", "s3"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifacts:
    """A store in which every file is old."""
    monkeypatch.setattr(orphans, "AGE", -60.0)
    if request.param == "file":
        return artifacts.connect((tmp_path / "artifacts").as_uri())
    return artifacts.connect(f"s3://{request.getfixturevalue('bucket').rpartition('/')[2]}/fitd")


@pytest.fixture
def put(tmp_path: Path) -> Callable[[Artifacts, str], str]:
    """Stores a byte under a key."""

    def put(place: Artifacts, path: str) -> str:
        source = tmp_path / "source"
        source.write_bytes(b"1")
        place.put(path, source)
        return path

    return put


Put = Callable[[Artifacts, str], str]


def stored(place: Artifacts) -> set[str]:
    return {entry.path for folder in ("jobs", "uploads", "datasets") for entry in place.entries(folder)}


def put_back(database: db.Database, job: Job, days: float) -> Job:
    """The job, as if it had ended so many days ago."""
    with database.writing() as session:
        session.execute(sa.update(Job).where(Job.id == job.id).values(finished_at=db.now(-days * DAY)))
    return found(database, job)


def ended(database: db.Database, days: float, points: int = 3) -> Job:
    """A job with metrics, a log and events that ended so many days ago."""
    job = finished(database, Status.SUCCEEDED)
    loss = [MetricPoint(name="loss", step=step, epoch=1, value=0.5, nonfinite=None) for step in range(points)]
    with database.writing() as session:
        history.append(session, job.id, 1, loss)
        runlog.append(session, job.id, 1, [runlog.Line("info", "A line.")])
        events.append(session, job.id, "progress", "Epoch 1 of 2.")
        events.append(session, job.id, "checkpoint", "Step 1 was saved.")
    return put_back(database, job, days)


def named(database: db.Database, job: Job, path: str, **fields: object) -> str:
    """The path, in a row of the job's files."""
    with database.writing() as session:
        session.add(file(job, path.rpartition("/")[2], id=ids.new("ckpt"), path=path, **fields))
    return path


def points(database: db.Database) -> dict[str, int]:
    with database.reading() as session:
        ids = session.scalars(sa.select(Job.id)).all()
    return {job_id: len(found["loss"]) for job_id in ids if (found := metrics(database, job_id))}


def stepped(walk: Walk, database: db.Database, place: Artifacts, days: float = 7) -> list[int]:
    """What each step of a walk removes, up to the first that finds nothing."""
    return list(iter(lambda: walk.step(database, place, days), 0))


def test_metrics_of_jobs_that_ended_long_ago_are_forgotten(database: db.Database, place: Artifacts) -> None:
    young, busy = ended(database, 6), running(database)
    ended(database, 8)
    with database.writing() as session:
        history.append(session, busy.id, 1, [MetricPoint(name="loss", step=1, epoch=1, value=1.0, nonfinite=None)])
    assert stepped(Walk([retention.METRICS]), database, place) == [3]
    assert points(database) == {young.id: 3, busy.id: 1}


def test_how_a_run_went_on_is_forgotten_and_its_beginning_and_end_stay(database: db.Database, place: Artifacts) -> None:
    job = ended(database, 8)
    assert kinds(database, job) == ["created", "queued", "started", "succeeded", "progress", "checkpoint"]
    assert stepped(Walk([retention.EVENTS, retention.LOGS]), database, place) == [3]
    assert kinds(database, job) == ["created", "queued", "started", "succeeded"]
    with database.reading() as session:
        assert runlog.page(session, job.id, 0, 9) == []


def test_checkpoints_but_the_best_are_forgotten(database: db.Database, place: Artifacts, put: Put) -> None:
    job, young = ended(database, 8), ended(database, 6)
    gone, best = (named(database, job, put(place, f"jobs/{job.id}/a1/{name}"), is_best=name == "b") for name in "ab")
    model = named(database, job, put(place, f"jobs/{job.id}/a1/model"), kind="artifact")
    other = named(database, young, put(place, f"jobs/{young.id}/a1/last"))
    assert stepped(Walk([retention.CHECKPOINTS]), database, place) == [1]
    assert stored(place) == {best, model, other}
    with database.reading() as session:
        assert gone not in set(session.scalars(sa.select(File.path)))


def test_a_long_history_goes_in_small_transactions(
    database: db.Database, place: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 5)
    monkeypatch.setattr(retention, "BATCHES", 4)
    for _ in range(3):
        ended(database, 8, points=12)
    assert stepped(Walk([retention.METRICS]), database, place) == [17, 17, 2]
    assert points(database) == {}


def test_a_walk_does_not_stop_at_jobs_that_have_nothing_to_lose(
    database: db.Database, place: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LOOKED_AT", 2)
    for _ in range(5):
        put_back(database, finished(database, Status.FAILED), 9)
    ended(database, 8)
    walk = Walk([retention.METRICS])
    assert [walk.step(database, place, 7) for _ in range(4)] == [0, 0, 3, 0]


def test_a_job_is_forgotten_with_all_that_is_its(database: db.Database, place: Artifacts, put: Put) -> None:
    job, young = ended(database, 8), ended(database, 6)
    named(database, job, put(place, f"jobs/{job.id}/a1/last"))
    put(place, f"jobs/{job.id}/a2/nobody-knows")
    kept = named(database, young, put(place, f"jobs/{young.id}/a1/last"))
    before = counts(database)
    assert retention.drop_jobs(database, place, 7) == 1
    assert counts(database) == {name: count // 2 for name, count in before.items()}
    assert stored(place) == {kept}
    assert retention.drop_jobs(database, place, 7) == 0


def test_jobs_that_have_not_ended_are_never_forgotten(database: db.Database, place: Artifacts) -> None:
    jobs = [running(database), created(database)]
    with database.writing() as session:
        session.execute(sa.update(Job).values(created_at=db.now(-99 * DAY), queued_at=db.now(-99 * DAY)))
    assert retention.drop_jobs(database, place, 1) == 0
    assert {found(database, job).status for job in jobs} == {Status.RUNNING, Status.QUEUED}


def test_workers_that_forget_at_the_same_time_do_it_once(database: db.Database, place: Artifacts) -> None:
    for _ in range(6):
        ended(database, 8)
    with ThreadPoolExecutor(4) as threads:
        dropped = list(threads.map(lambda _: retention.drop_jobs(database, place, 7), range(12)))
    assert sum(dropped) == 6
    assert counts(database) == {}


def test_messages_to_webhooks_are_forgotten_once_they_are_settled(database: db.Database) -> None:
    now = created(database).created_at
    with database.writing() as session:
        session.add(Webhook(id="wh", owner="ann", url="u", events=[], secret="s", created_at=now, updated_at=now))
        session.flush()
        for name, status in [("old", "delivered"), ("new", "failed"), ("due", "pending")]:
            common = {"webhook_id": "wh", "kind": "succeeded", "payload": {}, "created_at": now, "due_at": now}
            session.add(Delivery(id=name, status=status, settled_at=None if name == "due" else now, **common))
        session.flush()
        session.execute(sa.update(Delivery).where(Delivery.id == "old").values(settled_at=db.now(-31 * DAY)))
    assert retention.drop_deliveries(database, 30) == 1
    with database.reading() as session:
        assert set(session.scalars(sa.select(Delivery.id))) == {"new", "due"}


def told(database: db.Database, webhook: str, *statuses: str) -> list[str]:
    """Ids of a webhook's messages with these statuses, oldest first."""
    now = created(database).created_at
    common = {
        "webhook_id": webhook,
        "owner": "ann",
        "kind": "succeeded",
        "payload": {},
        "created_at": now,
        "due_at": now,
    }
    with database.writing() as session:
        session.add(Webhook(id=webhook, owner="ann", url="u", events=[], secret="s", created_at=now, updated_at=now))
        session.flush()
        rows = [(f"{webhook}{n}", status, None if status == "pending" else now) for n, status in enumerate(statuses)]
        for id, status, settled in rows:
            session.add(Delivery(id=id, status=status, settled_at=settled, **common))
    return [id for id, _, _ in rows]


def messages(database: db.Database) -> dict[str, str]:
    """All that are left, with their statuses."""
    with database.reading() as session:
        return dict(session.execute(sa.select(Delivery.id, Delivery.status)).all())


def test_of_a_webhooks_messages_the_newest_are_kept(database: db.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MOST_MESSAGES", 3)
    monkeypatch.setattr(retention, "BATCH", 2)
    few = told(database, "few", *["delivered"] * 3)
    many = told(database, "many", *["delivered", "pending", "failed", "delivered", "failed"], *["delivered"] * 3)
    assert [retention.bound_deliveries(database) for _ in range(2)] == [4, 0]
    assert set(messages(database)) == {*few, many[1], *many[-3:]}
    with database.reading() as session:
        assert session.scalars(sa.select(Webhook.id).where(Webhook.disabled_at.is_not(None))).all() == []


def test_a_webhook_for_which_too_many_messages_wait_is_disabled(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MOST_MESSAGES", 3)
    told(database, "calm", *["pending"] * 3)
    flood = told(database, "flood", *["pending"] * 5)
    assert [retention.bound_deliveries(database) for _ in range(2)] == [2, 0]
    left = messages(database)
    assert [left.get(id) for id in flood] == [None, None, "failed", "failed", "failed"]
    with database.reading() as session:
        disabled = sa.select(Webhook.id, Webhook.disabled_reason).where(Webhook.disabled_at.is_not(None))
        assert session.execute(disabled).all() == [("flood", "More than 3 messages waited to be sent to it.")]


def test_entries_of_the_audit_are_forgotten(database: db.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    call = {"owner": "ann", "action": "create_job", "path": "/v1/jobs", "status": 201, "request_id": "r"}
    with database.writing() as session:
        now = session.execute(sa.select(db.now())).scalar_one()
        for days in (9, 8.5, 8, 7.5, 7.1, 6.9, 0):
            at = now - timedelta(days=days)
            session.add(Audit(id=ids.first("audit", at.timestamp()), at=at, **call))
    assert [retention.drop_audit(database, 7) for _ in range(2)] == [5, 0]
    with database.reading() as session:
        ages = [round((now - at).total_seconds() / DAY, 1) for at in session.scalars(sa.select(Audit.at))]
    assert sorted(ages) == [0, 6.9]


def test_files_that_no_row_names_are_removed(database: db.Database, anywhere: Artifacts, put: Put) -> None:
    job, busy, deleted = finished(database, Status.SUCCEEDED), running(database), ids.new("job")
    kept = {named(database, job, put(anywhere, f"jobs/{job.id}/a1/best")), put(anywhere, f"jobs/{busy.id}/a1/new")}
    orphaned = [f"jobs/{job.id}/a1/torn", f"jobs/{job.id}/a0/zombie", f"jobs/{deleted}/a1/best", "uploads/up_1"]
    for path in orphaned:
        put(anywhere, path)
    assert Sweep(database, anywhere).step() == len(orphaned)
    assert stored(anywhere) == kept


def test_bytes_of_datasets_that_no_row_names_are_removed(database: db.Database, anywhere: Artifacts, put: Put) -> None:
    with database.writing() as session:
        datasets.create(session, "ann", "rows", put(anywhere, "datasets/aa"), 1, "aa")
    put(anywhere, "datasets/bb")
    assert Sweep(database, anywhere).step() == 1
    assert stored(anywhere) == {"datasets/aa"}


def test_a_file_of_today_may_still_get_its_row(database: db.Database, place: Artifacts, put: Put) -> None:
    young = {put(place, path) for path in ("jobs/job_1/a1/x", "uploads/up_1", "datasets/aa")}
    assert Sweep(database, place).step() == 0
    assert stored(place) == young


def test_what_a_crash_left_half_written_is_removed(database: db.Database, place: Artifacts, put: Put) -> None:
    assert place.root
    half = place.root / (put(place, "jobs/job_1/a1/x") + "#1")
    half.write_bytes(b"ha")
    os.utime(half, (time.time() - 2 * DAY,) * 2)
    assert Sweep(database, place).step() == 1
    assert stored(place) == {"jobs/job_1/a1/x"}


def test_a_sweep_goes_on_where_it_stopped_and_then_rests(
    database: db.Database, anywhere: Artifacts, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "ENTRIES", 2)
    for number in range(5):
        put(anywhere, f"jobs/job_{number}/a1/x")
    sweep = Sweep(database, anywhere)
    assert [sweep.step() for _ in range(4)] == [2, 2, 1, 0]
    put(anywhere, "jobs/job_9/a1/x")
    assert sweep.step() == 0


def test_bytes_that_are_sent_again_during_a_sweep_stay(
    database: db.Database, anywhere: Artifacts, put: Put, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put(anywhere, "datasets/aa")
    delete, intake = Artifacts.delete, Intake(database, anywhere, Settings(data_dir=tmp_path))

    def after_others(place: Artifacts, path: str) -> None:
        put(place, "uploads/x")
        intake.keep("ann", "uploads/x", "aa", lambda session, key: datasets.create(session, "ann", "x", key, 1, "aa"))
        delete(place, path)

    monkeypatch.setattr(Artifacts, "delete", after_others)
    assert Sweep(database, anywhere).step() == 1
    with database.reading() as session:
        assert stored(anywhere) == {datasets.path_of(session, "aa")}


def test_bytes_that_somebody_else_is_about_to_name_stay(database: db.Database) -> None:
    with database.writing() as session:
        known = datasets.create(session, "ann", "rows", "datasets/aa", 1, "aa")

    def deleted() -> str | None:
        with database.writing() as session:
            return datasets.delete(session, "ann", known.id)

    with ThreadPoolExecutor(1) as thread:
        with database.writing() as session:
            assert datasets.pin(session, "aa", "datasets/aa")
            gone = thread.submit(deleted)
            with pytest.raises(TimeoutError):
                gone.result(0.3)
            datasets.create(session, "bob", "rows", "datasets/aa", 1, "aa")
        assert gone.result(10) is None
    with database.writing() as session:
        assert datasets.pin(session, "aa", "datasets/aa")
        assert not datasets.pin(session, "aa", "datasets/other/aa")
