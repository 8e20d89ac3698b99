"""Webhooks: made, changed, tested; the log of what was sent to them."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from api import context, paging, problems, strict, webhook_schemas
from jobs import deliveries, webhooks

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=strict.StrictRoute)
messages = APIRouter()
"""What fitd sends, for the contract; nothing here is ever called."""
RECEIVED: dict[int | str, dict[str, Any]] = {
    204: {"description": "Or any other 2xx: delivered."},
    "4XX": {"description": "Like 5XX and silence: sent again. 410 disables the webhook."},
}


@router.post("", status_code=201, responses=problems.documented(409, 413, 415), summary="Create a webhook")
def create_webhook(
    wanted: webhook_schemas.NewWebhook, owner: context.Submitter, database: context.Database, response: Response
) -> webhook_schemas.WebhookWithSecret:
    """From now on the address is told of changes of your jobs. Keep the `secret`: it is not shown again."""
    with database.writing() as session:
        made = webhooks.create(session, owner, wanted.url, wanted.events, wanted.description)
        shown = webhook_schemas.WebhookWithSecret.model_validate(made)
    response.headers["Location"] = f"/v1/webhooks/{shown.id}"
    return shown


@router.get("", responses=problems.documented(), summary="List webhooks")
def list_webhooks(
    owner: context.Owner, database: context.Database, after: paging.WebhookCursor, limit: paging.Limit = 20
) -> webhook_schemas.WebhookPage:
    """Newest first."""
    with database.reading() as session:
        rows = webhooks.page(session, owner, after, limit + 1)
    shown = [webhook_schemas.Webhook.model_validate(row) for row in rows]
    return paging.cut(webhook_schemas.WebhookPage, shown, limit, "id")


@router.get("/{webhook_id}", responses=problems.documented(404), summary="Read a webhook")
def get_webhook(
    webhook_id: context.WebhookId, owner: context.Owner, database: context.Database
) -> webhook_schemas.Webhook:
    """The webhook, and whether messages arrive."""
    with database.reading() as session:
        return webhook_schemas.Webhook.model_validate(webhooks.get(session, owner, webhook_id))


@router.patch("/{webhook_id}", responses=problems.documented(404, 413, 415), summary="Change a webhook")
def update_webhook(
    webhook_id: context.WebhookId,
    patch: webhook_schemas.WebhookPatch,
    owner: context.Submitter,
    database: context.Database,
) -> webhook_schemas.Webhook:
    """Changes address, events or description; what is not sent stays. `enabled` brings a disabled one back."""
    changed: dict[str, Any] = patch.model_dump(exclude_unset=True)
    if patch.enabled:
        with database.reading() as session:
            found = webhooks.get(session, owner, webhook_id)
        while webhooks.give_up(database, found.id):  # what waited when it was disabled
            continue
    with database.writing() as session:
        return webhook_schemas.Webhook.model_validate(webhooks.change(session, owner, webhook_id, **changed))


@router.delete("/{webhook_id}", status_code=204, responses=problems.documented(404), summary="Delete a webhook")
def delete_webhook(webhook_id: context.WebhookId, owner: context.Submitter, database: context.Database) -> None:
    """Removes a webhook with the log of its messages; those that wait are not sent."""
    with database.writing() as session:
        webhooks.delete(session, owner, webhook_id)


@router.post("/{webhook_id}/rotate-secret", responses=problems.documented(404), summary="Replace a webhook's secret")
def rotate_webhook_secret(
    webhook_id: context.WebhookId, owner: context.Submitter, database: context.Database
) -> webhook_schemas.WebhookWithSecret:
    """A new secret, which is not shown again; from now on all messages are signed with it, repeated ones included."""
    with database.writing() as session:
        return webhook_schemas.WebhookWithSecret.model_validate(webhooks.rotate(session, owner, webhook_id))


@router.post("/{webhook_id}/test", status_code=202, responses=problems.documented(404, 409), summary="Test a webhook")
def test_webhook(
    webhook_id: context.WebhookId, owner: context.Submitter, database: context.Database
) -> webhook_schemas.Delivery:
    """Has a worker send a message of type `webhook.test`, once; its delivery says whether it arrived."""
    with database.writing() as session:
        return webhook_schemas.Delivery.model_validate(deliveries.test(session, owner, webhook_id))


@router.get("/{webhook_id}/deliveries", responses=problems.documented(404), summary="List a webhook's deliveries")
def list_deliveries(
    webhook_id: context.WebhookId,
    owner: context.Owner,
    database: context.Database,
    after: paging.DeliveryCursor,
    limit: paging.Limit = 20,
) -> webhook_schemas.DeliveryPage:
    """What was sent in the last 30 days and what is about to be, newest first."""
    with database.reading() as session:
        rows = deliveries.page(session, owner, webhook_id, after, limit + 1)
    shown = [webhook_schemas.Delivery.model_validate(row) for row in rows]
    return paging.cut(webhook_schemas.DeliveryPage, shown, limit, "id")


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/resend",
    status_code=202,
    responses=problems.documented(404, 409),
    summary="Send a delivery again",
)
def resend_delivery(
    webhook_id: context.WebhookId, delivery_id: context.DeliveryId, owner: context.Submitter, database: context.Database
) -> webhook_schemas.Delivery:
    """Sends a message again that was delivered or has failed, under its old `webhook-id`; one that is pending is left
    to its plan."""
    with database.writing() as session:
        found = deliveries.resend(session, owner, webhook_id, delivery_id)
        return webhook_schemas.Delivery.model_validate(found)


@messages.post("job", status_code=204, operation_id="receive_message", responses=RECEIVED, summary="A job has changed")
def receive_message(message: Annotated[webhooks.Message, Body()]) -> None:
    """Sent to your address, signed by [Standard Webhooks](https://www.standardwebhooks.com): `webhook-id`,
    `webhook-timestamp`, `webhook-signature`. Answer within 10 seconds. What fails is sent again for about a day, under
    the same `webhook-id`."""
