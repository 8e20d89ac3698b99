"""Webhooks over HTTP: made, changed, tested, their log read. Who sends them is `worker.delivering`'s matter."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs import db, deliveries, ids, webhooks
from jobs.deliveries import Outcome

URL = "https://hooks.example.com/fitd?key=1"
Hook = Callable[..., dict[str, Any]]


@pytest.fixture
def hook(client: TestClient) -> Hook:
    """Makes a webhook and gives its representation."""

    def hook(**fields: Any) -> dict[str, Any]:
        answer = client.post("/v1/webhooks", json={"url": URL, **fields})
        assert answer.status_code == 201, answer.text
        webhook: dict[str, Any] = answer.json()
        return webhook

    return hook


def attempted(database: db.Database, outcome: Outcome) -> None:
    """Does a worker's part for the message that is due."""
    with database.writing() as session:
        due = deliveries.take(session)
        assert due is not None
        deliveries.settle(session, due, outcome)


def test_a_webhook_is_made_with_a_secret_that_is_shown_once(client: TestClient, hook: Hook) -> None:
    made = hook(description="ops", events=["failed", "started", "failed"])
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert (made["url"], made["events"], made["enabled"]) == (URL, ["started", "failed"], True)
    one = client.get(f"/v1/webhooks/{made['id']}")
    assert (one.json(), client.get("/v1/webhooks").json()["data"]) == (made, [made])
    assert secret not in one.text


def test_a_webhook_hears_of_ends_unless_it_asks_for_more(client: TestClient) -> None:
    answer = client.post("/v1/webhooks", json={"url": URL})
    assert answer.json()["events"] == ["succeeded", "failed", "cancelled", "timed_out"]
    assert answer.headers["location"] == f"/v1/webhooks/{answer.json()['id']}"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": "ftp://example.com/"}, "/url"),
        ({"url": "https://user:pass@example.com/"}, "/url"),
        ({"url": "https://good.com\\@127.0.0.1/"}, "/url"),
        ({"url": "https://example.com/" + "x" * 2048}, "/url"),
        ({"url": "https:///"}, "/url"),
        ({"url": 1}, "/url"),
        ({"url": URL, "events": []}, "/events"),
        ({"url": URL, "events": ["progress"]}, "/events/0"),
        ({"url": URL, "description": "x" * 201}, "/description"),
        ({"url": URL, "secret": "whsec_mine"}, "/secret"),
        ({"url": URL, "owner": "bob"}, "/owner"),
    ],
)
def test_what_is_no_webhook_is_refused(client: TestClient, body: Any, pointer: str) -> None:
    answer = client.post("/v1/webhooks", json=body)
    assert (answer.status_code, [fault["pointer"] for fault in answer.json()["errors"]]) == (422, [pointer])


def test_a_wrong_address_is_said_clearly(client: TestClient) -> None:
    (fault,) = client.post("/v1/webhooks", json={"url": "https://me@example.com/"}).json()["errors"]
    assert fault["detail"] == (
        "Must be an address https://host[:port][/path] of at most 2048 ASCII characters, without user, password or "
        "fragment."
    )


def test_a_webhook_is_changed_in_parts(client: TestClient, hook: Hook) -> None:
    made = hook(description="old")
    where = f"/v1/webhooks/{made['id']}"
    off = client.patch(where, json={"enabled": False, "events": ["paused"]}).json()
    assert (off["enabled"], off["disabled_reason"], off["events"]) == (False, "Its owner disabled it.", ["paused"])
    on = client.patch(where, json={"enabled": True, "description": "new", "url": "https://example.com/"}).json()
    assert (on["enabled"], on["disabled_at"], on["disabled_reason"]) == (True, None, None)
    assert (on["description"], on["url"], on["events"]) == ("new", "https://example.com/", ["paused"])
    assert on["updated_at"] > made["updated_at"]


def test_what_waited_when_a_webhook_was_disabled_is_not_sent_when_it_is_enabled(
    client: TestClient, database: db.Database, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "BATCH", 2)
    where = f"/v1/webhooks/{hook()['id']}"
    for _ in range(5):
        assert client.post(f"{where}/test").status_code == 202
    for enabled in (False, True):
        assert client.patch(where, json={"enabled": enabled}).status_code == 200
    log = client.get(f"{where}/deliveries").json()["data"]
    assert [(sent["status"], sent["error"]) for sent in log] == [("failed", "webhook_disabled")] * 5
    with database.writing() as session:
        assert deliveries.take(session) is None


