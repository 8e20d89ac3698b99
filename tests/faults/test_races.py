"""Rows 1 and 24 of the matrix, over and over: one run that loses ten workers, and cancels at any moment of a run."""

import random
import statistics
import time
from contextlib import suppress

import pytest

from client.answers import Job
from client.errors import ApiError
from tests.faults.conftest import Accepted, Measured
from tests.faults.runs import exits
from tests.fleet import Fleet, digits, until

MIDDLE = digits(epochs=300)
ENDLESS = digits(epochs=1500)
KILLS = 10
GONE = 10.0
"""Seconds in which a child is gone: it is told politely first."""


def cancel(fleet: Fleet, job: Job) -> float:
    """Seconds from the call until the job has ended and its child is gone."""
    began = time.monotonic()
    with suppress(ApiError):  # it has ended
        fleet.client.cancel(job.id)
    until(lambda: not fleet.children() and fleet.client.job(job.id).is_terminal)
    return time.monotonic() - began


def await_moment(fleet: Fleet, job: Job, seconds: float | None) -> None:
    """So long after its claim, or, with None, between its last step and its end."""
    until(lambda: fleet.client.job(job.id).attempt == 1)
    if seconds is None:
        until(lambda: is_at_its_end(fleet, job))
    else:
        time.sleep(seconds)  # a moment that is nobody's


def is_at_its_end(fleet: Fleet, job: Job) -> bool:
    """All steps are on record; the results are yet to be."""
    now = fleet.client.job(job.id)
    return now.is_terminal or (now.progress is not None and now.progress.step == now.progress.steps)


def test_row_24_a_run_cancelled_at_any_moment_ends_once(fleet: Fleet, accepted: Accepted, measured: Measured) -> None:
    rng, times = random.Random(24), []
    accepted.expect(MIDDLE)
    for number in range(8):
        job = accepted.submit(MIDDLE)
        await_moment(fleet, job, None if number % 4 == 3 else rng.uniform(0, 2))
        times.append(cancel(fleet, job))
    accepted.check()
    ends = [fleet.client.job(id).status for id in accepted]
    assert set(ends) <= {"cancelled", "succeeded"}
    assert "cancelled" in ends
    measured("from the call until all is gone, median", statistics.median(times), 1)
    measured("the same, most", max(times), GONE)


@pytest.mark.slow
def test_row_24_a_run_that_is_paused_goes_on_to_the_same_bits(fleet: Fleet, accepted: Accepted) -> None:
    rng, job = random.Random(5), accepted.submit(ENDLESS)
    for attempt in (1, 2, 3):
        until(lambda: fleet.client.job(job.id).attempt == attempt)  # noqa: B023
        time.sleep(rng.uniform(0, 2))
        fleet.client.pause(job.id)
        until(lambda: fleet.client.job(job.id).status == "paused")
        fleet.client.resume(job.id)
    accepted.check()
    assert exits(fleet, job) == ["paused"] * 3 + ["succeeded"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_row_1_ten_workers_killed_in_one_run_leave_the_same_weights(fleet: Fleet, accepted: Accepted) -> None:
    job, reached = accepted.submit(ENDLESS), 0
    for number in range(1, KILLS + 1):
        reached = progressed(fleet, job, number, reached)
        fleet.kill("worker")
        fleet.start("worker")
    accepted.check()
    assert exits(fleet, job) == ["lease_expired"] * KILLS + ["succeeded"]


def progressed(fleet: Fleet, job: Job, attempt: int, reached: int) -> int:
    """Step of the last checkpoint, once this attempt has made one."""
    steps: list[int] = []

    def newer() -> bool:
        steps[:] = [file.step for file in fleet.client.checkpoints(job.id) if file.resumable and file.step > reached]
        return bool(steps) and fleet.client.job(job.id).attempt == attempt

    until(newer)
    return max(steps)
