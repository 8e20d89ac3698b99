"""What the calls on webhooks take and answer with."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from api.schemas import Page, Shown
from jobs import urls, webhooks
from jobs.spec.values import Flag, Text
from jobs.webhooks import Kind

Kinds = Annotated[list[Kind], Field(min_length=1)]


class Webhook(Shown):
    """An address that is told of jobs. Its secret is shown only when it is made and when it is replaced."""

    id: str
    object: Literal["webhook"] = "webhook"
    url: str
    description: str | None
    events: list[Kind]
    """What it is told of."""
    enabled: bool
    created_at: datetime
    updated_at: datetime
    failing_since: datetime | None
    """The first failure since the last success; after 24 hours of them the webhook is disabled."""
    disabled_at: datetime | None
    disabled_reason: str | None


class WebhookPage(Page[Webhook]):
    """Webhooks, newest first."""


class WebhookWithSecret(Webhook):
    """A webhook and the key of its signatures, which is not shown again."""

    secret: str
    """`whsec_` and 32 bytes in base 64, as the libraries of Standard Webhooks take it."""


class NewWebhook(BaseModel):
    """An address, and what it is to be told of."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [{"url": "https://hooks.example.com/fitd", "events": ["succeeded", "failed"]}],
        },
    )

    url: urls.Url
    """`https`, or `http` into a network that the operator allows (`FITD_PRIVATE_NETWORKS`)."""
    events: Kinds = Field(default_factory=lambda: list(webhooks.TERMINAL))
    """The changes it is told of; without this, the four ends of a job."""
    description: Text | None = None
    """For people."""


class WebhookPatch(BaseModel):
    """What may be changed: at least one of these."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"minProperties": 1, "examples": [{"enabled": True}]},
    )

    url: urls.Url = Field(default_factory=str)
    """The new address; its failures are counted anew."""
    events: Kinds = Field(default_factory=list)
    """Replaces the list."""
    description: Text = Field(default_factory=str)
    """For people."""
    enabled: Flag = Field(default_factory=bool)
    """False stops all messages and gives up those that wait; true begins again."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("Send at least one of url, events, description and enabled.")
        return self


class Delivery(Shown):
    """A message to a webhook and what became of it."""

    id: str
    """The `webhook-id` of every try."""
    object: Literal["delivery"] = "delivery"
    webhook_id: str
    job_id: str | None
    kind: Kind | Literal["test"]
    payload: dict[str, JsonValue]
    """The body of every try."""
    status: Literal["pending", "delivered", "failed"]
    tries: int
    answered: int | None
    """HTTP status of the last try; null if there was no answer."""
    error: str | None
    """Why the last try failed: `answered_500`, `timeout`, `connection_failed`, `bad_answer`, `not_allowed` (the
    address is not public) or `webhook_disabled`."""
    created_at: datetime
    due_at: datetime
    """While it is pending, when it is tried next; up to a minute later, if others to the webhook fail meanwhile."""
    settled_at: datetime | None


class DeliveryPage(Page[Delivery]):
    """Messages, newest first."""
