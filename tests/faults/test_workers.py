"""Rows 1, 2, 5, 6, 7, 22 and 23 of the matrix: workers and their children die, freeze, drain and hang."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import closing

import pytest
from pysqlite3 import dbapi2

from tests.faults.conftest import LONG, Accepted, Measured
from tests.faults.runs import exits, listed, resumed, saved, trained
from tests.fleet import Fleet, digits, until

LASTING = digits(epochs=3000)
"""It is still at it when a second worker has started."""
USUAL = {"FITD_LEASE_SECONDS": "30", "FITD_HEARTBEAT_SECONDS": "10"}
"""As where nobody has set anything else."""


def test_row_1_a_worker_killed_mid_step(fleet: Fleet, accepted: Accepted, measured: Measured) -> None:
    job = accepted.submit()
    until(lambda: saved(fleet, job))
    child = fleet.child()
    fleet.start("worker2")
    fleet.kill("worker")
    until(lambda: child not in fleet.children(), 5)  # it goes with its worker
    until(lambda: listed(fleet, "worker2"))
    began = time.monotonic()
    until(lambda: fleet.client.job(job.id).attempt == 2)
    measured("until another worker goes on, once it is there, lease 4 s", time.monotonic() - began, 15)
    accepted.check()
    assert exits(fleet, job) == ["lease_expired", "succeeded"]
    assert (fleet.client.job(job.id).attempts[1].resumed_from_step or 0) >= 100


@pytest.mark.slow
def test_row_1_with_the_usual_lease_another_goes_on_in_time(
    fleet: Fleet, accepted: Accepted, failing: Callable[..., None], measured: Measured
) -> None:
    accepted.expect(LASTING)
    failing("worker", "", **USUAL)
    job = accepted.submit(LASTING)
    until(lambda: saved(fleet, job))
    fleet.start("worker2", **USUAL)
    until(lambda: listed(fleet, "worker2"))
    fleet.kill("worker")
    killed_at = time.monotonic()
    until(lambda: fleet.client.job(job.id).attempt == 2)
    measured("from the kill to the next attempt, lease 30 s", time.monotonic() - killed_at, 45)
    accepted.check()
    assert exits(fleet, job) == ["lease_expired", "succeeded"]


def test_row_2_a_child_killed(fleet: Fleet, accepted: Accepted, measured: Measured) -> None:
    job = accepted.submit()
    until(lambda: saved(fleet, job))
    os.kill(fleet.child(), signal.SIGKILL)
    killed_at = time.monotonic()
    until(lambda: fleet.client.job(job.id).attempt == 2)
    measured("from the kill to the next attempt", time.monotonic() - killed_at, 5)
    accepted.check()
    assert exits(fleet, job) == ["exit_-9", "succeeded"]


def holds_nobody_up(fleet: Fleet) -> bool:
    """Whether SQLite's one write lock is free: frozen within a transaction, a worker keeps it until it is thawed."""
    if not (path := fleet.settings.data_dir / "fitd.db").exists():
        return True
    with closing(dbapi2.connect(path, timeout=1, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except dbapi2.OperationalError:
            return False
        return True


def test_row_5_a_worker_frozen_past_its_lease_is_fenced(fleet: Fleet, accepted: Accepted) -> None:
    job = accepted.submit()
    until(lambda: saved(fleet, job))
    pids = [fleet.parts["worker"].pid, fleet.child()]
    fleet.start("worker2")
    has_gone_on = False
    while not has_gone_on:
        with fleet.frozen(*pids):
            if holds_nobody_up(fleet):
                until(lambda: fleet.client.job(job.id).attempt == 2)
                has_gone_on = True
    accepted.check()
    assert exits(fleet, job) == ["lease_expired", "succeeded"]
    until(lambda: "lease_lost" in fleet.log("worker"))


def test_row_6_a_rolling_restart_loses_a_step_at_most(fleet: Fleet, accepted: Accepted, measured: Measured) -> None:
    job = accepted.submit()
    until(lambda: trained(fleet, job) > 0)
    began = time.monotonic()
    assert fleet.stop("worker") == 0
    measured("from SIGTERM to the end", time.monotonic() - began, 10)
    waiting = fleet.client.job(job.id)
    assert (waiting.status, exits(fleet, job)) == ("queued", ["drained"])
    fleet.start("worker")
    accepted.check()
    assert waiting.progress is not None
    assert fleet.client.job(job.id).attempts[1].resumed_from_step == waiting.progress.step


def test_row_6_a_child_that_cannot_save_itself_holds_nobody_up(
    fleet: Fleet, accepted: Accepted, measured: Measured
) -> None:
    job = accepted.submit()
    until(lambda: saved(fleet, job))
    with fleet.frozen(fleet.child()):
        began = time.monotonic()
        assert fleet.stop("worker") == 0
        measured("with a frozen child", time.monotonic() - began, 10)
    assert (fleet.client.job(job.id).status, exits(fleet, job)) == ("queued", ["drained"])
    fleet.start("worker")
    accepted.check()


def test_row_6_a_store_that_does_not_answer_holds_nobody_up(
    fleet: Fleet, accepted: Accepted, failing: Callable[..., None], measured: Measured
) -> None:
    accepted.expect(LONG)
    failing("worker", "file.put:sleep60:3+")
    job = accepted.submit()
    until(lambda: saved(fleet, job))
    began = time.monotonic()
    assert fleet.stop("worker") == 0
    measured("with a store that does not answer", time.monotonic() - began, 10)
    assert (fleet.client.job(job.id).status, exits(fleet, job)) == ("queued", ["drained"])
    fleet.start("worker")
    accepted.check()
    assert (resumed(fleet, job)[1] or 0) >= 100


@pytest.mark.slow
def test_row_7_a_restart_that_is_cut_short(fleet: Fleet, accepted: Accepted) -> None:
    job = accepted.submit()
    until(lambda: saved(fleet, job))
    with fleet.frozen(fleet.child()):  # it cannot save itself in time
        fleet.parts["worker"].terminate()
        time.sleep(1)
        fleet.kill("worker")
    fleet.start("worker")
    accepted.check()
    assert exits(fleet, job) == ["lease_expired", "succeeded"]


def test_row_22_a_job_that_kills_its_process_is_given_up_and_harms_no_other(
    fleet: Fleet, accepted: Accepted, failing: Callable[..., None]
) -> None:
    accepted.expect(LONG)
    failing("worker", "child.started:exit137:2+", FITD_SLOTS="2")
    beside = accepted.submit(LONG)
    until(lambda: trained(fleet, beside) > 0)
    poison = fleet.client.submit(digits(epochs=1))
    accepted[poison.id] = None
    accepted.check()
    assert exits(fleet, beside) == ["succeeded"]
    ended = fleet.client.job(poison.id)
    assert (ended.status, ended.error and ended.error.code) == ("failed", "poison")
    assert exits(fleet, poison) == ["exit_137", "exit_137", "exit_137"]


def test_row_22_a_job_that_dies_at_its_end_is_given_up_too(
    fleet: Fleet, accepted: Accepted, failing: Callable[..., None]
) -> None:
    failing("worker", "checkpoint.written:kill:3x99")
    poison = fleet.client.submit(digits(epochs=2, checkpoint={"save_freq": 20}))
    accepted[poison.id] = None
    accepted.check()
    ended = fleet.client.job(poison.id)
    assert (ended.status, ended.error and ended.error.code) == ("failed", "poison")
    assert resumed(fleet, poison)[-3:] == [60, 80, 80]


def test_row_23_a_child_that_hangs_is_replaced(fleet: Fleet, accepted: Accepted, failing: Callable[..., None]) -> None:
    accepted.expect(LONG)
    failing("worker", "", FITD_STALL_SECONDS="6")
    job = accepted.submit()
    until(lambda: saved(fleet, job))
    with fleet.frozen(fleet.child()):
        until(lambda: exits(fleet, job)[:1] == ["stalled"], 60)
    accepted.check()
    assert exits(fleet, job) == ["stalled", "succeeded"]
