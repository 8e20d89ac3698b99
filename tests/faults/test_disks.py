"""Row 18 of the matrix: a disk is full, that of files or that of the database, and has room again later."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from jobs import artifacts
from tests.faults.conftest import LONG, SHORT, Accepted
from tests.faults.invariants import References
from tests.faults.runs import exits, saved
from tests.fleet import Fleet, until
from tests.servers import made

MIB = 1024**2
LEAST = 8 * MIB
"""Below which fitd calls a disk nearly full."""


@contextmanager
def disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own, in memory."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system can be mounted only by root, and not in every container")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def running(fleet: Fleet) -> Iterator[Fleet]:
    try:
        yield fleet
    finally:
        fleet.close()


def fill(folder: Path, leave: int = 0) -> Path:
    """Takes all but so many bytes; what others give back meanwhile, too."""
    ballast = folder / "ballast"
    with ballast.open("ab") as file:
        while (free := shutil.disk_usage(folder).free - leave) > 0:
            with suppress(OSError):  # somebody else was faster
                os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), free)
    return ballast


def status(fleet: Fleet, path: str) -> int:
    return httpx2.get(fleet.url + path).status_code


def upload(fleet: Fleet, size: int) -> int:
    """Sends a file of so many bytes; the answer's status."""
    content = b"a,b\n" + b"1,2\n" * (size // 4)
    return httpx2.post(f"{fleet.url}/v1/datasets", content=content, headers={"Content-Type": "text/csv"}).status_code


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def narrow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet whose files, not its database, are on a disk of 64 MiB."""
    folder = tmp_path_factory.mktemp("d")
    with disk(folder / "data", 64), ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{folder / 'fitd.db'}"
        else:
            url = stack.enter_context(made(request.getfixturevalue("postgres")))
        options = {"FITD_DATABASE_URL": url, "FITD_LEAST_FREE_BYTES": str(LEAST)}
        yield stack.enter_context(running(Fleet(folder, **options)))


def test_row_18_runs_meet_the_end_of_the_disk_and_go_on_when_there_is_room(narrow: Fleet) -> None:
    accepted = Accepted(narrow, References(narrow))
    accepted.expect(SHORT)
    job = accepted.submit(LONG)
    until(lambda: saved(narrow, job))
    while exits(narrow, job)[0] is None:
        ballast = fill(narrow.settings.data_dir)
    waiting = accepted.submit(SHORT)
    until(lambda: narrow.log("worker").count("disk_full") > 2)  # a look for work each
    assert (narrow.client.job(job.id).status, narrow.client.job(waiting.id).attempt) == ("queued", 0)
    assert (status(narrow, "/readyz"), status(narrow, "/livez"), upload(narrow, 100)) == (503, 200, 507)
    ballast.unlink()
    assert status(narrow, "/readyz") == 200
    accepted.check()
    assert exits(narrow, job) == ["disk_full", "succeeded"]


def test_row_18_an_upload_that_fills_the_disk_leaves_nothing(narrow: Fleet) -> None:
    ballast = fill(narrow.settings.data_dir, LEAST + MIB)
    assert upload(narrow, 16 * MIB) in (503, 507)  # on its way, or at once if others have written since
    assert list(artifacts.connect(narrow.settings.artifacts).entries("uploads")) == []
    ballast.unlink()
    assert upload(narrow, 16 * MIB) == 201


def test_row_18_a_database_without_room_refuses_and_loses_nothing(tmp_path: Path) -> None:
    with disk(tmp_path / "database", 16) as place:
        options = {"FITD_DATABASE_URL": f"sqlite:///{place / 'fitd.db'}", "FITD_LEAST_FREE_BYTES": str(MIB)}
        with running(Fleet(tmp_path, **options)) as fleet:
            accepted = Accepted(fleet, References(fleet))
            accepted.expect(SHORT)
            job = accepted.submit(LONG)
            until(lambda: saved(fleet, job))
            told = [200]
            while told[-1] == 200:
                ballast = fill(place)
                told.append(httpx2.patch(f"{fleet.url}/v1/jobs/{job.id}", json={"name": "x" * 100}).status_code)
            refused = httpx2.post(f"{fleet.url}/v1/jobs", json=SHORT).status_code
            assert (told[-1], refused, status(fleet, "/readyz"), status(fleet, "/v1/jobs")) == (503, 503, 503, 200)
            until(lambda: "database_away" in fleet.log("worker"))
            ballast.unlink()
            assert status(fleet, "/readyz") == 200
            accepted.check()
            assert exits(fleet, job) == ["succeeded"]
