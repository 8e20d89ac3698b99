"""Hostile bodies get a short problem and nothing back of what they sent."""

import gzip
import json

import pytest
from starlette.testclient import TestClient

JSON = {"content-type": "application/json"}


def spec(lr: str = "0.1", metadata: str = "{}", rest: str = "") -> bytes:
    optimizer = '{"kind": "adam", "lr": ' + lr + "}"
    start = '{"dataset": {"source": "builtin", "name": "wine"}, "optimizer": '
    return f'{start}{optimizer}, "metadata": {metadata}{rest}}}'.encode()


ROWS = '{"dataset": {"source": "rows", "rows": [{"a": %s}]}}'

MALFORMED = {
    "nan": spec(lr="NaN"),
    "minus infinity": spec(lr="-Infinity"),
    "1e400": spec(lr="1e400"),
    "nan in a row": (ROWS % "NaN").encode(),
    "5000 digits": spec(rest=', "seed": ' + "1" * 5000),
    "beyond 64 bits": (ROWS % 2**63).encode(),
    "twice the same key": spec(rest=', "seed": 1, "seed": 2'),
    "nul": spec(metadata='{"a": "\\u0000"}'),
    "nul in a key": spec(metadata='{"\\u0000": "a"}'),
    "half a surrogate": spec(metadata='{"a": "\\ud800"}'),
    "half a surrogate in a row": (ROWS % '"\\udfff"').encode(),
    "utf-16": spec().decode().encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + spec(),
    "latin-1": spec(metadata='{"a": "é"}').decode().encode("latin-1"),
    "33 levels": (ROWS % ("[" * 29 + "]" * 29)).encode(),
    "900 levels": (ROWS % ("[" * 900 + "]" * 900)).encode(),
    "50,000 levels": (ROWS % ("[" * 50_000 + "]" * 50_000)).encode(),
    "unclosed": b"[" * 50_000,
    "cut off": spec()[:-1],
    "gzip": gzip.compress(spec()),
    "nothing but a word": b"hello",
}


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/validate", "/v1/datasets"])
def test_json_that_readers_may_take_differently_is_refused(client: TestClient, path: str) -> None:
    answers = {name: client.post(path, content=body, headers=JSON) for name, body in MALFORMED.items()}
    told = {name: (answer.status_code, answer.json()["code"]) for name, answer in answers.items()}
    assert told == dict.fromkeys(MALFORMED, (400, "malformed_request"))
    assert {answer.headers["content-type"] for answer in answers.values()} == {"application/problem+json"}
    assert max(len(answer.content) for answer in answers.values()) < 500


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
