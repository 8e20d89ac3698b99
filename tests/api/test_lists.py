"""Lists of jobs: paged, filtered, and strict about what they are asked."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs import ids

Submit = Callable[..., dict[str, Any]]
SOME_JOB = "job_01m7x9mw64s8g21cjat5bc3d91"


def test_pages_hold_still_while_jobs_are_added(client: TestClient, submit: Submit) -> None:
    old = [submit(seed=n)["id"] for n in range(5)]
    first = client.get("/v1/jobs", params={"limit": 2}).json()
    submit(seed=99)
    second = client.get("/v1/jobs", params={"limit": 2, "after": first["next"]}).json()
    last = client.get("/v1/jobs", params={"limit": 2, "after": second["next"]}).json()
    seen = [job["id"] for page in (first, second, last) for job in page["data"]]
    assert seen == sorted(old, reverse=True)
    assert (second["has_more"], last["has_more"], last["next"]) == (True, False, None)


def test_a_list_and_a_single_answer_agree(client: TestClient, submit: Submit) -> None:
    made = [submit(priority=priority)["id"] for priority in (0, 5, -5, 5)]
    client.post(f"/v1/jobs/{submit()['id']}/cancel")
    listed = client.get("/v1/jobs").json()["data"]
    assert [client.get(job["links"]["self"]).json() for job in listed] == listed
    assert {job["id"]: job["queue"]["position"] for job in listed[1:]} == dict(zip(made, (2, 0, 3, 1), strict=True))


def test_jobs_are_filtered(client: TestClient, submit: Submit) -> None:
    submit(name="a", metadata={"team": "x", 'odd "key"]': "1"})
    middle = submit(name="b", metadata={"team": "x"})
    submit(name="b", metadata={"team": "y"})
    client.post(f"/v1/jobs/{middle['id']}/cancel")

    def count(**params: Any) -> int:
        return len(client.get("/v1/jobs", params=params).json()["data"])

    assert count(name="b") == 2
    assert count(status="cancelled") == 1
    assert count(status=["cancelled", "queued"]) == 3
    assert count(**{"metadata[team]": "x"}) == 2
    assert count(**{"metadata[team]": "x", "name": "b"}) == 1
    assert count(**{'metadata[odd "key"]]': "1"}) == 1
    assert count(dataset=ids.new("ds")) == 0
    assert count(created_after=middle["created_at"]) == 1
    assert count(created_before=middle["created_at"]) == 1


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/query/limit"),
        ("limit=201", "/query/limit"),
        ("stauts=queued", "/query/stauts"),
        ("metadata=x", "/query/metadata"),
        ("status=lost", "/query/status"),
        ("created_after=2026-01-01T00:00:00", "/query/created_after"),
        ("created_after=1780000000", "/query/created_after"),
    ],
)
def test_wrong_parameters_are_refused(client: TestClient, query: str, pointer: str) -> None:
    answer = client.get(f"/v1/jobs?{query}")
    assert (answer.status_code, [fault["pointer"] for fault in answer.json()["errors"]]) == (422, [pointer])


@pytest.mark.parametrize("after", ["", "x", "job_x", SOME_JOB + "\n", SOME_JOB.replace("job", "ds")])
def test_a_cursor_of_somebody_elses_making_is_refused(client: TestClient, after: str) -> None:
    answer = client.get("/v1/jobs", params={"after": after})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_cursor")
