"""What becomes of a job whose child is gone, by who ended it."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from jobs import files, migrate, store
from jobs.settings import Settings
from jobs.states import Status
from jobs.tables.jobs import Job
from tests.fleet import until
from tests.jobs.samples import RESOLVED, claimed, created, found, kinds, metrics
from tests.worker.stores import Slow, slowed
from worker import children, gpus, place, record, training
from worker.holds import Hold
from worker.memory import Toll
from worker.messages import Equipped, Failed
from worker.place import Place
from worker.record import Record
from worker.training import Run


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    settings = Settings(data_dir=tmp_path)
    migrate.upgrade(settings.database)
    children.warm()
    one = place.open_(settings, [])
    yield one
    one.over.set()
    one.database.engine.dispose()


@pytest.fixture
def without_gpu() -> None:
    """Skips where there is one: it would have to be taken away."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")


def long_run(here: Place, kills: list[int]) -> Run:
    """A claimed job, beside which the kernel has killed so many of another slot."""
    created(here.database, epochs=100_000, early_stopping=None)
    job = claimed(here.database)
    return Run(here, Record(here, Hold(job)), 0, toll=Toll(lambda: kills[0]))


def child_of(run: Run) -> int:
    """Its process, once it trains."""
    until(lambda: run.record.latest)
    assert run.child is not None
    assert run.child.process.pid
    return run.child.process.pid


def became(here: Place, run: Run) -> tuple[Status, str | None, int]:
    job: Job = found(here.database, run.job)
    return job.status, job.status_code, job.oom_attempts


def test_a_child_that_its_worker_ended_is_not_charged_with_anothers_want_of_memory(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "DRAIN_PATIENCE", 0.5)
    run = long_run(here, kills := [0])
    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(run.supervise)
        os.kill(child_of(run), signal.SIGSTOP)  # it cannot save itself
        kills[0] = 1
        here.drain_asked.set()
        ended.result()
    run.clear()
    assert became(here, run) == (Status.QUEUED, "drained", 0)


@pytest.mark.parametrize(("kills", "code"), [(0, "exit_-9"), (1, "out_of_memory")])
def test_a_child_that_was_killed_from_outside_ran_out_of_memory_if_the_kernel_says_so(
    here: Place, kills: int, code: str
) -> None:
    run = long_run(here, count := [0])
    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(run.supervise)
        count[0] = kills
        os.kill(child_of(run), signal.SIGKILL)
        ended.result()
    run.clear()
    assert became(here, run) == (Status.QUEUED, code, kills)


def test_a_worker_whose_gpu_is_gone_fails_no_job_that_needs_one(here: Place, without_gpu: None) -> None:
    needing = [created(here.database, device="cuda") for _ in range(2)]
    here.gpus.append("H100")  # found when the worker started
    assert (training.train_next(here, 0), training.train_next(here, 0)) == (True, False)
    first, second = [found(here.database, job) for job in needing]
    assert (first.status, first.status_code, first.stalled_attempts) == (Status.QUEUED, "gpu_lost", 0)
    assert (second.status, second.attempt, here.gpus) == (Status.QUEUED, 0, [])
    assert (first.not_before - first.updated_at).total_seconds() > training.AWAY - 1


