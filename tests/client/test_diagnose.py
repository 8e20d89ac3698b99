"""What a run says about itself, on a terminal and for scripts."""

import json

import pytest

from client import answers
from client.sdk import Client
from tests.client.conftest import Canned, job, said, stream
from tests.client.test_cli import run

FOUND = {
    "code": "lr_too_high",
    "severity": "warning",
    "message": "The loss leapt.",
    "evidence": {"next_lr": 0.01},
    "patch": [{"op": "replace", "path": "/optimizer/lr", "value": 0.01}],
}
LINE = "lr_too_high The loss leapt. /optimizer/lr → 0.01"


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_findings_are_shown_with_their_remedies(service: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    service.say("GET /v1/jobs/job_1/diagnostics", said({"object": "diagnostics", "findings": [FOUND], "flow": []}))
    assert run(service, "diagnose", "job_1") == 0
    assert LINE in lines(capsys)
    assert run(service, "--json", "diagnose", "job_1") == 0
    assert json.loads(capsys.readouterr().out)["findings"] == [FOUND]


def test_a_run_under_way_has_said_nothing(service: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    service.say("GET /v1/jobs/job_1/diagnostics", said({"object": "diagnostics", "findings": None, "flow": []}))
    assert run(service, "diagnose", "job_1") == 0
    assert lines(capsys) == ["nothing yet: the run has not come to an end of its own"]


def test_following_ends_with_the_findings(service: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    service.say("GET /v1/jobs/job_1/events", stream((1, "succeeded", {})))
    service.say("GET /v1/jobs/job_1", said(job(status="succeeded", diagnostics={"findings": [FOUND]})))
    service.say("GET /v1/jobs/job_1/artifacts", said({"data": []}))
    assert run(service, "follow", "job_1") == 0
    assert LINE in lines(capsys)


def test_the_sdk_gives_findings_typed(service: Canned) -> None:
    service.say("GET /v1/jobs/job_1/diagnostics", said({"object": "diagnostics", "findings": [FOUND], "flow": []}))
    with Client(service.url) as client:
        assert client.diagnostics("job_1").findings == [answers.Finding.model_validate(FOUND)]
