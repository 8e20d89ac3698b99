"""The stack of one machine: whatever of it is killed, `fitd up` brings it back, and nothing is lost."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.test_up import children
from tests.faults.conftest import SHORT, Accepted
from tests.faults.invariants import References
from tests.fleet import Fleet, digits, until


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path, ["up"])
    yield fleet
    fleet.close()


@pytest.mark.slow
def test_whatever_is_killed_under_up_nothing_is_lost(embedded: Fleet) -> None:
    accepted = Accepted(embedded, References(embedded))
    spec = digits(epochs=1500)
    accepted.expect(spec)
    job = accepted.submit(spec)
    for name in ("worker", "api", "broker"):
        until(lambda: embedded.client.checkpoints(job.id))
        parts = children(embedded.parts["up"].pid)
        os.kill(parts[name], signal.SIGKILL)
        until(lambda: children(embedded.parts["up"].pid).get(name, parts[name]) != parts[name])  # noqa: B023
        embedded.await_ready()
        accepted.submit(SHORT)
    embedded.kill("up")  # and all that it started
    until(lambda: not embedded.children())
    embedded.start("up")
    embedded.await_ready()
    accepted.check()
    exits = [attempt.exit for attempt in embedded.client.job(job.id).attempts]
    assert exits.count("lease_expired") >= 1
