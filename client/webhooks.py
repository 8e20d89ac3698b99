"""Who is told of changes of jobs, and what was sent.

with Client() as fitd:
    made = fitd.webhooks.create("https://hooks.example.com/fitd", events=["succeeded", "failed"])
    print(made.secret)  # for the receiver; it is not shown again
    fitd.webhooks.test(made.id)
"""

import itertools
from collections.abc import Iterator, Sequence
from datetime import datetime

from client import http
from client.answers import Answer, Values

PATH = "/v1/webhooks"


class Webhook(Answer):
    """An address that is told of jobs."""

    id: str
    url: str
    description: str | None = None
    events: list[str] = []
    enabled: bool = True
    secret: str | None = None
    """Only where it was just made."""
    created_at: datetime | None = None
    failing_since: datetime | None = None
    disabled_at: datetime | None = None
    disabled_reason: str | None = None


class Delivery(Answer):
    """A message and what became of it."""

    id: str
    webhook_id: str = ""
    job_id: str | None = None
    kind: str
    payload: Values = {}
    status: str
    """`pending`, `delivered` or `failed`."""
    tries: int = 0
    answered: int | None = None
    error: str | None = None
    created_at: datetime | None = None
    due_at: datetime | None = None
    settled_at: datetime | None = None


class Webhooks:
    """The webhooks of one service."""

    def __init__(self, wire: http.Wire) -> None:
        self._wire = wire

    def create(self, url: str, *, events: Sequence[str] | None = None, description: str | None = None) -> Webhook:
        """A webhook with its `secret`, which is not shown again. Without `events` it is told of the ends of jobs."""
        body = http.query({"url": url, "events": events, "description": description})
        return Webhook.model_validate_json(self._wire.send("POST", PATH, json=body).content)

    def list(self) -> Iterator[Webhook]:
        """All webhooks, newest first."""
        return map(Webhook.model_validate, self._wire.pages(PATH, {}))

    def get(self, id: str) -> Webhook:
        """The webhook now."""
        return Webhook.model_validate_json(self._wire.send("GET", f"{PATH}/{id}").content)

    def change(
        self,
        id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> Webhook:
        """Changes what is given; `enabled` brings a disabled one back."""
        body = http.query({"url": url, "events": events, "description": description, "enabled": enabled})
        return Webhook.model_validate_json(self._wire.send("PATCH", f"{PATH}/{id}", json=body).content)

    def delete(self, id: str) -> None:
        """Removes a webhook and its log."""
        self._wire.send("DELETE", f"{PATH}/{id}")

    def rotate_secret(self, id: str) -> Webhook:
        """The webhook with a new `secret`, which is not shown again."""
        return Webhook.model_validate_json(self._wire.send("POST", f"{PATH}/{id}/rotate-secret").content)

    def test(self, id: str) -> Delivery:
        """Has a message sent that tells of nothing; look for its id among the `deliveries`."""
        return Delivery.model_validate_json(self._wire.send("POST", f"{PATH}/{id}/test").content)

    def deliveries(self, id: str, *, most: int = 100) -> Iterator[Delivery]:
        """The newest messages, whatever became of them."""
        found = self._wire.pages(f"{PATH}/{id}/deliveries", {"limit": min(most, 200)})
        return map(Delivery.model_validate, itertools.islice(found, most))

    def resend(self, id: str, delivery: str) -> Delivery:
        """Sends a settled message again, under its old id."""
        return Delivery.model_validate_json(
            self._wire.send("POST", f"{PATH}/{id}/deliveries/{delivery}/resend").content
        )
