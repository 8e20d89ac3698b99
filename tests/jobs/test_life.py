"""Any order of what owners, workers, zombies and reapers may do to a job, against a model of its life."""

from pathlib import Path

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from hypothesis.strategies import booleans, integers, sampled_from

from jobs import claims, db, errors, leases, states, store
from jobs.leases import MOST_STALLED_ATTEMPTS, Held
from jobs.record import Usage
from jobs.states import AT_REST, HELD, TERMINAL, Status
from jobs.tables.jobs import Attempt, Event, Job

from .samples import created, file

attempts = integers(1, 6)
"""Whoever acts believes that it holds this one: so do zombies, and those who have yet to come."""


class Life(RuleBasedStateMachine):
    """One job."""

    database: db.Database

    @initialize()
    def submit(self) -> None:
        with self.database.writing() as session:
            session.execute(sa.delete(Job))
        self.job = created(self.database)
        self.status, self.attempt, self.stalled, self.waits = Status.QUEUED, 0, 0, False
        self.seen: set[Held] = set()
        self.files = 0

    def holds(self, attempt: int) -> bool:
        return attempt == self.attempt and self.status in HELD

    def asked(self, move: str, target: Status | None) -> None:
        """The owner asks; with no target it is refused."""
        try:
            with self.database.writing() as session:
                getattr(store, move)(session, self.job.owner, self.job.id)
        except errors.IllegalMove:
            assert target is None
        else:
            assert target is not None
            self.status = target

    @rule()
    def cancel(self) -> None:
        over = self.status in TERMINAL - {Status.CANCELLED}
        self.asked("cancel", None if over else Status.CANCELLING if self.status in HELD else Status.CANCELLED)

    @rule()
    def pause(self) -> None:
        targets = {Status.QUEUED: Status.PAUSED, Status.RUNNING: Status.PAUSING}
        same = {status: status for status in (Status.PAUSED, Status.PAUSING)}
        self.asked("pause", (targets | same).get(self.status))

    @rule()
    def resume(self) -> None:
        if self.status is Status.PAUSED:
            self.waits = False
        targets = {Status.PAUSED: Status.QUEUED, Status.QUEUED: Status.QUEUED, Status.RUNNING: Status.RUNNING}
        self.asked("resume", targets.get(self.status))

    @rule()
    def claim(self) -> None:
        with self.database.writing() as session:
            job = claims.claim(session, "w", 30)
        assert (job is not None) == (self.status is Status.QUEUED and not self.waits)
        if job:
            self.status, self.attempt = Status.RUNNING, self.attempt + 1

    @rule()
    def wait(self) -> None:
        with self.database.writing() as session:
            session.execute(sa.update(Job).values(not_before=db.now()))
        self.waits = False

    @rule(attempt=attempts)
    def renew(self, attempt: int) -> None:
        with self.database.writing() as session:
            answer = leases.renew(session, self.job.id, attempt, 30)
        assert answer == (self.status if self.holds(attempt) else None)

    @rule(attempt=attempts)
    def keep(self, attempt: int) -> None:
        self.files += 1
        saved = file(self.job, f"{self.files}", attempt=attempt, resumable=True)
        with self.database.writing() as session:
            kept = leases.keep(session, self.job.id, attempt, saved, 2)
        assert (kept is not None) == self.holds(attempt)
        if self.holds(attempt):
            self.stalled = 0

    @rule(attempt=attempts, status=sampled_from(sorted(TERMINAL)))
    def finish(self, attempt: int, status: Status) -> None:
        with self.database.writing() as session:
            done = leases.finish(session, self.job.id, attempt, status, "It ended.", usage=Usage())
        assert done == (self.holds(attempt) and status in states.ALLOWED[self.status])
        if done:
            self.status = status

    @rule(attempt=attempts, counted=booleans())
    def release(self, attempt: int, counted: bool) -> None:
        with self.database.writing() as session:
            released = leases.release(session, self.job.id, attempt, "exit_1", counted=counted)
        assert released == self.holds(attempt)
        if released:
            self.released(counted)

    def released(self, counted: bool) -> None:
        if self.status is Status.CANCELLING:
            self.status = Status.CANCELLED
            return
        self.stalled += counted
        if self.stalled >= MOST_STALLED_ATTEMPTS:
            self.status = Status.FAILED
        elif self.status is Status.PAUSING:
            self.status = Status.PAUSED
        else:
            self.status, self.waits = Status.QUEUED, self.stalled > 1

    @rule()
    def look(self) -> None:
        """As a reaper does."""
        with self.database.reading() as session:
            self.seen |= leases.held(session)

    @rule()
    def reap(self) -> None:
        with self.database.reading() as session:
            held = leases.held(session)
        for one in sorted(self.seen):
            with self.database.writing() as session:
                reaped = leases.reap(session, *one)
            assert reaped == (one in held)
            if reaped:
                self.released(counted=True)

    @invariant()
    def is_as_the_model_says(self) -> None:
        with self.database.reading() as session:
            job = session.scalars(sa.select(Job)).one()
            numbers = session.scalars(sa.select(Attempt.n).order_by(Attempt.n)).all()
            open_ = session.scalars(sa.select(Attempt.n).where(Attempt.ended_at.is_(None))).all()
            events = session.execute(sa.select(Event.seq, Event.kind).order_by(Event.seq)).all()
        assert (job.status, job.attempt, job.stalled_attempts) == (self.status, self.attempt, self.stalled)
        assert (job.lease_owner is not None) == (self.status in HELD)
        assert (job.finished_at is None) == (self.status in HELD | AT_REST)
        assert list(numbers) == list(range(1, self.attempt + 1))
        assert list(open_) == ([self.attempt] if self.status in HELD else [])
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        ends = [event.kind for event in events if event.kind in TERMINAL]
        assert ends == ([self.status] if self.status in TERMINAL else [])


def test_row_24_a_job_lives_as_its_model_whatever_is_done_to_it(migrated_sqlite: Path, tmp_path: Path) -> None:
    path = tmp_path / "life.db"
    path.write_bytes(migrated_sqlite.read_bytes())
    Life.database = db.connect(f"sqlite:///{path}")
    slow = [HealthCheck.too_slow]
    few = settings(max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=slow, database=None)
    run_state_machine_as_test(Life, settings=few)
    Life.database.engine.dispose()
