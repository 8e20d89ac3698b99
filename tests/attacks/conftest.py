"""A service that needs keys, two owners who do not trust each other, and whoever runs it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.app import create_app
from jobs import artifacts, claims, db, files, ids, keys, leases
from jobs.record import Usage
from jobs.settings import Settings
from jobs.states import Status
from jobs.tables.datasets import Dataset
from jobs.tables.every import METADATA
from jobs.tables.jobs import File
from jobs.tables.keys import Scope
from jobs.tables.webhooks import Delivery, Webhook
from tests.api.conftest import WINE
from tests.attacks.calls import DENIED, Contexts, Rules
from tests.attacks.hostile import Names
from tests.servers import made
from tests.worker.certificates import certified
from tests.worker.receivers import Receiver
from worker.outbound import Policy
from worker.place import Place

Call = Callable[..., Any]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Empty: a file beside the artifacts."""
    if request.param == "sqlite":
        yield ""
    else:
        with made(request.getfixturevalue("postgres")) as url:
            yield url


@pytest.fixture(scope="module")
def guarded(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    folder = tmp_path_factory.mktemp("guarded")
    app = create_app(
        Settings(data_dir=folder, database_url=database_url, require_keys=True, requests_per_second=10_000)
    )
    METADATA.create_all(app.state.database.engine)
    yield app
    app.state.database.engine.dispose()


@pytest.fixture(scope="module")
def database(guarded: FastAPI) -> db.Database:
    found: db.Database = guarded.state.database
    return found


@pytest.fixture(scope="module")
def client(guarded: FastAPI) -> Iterator[TestClient]:
    with TestClient(guarded, raise_server_exceptions=False) as client:
        yield client


def headers(database: db.Database, owner: str, scope: Scope = "submit") -> dict[str, str]:
    """Of a new key."""
    with database.writing() as session:
        return {"Authorization": f"Bearer {keys.create(session, owner, scope, None).token}"}


@pytest.fixture(scope="module")
def ann(database: db.Database) -> dict[str, str]:
    return headers(database, "ann")


@pytest.fixture
def bob(database: db.Database) -> dict[str, str]:
    """Somebody else in every test."""
    return headers(database, ids.new("bob"))


@pytest.fixture(scope="module")
def belongings(client: TestClient, database: db.Database, ann: dict[str, str], guarded: FastAPI) -> dict[str, str]:
    """Everything that can be Ann's, by the names of path parameters."""
    job = client.post("/v1/jobs", json=WINE, headers={**ann, "Idempotency-Key": "k"}).json()["id"]
    csv = {"content-type": "text/csv"}
    dataset = client.post("/v1/datasets", content=b"a,b\n1,2\n", headers={**ann, **csv}).json()["id"]
    webhook = client.post("/v1/webhooks", json={"url": "https://example.org/x"}, headers=ann).json()["id"]
    delivery = client.post(f"/v1/webhooks/{webhook}/test", headers=ann).json()["id"]
    checkpoint = _ended(database, guarded, job)
    return {
        "job_id": job,
        "dataset_id": dataset,
        "webhook_id": webhook,
        "delivery_id": delivery,
        "checkpoint_id": checkpoint,
        "name": "model.safetensors",
    }


def _ended(database: db.Database, app: FastAPI, job_id: str) -> str:
    """Ends a job with a checkpoint and a model; the checkpoint's id."""
    checkpoint = ids.new("ckpt")
    with database.writing() as session:
        job = claims.claim(session, "w", 30)
        assert job is not None
        for id, kind, name in ((checkpoint, "checkpoint", "last"), (ids.new("file"), "artifact", "model.safetensors")):
            path = files.key(job_id, 1, name)
            place = app.state.artifacts.root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"secret weights")
            file = File(id=id, job_id=job_id, kind=kind, name=name, attempt=1, step=1, epoch=1, path=path, metrics={})
            file.content_type, file.bytes, file.sha256 = "application/octet-stream", 14, "0" * 64
            leases.keep(session, job_id, 1, file, 9)
        leases.finish(session, job_id, 1, Status.SUCCEEDED, "Done.", usage=Usage())
    return checkpoint


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[db.Database]:
    found = db.connect(f"sqlite:///{tmp_path_factory.mktemp('own') / 'fitd.db'}")
    METADATA.create_all(found.engine)
    yield found
    found.engine.dispose()


@pytest.fixture
def here(own: db.Database, tmp_path: Path) -> Iterator[Place]:
    """A worker's, with nothing to do."""
    settings = Settings(data_dir=tmp_path, max_upload_bytes=1_000_000, max_stored_bytes=1_500_000)
    yield Place(settings, own, artifacts.connect(settings.artifacts))
    with own.writing() as session:
        for table in (Delivery, Webhook, Dataset):
            session.execute(sa.delete(table))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    """Of all public servers, and who trusts them."""
    return certified(tmp_path_factory.mktemp("tls"), "good.example", "rebinding.example", "other.example")


@pytest.fixture
def rules(tls: Contexts) -> Rules:
    """Those for the ports of these servers and the names of this name server."""

    def rules(names: Names, *servers: Receiver) -> Policy:
        ports = {server.port for server in servers}
        return Policy(seconds=1, resolve=names.look_up, tls=tls[1], denied=DENIED, ports=ports)

    return rules
