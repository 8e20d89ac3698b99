"""Webhooks from the SDK and from the command."""

import json

import pytest

from client import cli
from client.sdk import Client
from tests.client.conftest import CREATED, Canned, Reply, said

HOOK = {
    "id": "wh_1",
    "url": "https://hooks.example.com/fitd",
    "events": ["succeeded", "failed"],
    "enabled": True,
    "created_at": CREATED,
}
MADE = {**HOOK, "secret": "whsec_c2VjcmV0"}
GONE = {**HOOK, "id": "wh_2", "enabled": False, "disabled_reason": "It answered 410 Gone."}
SENT = {"id": "msg_1", "kind": "failed", "job_id": "job_1", "status": "failed", "tries": 11, "error": "answered_500"}
WAITING = {"id": "msg_2", "kind": "test", "status": "pending", "tries": 0, "created_at": CREATED, "due_at": CREATED}


def run(service: Canned, *arguments: str) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["--url", service.url, *arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def page(*items: object, next: str | None = None) -> Reply:
    return said({"data": items, "has_more": next is not None, "next": next})


def test_the_sdk_makes_changes_and_removes_webhooks(service: Canned) -> None:
    service.say("POST /v1/webhooks", said(MADE, 201))
    service.say("PATCH /v1/webhooks/wh_1", said(HOOK))
    service.say("POST /v1/webhooks/wh_1/rotate-secret", said(MADE))
    service.say("DELETE /v1/webhooks/wh_1", Reply(status=204))
    with Client(service.url) as fitd:
        made = fitd.webhooks.create("https://hooks.example.com/fitd", events=["succeeded"])
        assert (made.secret, fitd.webhooks.change("wh_1", enabled=False).secret) == ("whsec_c2VjcmV0", None)
        assert fitd.webhooks.rotate_secret("wh_1").secret == "whsec_c2VjcmV0"
        fitd.webhooks.delete("wh_1")
    create, change, rotate, delete = service.seen
    assert json.loads(create.body) == {"url": "https://hooks.example.com/fitd", "events": ["succeeded"]}
    assert (json.loads(change.body), rotate.body, delete.body) == ({"enabled": False}, b"", b"")


def test_the_sdk_reads_lists_to_their_end_and_a_log_as_far_as_asked(service: Canned) -> None:
    service.say("GET /v1/webhooks", page(HOOK, next="wh_1"), page(GONE))
    service.say("GET /v1/webhooks/wh_1", said(HOOK))
    service.say("GET /v1/webhooks/wh_1/deliveries", page(WAITING, SENT, next="msg_1"))
    service.say("POST /v1/webhooks/wh_1/deliveries/msg_1/resend", said(SENT, 202))
    with Client(service.url) as fitd:
        assert [hook.id for hook in fitd.webhooks.list()] == ["wh_1", "wh_2"]
        assert fitd.webhooks.get("wh_1").events == ["succeeded", "failed"]
        assert [one.id for one in fitd.webhooks.deliveries("wh_1", most=2)] == ["msg_2", "msg_1"]
        assert fitd.webhooks.resend("wh_1", "msg_1").id == "msg_1"
    assert service.calls()[1:] == [
        "GET /v1/webhooks?after=wh_1",
        "GET /v1/webhooks/wh_1",
        "GET /v1/webhooks/wh_1/deliveries?limit=2",
        "POST /v1/webhooks/wh_1/deliveries/msg_1/resend",
    ]


def test_the_command_shows_the_secret_of_a_new_webhook(service: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    service.say("POST /v1/webhooks", said(MADE, 201))
    url = "https://hooks.example.com/fitd"
    assert run(service, "webhooks", "create", url, "--event", "succeeded", "--event", "failed") == 0
    assert "whsec_c2VjcmV0" in capsys.readouterr().out
    assert json.loads(service.seen[0].body) == {"url": url, "events": ["succeeded", "failed"]}


def test_the_command_lists_webhooks_and_what_became_of_messages(
    service: Canned, capsys: pytest.CaptureFixture[str]
) -> None:
    service.say("GET /v1/webhooks", page(HOOK, GONE))
    service.say("GET /v1/webhooks/wh_1/deliveries", page(WAITING, SENT))
    service.say("POST /v1/webhooks/wh_1/test", said(WAITING, 202))
    service.say("DELETE /v1/webhooks/wh_1", Reply(status=204))
    assert run(service, "webhooks", "list") == 0
    assert run(service, "webhooks", "log", "wh_1") == 0
    assert run(service, "webhooks", "test", "wh_1", "--json") == 0
    assert run(service, "webhooks", "delete", "wh_1") == 0
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "wh_1 https://hooks.example.com/fitd succeeded, failed enabled" in lines
    assert "wh_2 https://hooks.example.com/fitd succeeded, failed It answered 410 Gone." in lines
    assert "msg_1 failed job_1 failed 11 answered_500" in lines
    assert json.loads(out[out.index("{") :])["id"] == "msg_2"
