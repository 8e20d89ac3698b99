"""A service on a real database and real files, without a broker."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.app import create_app
from jobs import db
from jobs.artifacts import Artifacts
from jobs.settings import Settings
from jobs.tables.every import METADATA

HOME = "http://127.0.0.1"
WINE: dict[str, Any] = {"dataset": {"source": "builtin", "name": "wine"}, "epochs": 3}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, max_body_bytes=200_000, max_upload_bytes=300_000)


@pytest.fixture
def app(settings: Settings) -> Iterator[FastAPI]:
    app = create_app(settings)
    METADATA.create_all(app.state.database.engine)
    yield app
    app.state.database.engine.dispose()


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, HOME, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def database(app: FastAPI) -> db.Database:
    database: db.Database = app.state.database
    return database


@pytest.fixture
def artifacts(app: FastAPI) -> Artifacts:
    artifacts: Artifacts = app.state.artifacts
    return artifacts


@pytest.fixture
def submit(client: TestClient) -> Callable[..., dict[str, Any]]:
    """Makes a job and gives its representation."""

    def submit(**fields: Any) -> dict[str, Any]:
        answer = client.post("/v1/jobs", json={**WINE, **fields})
        assert answer.status_code == 201, answer.text
        job: dict[str, Any] = answer.json()
        return job

    return submit
