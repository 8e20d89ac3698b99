"""Row 25 of the matrix: one worker's clock jumps by an hour."""

import shutil
import subprocess
from pathlib import Path

import pytest

from client.answers import Job
from tests.faults.conftest import Accepted
from tests.faults.runs import exits
from tests.fleet import Fleet, digits, until

LASTING = digits(epochs=1500)
"""Two of them at once run for longer than a lease."""
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* The calendar's clock is off by JUMP seconds as soon as the file JUMPED is there. */
static long off(void) {
    const char *file = getenv("JUMPED"), *seconds = getenv("JUMP");
    return file && seconds && access(file, F_OK) == 0 ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(clock, now);
    if (!answer && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += off();
    return answer;
}

int gettimeofday(struct timeval *now, void *zone) {
    static int (*real)(struct timeval *, void *);
    if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
    int answer = real(now, zone);
    if (!answer) now->tv_sec += off();
    return answer;
}

time_t time(time_t *place) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (place) *place = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that, loaded before all others, shifts a process's clock."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler here to make a clock that jumps")
    folder = tmp_path_factory.mktemp("clock")
    (folder / "shim.c").write_text(SHIM)
    made = folder / "shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, folder / "shim.c", "-ldl"], check=True)
    return made


def attempts(fleet: Fleet, jobs: list[Job]) -> list[int]:
    return [fleet.client.job(job.id).attempt for job in jobs]


def renewals(fleet: Fleet, jobs: list[Job]) -> int:
    """Progress of the job that has made the least."""
    found = [fleet.client.job(job.id).progress for job in jobs]
    return min(progress.step if progress else 0 for progress in found)


@pytest.mark.parametrize(("jump", "killed"), [(3600, "worker2"), pytest.param(-3600, "worker", marks=pytest.mark.slow)])
def test_row_25_a_clock_that_jumps_ends_no_lease_and_prolongs_none(
    fleet: Fleet, accepted: Accepted, shim: Path, tmp_path: Path, jump: int, killed: str
) -> None:
    jumped, name = tmp_path / "jumped", f"jumps{jump}"
    fleet.start("worker2", LD_PRELOAD=str(shim), JUMP=str(jump), JUMPED=str(jumped), FITD_WORKER_NAME=name)
    accepted.expect(LASTING)
    until(lambda: name in [worker.name for worker in fleet.client.workers.list()])
    jobs = [accepted.submit(LASTING), accepted.submit(LASTING)]
    until(lambda: renewals(fleet, jobs) > 0)
    jumped.touch()
    before = renewals(fleet, jobs)
    until(lambda: renewals(fleet, jobs) > before + 300)
    assert attempts(fleet, jobs) == [1, 1]
    holders = [fleet.client.job(job.id).attempts[0].worker == name for job in jobs]
    assert sorted(holders) == [False, True]
    fleet.kill(killed)
    until(lambda: sorted(attempts(fleet, jobs)) == [1, 2], 240)  # the one that is left has its own to end first
    accepted.check()
    lost = jobs[holders.index(killed == "worker2")]
    ends = {job.id: exits(fleet, job) for job in jobs}
    assert ends == {job.id: ["lease_expired"] * (job.id == lost.id) + ["succeeded"] for job in jobs}
