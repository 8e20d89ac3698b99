"""What must hold after every fault, of every job that was accepted: the one check of all rows of the matrix."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from client.answers import Job
from jobs import artifacts, db
from jobs.spec.job import JobSpec, fingerprint
from jobs.states import TERMINAL
from jobs.tables.jobs import Event, File
from tests.fleet import Fleet, until

MODEL = "model.safetensors"
History = dict[str, list[tuple[int, float | None]]]


@dataclass(frozen=True)
class Outcome:
    """What a run leaves, to the bit."""

    model: str
    """SHA-256 of its weights."""
    history: History


@dataclass
class References:
    """Runs in peace, one per spec, made when first asked for."""

    fleet: Fleet
    known: dict[str, Outcome] = field(default_factory=dict)

    def of(self, spec: Mapping[str, Any]) -> Outcome:
        """What this spec comes to if nobody disturbs it."""
        key = fingerprint(JobSpec.model_validate(dict(spec)))
        if key not in self.known:
            job = self.fleet.client.wait(self.fleet.client.submit(spec).id, timeout=300)
            assert job.status == "succeeded"
            self.known[key] = outcome(self.fleet, job)
        return self.known[key]


def outcome(fleet: Fleet, job: Job) -> Outcome:
    """What this job came to."""
    model = next(file.sha256 for file in fleet.client.artifacts(job.id) if file.name == MODEL)
    return Outcome(model, history(fleet, job.id))


def history(fleet: Fleet, job_id: str) -> History:
    """Every metric by its steps."""
    data = fleet.client.metrics(job_id)
    return {name: [(point.step, point.value) for point in points] for name, points in data.items()}


def check(fleet: Fleet, accepted: Mapping[str, Outcome | None], seconds: float = 240) -> None:
    """Raises `AssertionError` with every violation; `accepted` maps each job to what it must come to if it succeeds,
    None where nothing is to be compared.

    Waits up to `seconds` for jobs to end.
    """
    found = violations(fleet, accepted, seconds)
    assert not found, "\n".join(found)


def violations(fleet: Fleet, accepted: Mapping[str, Outcome | None], seconds: float) -> list[str]:
    """Every promise that does not hold."""
    wrong = [fault for id, expected in accepted.items() for fault in _of_job(fleet, id, expected, seconds)]
    until(lambda: not fleet.children(), 15)
    return [*wrong, *_of_database(fleet.database()), *_of_files(fleet)]


def _of_job(fleet: Fleet, job_id: str, expected: Outcome | None, seconds: float) -> Iterable[str]:
    job = fleet.client.wait(job_id, timeout=seconds)  # ApiError 404: an accepted job is gone
    events = list(fleet.client.follow(job_id))
    if [event.seq for event in events] != list(range(1, len(events) + 1)):
        yield f"{job_id}: its events are not numbered without gap"
    if [event.kind for event in events if event.is_terminal] != [job.status]:
        yield f"{job_id} is {job.status}; its terminal events are not that one"
    if [attempt.n for attempt in job.attempts] != list(range(1, job.attempt + 1)):
        yield f"{job_id}: its attempts do not count from 1 to {job.attempt}"
    if any(attempt.ended_at is None for attempt in job.attempts):
        yield f"{job_id}: an attempt has no end"
    has_model = MODEL in [file.name for file in fleet.client.artifacts(job_id)]
    ended_itself = job.status in ("succeeded", "timed_out") or (job.error and job.error.code == "non_finite")
    if has_model != bool(ended_itself):
        yield f"{job_id} is {job.status}, and {'a' if has_model else 'no'} model is there"
    if job.status == "succeeded" and expected and outcome(fleet, job) != expected:
        yield f"{job_id}: its weights or its history differ from those of a run in peace"


def _of_database(database: db.Database) -> Iterable[str]:
    terminal = sa.select(Event.job_id).where(Event.kind.in_(TERMINAL)).group_by(Event.job_id)
    with database.reading() as session:
        for job_id in session.scalars(terminal.having(sa.func.count() > 1)):
            yield f"{job_id}: two ends"
        if session.get_bind().dialect.name == "sqlite":
            verdict = session.scalar(sa.text("PRAGMA integrity_check"))
            if verdict != "ok":
                yield f"the database is damaged: {verdict}"
    database.engine.dispose()


def _of_files(fleet: Fleet) -> Iterable[str]:
    """Every row has its bytes; nothing half-written lies about."""
    store, database = artifacts.connect(fleet.settings.artifacts), fleet.database()
    with database.reading() as session:
        named = set(session.scalars(sa.select(File.path)))
    database.engine.dispose()
    there = {entry.path for entry in store.entries("jobs")}
    yield from (f"{path} is named and not there" for path in sorted(named - there))
    scratch = fleet.settings.scratch
    left = [path for path in scratch.rglob("*") if path.is_file() and "datasets" not in path.parts]
    yield from (f"{path} was left behind" for path in left if ".partial" in path.name or "resume" in path.name)
