"""What is wrong with a body is told in full, and nothing of it is sent back."""

import json

import pytest
from starlette.testclient import TestClient

JSON = {"content-type": "application/json"}


def spec(lr: str = "0.1", metadata: str = "{}", rest: str = "") -> bytes:
    optimizer = '{"kind": "adam", "lr": ' + lr + "}"
    start = '{"dataset": {"source": "builtin", "name": "wine"}, "optimizer": '
    return f'{start}{optimizer}, "metadata": {metadata}{rest}}}'.encode()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (spec(lr='"NaN"'), "/optimizer/lr"),
        (spec(lr="true"), "/optimizer/lr"),
        (spec(rest=', "epochs": true'), "/epochs"),
        (spec(rest=', "epochs": "1"'), "/epochs"),
        (spec(rest=', "epochs": 1.0'), "/epochs"),
        (spec(rest=', "status": "succeeded"'), "/status"),
        (spec(rest=', "a/b~c": 1'), "/a~1b~0c"),
        (spec(metadata='{"a": 1}'), "/metadata/a"),
        (spec(rest=', "optimizr": {}'), "/optimizr"),
        (spec(rest=', "schedule": {"kind": "step"}'), "/schedule/size"),
        (spec(rest=', "schedule": {"kind": "stepp"}'), "/schedule/kind"),
        (spec(rest=', "schedule": {"kind": "step", "size": 1, "step": 2}'), "/schedule/step"),
        (spec(rest=', "split": {"kind": "column", "column": 1}'), "/split/column"),
        (spec(rest=', "model": {"layers": []}'), "/model/kind"),
        (
            spec(rest=', "model": {"kind": "sequential", "layers": [{"kind": "dense", "units": 0}]}'),
            "/model/layers/0/units",
        ),
        (b"{}", "/dataset"),
        (b"[]", ""),
        (b"null", ""),
        (b"", ""),
    ],
)
def test_a_fault_points_to_its_place_in_the_body(client: TestClient, body: bytes, pointer: str) -> None:
    answer = client.post("/v1/jobs", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


def test_all_faults_are_told_at_once_each_with_its_mend(client: TestClient) -> None:
    body = {
        "dataset": {"source": "builtin", "name": "secret"},
        "batch_size": "secret",
        "clip": {"kind": "value"},
        "x": 1,
    }
    answer = client.post("/v1/jobs", json=body)
    assert answer.json()["errors"] == [
        {
            "pointer": "/dataset/name",
            "code": "literal_error",
            "detail": "Must be 'digits', 'iris', 'wine', 'breast_cancer' or 'diabetes'.",
        },
        {"pointer": "/clip/limit", "code": "missing", "detail": "This is required; add it."},
        {
            "pointer": "/batch_size",
            "code": "int_type",
            "detail": "Must be a valid integer. Or: Must be 'full' or 'auto'. Or: Must be an object.",
        },
        {
            "pointer": "/x",
            "code": "extra_forbidden",
            "detail": "There is no such field here; remove it or mend its spelling.",
        },
    ]
    assert "secret" not in answer.text


def test_a_long_text_is_not_sent_back(client: TestClient) -> None:
    for body in ({"name": "x" * 100_000}, {"x" * 100_000: 1}, {str(n): 1 for n in range(5000)}):
        answer = client.post("/v1/jobs", json=body)
        assert answer.status_code == 422
        assert len(answer.content) < 20_000


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/validate", "/v1/datasets"])
def test_json_has_a_largest_size_whether_announced_or_not(client: TestClient, path: str) -> None:
    big = json.dumps({"x": "x" * 300_000}).encode()
    chunked = iter([big[:100_000], big[100_000:]])
    for content in (big, chunked):
        answer = client.post(path, content=content, headers=JSON)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", ""])
def test_a_spec_must_say_that_it_is_json(client: TestClient, kind: str) -> None:
    answer = client.post("/v1/jobs", content=spec(), headers={"content-type": kind})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def test_a_charset_beside_the_content_type_is_fine(client: TestClient) -> None:
    answer = client.post("/v1/jobs", content=spec(), headers={"content-type": "Application/JSON; charset=utf-8"})
    assert answer.status_code == 201
