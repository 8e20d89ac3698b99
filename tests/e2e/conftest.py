"""One service that the tests of this room share."""

from collections.abc import Iterator

import pytest

from client.sdk import Client
from tests.fleet import Fleet


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    service = Fleet(tmp_path_factory.mktemp("s"), FITD_PRIVATE_NETWORKS="127.0.0.0/8")
    yield service
    service.close()


@pytest.fixture
def service(shared_service: Fleet) -> Fleet:
    """Whole and idle at the beginning of each test, whatever the one before did to it."""
    shared_service.mend()
    for job in shared_service.client.jobs(status=["queued", "running", "paused"]):
        shared_service.client.cancel(job.id)
    return shared_service


@pytest.fixture
def client(service: Fleet) -> Client:
    return service.client