@pytest.mark.parametrize("body", [{}, {"enabled": None}, {"enabled": "yes"}, {"url": ""}, {"events": []}, {"x": 1}])
def test_a_change_that_says_nothing_or_nonsense_is_refused(client: TestClient, hook: Hook, body: Any) -> None:
    answer = client.patch(f"/v1/webhooks/{hook()['id']}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_webhooks_come_in_pages(client: TestClient, hook: Hook) -> None:
    made = [hook()["id"] for _ in range(3)]
    first = client.get("/v1/webhooks", params={"limit": 2}).json()
    last = client.get("/v1/webhooks", params={"limit": 2, "after": first["next"]}).json()
    assert [webhook["id"] for page in (first, last) for webhook in page["data"]] == made[::-1]
    assert (last["has_more"], last["next"]) == (False, None)


def test_a_deleted_webhook_is_gone(client: TestClient, hook: Hook) -> None:
    where = f"/v1/webhooks/{hook()['id']}"
    assert client.delete(where).status_code == 204
    assert [client.request(method, where).status_code for method in ("GET", "DELETE")] == [404, 404]


def test_more_webhooks_than_one_may_have_are_refused(client: TestClient, hook: Hook) -> None:
    for _ in range(webhooks.MOST):
        hook()
    answer = client.post("/v1/webhooks", json={"url": URL})
    assert (answer.status_code, answer.json()["code"]) == (409, "limit_reached")


def test_a_secret_is_replaced(client: TestClient, hook: Hook) -> None:
    made = hook()
    renewed = client.post(f"/v1/webhooks/{made['id']}/rotate-secret").json()
    assert renewed["secret"].startswith("whsec_")
    assert {**renewed, "secret": "", "updated_at": ""} == {**made, "secret": "", "updated_at": ""}
    assert renewed["secret"] != made["secret"]


def test_a_test_is_written_for_a_worker_and_its_outcome_is_read(
    client: TestClient, hook: Hook, database: db.Database
) -> None:
    where = f"/v1/webhooks/{hook()['id']}"
    answer = client.post(f"{where}/test")
    waiting = answer.json()
    assert (answer.status_code, waiting["kind"], waiting["status"], waiting["tries"]) == (202, "test", "pending", 0)
    assert waiting["payload"]["type"] == "webhook.test"
    attempted(database, Outcome(503, "answered_503"))
    (found,) = client.get(f"{where}/deliveries").json()["data"]
    assert (found["id"], found["status"], found["tries"]) == (waiting["id"], "failed", 1)
    assert (found["answered"], found["error"]) == (503, "answered_503")
    assert client.get(where).json()["failing_since"] is not None


def test_a_jobs_end_is_in_the_log_and_can_be_sent_again(
    client: TestClient, hook: Hook, submit: Callable[..., dict[str, Any]], database: db.Database
) -> None:
    where = f"/v1/webhooks/{hook()['id']}/deliveries"
    job = submit(name="mine")
    client.post(f"/v1/jobs/{job['id']}/cancel")
    attempted(database, Outcome(200, None))
    (found,) = client.get(where).json()["data"]
    assert (found["job_id"], found["kind"], found["status"]) == (job["id"], "cancelled", "delivered")
    assert (found["payload"]["data"]["name"], found["payload"]["data"]["status"]) == ("mine", "cancelled")
    again = client.post(f"{where}/{found['id']}/resend")
    assert (again.status_code, again.json()["id"], again.json()["status"]) == (202, found["id"], "pending")


def test_deliveries_come_in_pages_newest_first(client: TestClient, hook: Hook) -> None:
    where = f"/v1/webhooks/{hook()['id']}"
    made = [client.post(f"{where}/test").json()["id"] for _ in range(3)]
    first = client.get(f"{where}/deliveries", params={"limit": 2}).json()
    last = client.get(f"{where}/deliveries", params={"limit": 2, "after": first["next"]}).json()
    assert [delivery["id"] for page in (first, last) for delivery in page["data"]] == sorted(made)[::-1]
    assert client.get(f"{where}/deliveries", params={"after": "wh_x"}).json()["code"] == "bad_cursor"


def test_a_disabled_webhook_is_not_tested(client: TestClient, hook: Hook) -> None:
    where = f"/v1/webhooks/{hook()['id']}"
    client.patch(where, json={"enabled": False})
    answer = client.post(f"{where}/test")
    assert (answer.status_code, answer.json()["code"]) == (409, "webhook_disabled")


def test_a_delivery_of_another_webhook_is_not_there(client: TestClient, hook: Hook) -> None:
    mine, other = hook()["id"], hook()["id"]
    delivery = client.post(f"/v1/webhooks/{other}/test").json()["id"]
    for wrong in (delivery, ids.new("msg")):
        assert client.post(f"/v1/webhooks/{mine}/deliveries/{wrong}/resend").status_code == 404


def test_the_contract_documents_what_is_sent(client: TestClient) -> None:
    contract = client.get("/openapi.json").json()
    operation = contract["webhooks"]["job"]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert (operation["operationId"], body) == ("receive_message", {"$ref": "#/components/schemas/Message"})
    assert set(contract["components"]["schemas"]["Message"]["properties"]) == {"type", "timestamp", "data"}
    assert "HTTPValidationError" not in contract["components"]["schemas"]
