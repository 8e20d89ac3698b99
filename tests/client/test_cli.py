"""The command: output for people and for scripts, and its exit codes."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from client import cli
from tests.client.conftest import Canned, Reply, file, job, progress, said, stream

CONFUSION = {"labels": ["cat", "dog"], "matrix": [[9, 1], [0, 10]]}
DONE = job(
    status="succeeded",
    stop_reason="early_stopping",
    best={"epoch": 2, "monitor": "val_loss", "value": 0.25},
    test={"accuracy": 0.95, "confusion": CONFUSION},
)
RUN = stream(
    (1, "queued", {}),
    (2, "started", {}),
    (3, "progress", progress(1, train_loss=0.5, val_loss=0.4)),
    (4, "progress", progress(2, train_loss=0.3, val_loss=0.25)),
    (5, "best", {"epoch": 2, "monitor": "val_loss", "value": 0.25}),
    (6, "succeeded", {}),
)


def run(service: Canned, *arguments: str) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["--url", service.url, *arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.fixture
def spec(tmp_path: Path) -> str:
    """A file with a spec."""
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({"dataset": {"source": "builtin", "name": "iris"}}))
    return str(path)


def test_following_off_a_terminal_prints_plain_lines(
    service: Canned, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service.say("POST /v1/jobs", said(job(), 201))
    service.say("GET /v1/jobs/job_1/events", RUN)
    service.say("GET /v1/jobs/job_1", said(DONE))
    service.say("GET /v1/jobs/job_1/artifacts", said({"data": [file("curves.svg")]}))
    assert run(service, "submit", spec, "--follow") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "epoch 2/4 train_loss 0.3 val_loss 0.25 lr 0.01" in lines
    assert "job_1 succeeded (early_stopping)" in lines
    assert "best: val_loss 0.25 (epoch 2)" in lines
    assert lines[-4:] == ["cat 9 1", "dog · 10", "", f"{service.url}/files/curves.svg"]


def test_a_failed_job_exits_with_1(service: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    failure = {"class": "training", "code": "diverged", "message": "the loss is not finite; lower the rate"}
    service.say("GET /v1/jobs/job_1/events", stream((1, "failed", {})))
    service.say("GET /v1/jobs/job_1", said(job(status="failed", error=failure)))
    service.say("GET /v1/jobs/job_1/artifacts", said({"data": []}))
    assert run(service, "follow", "job_1") == 1
    assert "error: diverged: the loss is not finite; lower the rate" in capsys.readouterr().out


def test_a_refusal_exits_with_2_and_says_why(service: Canned, spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    faults = [{"pointer": "/epochs", "code": "type", "detail": "must be a number"}]
    service.say("POST /v1/jobs/validate", said({"code": "spec_invalid", "detail": "no", "errors": faults}, 422))
    assert run(service, "validate", spec) == 2
    assert capsys.readouterr().err == "422 spec_invalid: no\n  /epochs: must be a number\n"


def test_a_file_that_is_no_json_exits_with_2(service: Canned, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text("{")
    assert run(service, "submit", str(tmp_path / "spec.json")) == 2
    assert service.seen == []


def test_an_absent_service_exits_with_3(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SystemExit, match="3"):
        cli.main(["jobs", "--url", f"http://127.0.0.1:{port}"])
    assert "fitd up" in capsys.readouterr().err


def test_json_is_what_the_service_said(service: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    service.say("GET /v1/jobs/job_1", said(DONE))
    assert run(service, "show", "job_1", "--json") == 0
    assert json.loads(capsys.readouterr().out) == DONE


def test_data_is_uploaded_first_and_its_id_put_into_the_spec(service: Canned, spec: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    service.say("POST /v1/datasets", said({"id": "ds_1", "status": "profiling"}, 201))
    service.say("POST /v1/jobs", said(job(), 201))
    assert run(service, "submit", spec, "--data", str(tmp_path / "rows.csv")) == 0
    assert json.loads(service.seen[1].body) == {"dataset": {"source": "upload", "id": "ds_1"}}


@pytest.mark.parametrize(("status", "code"), [("ready", 0), ("invalid", 2)])
def test_a_file_elsewhere_is_imported_and_waited_for(
    service: Canned, capsys: pytest.CaptureFixture[str], status: str, code: int
) -> None:
    url = "https://data.example.com/rows.csv"
    service.say("POST /v1/datasets", said({"id": "ds_1", "status": "profiling", "url": url}, 201))
    service.say("GET /v1/datasets/ds_1", said({"id": "ds_1", "status": status, "url": url}))
    assert run(service, "--json", "datasets", "import", url, "--name", "mine") == code
    assert json.loads(service.seen[0].body) == {"url": url, "name": "mine"}
    assert json.loads(capsys.readouterr().out)["status"] == status


def test_metrics_are_shown_by_epoch(service: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    losses = [{"step": 10 * n, "epoch": n, "value": 1 / n} for n in (1, 2)]
    broken = [{"step": 20, "epoch": 2, "value": None, "nonfinite": "nan"}]
    service.say("GET /v1/jobs/job_1/metrics", said({"data": {"val_loss": losses, "train_loss": broken}}))
    assert run(service, "metrics", "job_1") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert (lines[0], lines[2:]) == (["epoch", "val_loss", "train_loss"], [["1", "1"], ["2", "0.5", "nan"]])


def test_ctrl_c_leaves_the_job_alone(service: Canned) -> None:
    first = stream((1, "queued", {}))
    held = type(first)(first.body, 200, {**first.headers, "Content-Length": "100000"})
    service.say("GET /v1/jobs/job_1/events", held)
    command = [sys.executable, "-m", "client", "--url", service.url, "follow", "job_1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "queued" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
    assert (process.returncode, service.calls()) == (130, ["GET /v1/jobs/job_1/events"])
    assert "Come back with: fitd follow job_1" in err


def test_rows_are_predicted_from_a_file_or_the_command_line(
    service: Canned, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = {"label": "cat", "probabilities": {"cat": 0.75, "dog": 0.25}}
    service.say("POST /v1/jobs/job_1/predict", said({"data": [one, one]}))
    (tmp_path / "rows.csv").write_text('"weight, kg", name\n4.5,"Tom ""T"""\n,Rex\n')
    assert run(service, "predict", "job_1", str(tmp_path / "rows.csv"), "--row", '{"name": null}') == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert (lines[0], lines[2:]) == (["row", "label", "cat", "dog"], [[n, "cat", "0.75", "0.25"] for n in "12"])
    sent = [{"name": None}, {"weight, kg": "4.5", "name": 'Tom "T"'}, {"weight, kg": "", "name": "Rex"}]
    assert json.loads(service.seen[0].body) == {"rows": sent}


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("a.json", '[{"x": 1}, {"x": 2}]', 2),
        ("a.json", '{"x": 1}', 1),
        ("a.jsonl", '{"x": 1}\n\n{"x": 2}\n', 2),
        ("a.tsv", "x\ty\n1\t2\n", 1),
        ("a.json", "[1]", 0),
        ("a.jsonl", "x", 0),
        ("a.csv", "x,y\n1\n", 0),
        ("a.csv", "x\n1,2\n", 0),
    ],
)
def test_rows_come_in_several_kinds_of_files(service: Canned, tmp_path: Path, name: str, text: str, rows: int) -> None:
    service.say("POST /v1/jobs/job_1/predict", said({"data": []}))
    (tmp_path / name).write_text(text)
    assert run(service, "predict", "job_1", str(tmp_path / name)) == (0 if rows else 2)
    assert [len(json.loads(seen.body)["rows"]) for seen in service.seen] == ([rows] if rows else [])


def test_the_report_is_fetched_and_its_path_printed(
    service: Canned, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    service.say("GET /v1/jobs/job_1/artifacts", said({"data": [file("report.html", b"<!doctype html>")]}))
    service.say("GET /files/report.html", Reply(b"<!doctype html>"))
    assert run(service, "report", "job_1", "--to", str(tmp_path), "--open") == 0
    path = tmp_path / "job_1" / "report.html"
    assert (capsys.readouterr().out, path.read_bytes()) == (f"{path}\n", b"<!doctype html>")
    assert shown == [path.as_uri()]
