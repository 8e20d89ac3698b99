"""Rows 1, 2, 5, 6, 7, 22 and 23 of the matrix: workers and their children die, freeze, drain and hang."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from client.answers import Job
from client.sdk import Client
from tests.faults.conftest import LONG, Accepted
from tests.fleet import Fleet, digits, until


def saved(client: Client, job: Job) -> bool:
    return any(file.resumable for file in client.checkpoints(job.id))


def exits(fleet: Fleet, job: Job) -> list[str | None]:
    return [attempt.exit for attempt in fleet.client.job(job.id).attempts]


def trained(fleet: Fleet, job: Job) -> int:
    """Steps so far."""
    progress = fleet.client.job(job.id).progress
    return progress.step if progress else 0


def test_row_1_a_worker_killed_mid_step(fleet: Fleet, accepted: Accepted) -> None:
    job = accepted.submit()
    until(lambda: saved(fleet.client, job))
    child = fleet.child()
    fleet.start("worker2")
    fleet.kill("worker")
    until(lambda: child not in fleet.children(), 5)  # it goes with its worker
    accepted.check()
    assert exits(fleet, job) == ["lease_expired", "succeeded"]
    assert (fleet.client.job(job.id).attempts[1].resumed_from_step or 0) >= 100


def test_row_2_a_child_killed(fleet: Fleet, accepted: Accepted) -> None:
    job = accepted.submit()
    until(lambda: saved(fleet.client, job))
    os.kill(fleet.child(), signal.SIGKILL)
    killed_at = time.monotonic()
    until(lambda: fleet.client.job(job.id).attempt == 2)
    assert time.monotonic() - killed_at < 5
    accepted.check()
    assert exits(fleet, job) == ["exit_-9", "succeeded"]


def test_row_5_a_worker_frozen_past_its_lease_is_fenced(fleet: Fleet, accepted: Accepted) -> None:
    job = accepted.submit()
    until(lambda: saved(fleet.client, job))
    pids = [fleet.parts["worker"].pid, fleet.child()]
    fleet.start("worker2")
    with fleet.frozen(*pids):
        until(lambda: fleet.client.job(job.id).attempt == 2)
    accepted.check()
    assert exits(fleet, job) == ["lease_expired", "succeeded"]
    until(lambda: "lease_lost" in fleet.log("worker"))


def test_row_6_a_rolling_restart_loses_a_step_at_most(fleet: Fleet, accepted: Accepted) -> None:
    job = accepted.submit()
    until(lambda: trained(fleet, job) > 0)
    began = time.monotonic()
    assert fleet.stop("worker") == 0
    assert time.monotonic() - began < 10
    waiting = fleet.client.job(job.id)
    assert (waiting.status, exits(fleet, job)) == ("queued", ["drained"])
    fleet.start("worker")
    accepted.check()
    assert waiting.progress is not None
    assert fleet.client.job(job.id).attempts[1].resumed_from_step == waiting.progress.step


@pytest.mark.slow
def test_row_7_a_restart_that_is_cut_short(fleet: Fleet, accepted: Accepted) -> None:
    job = accepted.submit()
    until(lambda: saved(fleet.client, job))
    with fleet.frozen(fleet.child()):  # it cannot save itself in time
        fleet.parts["worker"].terminate()
        time.sleep(1)
        fleet.kill("worker")
    fleet.start("worker")
    accepted.check()
    assert exits(fleet, job) == ["lease_expired", "succeeded"]


def test_row_22_a_job_that_kills_its_process_is_given_up(
    fleet: Fleet, accepted: Accepted, failing: Callable[..., None]
) -> None:
    failing("worker", "child.started:exit137:1+")
    poison = fleet.client.submit(digits(epochs=1))
    accepted[poison.id] = None
    accepted.check()
    ended = fleet.client.job(poison.id)
    assert (ended.status, ended.error and ended.error.code) == ("failed", "poison")
    assert exits(fleet, poison) == ["exit_137", "exit_137", "exit_137"]


def test_row_23_a_child_that_hangs_is_replaced(fleet: Fleet, accepted: Accepted, failing: Callable[..., None]) -> None:
    accepted.expect(LONG)
    failing("worker", "", FITD_STALL_SECONDS="6")
    job = accepted.submit()
    until(lambda: saved(fleet.client, job))
    with fleet.frozen(fleet.child()):
        until(lambda: exits(fleet, job)[:1] == ["stalled"], 60)
    accepted.check()
    assert exits(fleet, job) == ["stalled", "succeeded"]
