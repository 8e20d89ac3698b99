"""Datasets: uploaded in every way, listed, read, previewed, deleted."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs import datasets, db, ids, imports
from jobs.artifacts import Artifacts
from jobs.profiles import builtin
from jobs.record import Failure
from jobs.settings import Settings

CSV = b"a,b\n1,2\n3,4\n"
Upload = Callable[..., dict[str, Any]]


@pytest.fixture
def upload(client: TestClient) -> Upload:
    """Sends bytes as they are and gives the dataset's representation."""

    def upload(content: bytes = CSV, **params: Any) -> dict[str, Any]:
        answer = client.post("/v1/datasets", content=content, params=params, headers={"content-type": "text/csv"})
        assert answer.status_code == 201, answer.text
        dataset: dict[str, Any] = answer.json()
        return dataset

    return upload


def settle(database: db.Database, *, ready: bool = True) -> None:
    """Does a worker's part for the oldest dataset that waits."""
    error = None if ready else Failure(error_class="data", code="data_invalid", message="Row 2 has 3 cells.")
    with database.writing() as session:
        row = datasets.claim(session, "w", 30)
        assert row is not None
        profile = builtin()["iris"] if ready else None
        datasets.settle(session, row.id, row.attempt, profile, [{"a": n} for n in range(30)], error)


def stored(tmp_path: Path) -> list[str]:
    """Every file of the artifact store."""
    root = tmp_path / "artifacts"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_raw_body_is_stored_under_its_hash(client: TestClient, upload: Upload, tmp_path: Path) -> None:
    dataset = upload(name="mine")
    sha = hashlib.sha256(CSV).hexdigest()
    assert (dataset["name"], dataset["status"], dataset["bytes"]) == ("mine", "profiling", 12)
    assert (dataset["sha256"], dataset["profile"], dataset["error"]) == (sha, None, None)
    (path,) = stored(tmp_path)
    assert fnmatch(path, f"datasets/up_*/{sha}")
    assert (tmp_path / "artifacts" / path).read_bytes() == CSV
    assert client.get(f"/v1/datasets/{dataset['id']}").json() == dataset


@pytest.mark.parametrize(
    ("form", "filename", "name"),
    [
        ({"name": "given"}, "f.csv", "given"),
        ({}, "f.csv", "f.csv"),
        ({}, "C:\\secret\\f.csv", "f.csv"),
        ({}, "../../etc/f.csv", "f.csv"),
        ({}, "a\u202eb.csv", "ab.csv"),
        ({}, "x" * 300, "x" * 200),
    ],
)
def test_a_form_is_stored_as_its_file(
    client: TestClient, tmp_path: Path, form: dict[str, str], filename: str, name: str
) -> None:
    content = CSV * 20_000
    answer = client.post("/v1/datasets", data=form, files={"file": (filename, content)})
    assert (answer.status_code, answer.json()["name"]) == (201, name)
    assert answer.headers["location"] == f"/v1/datasets/{answer.json()['id']}"
    (path,) = stored(tmp_path)
    assert fnmatch(path, f"datasets/up_*/{hashlib.sha256(content).hexdigest()}")


def test_rows_are_stored_as_an_array_of_objects(client: TestClient, tmp_path: Path) -> None:
    rows = [{"a": 1, "b": "é", "c": None}, {"a": 2.5, "b": True}]
    answer = client.post("/v1/datasets", json={"rows": rows, "name": "small"})
    assert (answer.status_code, answer.json()["name"]) == (201, "small")
    (path,) = stored(tmp_path)
    assert json.loads((tmp_path / "artifacts" / path).read_bytes()) == rows


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/rows"),
        ({"rows": []}, "/rows"),
        ({"rows": [{"a": []}]}, "/rows/0/a"),
        ({"rows": [{"": 1}]}, "/rows/0/"),
        ({"rows": [{"a": 1}], "x": 1}, "/x"),
        ([], ""),
    ],
)
def test_rows_must_be_a_table(client: TestClient, tmp_path: Path, body: Any, pointer: str) -> None:
    answer = client.post("/v1/datasets", json=body)
    assert (answer.status_code, [fault["pointer"] for fault in answer.json()["errors"]]) == (422, [pointer])
    assert stored(tmp_path) == []


