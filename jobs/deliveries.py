"""Messages to webhooks: taken when they are due, tried again for about a day, kept for a while as the log.

Whoever settles a message locks its webhook first, as do those who change or delete it: in one order, nobody waits in
a circle.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from pydantic import JsonValue
from sqlalchemy.orm import Session, aliased

from jobs import db, errors, quotas, turns, webhooks
from jobs.db import Database
from jobs.tables.webhooks import Delivery, Webhook

PAUSES = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 28800.0)
"""Seconds after each failed try, up to a fifth more or less; after the last there is one more try."""
LEASE = 120.0
"""Seconds after which a message is tried again if nothing was heard of the try; longer than any try takes."""
ASIDE = 60.0
"""Seconds at most that other messages to a webhook wait after one has failed, so that they do not hold up those to
others."""
GIVE_UP = 24 * 3600.0
"""Seconds of nothing but failures after which a webhook is disabled."""
GONE = 410

BATCHES = 20
"""Transactions in which `give_up` fails messages to one webhook before it goes on to the next."""

ONCE = "test"
"""A message of this kind is tried once."""
MOST_TESTS = 20
"""Of one owner that may wait."""


@dataclass(frozen=True)
class Due:
    """A message to be sent now, by whoever took it."""

    id: str
    webhook_id: str
    kind: str
    tries: int
    """This one included; a fence: who settles for another try changes nothing."""
    payload: dict[str, JsonValue]
    url: str
    secret: str


@dataclass(frozen=True)
class Outcome:
    """What became of a try."""

    answered: int | None
    """HTTP status."""
    error: str | None
    """A word for what went wrong; None if it was delivered."""


def page(session: Session, owner: str, webhook_id: str, after: str | None, limit: int) -> Sequence[Delivery]:
    """A webhook's messages, newest first, below the id `after`.

    Raises:
        NotFound: no such webhook, or somebody else's.
    """
    webhooks.get(session, owner, webhook_id)
    query = sa.select(Delivery).where(Delivery.webhook_id == webhook_id)
    if after:
        query = query.where(Delivery.id < after)
    return session.scalars(query.order_by(Delivery.id.desc()).limit(limit)).all()


def test(session: Session, owner: str, webhook_id: str) -> Delivery:
    """A message that tells of nothing, to see whether one arrives.

    Raises:
        WebhookDisabled: nothing is sent to it.
        QuotaReached: as many tests wait as may.
    """
    quotas.in_turn(session, owner)
    webhook = _enabled(session, owner, webhook_id)
    at = session.execute(sa.select(db.now())).scalar_one()
    message = webhooks.Message(type="webhook.test", timestamp=at, data=webhooks.Itself(id=webhook.id))
    delivery_id = webhooks.write(session, owner, webhook.id, ONCE, message)
    quotas.check_tests(session, owner, MOST_TESTS)
    return session.get_one(Delivery, delivery_id)


def resend(session: Session, owner: str, webhook_id: str, delivery_id: str) -> Delivery:
    """Sends a settled message again, under its old id; one that is waiting is tried as planned.

    Raises:
        NotFound: no such message.
        WebhookDisabled: nothing is sent to this webhook.
        QuotaReached: it is a test, and as many wait as may.
    """
    quotas.in_turn(session, owner)
    _enabled(session, owner, webhook_id)
    its = sa.and_(Delivery.id == delivery_id, Delivery.webhook_id == webhook_id)
    settled = sa.update(Delivery).where(its, Delivery.status != "pending")
    session.execute(settled.values(status="pending", tries=0, due_at=db.now(), settled_at=None))
    quotas.check_tests(session, owner, MOST_TESTS)
    delivery = session.scalar(sa.select(Delivery).where(its).execution_options(populate_existing=True))
    if delivery is None:
        raise errors.NotFound("There is no such delivery here.")
    return delivery


def waiting(session: Session, limit: int) -> int:
    """How many messages may be sent now, counted up to a limit."""
    count = 0
    for webhook_id, since in session.execute(_webhooks().limit(limit)).all():
        count += len(session.scalars(_due(webhook_id, since).limit(limit - count)).all())
    return count


def take(session: Session) -> Due | None:
    """The message whose turn it is, for the caller to send within the lease; None if none is due. First come owners of
    whom the fewest are being sent, then those whose message has been due for longest."""
    for webhook_id, since in session.execute(_webhooks()).all():
        if delivery_id := _take(session, webhook_id, since):
            return _taken(session, delivery_id) or take(session)
    return None


def _webhooks() -> sa.Select[str, float]:
    """Webhooks with messages that may be sent, and since when the first of these is due, in the order in which the next
    one is theirs: a look into an index for each webhook that has something pending, however much it is."""
    hooks, oldest, sent = turns.owners(Delivery, _pending, "webhook_id"), aliased(Delivery), aliased(Delivery)
    aside = Webhook.aside_until.between(db.instant(), db.instant(ASIDE))  # one further ahead was set by a wrong clock
    after = sa.case((aside, sa.type_coerce(Webhook.aside_since, sa.Double)), else_=0.0)
    at = sa.type_coerce(oldest.due_at, sa.Double)
    due = sa.select(sa.func.min(at)).where(_pending(oldest), oldest.webhook_id == Webhook.id, at > after)
    count = sa.select(sa.func.count()).where(sent.taken_until > db.instant(), sent.owner == Webhook.owner)
    found = sa.select(Webhook.id, due.scalar_subquery().label("due"), count.scalar_subquery().label("sent"))
    enabled = found.join(hooks, Webhook.id == hooks.c.webhook_id).where(Webhook.disabled_at.is_(None)).subquery()
    is_due = enabled.c.due <= sa.type_coerce(db.instant(), sa.Double)
    return sa.select(enabled.c.id, enabled.c.due).where(is_due).order_by(enabled.c.sent, enabled.c.due)


def _pending(delivery: type[Delivery] = Delivery) -> sa.ColumnElement[bool]:
    """In the words of the indexes."""
    return delivery.status == sa.literal_column("'pending'")


def _due(webhook_id: str, since: float) -> sa.Select[str]:
    """A webhook's messages that are due, for no longer than since then."""
    at = sa.type_coerce(Delivery.due_at, sa.Double)
    its = sa.and_(_pending(), Delivery.webhook_id == webhook_id, at >= since, Delivery.due_at <= db.instant())
    return sa.select(Delivery.id).where(its).order_by(Delivery.due_at)


