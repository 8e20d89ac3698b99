"""Kill what runs: what was accepted still ends, once, and with the bits of a run that nobody disturbed."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from client.answers import Job
from client.errors import ApiError
from client.sdk import Client
from tests.e2e.conftest import Service, digits

Outcome = tuple[str, dict[str, list[tuple[int, float | None]]]]

LONG = digits(epochs=150)


def until(check: Callable[[], bool], seconds: float = 60) -> None:
    """Waits for something to become true."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def saved(client: Client, job: Job) -> bool:
    return any(file.resumable for file in client.checkpoints(job.id))


def model(client: Client, job: Job) -> str:
    return next(file.sha256 for file in client.artifacts(job.id) if file.name == "model.safetensors")


@pytest.fixture(scope="session")
def undisturbed(shared_service: Service) -> Outcome:
    """The model and the history of a run in peace."""
    client = shared_service.client
    job = client.wait(client.submit(LONG).id, timeout=120)
    return model(client, job), history(client, job)


def history(client: Client, job: Job) -> dict[str, list[tuple[int, float | None]]]:
    data = client.metrics(job.id)
    return {name: [(point.step, point.value) for point in points] for name, points in data.items()}


def assert_as_undisturbed(client: Client, job: Job, undisturbed: Outcome) -> None:
    job = client.wait(job.id, timeout=120)
    assert job.status == "succeeded"
    assert (model(client, job), history(client, job)) == undisturbed
    terminal = [event for event in client.follow(job.id) if event.is_terminal]
    assert len(terminal) == 1


def test_a_killed_worker_loses_nothing(service: Service, undisturbed: Outcome) -> None:
    client = service.client
    job = client.submit(LONG)
    until(lambda: saved(client, job))
    (child,) = service.children()
    service.stop("worker", signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{child}"), 5)  # the child goes with its worker
    service.start("worker")
    assert_as_undisturbed(client, job, undisturbed)
    again = client.job(job.id)
    assert [attempt.exit for attempt in again.attempts] == ["lease_expired", "succeeded"]
    assert (again.attempts[1].resumed_from_step or 0) >= 100


def test_a_killed_child_is_replaced(service: Service, undisturbed: Outcome) -> None:
    client = service.client
    job = client.submit(LONG)
    until(lambda: saved(client, job))
    (child,) = service.children()
    os.kill(child, signal.SIGKILL)
    assert_as_undisturbed(client, job, undisturbed)
    assert [attempt.exit for attempt in client.job(job.id).attempts] == ["exit_-9", "succeeded"]


def test_a_worker_that_is_told_to_stop_saves_and_gives_back(service: Service, undisturbed: Outcome) -> None:
    client = service.client
    job = client.submit(LONG)
    until(lambda: client.job(job.id).progress is not None)
    began = time.monotonic()
    assert service.stop("worker") == 0
    assert time.monotonic() - began < 10
    waiting = client.job(job.id)
    assert (waiting.status, waiting.attempts[0].exit) == ("queued", "drained")
    service.start("worker")
    assert_as_undisturbed(client, job, undisturbed)


def test_a_cancelled_run_stops_its_child(service: Service) -> None:
    client = service.client
    job = client.submit(digits(epochs=100_000))
    until(lambda: client.job(job.id).progress is not None)
    (child,) = service.children()
    client.cancel(job.id)
    assert client.wait(job.id, timeout=15).status == "cancelled"
    assert not os.path.exists(f"/proc/{child}")
    assert client.cancel(job.id).status == "cancelled"  # once more changes nothing


def test_a_job_that_waits_is_cancelled_at_once(service: Service) -> None:
    client = service.client
    service.stop("worker")
    job = client.submit(digits())
    assert client.cancel(job.id).status == "cancelled"
    with pytest.raises(ApiError) as refused:
        client.delete(client.submit(digits(epochs=1)).id)
    assert (refused.value.status, refused.value.code) == (409, "illegal_move")


def test_jobs_accepted_without_a_broker_run_once_it_is_back(service: Service) -> None:
    client = service.client
    service.stop("broker", signal.SIGKILL)
    job = client.submit(digits(epochs=1))
    assert job.status == "queued"
    service.start("broker")
    assert client.wait(job.id, timeout=90).status == "succeeded"