def form(*parts: tuple[str, bytes], end: bytes = b"--b--\r\n") -> bytes:
    lines = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value for name, value in parts]
    return b"\r\n".join([*lines, end])


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"", "text/csv", 422, "data_invalid"),
        (CSV, "image/png", 415, "unsupported_media_type"),
        (CSV, "", 415, "unsupported_media_type"),
        (CSV, b"\xe9/\xe9", 415, "unsupported_media_type"),
        (form(("file", b"")), "multipart/form-data; boundary=b", 422, "data_invalid"),
        (form(("name", b"x")), "multipart/form-data; boundary=b", 422, "invalid_request"),
        (
            form(("name", b"x"), ("name", b"y"), ("file", CSV)),
            "multipart/form-data; boundary=b",
            400,
            "malformed_request",
        ),
        (form(("file", CSV), ("other", b"x")), "multipart/form-data; boundary=b", 400, "malformed_request"),
        (form(("", b"x"), ("file", CSV)), "multipart/form-data; boundary=b", 400, "malformed_request"),
        (form(("file", CSV), ("file", CSV)), "multipart/form-data; boundary=b", 400, "malformed_request"),
        (form(("file", CSV), ("name", b"x" * 2000)), "multipart/form-data; boundary=b", 400, "malformed_request"),
        (form(("file", CSV), end=b"--b"), "multipart/form-data; boundary=b", 400, "malformed_request"),
        (form(("file", CSV)), "multipart/form-data", 400, "malformed_request"),
        (form(("file", CSV)), "multipart/form-data; boundary=c", 400, "malformed_request"),
        (form(("file", CSV)), "multipart/form-data; boundary=" + "b" * 500, 400, "malformed_request"),
        (b"x" * 300_001, "text/csv", 413, "too_large"),
        (form(("file", b"x" * 300_001)), "multipart/form-data; boundary=b", 413, "too_large"),
    ],
)
def test_what_cannot_be_taken_leaves_nothing_behind(
    client: TestClient, tmp_path: Path, content: bytes, kind: str, status: int, code: str
) -> None:
    def chunks() -> Iterator[bytes]:
        for start in range(0, len(content), 100_000):
            yield content[start : start + 100_000]

    for body in (content, chunks()):
        answer = client.post("/v1/datasets", content=body, headers={"content-type": kind})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert stored(tmp_path) == []
    assert client.get("/v1/datasets").json()["data"] == []


def test_the_same_bytes_are_stored_once_and_known_at_once(
    client: TestClient, database: db.Database, upload: Upload, tmp_path: Path
) -> None:
    first, waiting = upload(), upload()
    settle(database)
    known = upload(name="again")
    assert (waiting["status"], known["status"], known["name"]) == ("profiling", "ready", "again")
    assert known["profile"] == client.get(f"/v1/datasets/{first['id']}").json()["profile"]
    assert len(client.get(f"/v1/datasets/{known['id']}/rows").json()["data"]) == 20
    assert len(stored(tmp_path)) == 1


