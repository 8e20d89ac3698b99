"""A run's numbers as JSON, CSV and JSON Lines."""

import csv
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from api.routes import metrics
from jobs import db, history
from jobs.record import MetricPoint
from jobs.tables.jobs import Metric

Submit = Callable[..., dict[str, Any]]


@pytest.fixture
def job(database: db.Database, submit: Submit) -> dict[str, Any]:
    """A job with 2,000 training losses, one of them a spike, and three validation losses, one not a number."""
    job = submit()
    losses = [
        MetricPoint(name="train_loss", step=n, epoch=1 + n // 700, value=99.5 if n == 1234 else 1 / (1 + n))
        for n in range(2000)
    ]
    checks = [
        MetricPoint(
            name="val_loss",
            step=n,
            epoch=n // 700,
            value=None if n == 1400 else 0.1,
            nonfinite="nan" if n == 1400 else None,
        )
        for n in (700, 1400, 2100)
    ]
    with database.writing() as session:
        history.append(session, job["id"], 1, losses + checks)
    return job


def test_a_history_is_exact_and_says_what_is_not_finite(client: TestClient, job: dict[str, Any]) -> None:
    found = client.get(job["links"]["metrics"]).json()
    assert found["object"] == "metrics"
    assert [point["value"] for point in found["data"]["train_loss"][:3]] == [1.0, 0.5, 1 / 3]
    assert len(found["data"]["train_loss"]) == 2000
    assert found["data"]["val_loss"] == [
        {"step": 700, "epoch": 1, "value": 0.1, "nonfinite": None},
        {"step": 1400, "epoch": 2, "value": None, "nonfinite": "nan"},
        {"step": 2100, "epoch": 3, "value": 0.1, "nonfinite": None},
    ]


def test_a_history_is_cut_by_name_and_step(client: TestClient, job: dict[str, Any]) -> None:
    query: dict[str, Any] = {"names": ["val_loss", "none"], "from_step": 701, "to_step": 2100}
    found = client.get(job["links"]["metrics"], params=query).json()["data"]
    assert {name: [point["step"] for point in points] for name, points in found.items()} == {"val_loss": [1400, 2100]}


def test_a_thinned_history_keeps_its_spike(client: TestClient, job: dict[str, Any]) -> None:
    found = client.get(job["links"]["metrics"], params={"max_points": 50}).json()["data"]
    assert len(found["train_loss"]) <= 50
    assert max(point["value"] for point in found["train_loss"]) == 99.5
    assert len(found["val_loss"]) == 3


def test_csv_has_one_exact_point_a_line(client: TestClient, job: dict[str, Any]) -> None:
    answer = client.get(job["links"]["metrics"], headers={"accept": "text/csv"})
    rows = list(csv.DictReader(answer.text.splitlines()))
    assert answer.headers["content-type"].startswith("text/csv")
    assert len(rows) == 2003
    assert float(rows[2]["value"]) == 1 / 3
    assert rows[-2] == {"name": "val_loss", "step": "1400", "epoch": "2", "value": "", "nonfinite": "nan"}


def test_json_lines_have_one_point_a_line(client: TestClient, job: dict[str, Any]) -> None:
    answer = client.get(job["links"]["metrics"], headers={"accept": "application/jsonl"})
    points = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.headers["content-type"].startswith("application/jsonl")
    assert len(points) == 2003
    assert points[-2] == {"name": "val_loss", "step": 1400, "epoch": 2, "value": None, "nonfinite": "nan"}


def test_a_long_history_is_never_whole_in_memory(
    client: TestClient, database: db.Database, job: dict[str, Any]
) -> None:
    row = {"job_id": job["id"], "attempt": 1, "name": "lr", "epoch": 1}
    with database.writing() as session:
        session.execute(sa.insert(Metric), [{**row, "step": n, "value": n / 7} for n in range(10_000)])
    with database.reading() as session:
        wanted = history.series(session, job["id"], ["lr"], None, None)
    for most, form in ((10, metrics._json), (None, metrics._json), (None, metrics._csv), (None, metrics._lines)):
        tracemalloc.start()
        found = ((one.name, history.read(database, one, most)) for one in wanted)
        longest = max(map(len, form(found)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (peak < 2_000_000, longest < 200 * history.BATCH) == (True, True)