def _take(session: Session, webhook_id: str, since: float) -> str | None:
    """Marks the one that has been due for longest."""
    delivery_id = session.scalar(_due(webhook_id, since).limit(1).with_for_update(skip_locked=True))
    if delivery_id:
        lease = {"due_at": db.now(LEASE), "taken_until": db.now(LEASE)}
        session.execute(sa.update(Delivery).where(Delivery.id == delivery_id).values(tries=Delivery.tries + 1, **lease))
    return delivery_id


def _taken(session: Session, delivery_id: str) -> Due | None:
    """What is to be sent where; None if the webhook has been disabled meanwhile."""
    query = sa.select(Delivery, Webhook).join(Webhook, Delivery.webhook_id == Webhook.id)
    delivery, webhook = session.execute(query.where(Delivery.id == delivery_id)).one()
    if webhook.disabled_at:
        return None
    return Due(
        id=delivery.id,
        webhook_id=webhook.id,
        kind=delivery.kind,
        tries=delivery.tries,
        payload=delivery.payload,
        url=webhook.url,
        secret=webhook.secret,
    )


def give_up(database: Database) -> None:
    """Fails what waits for disabled webhooks, so much of it at a time."""
    hooks = turns.owners(Delivery, _pending, "webhook_id")
    waited_for = sa.select(Webhook.id).join(hooks, Webhook.id == hooks.c.webhook_id)
    with database.reading() as session:
        disabled = session.scalars(waited_for.where(Webhook.disabled_at.is_not(None))).all()
    for webhook_id in disabled:
        for _ in range(BATCHES):
            if not webhooks.give_up(database, webhook_id):
                break


def settle(session: Session, due: Due, outcome: Outcome) -> bool:
    """Records what became of a try and plans the next; False if that is no longer the caller's to say."""
    if (
        session.scalar(sa.select(Webhook.id).where(Webhook.id == due.webhook_id).with_for_update(key_share=True))
        is None
    ):
        return False
    pause = pause_after(due)
    status = "delivered" if outcome.error is None else "failed" if pause is None else "pending"
    settled = session.execute(
        sa.update(Delivery)
        .where(Delivery.id == due.id, Delivery.tries == due.tries, Delivery.status == "pending")
        .values(status=status, answered=outcome.answered, error=outcome.error, due_at=db.now(pause or 0.0))
        .values(taken_until=None, settled_at=None if status == "pending" else db.now())
        .returning(Delivery.id)
    )
    if settled.first() is None:
        return False
    if outcome.error is None:
        session.execute(sa.update(Webhook).where(Webhook.id == due.webhook_id).values(**webhooks.WELL))
    else:
        _failed(session, due.webhook_id, outcome, min(pause or ASIDE, ASIDE))
    return True


def pause_after(due: Due) -> float | None:
    """Seconds until the next try, should this one fail; None if it is the last."""
    if due.kind == ONCE or due.tries > len(PAUSES):
        return None
    return PAUSES[due.tries - 1] * random.uniform(0.8, 1.2)


def _failed(session: Session, webhook_id: str, outcome: Outcome, aside: float) -> None:
    failed = {"failing_since": sa.func.coalesce(Webhook.failing_since, db.now()), "aside_since": db.now()}
    its = sa.update(Webhook).where(Webhook.id == webhook_id)
    session.execute(its.values(**failed, aside_until=db.now(aside)))
    if outcome.answered == GONE:
        webhooks.disable(session, webhook_id, "It answered 410 Gone.")
    else:
        for_a_day = Webhook.failing_since < db.now(-GIVE_UP)
        webhooks.disable(session, webhook_id, "Nothing could be delivered to it for 24 hours.", for_a_day)


def _enabled(session: Session, owner: str, webhook_id: str) -> Webhook:
    webhook = webhooks.get(session, owner, webhook_id, lock=True)
    if webhook.disabled_at:
        raise errors.WebhookDisabled
    return webhook
