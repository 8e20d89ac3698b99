"""Bodies that two readers may take differently, that no database keeps, or that only cost: every call refuses them, on
both databases, in few words."""

import gzip
from typing import Any

import anyio
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

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
