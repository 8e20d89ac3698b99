"""Row 21 of the matrix: memory that is not there, and a loss that is no number. Each is told for what it is.

A GPU that runs out of memory is not among them: torch raises `OutOfMemoryError` there, which takes the way of the
errors here.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from client.answers import Job
from jobs import ids
from tests.faults.conftest import SHORT, Accepted
from tests.faults.runs import exits, listed
from tests.fleet import Fleet, digits, until
from worker.messages import NO_MEMORY

MIB = 1024**2
GROUPS = Path("/sys/fs/cgroup/memory")
DIABETES = {"dataset": {"source": "builtin", "name": "diabetes"}}
Failing = Callable[..., Path]
LIMITS = ("JOB_MEMORY_BYTES", "JOB_DISK_BYTES", "JOB_SECONDS", "RESULT_BYTES")
GENEROUS = {f"FITD_MAX_{what}": str(2**60) for what in LIMITS}
"""An api that refuses no job for what it would take."""


def micro(fleet: Fleet, job: Job) -> list[object]:
    """Sizes of the batches that are taken in parts, as the job says that it was decided."""
    return [decision.value for decision in fleet.client.job(job.id).resolution if decision.rule == "batch.micro"]


def failure(fleet: Fleet, job: Job) -> tuple[str, str, str]:
    error = fleet.client.job(job.id).error
    assert error is not None
    return error.error_class, error.code, error.message


def wide(units: int) -> dict[str, object]:
    """Most of its memory goes with the size of the batch: 1.2 GiB at its peak with 40,000 units, 0.7 in four parts."""
    return digits(epochs=1, batch_size=1024, model={"kind": "mlp", "hidden": [units]})


@contextmanager
def bounded(fleet: Fleet, megabytes: int) -> Iterator[Path]:
    """A worker whose control group may take so much memory beyond what it takes when idle."""
    own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line)
    parent = GROUPS / own.rpartition(":")[2].strip("/")
    group = parent / ids.new("fitd")
    try:
        group.mkdir()
    except OSError:
        pytest.skip("a control group (of version 1) can be made only by root, and not in every container")
    fleet.stop("worker")
    (group / "cgroup.procs").write_text(str(os.getpid()))  # whom this process starts now is in it
    try:
        fleet.start("worker")
    finally:
        (parent / "cgroup.procs").write_text(str(os.getpid()))
    try:
        until(lambda: listed(fleet, "worker"))
        used = int((group / "memory.usage_in_bytes").read_text())
        (group / "memory.limit_in_bytes").write_text(str(used + megabytes * MIB))
        yield group
    finally:
        fleet.stop("worker")
        until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def test_row_21_an_attempt_without_memory_is_followed_by_one_in_parts(
    fleet: Fleet, accepted: Accepted, failing: Failing
) -> None:
    failing("worker", "checkpoint.written:oom:2")
    job = fleet.client.submit(digits(epochs=4))
    accepted[job.id] = None  # a batch in parts comes to other bits
    accepted.check()
    assert (exits(fleet, job), micro(fleet, job)) == (["out_of_memory", "succeeded"], [32])


def test_row_21_a_job_that_never_fits_fails_with_advice(fleet: Fleet, accepted: Accepted) -> None:
    fleet.restart("api", **GENEROUS)
    fleet.await_ready()
    job = fleet.client.submit(digits(model={"kind": "mlp", "hidden": [1_000_000, 1_000_000]}))  # weights of 4 TB
    accepted[job.id] = None
    accepted.submit(SHORT)
    accepted.check()
    assert exits(fleet, job) == ["out_of_memory", "out_of_memory"]
    assert failure(fleet, job) == ("oom", "out_of_memory", NO_MEMORY)


def test_row_21_who_is_killed_by_the_kernel_for_memory_is_tried_in_parts(fleet: Fleet, accepted: Accepted) -> None:
    with bounded(fleet, 650) as group:
        job = fleet.client.submit(wide(40_000))
        accepted[job.id] = None
        accepted.check()
        assert not (group / "memory.oom_control").read_text().endswith("oom_kill 0\n")
    assert (exits(fleet, job), micro(fleet, job)) == (["out_of_memory", "succeeded"], [1024])


@pytest.mark.slow
def test_row_21_who_is_killed_by_the_kernel_twice_fails_with_advice(fleet: Fleet, accepted: Accepted) -> None:
    with bounded(fleet, 100):
        job = fleet.client.submit(wide(40_000))
        accepted[job.id] = None
        accepted.check()
    assert exits(fleet, job) == ["out_of_memory", "out_of_memory"]
    assert failure(fleet, job) == ("oom", "out_of_memory", NO_MEMORY)


@pytest.mark.parametrize("spec", [DIABETES, digits(model={"kind": "mlp", "hidden": [32, 32]})])
def test_row_21_a_loss_that_is_no_number_is_not_tried_again(
    fleet: Fleet, accepted: Accepted, spec: dict[str, object]
) -> None:
    job = fleet.client.submit({**spec, "optimizer": {"kind": "sgd", "lr": 1e6, "momentum": 0.9}})
    accepted[job.id] = None
    accepted.check()
    assert exits(fleet, job) == ["non_finite"]
    assert failure(fleet, job)[:2] == ("training", "non_finite")
