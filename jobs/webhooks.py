"""Webhooks: addresses that are told of an owner's jobs, in the transaction of what happened."""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, get_args

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from jobs import db, errors, ids, quotas, states
from jobs.db import Database
from jobs.states import Status
from jobs.tables.webhooks import Delivery, Webhook

Kind = Literal[
    "queued",
    "started",
    "requeued",
    "pausing",
    "paused",
    "cancelling",
    "succeeded",
    "failed",
    "cancelled",
    "timed_out",
]
"""The events of a job that tell of a new state; what happens within a run is for those who follow it."""
KINDS: tuple[Kind, ...] = get_args(Kind)
TERMINAL = [kind for kind in KINDS if kind in states.TERMINAL]
"""What a webhook is told of unless it asks for more."""
MOST = 20
"""Webhooks of one owner."""
BATCH = 500
"""Messages that a transaction gives up."""
WELL: dict[str, Any] = {"failing_since": None, "aside_since": None, "aside_until": None}
"""What a webhook is to which nothing has failed."""


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class JobState(_Told):
    """Where a job stood. `GET /v1/jobs/{id}` has the rest, and says where it stands now."""

    object: Literal["job"] = "job"
    id: str
    name: str | None
    status: Status
    attempt: int
    seq: int
    """Number of the job's event: of two messages on one job, the higher is the later."""


class Itself(_Told):
    """The webhook that was asked to be tested."""

    object: Literal["webhook"] = "webhook"
    id: str


class Message(_Told):
    """What is sent to a webhook: thin, the same in every try."""

    type: str = Field(examples=["job.succeeded"])
    """`job.` and what happened to it, or `webhook.test`."""
    timestamp: datetime
    """When it happened."""
    data: JobState | Itself = Field(discriminator="object")


def tell(session: Session, owner: str, kind: str, at: datetime, state: JobState) -> None:
    """Writes a message to each of the owner's webhooks that is to be told of such a change."""
    if kind not in KINDS:
        return
    enabled = sa.select(Webhook.id, Webhook.events).where(Webhook.owner == owner, Webhook.disabled_at.is_(None))
    # Locked against deletion only: a message to a webhook that has just gone would undo the change it tells of.
    for webhook_id, wanted in session.execute(enabled.with_for_update(read=True, key_share=True)).all():
        if kind in wanted:
            write(session, owner, webhook_id, kind, Message(type=f"job.{kind}", timestamp=at, data=state))


def write(session: Session, owner: str, webhook_id: str, kind: str, message: Message) -> str:
    """Stores a message to be sent at once; answers its id."""
    delivery_id = ids.new("msg")
    session.execute(
        sa.insert(Delivery).values(
            id=delivery_id,
            webhook_id=webhook_id,
            owner=owner,
            job_id=message.data.id if message.data.object == "job" else None,
            kind=kind,
            payload=message.model_dump(mode="json"),
            created_at=db.now(),
            status="pending",
            tries=0,
            due_at=db.now(),
        )
    )
    return delivery_id


def create(session: Session, owner: str, url: str, events: Sequence[Kind], description: str | None) -> Webhook:
    """A webhook with a secret of its own.

    Raises:
        LimitReached: the owner has as many as may be.
    """
    quotas.in_turn(session, owner)
    count = session.scalar(sa.select(sa.func.count()).select_from(Webhook).where(Webhook.owner == owner)) or 0
    if count >= MOST:
        raise errors.LimitReached(f"There are {MOST} webhooks already; delete one first.")
    webhook = Webhook(
        id=ids.new("wh"),
        owner=owner,
        url=url,
        description=description,
        events=_ordered(events),
        secret=_secret(),
        created_at=db.now(),
        updated_at=db.now(),
    )
    session.add(webhook)
    session.flush()
    session.refresh(webhook)
    return webhook