def test_a_store_that_stands_still_keeps_nobody_from_writing(
    client: TestClient, database: db.Database, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    took: list[float] = []
    for name in ("move", "copy", "delete"):
        act = getattr(Artifacts, name)

        def slowly(place: Artifacts, *keys: str, act: Callable[..., None] = act) -> None:
            began = time.monotonic()
            with database.writing():
                took.append(time.monotonic() - began)
            act(place, *keys)

        monkeypatch.setattr(Artifacts, name, slowly)
    for dataset in (upload(), upload()):
        assert client.delete(f"/v1/datasets/{dataset['id']}").status_code == 204
    assert len(took) == 5  # a move, a copy, the deletion of what came twice, and of what was kept
    assert max(took) < 5


def test_bytes_go_with_the_last_dataset_that_has_them(client: TestClient, upload: Upload, tmp_path: Path) -> None:
    first, second = upload(), upload()
    assert client.delete(f"/v1/datasets/{first['id']}").status_code == 204
    assert len(stored(tmp_path)) == 1
    assert client.delete(f"/v1/datasets/{second['id']}").status_code == 204
    assert stored(tmp_path) == []
    assert client.get(f"/v1/datasets/{first['id']}").status_code == 404


def test_a_dataset_that_a_job_needs_is_kept(client: TestClient, upload: Upload, tmp_path: Path) -> None:
    dataset = upload()
    spec = {"dataset": {"source": "upload", "id": dataset["id"]}, "target": "b"}
    job = client.post("/v1/jobs", json=spec).json()
    answer = client.delete(f"/v1/datasets/{dataset['id']}")
    assert (answer.status_code, answer.json()["code"]) == (409, "in_use")
    assert [(tmp_path / "artifacts" / path).read_bytes() for path in stored(tmp_path)] == [CSV]
    client.post(f"/v1/jobs/{job['id']}/cancel")
    assert client.delete(f"/v1/datasets/{dataset['id']}").status_code == 204


def test_a_preview_shows_the_first_rows(client: TestClient, database: db.Database, upload: Upload) -> None:
    rows = f"/v1/datasets/{upload()['id']}/rows"
    assert client.get(rows).json() == {"object": "list", "data": [], "total": None}
    settle(database)
    assert client.get(rows, params={"limit": 2}).json() == {
        "object": "list",
        "data": [{"a": 0}, {"a": 1}],
        "total": 150,
    }


def test_an_invalid_dataset_says_why_and_takes_no_jobs(
    client: TestClient, database: db.Database, upload: Upload
) -> None:
    dataset = upload()["id"]
    settle(database, ready=False)
    found = client.get(f"/v1/datasets/{dataset}").json()
    answer = client.post("/v1/jobs", json={"dataset": {"source": "upload", "id": dataset}, "target": "b"})
    assert (found["status"], found["error"]["message"]) == ("invalid", "Row 2 has 3 cells.")
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/dataset"]


def test_datasets_come_in_pages(client: TestClient, upload: Upload) -> None:
    made = [upload(b"a\n%d\n" % n)["id"] for n in range(3)]
    first = client.get("/v1/datasets", params={"limit": 2}).json()
    last = client.get("/v1/datasets", params={"limit": 2, "after": first["next"]}).json()
    assert [found["id"] for found in first["data"] + last["data"]] == sorted(made, reverse=True)
    assert last["next"] is None


def test_builtin_datasets_are_listed_with_their_profiles(client: TestClient) -> None:
    found = {item["name"]: item["profile"]["rows"] for item in client.get("/v1/datasets/builtin").json()["data"]}
    assert found == {"breast_cancer": 569, "diabetes": 442, "digits": 1797, "iris": 150, "wine": 178}


@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("GET", "/rows"), ("DELETE", "")])
def test_what_does_not_exist_is_not_found(client: TestClient, method: str, rest: str) -> None:
    for dataset in (ids.new("ds"), "ds_x", "x%00"):
        answer = client.request(method, f"/v1/datasets/{dataset}{rest}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def fetched(database: db.Database, artifacts: Artifacts, content: bytes) -> None:
    """Does a worker's part for the oldest dataset that is to be fetched."""
    sha = hashlib.sha256(content).hexdigest()
    with database.writing() as session:
        row = imports.take(session, "w", 30)
        assert row is not None
        imports.keep(session, row, f"datasets/{sha}", len(content), sha, Settings())
    assert artifacts.root is not None
    (artifacts.root / "datasets").mkdir()
    (artifacts.root / "datasets" / sha).write_bytes(content)


def test_a_dataset_may_be_somewhere_else(client: TestClient, database: db.Database, artifacts: Artifacts) -> None:
    url = "https://data.example.com:8443/a/prices%20of%202026.csv?token=x"
    answer = client.post("/v1/datasets", json={"url": url})
    made = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/v1/datasets/{made['id']}")
    assert (made["name"], made["status"], made["url"]) == ("prices of 2026.csv", "profiling", url)
    assert (made["bytes"], made["sha256"], made["profile"], made["error"]) == (0, "", None, None)
    fetched(database, artifacts, CSV)
    settle(database)
    found = client.get(f"/v1/datasets/{made['id']}").json()
    assert (found["status"], found["bytes"], found["sha256"]) == ("ready", 12, hashlib.sha256(CSV).hexdigest())
    assert client.delete(f"/v1/datasets/{made['id']}").status_code == 204
    assert artifacts.root is not None
    assert [path for path in artifacts.root.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("url", "body", "params", "name"),
    [
        ("https://example.org", {}, {}, "dataset"),
        ("https://example.org/a/", {}, {}, "dataset"),
        ("https://[1:2:3.]:65207/a.csv?b/c", {}, {}, "a.csv"),
        ("https://example.org/a.csv", {"name": "mine"}, {}, "mine"),
        ("https://example.org/a.csv", {"name": "mine"}, {"name": "yours"}, "yours"),
        ("https://example.org/..%2F..%2Fetc%2Fpass%00wd", {}, {}, "passwd"),
    ],
)
def test_what_is_to_be_fetched_has_a_name(
    client: TestClient, url: str, body: dict[str, str], params: dict[str, str], name: str
) -> None:
    assert client.post("/v1/datasets", json={"url": url, **body}, params=params).json()["name"] == name


def test_asked_again_it_is_the_same_dataset_until_it_is_here(
    client: TestClient, database: db.Database, artifacts: Artifacts
) -> None:
    body = {"url": "https://example.org/a.csv"}
    first, again = (client.post("/v1/datasets", json=body).json() for _ in range(2))
    fetched(database, artifacts, CSV)
    assert first == again
    assert client.post("/v1/datasets", json=body).json()["id"] != first["id"]


@pytest.mark.parametrize("body", [{"rows": [{"a": 1}]}, {"extra": 1}, {"name": 7}])
def test_a_body_with_a_url_has_nothing_else_but_a_name(client: TestClient, body: dict[str, Any]) -> None:
    answer = client.post("/v1/datasets", json={"url": "https://example.org/a.csv", **body})
    pointers = [fault["pointer"] for fault in answer.json()["errors"]]
    assert (answer.status_code, pointers) == (422, [f"/{name}" for name in body])


def test_an_owner_waits_for_so_many_and_no_more(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "MOST", 2)
    answers = [client.post("/v1/datasets", json={"url": f"https://example.org/{n}"}) for n in (0, 1, 1, 2)]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 429]
    assert (answers[-1].json()["code"], "retry-after" in answers[-1].headers) == ("quota_reached", True)


def test_what_is_not_here_yet_can_be_trained_on_and_then_not_deleted(client: TestClient) -> None:
    made = client.post("/v1/datasets", json={"url": "https://example.org/a.csv"}).json()
    spec = {"dataset": {"source": "upload", "id": made["id"]}, "target": "a"}
    assert client.post("/v1/jobs", json=spec).json()["status_reason"]["code"] == "dataset_profiling"
    assert client.delete(f"/v1/datasets/{made['id']}").json()["code"] == "in_use"