def test_a_worker_looks_for_its_gpus_until_they_are_back(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([[], [], ["H100"]])  # this machine has none that could be taken away
    monkeypatch.setattr(gpus, "AGAIN", 0.01)
    monkeypatch.setattr(children, "equipped", lambda: Equipped(gpus=next(looks), versions={}))
    here.gpus.append("H100")
    gpus.doubt(here)
    until(lambda: here.gpus)
    assert (here.gpus, next(looks, None)) == (["H100"], None)


def test_a_disk_that_a_child_finds_full_is_no_fault_of_the_job(here: Place) -> None:
    run = long_run(here, [0])
    run._lose(Failed(error_class="infrastructure", code="disk_full", message="No space left."))
    job = found(here.database, run.job)
    assert (job.status, job.status_code, job.stalled_attempts) == (Status.QUEUED, "disk_full", 0)
    assert (job.not_before - job.updated_at).total_seconds() > training.AWAY - 1


def test_a_run_waits_while_too_much_of_it_is_to_be_recorded(here: Place) -> None:
    run = long_run(here, [0])
    with ThreadPoolExecutor(1) as thread:
        with pytest.MonkeyPatch.context() as away:
            away.setattr(record, "MOST_BUFFERED", 1)
            for write in ("touch", "flush"):
                away.setattr(Record, write, lambda self: None)
            ended = thread.submit(run.supervise)
            until(lambda: run.record.is_full)
            time.sleep(4 * training.LISTEN)  # what was being heard meanwhile is taken up
            heard = list(run.record.points)
            time.sleep(4 * training.LISTEN)
            assert run.record.points == heard
        until(lambda: run.record.latest and run.record.latest.step > heard[-1].step)
        here.drain_asked.set()
        ended.result()
    run.clear()
    assert became(here, run) == (Status.QUEUED, "drained", 0)
    steps = [point.step for point in metrics(here.database, run.job.id)["loss"]]
    assert steps == list(range(1, len(steps) + 1))


# --- a store that is slower than the run saves

OFTEN = RESOLVED.spec.checkpoint.model_copy(update={"save_freq": 5})
"""A checkpoint every few milliseconds; two are kept."""


def saving_run(here: Place, seconds: float, epochs: int = 100_000) -> Run:
    """A claimed job that saves often, where the store takes so many seconds for each file."""
    created(here.database, epochs=epochs, early_stopping=None, checkpoint=OFTEN)
    slow, _ = slowed(here, seconds)
    return Run(slow, Record(slow, Hold(claimed(here.database))), 0)


def cancel(here: Place, job: Job) -> None:
    with here.database.writing() as session:
        store.cancel(session, job.owner, job.id)


def steps(here: Place, job: Job) -> list[int]:
    """Of the checkpoints on record, but for the best one."""
    with here.database.reading() as session:
        return [file.step for file in files.list_of(session, job.id, "checkpoint") if not file.is_best]


def has_saved(run: Run, step: int) -> bool:
    return run.record.latest is not None and run.record.latest.step > step


def fills_no_disk(run: Run) -> bool:
    """Whether of a hundred files few are left: two, the best, one under way, and those that nobody has heard of yet."""
    return has_saved(run, 500) and len(list(run.folder.glob("*.safetensors"))) < 15


def test_checkpoints_that_a_slow_store_has_not_taken_fill_no_disk_and_hold_up_no_cancel(here: Place) -> None:
    run = saving_run(here, 2.0)
    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(run.supervise)
        until(lambda: fills_no_disk(run))
        cancel(here, run.job)
        ended.result(60)
    run.clear()
    assert became(here, run)[0] is Status.CANCELLED
    assert not run.folder.exists()


def test_checkpoints_that_no_database_takes_fill_no_disk(here: Place) -> None:
    run = saving_run(here, 0.0)
    with ThreadPoolExecutor(1) as thread:
        with pytest.MonkeyPatch.context() as away:
            away.setattr(Record, "touch", lambda self: None)
            ended = thread.submit(run.supervise)
            until(lambda: fills_no_disk(run))
        here.drain_asked.set()
        ended.result(60)
    run.clear()
    assert became(here, run) == (Status.QUEUED, "drained", 0)


def test_a_drained_run_leaves_its_last_step_in_a_slow_store_first(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "DRAIN_PATIENCE", 50.0)
    monkeypatch.setattr(training, "STORE_PATIENCE", 50.0)
    run = saving_run(here, 1.0)
    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(run.supervise)
        until(lambda: has_saved(run, 500))
        here.drain_asked.set()
        ended.result(60)
    run.clear()
    assert run.record.latest is not None
    assert became(here, run) == (Status.QUEUED, "drained", 0)
    assert max(steps(here, run.job)) == run.record.latest.step


def test_a_drain_does_not_wait_for_a_store_that_does_not_answer(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "STORE_PATIENCE", 1.0)
    run = saving_run(here, 20.0)
    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(run.supervise)
        until(lambda: has_saved(run, 100))
        here.drain_asked.set()
        ended.result(60)
    run.clear()
    assert became(here, run) == (Status.QUEUED, "drained", 0)


def test_of_a_run_that_ends_the_newest_are_kept_and_few_others_were_stored(here: Place) -> None:
    run = saving_run(here, 60.0, epochs=400)
    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(run.supervise)
        until(lambda: run.finished)
        assert isinstance(run.place.artifacts, Slow)
        run.place.artifacts.awake.set()
        ended.result(60)
    run.clear()
    job = found(here.database, run.job)
    assert (job.status, steps(here, job)) == (Status.SUCCEEDED, [395, 400])
    assert job.best is not None
    assert job.best.checkpoint_id is not None
    assert kinds(here.database, job).count("checkpoint") < 10  # of 80, and the best ones


def test_a_finished_run_is_cancelled_while_its_results_wait(here: Place) -> None:
    run = saving_run(here, 2.0, epochs=10)
    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(run.supervise)
        until(lambda: run.finished)
        cancel(here, run.job)
        ended.result(60)
    run.clear()
    assert became(here, run)[0] is Status.CANCELLED


def test_a_finished_run_whose_results_were_not_taken_in_time_is_finished_elsewhere(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "STORE_PATIENCE", 1.0)
    run = saving_run(here, 2.0, epochs=10)
    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(run.supervise)
        until(lambda: run.finished)
        here.drain_asked.set()
        ended.result(60)
    run.clear()
    assert became(here, run) == (Status.QUEUED, "drained", 0)
    here.drain_asked.clear()
    assert training.train_next(here, 0)
    assert became(here, run)[0] is Status.SUCCEEDED
