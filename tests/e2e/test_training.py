"""From a spec over HTTP to a trained model, through the real parts."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from client.errors import ApiError
from client.sdk import Client
from tests.fleet import digits
from tests.worker.receivers import receiving, status

pytestmark = pytest.mark.xdist_group("e2e")

CSV = "colour,size,price\n" + "".join(
    f"{'red' if n % 3 else 'blue'},{n % 17},{n % 17 * 2 + n % 3}\n" for n in range(300)
)


def test_a_spec_becomes_a_model_with_history_checkpoints_and_score(client: Client, tmp_path: Path) -> None:
    submitted = client.submit(digits(early_stopping={"patience": 30}, schedule={"kind": "cosine"}))
    job = client.wait(submitted.id, timeout=90)
    assert (job.status, job.attempt, job.error) == ("succeeded", 1, None)
    assert job.test is not None
    assert job.test["accuracy"] >= 0.9  # type: ignore[operator]
    assert len(job.test["confusion"]["matrix"]) == 10  # type: ignore[index, arg-type, call-overload]
    history = client.metrics(job.id)
    assert [point.epoch for point in history["val_loss"]] == list(range(1, job.progress.epoch + 1))  # type: ignore[union-attr]
    best = next(file for file in client.checkpoints(job.id) if file.is_best)
    assert job.best is not None
    assert (job.best.checkpoint_id, job.best.epoch) == (best.id, best.epoch)
    names = {file.name for file in client.artifacts(job.id)}
    assert names == {
        "model.safetensors", "model.onnx", "preprocess.json", "resolved_spec.json", "metrics.json", "history.csv",
        "curves.svg", "diagnostics.json", "gradient_flow.svg", "report.json", "report.html", "model_card.md",
    }  # fmt: skip


def test_files_are_what_they_say(client: Client, tmp_path: Path) -> None:
    job = client.wait(client.submit(digits(epochs=2)).id, timeout=60)
    paths = {file.name: client.download(job.id, file.name, tmp_path) for file in client.artifacts(job.id)}
    for file in client.artifacts(job.id):
        assert hashlib.sha256(paths[file.name].read_bytes()).hexdigest() == file.sha256
    weights = load_file(paths["model.safetensors"])
    assert weights["1.weight"].shape == (1, 32, 64)
    assert json.loads(paths["metrics.json"].read_text())["test"] == job.test
    rows = list(csv.DictReader(paths["history.csv"].read_text().splitlines()))
    assert {row["name"] for row in rows} >= {"loss", "lr", "train_loss", "val_accuracy"}


def test_events_tell_the_story_once_and_end(client: Client) -> None:
    job = client.submit(digits(epochs=3))
    seen = list(client.follow(job.id))
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    kinds = [event.kind for event in seen]
    assert kinds[:3] == ["created", "queued", "started"]
    assert kinds[-1] == "succeeded"
    assert sum(event.is_terminal for event in seen) == 1


def test_an_uploaded_table_is_profiled_then_trained_on(client: Client) -> None:
    dataset = client.upload(CSV.encode(), name="prices.csv")
    spec = {"dataset": {"source": "upload", "id": dataset.id}, "target": "price", "epochs": 5}
    job = client.wait(client.submit(spec).id, timeout=60)  # posted before the file was read
    assert job.status == "succeeded"
    assert job.test is not None
    assert set(job.test) >= {"rmse", "mae", "r2"}
    profile = client.dataset(dataset.id).profile
    assert profile is not None
    assert [(column.name, column.kind) for column in profile.columns] == [
        ("colour", "categorical"), ("size", "numeric"), ("price", "numeric")
    ]  # fmt: skip
    assert client.preview(dataset.id, limit=1) == [{"colour": "blue", "size": 0, "price": 0}]


def test_a_table_elsewhere_is_fetched_profiled_then_trained_on(client: Client) -> None:
    with receiving(status(302, Location="/prices.csv"), status(503), status(200, CSV.encode())) as server:
        dataset = client.import_dataset(server.url)
        spec = {"dataset": {"source": "upload", "id": dataset.id}, "target": "price", "epochs": 5}
        job = client.wait(client.submit(spec).id, timeout=90)  # posted before the file was fetched
    assert (job.status, [seen.path for seen in server.seen]) == (
        "succeeded",
        ["/hook", "/prices.csv", "/hook"],
    ), job.error
    found = client.dataset(dataset.id)
    assert (found.status, found.bytes, found.sha256) == ("ready", len(CSV), hashlib.sha256(CSV.encode()).hexdigest())
    assert client.preview(dataset.id, limit=1) == [{"colour": "blue", "size": 0, "price": 0}]


def test_a_table_that_is_not_there_fails_the_job_that_waits_for_it(client: Client) -> None:
    with receiving(status(404, b"secret words")) as server:
        dataset = client.import_dataset(server.url)
        waiting = client.submit({"dataset": {"source": "upload", "id": dataset.id}, "target": "y"})
        found = client.wait_dataset(dataset.id, timeout=60)
    assert (found.status, found.error and found.error.code) == ("invalid", "fetch_failed")
    assert client.wait(waiting.id, timeout=60).status == "failed"


def test_a_broken_upload_is_invalid_and_harms_nobody(client: Client) -> None:
    dataset = client.upload(b"PAR1 this is no parquet PAR1", name="broken.parquet")
    waiting = client.submit({"dataset": {"source": "upload", "id": dataset.id}, "target": "y"})
    assert client.wait_dataset(dataset.id, timeout=60).status == "invalid"
    job = client.wait(waiting.id, timeout=60)
    assert (job.status, job.error and job.error.error_class) == ("failed", "spec")
    assert client.wait(client.submit(digits(epochs=1)).id, timeout=60).status == "succeeded"


def test_a_spec_that_turns_out_wrong_fails_with_its_faults(client: Client) -> None:
    dataset = client.upload((CSV + "\nred,1,1").encode(), name="more.csv")
    wrong = {"dataset": {"source": "upload", "id": dataset.id}, "target": "cost"}
    early = client.wait(client.submit(wrong).id, timeout=60)  # posted before the file was read
    assert (early.status, early.error and early.error.code) == ("failed", "spec_invalid")
    with pytest.raises(ApiError) as late:
        client.submit(wrong)
    assert [fault.pointer for fault in late.value.errors] == ["/target"]


def test_a_loss_that_is_not_finite_fails_the_run_with_advice(client: Client) -> None:
    layers = {"kind": "mlp", "hidden": [32, 32, 32, 32]}
    job = client.wait(client.submit(digits(model=layers, optimizer={"kind": "sgd", "lr": 1e20})).id, timeout=60)
    assert (job.status, job.stop_reason) == ("failed", "non_finite")
    assert job.error is not None
    assert (job.error.error_class, job.error.code) == ("training", "non_finite")
    assert "learning rate" in job.error.message
    assert any(point.nonfinite for points in client.metrics(job.id).values() for point in points)


def test_a_time_limit_ends_the_run_and_keeps_its_model(client: Client) -> None:
    job = client.wait(client.submit(digits(epochs=100_000, max_time=2.0)).id, timeout=60)
    assert (job.status, job.stop_reason) == ("timed_out", "max_time")
    assert "model.safetensors" in {file.name for file in client.artifacts(job.id)}


def test_an_impossible_spec_is_refused_with_every_fault(client: Client) -> None:
    optimizer, scaler = {"kind": "sgd", "nesterov": True}, {"kind": "minmax", "low": 2}
    with pytest.raises(ApiError) as refused:
        client.submit(digits(optimizer=optimizer, early_stopping={"monitor": "val_f1"}, scaler=scaler))
    pointers = {fault.pointer for fault in refused.value.errors}
    assert pointers == {"/optimizer/nesterov", "/early_stopping/monitor", "/scaler/high"}


def test_predictions_score_as_the_run_did(client: Client) -> None:
    rows: list[dict[str, Any]] = [
        {
            "size": None if n % 11 == 0 else n % 17,
            "colour": ["red", "blue", None][n % 3],
            "built": f"{2000 + n % 20}-05-01",
            "price": n % 17 * 2.5 + n % 3 * 7 + n % 20,
        }
        for n in range(200)
    ]
    held = rows[150:] + [row | {"colour": "green"} for row in rows[150:160]]
    split = {"kind": "given", "test": {"source": "rows", "rows": held}}
    spec = {"dataset": {"source": "rows", "rows": rows[:150]}, "split": split, "target": "price", "task": "regression"}
    job = client.wait(client.submit({**spec, "epochs": 20, "ensemble": {"members": 3}}).id, timeout=60)
    assert job.test is not None, job.error
    found = client.predict(job.id, held)
    errors = [one.values["price"] - row["price"] for one, row in zip(found, held, strict=True)]
    rmse = (sum(error**2 for error in errors) / len(errors)) ** 0.5
    assert rmse == pytest.approx(job.test["rmse"], rel=1e-5)
