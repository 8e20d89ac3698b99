"""Bodies that two readers may take differently, that no database keeps, or that only cost: every call refuses them, on
both databases, in few words."""

import gzip
import json
from typing import Any
from unittest.mock import Mock

import anyio
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api import faults, strict
from tests.api.test_bodies import JSON, spec
from tests.attacks.test_owners import contract

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
SHORT = 500
"""Bytes of an answer."""


def takers() -> list[tuple[str, str]]:
    """Method and address of every call that takes JSON."""
    return [
        (method.upper(), path)
        for path, methods in contract().items()
        for method, call in methods.items()
        if "application/json" in call.get("requestBody", {}).get("content", {})
    ]


TAKERS = takers()


@pytest.mark.parametrize("attack", MALFORMED)
def test_a_malformed_body_is_refused_by_every_call(client: TestClient, ann: dict[str, str], attack: str) -> None:
    answers = {call: client.request(*call, content=MALFORMED[attack], headers={**JSON, **ann}) for call in TAKERS}
    told = {call: (answer.status_code, answer.json()["code"]) for call, answer in answers.items()}
    assert told == dict.fromkeys(TAKERS, (400, "malformed_request"))
    assert {answer.headers["content-type"] for answer in answers.values()} == {"application/problem+json"}
    assert max(len(answer.content) for answer in answers.values()) < SHORT


def test_a_body_of_twenty_megabytes_is_not_read_to_its_end(client: TestClient, ann: dict[str, str]) -> None:
    for call in TAKERS:
        answer = client.request(*call, content=b'{"x": "' + b"x" * 20_000_000, headers={**JSON, **ann})
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert len(answer.content) < SHORT


@pytest.mark.parametrize("part", ["[]", "{}", '{"a":[]}'])
def test_a_body_of_nothing_but_brackets_is_not_parsed(client: TestClient, ann: dict[str, str], part: str) -> None:
    content = ('{"rows":[' + ",".join([part] * (7_000_000 // (len(part) + 1))) + "]}").encode()
    detail = "The body has more than 1048576 arrays, or half as many objects; send rows as a file."
    for call in TAKERS:
        answer = client.request(*call, content=content, headers={**JSON, **ann})
        assert (answer.status_code, answer.json()["detail"]) == (400, detail)


def test_a_body_of_a_thousand_images_is_parsed() -> None:
    rows = [{"pixels": [[[0]] * 28] * 28}] * 1000
    assert strict.parse(json.dumps({"rows": rows}).encode()) == {"rows": rows}


MANY = 50_000
KEYS: dict[str, Any] = dict.fromkeys(map(str, range(MANY)), 0)
WIDE: dict[str, Any] = dict.fromkeys(map(str, range(9000)), [])
FLOODS: dict[str, Any] = {
    "fields": KEYS,
    "fields of a dataset": {"dataset": KEYS},
    "fields of layers": {"model": {"kind": "sequential", "layers": [WIDE] * 3}},
    "names of features": {"features": {"include": [0] * MANY}},
    "metadata": {"metadata": KEYS},
    "rows": {"rows": [0] * MANY},
    "inline rows": {"dataset": {"source": "rows", "rows": [0] * MANY}},
    "cells of a row": {"rows": [KEYS]},
    "cells of rows": {"rows": [WIDE] * 3},
}
"""Bodies with as many faults as they have bytes for."""


@pytest.mark.parametrize("flood", FLOODS)
def test_a_body_of_nothing_but_faults_costs_little(
    client: TestClient, ann: dict[str, str], monkeypatch: pytest.MonkeyPatch, flood: str
) -> None:
    gathered = Mock(wraps=faults.of)
    monkeypatch.setattr(faults, "of", gathered)
    content = json.dumps(FLOODS[flood]).encode()
    for call in TAKERS:
        answer = client.request(*call, content=content, headers={**JSON, **ann})
        assert answer.status_code in (400, 403, 405, 422)
        assert len(answer.json().get("errors", [])) <= faults.MOST
    assert all(len(call.args[0]) <= 2 * strict.MOST_KEYS for call in gathered.call_args_list)


@pytest.mark.parametrize("call", TAKERS, ids=" ".join)
def test_the_body_of_somebody_without_a_key_is_not_read(guarded: FastAPI, call: tuple[str, str]) -> None:
    told: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("it was asked for")

    async def send(message: Any) -> None:
        told.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"), (b"content-length", b"9")]
    scope = {"type": "http", "method": call[0], "path": call[1], "headers": headers, "query_string": b""}
    anyio.run(guarded, {**scope, "raw_path": call[1].encode(), "scheme": "http", "root_path": ""}, receive, send)
    assert told[0]["status"] == 401