def get(session: Session, owner: str, webhook_id: str, *, lock: bool = False) -> Webhook:
    """One webhook of this owner; locked, it stays as it is until the commit.

    Raises:
        NotFound: no such webhook, or somebody else's.
    """
    query = sa.select(Webhook).where(Webhook.id == webhook_id, Webhook.owner == owner)
    if lock:
        query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    webhook = session.scalar(query)
    if webhook is None:
        raise errors.NotFound("There is no such webhook here.")
    return webhook


def page(session: Session, owner: str, after: str | None, limit: int) -> Sequence[Webhook]:
    """The owner's webhooks, newest first, below the id `after`."""
    query = sa.select(Webhook).where(Webhook.owner == owner)
    if after:
        query = query.where(Webhook.id < after)
    return session.scalars(query.order_by(Webhook.id.desc()).limit(limit)).all()


def change(
    session: Session,
    owner: str,
    webhook_id: str,
    *,
    url: str | None = None,
    events: Sequence[Kind] | None = None,
    description: str | None = None,
    enabled: bool | None = None,
) -> Webhook:
    """Changes a webhook; None leaves a value as it is. A new address, or being enabled, forgets earlier failures."""
    webhook = get(session, owner, webhook_id, lock=True)
    values: dict[str, Any] = {"url": url, "description": description, "events": events and _ordered(events)}
    changed = {name: value for name, value in values.items() if value is not None}
    if url or enabled:
        changed |= WELL
    if enabled:
        changed |= {"disabled_at": None, "disabled_reason": None}
    session.execute(sa.update(Webhook).where(Webhook.id == webhook_id).values(**changed, updated_at=db.now()))
    if enabled is False:
        disable(session, webhook_id, "Its owner disabled it.")
    session.refresh(webhook)
    return webhook


def rotate(session: Session, owner: str, webhook_id: str) -> Webhook:
    """The webhook with a new secret; messages that have yet to be sent are signed with that."""
    webhook = get(session, owner, webhook_id, lock=True)
    webhook.secret = _secret()
    session.execute(sa.update(Webhook).where(Webhook.id == webhook_id).values(updated_at=db.now()))
    session.refresh(webhook, ["updated_at"])
    return webhook


def delete(session: Session, owner: str, webhook_id: str) -> None:
    """Removes a webhook, and with it the log of its messages."""
    session.delete(get(session, owner, webhook_id, lock=True))


def disable(session: Session, webhook_id: str, reason: str, *unless: sa.ColumnElement[bool]) -> bool:
    """Sends nothing more to a webhook until its owner enables it; False if it is disabled or a condition is not met.

    What waits to be sent fails, the first of it at once, the rest by `give_up`. The caller holds the webhook's lock,
    which comes before those of its messages."""
    enabled = sa.and_(Webhook.id == webhook_id, Webhook.disabled_at.is_(None), *unless)
    disabled = sa.update(Webhook).where(enabled).values(disabled_at=db.now(), disabled_reason=reason)
    if session.execute(disabled.returning(Webhook.id)).first() is None:
        return False
    _give_up_some(session, webhook_id)
    return True


def give_up(database: Database, webhook_id: str) -> bool:
    """Fails some of what waits for a webhook that is disabled; whether there may be more."""
    disabled = sa.select(Webhook.id).where(Webhook.id == webhook_id, Webhook.disabled_at.is_not(None))
    with database.writing() as session:
        if session.scalar(disabled.with_for_update(key_share=True)) is None:
            return False
        return _give_up_some(session, webhook_id) == BATCH


def _give_up_some(session: Session, webhook_id: str) -> int:
    pending = sa.and_(Delivery.webhook_id == webhook_id, Delivery.status == sa.literal_column("'pending'"))
    some = session.scalars(sa.select(Delivery.id).where(pending).order_by(Delivery.due_at).limit(BATCH)).all()
    failed = sa.update(Delivery).where(Delivery.id.in_(some)).values(status="failed", error="webhook_disabled")
    session.execute(failed.values(settled_at=db.now(), taken_until=None))
    return len(some)


def _ordered(events: Sequence[Kind]) -> list[str]:
    return [kind for kind in KINDS if kind in events]


def _secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
