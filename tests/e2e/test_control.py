"""Jobs that run are cancelled, paused and resumed; a worker is drained."""

import time

import pytest

from client.answers import Job
from client.errors import ApiError
from client.sdk import Client
from tests.fleet import Fleet, digits, until

pytestmark = pytest.mark.xdist_group("e2e")

ENDLESS = digits(epochs=100_000)


def under_way(client: Client, job: Job) -> None:
    until(lambda: client.job(job.id).progress is not None)


def test_a_cancelled_run_stops_its_child(service: Fleet) -> None:
    client = service.client
    job = client.submit(ENDLESS)
    under_way(client, job)
    client.cancel(job.id)
    assert client.wait(job.id, timeout=15).status == "cancelled"
    assert service.children() == []
    assert client.cancel(job.id).status == "cancelled"  # once more changes nothing


def test_a_job_that_waits_is_cancelled_at_once(service: Fleet) -> None:
    client = service.client
    service.stop("worker")
    job = client.submit(digits())
    assert client.cancel(job.id).status == "cancelled"
    waiting = client.submit(digits(epochs=1))
    with pytest.raises(ApiError) as refused:
        client.delete(waiting.id)
    assert (refused.value.status, refused.value.code) == (409, "illegal_move")
    client.cancel(waiting.id)


def test_a_paused_run_frees_its_slot_and_goes_on_where_it_was(service: Fleet) -> None:
    client = service.client
    job = client.submit(ENDLESS)
    under_way(client, job)
    assert client.pause(job.id).status in ("pausing", "paused")
    until(lambda: client.job(job.id).status == "paused", 15)
    paused = client.job(job.id)
    assert client.wait(client.submit(digits(epochs=1)).id, timeout=30).status == "succeeded"
    client.resume(job.id)
    until(lambda: client.job(job.id).status == "running")
    until(lambda: client.job(job.id).attempts[-1].resumed_from_step is not None)
    again = client.job(job.id)
    assert paused.progress is not None
    assert [attempt.exit for attempt in again.attempts] == ["paused", None]
    assert again.attempts[1].resumed_from_step == paused.progress.step
    client.cancel(job.id)
    client.wait(job.id, timeout=15)


def test_a_drained_worker_hands_its_job_back_and_takes_it_again(service: Fleet) -> None:
    client = service.client
    job = client.submit(ENDLESS)
    under_way(client, job)
    (worker,) = [worker for worker in client.workers.list() if worker.jobs == [job.id]]
    client.workers.drain(worker.name)
    until(lambda: client.job(job.id).status == "queued", 20)
    waiting = client.job(job.id)
    assert [attempt.exit for attempt in waiting.attempts] == ["drained"]
    assert waiting.status_reason is not None
    assert waiting.status_reason.code == "no_worker"
    client.workers.resume(worker.name)
    until(lambda: client.job(job.id).status == "running", 20)
    client.cancel(job.id)
    client.wait(job.id, timeout=15)


@pytest.mark.slow
@pytest.mark.parametrize("early", [0.0, 0.5])
def test_a_worker_that_is_stopped_while_it_starts_ends_in_order(service: Fleet, early: float) -> None:
    service.stop("worker")
    job = service.client.submit(ENDLESS)
    service.start("worker")
    until(lambda: service.client.job(job.id).status == "running")
    time.sleep(early)
    assert service.stop("worker") == 0
    assert service.client.job(job.id).attempts[0].exit == "drained"
    service.client.cancel(job.id)
    service.start("worker")
