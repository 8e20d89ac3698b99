"""Webhooks: told in the transaction of what happened, tried again for a day, disabled when nobody listens."""

import base64
import re
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import db, deliveries, errors, events, store, webhooks
from jobs.deliveries import PAUSES, Due, Outcome
from jobs.states import TERMINAL, Status
from jobs.tables.jobs import Job
from jobs.tables.webhooks import Delivery, Webhook

from .samples import created, finished, found

URL = "https://hooks.example.com/fitd"
DELIVERED = Outcome(200, None)
BROKEN = Outcome(500, "answered_500")


def hooked(database: db.Database, *kinds: webhooks.Kind, owner: str = "ann") -> Webhook:
    with database.writing() as session:
        return webhooks.create(session, owner, URL, kinds or webhooks.TERMINAL, None)


def log(database: db.Database, webhook: Webhook) -> list[Delivery]:
    """Oldest first."""
    with database.reading() as session:
        return list(deliveries.page(session, webhook.owner, webhook.id, None, 100))[::-1]


def told(database: db.Database, webhook: Webhook) -> list[str]:
    return [delivery.kind for delivery in log(database, webhook)]


def again(database: db.Database, webhook: Webhook) -> Webhook:
    with database.reading() as session:
        return webhooks.get(session, webhook.owner, webhook.id)


def pinged(database: db.Database, webhook: Webhook) -> Delivery:
    with database.writing() as session:
        return deliveries.test(session, webhook.owner, webhook.id)


def say(database: db.Database, job: Job, kind: str = "queued") -> None:
    with database.writing() as session:
        events.append(session, job.id, kind, "Something happened.")


def taken(database: db.Database) -> Due:
    with database.writing() as session:
        due = deliveries.take(session)
    assert due is not None
    return due


def settled(database: db.Database, due: Due, outcome: Outcome) -> bool:
    with database.writing() as session:
        return deliveries.settle(session, due, outcome)


def hurried(database: db.Database) -> None:
    """Everything that waits is due."""
    with database.writing() as session:
        session.execute(sa.update(Delivery).values(due_at=db.now(-1)))
        session.execute(sa.update(Webhook).values(aside_until=None))


def seconds_ahead(database: db.Database, delivery: Delivery) -> float:
    with database.reading() as session:
        return (delivery.due_at - session.execute(sa.select(db.now())).scalar_one()).total_seconds()


# What is told


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_a_webhook_is_told_of_each_end_of_a_job(database: db.Database, status: Status) -> None:
    webhook = hooked(database)
    job = finished(database, status)
    (delivery,) = log(database, webhook)
    assert (delivery.job_id, delivery.kind, delivery.status, delivery.tries) == (job.id, status, "pending", 0)
    message = webhooks.Message.model_validate(delivery.payload)
    state = webhooks.JobState(id=job.id, name=None, status=status, attempt=1, seq=job.event_seq)
    assert (message.type, message.data) == (f"job.{status}", state)
    assert message.timestamp == job.updated_at


def test_a_webhook_is_told_of_what_it_asked_for(database: db.Database) -> None:
    starts, everything = hooked(database, "started"), hooked(database, *webhooks.KINDS)
    job = finished(database, Status.CANCELLED)
    say(database, job, "progress")
    assert (told(database, starts), told(database, everything)) == (
        ["started"],
        ["queued", "started", "cancelling", "cancelled"],
    )
    assert [delivery.payload["data"]["seq"] for delivery in log(database, everything)] == [2, 3, 4, 5]  # type: ignore[index, call-overload]


def test_another_owners_webhook_and_a_disabled_one_are_told_nothing(database: db.Database) -> None:
    other, silent = hooked(database, owner="bob"), hooked(database)
    with database.writing() as session:
        webhooks.change(session, "ann", silent.id, enabled=False)
    finished(database, Status.SUCCEEDED)
    assert told(database, other) == told(database, silent) == []


def test_a_change_that_is_rolled_back_is_not_told(database: db.Database) -> None:
    webhook, job = hooked(database), created(database)
    with database.engine.connect() as connection, Session(connection) as session:
        store.cancel(session, job.owner, job.id)
        assert len(deliveries.page(session, "ann", webhook.id, None, 10)) == 1
        session.rollback()
    assert told(database, webhook) == []
    assert found(database, job).status == "queued"


def test_an_owner_without_webhooks_pays_one_query_at_most(database: db.Database) -> None:
    job, counted = created(database), dict[str, int]()

    @sa.event.listens_for(database.engine, "before_cursor_execute")
    def count(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        counted[kind] = counted.get(kind, 0) + ("webhooks" in statement)

    for kind in ("progress", "succeeded"):
        say(database, job, kind)
    sa.event.remove(database.engine, "before_cursor_execute", count)
    assert counted == {"progress": 0, "succeeded": 1}


# When it is tried


def test_tries_grow_rarer_and_end_after_about_a_day(database: db.Database) -> None:
    hooked(database)
    job = finished(database, Status.SUCCEEDED)
    for n, pause in enumerate(PAUSES, start=1):
        due = taken(database)
        assert (due.tries, settled(database, due, BROKEN)) == (n, True)
        with database.reading() as session:
            delivery = session.get_one(Delivery, due.id)
        assert (delivery.status, delivery.error, delivery.answered) == ("pending", "answered_500", 500)
        assert 0.8 * pause - 5 < seconds_ahead(database, delivery) < 1.2 * pause
        hurried(database)
    due = taken(database)
    settled(database, due, BROKEN)
    with database.reading() as session:
        assert session.get_one(Delivery, due.id).status == "failed"
        assert deliveries.take(session) is None
    assert (due.tries, due.payload["type"]) == (11, "job.succeeded")
    assert job.id == due.payload["data"]["id"]  # type: ignore[index, call-overload]
    assert 23 < sum(PAUSES) / 3600 < 24


def test_a_message_that_was_taken_is_nobody_elses_until_its_lease_is_over(database: db.Database) -> None:
    webhook = hooked(database)
    pinged(database, webhook)
    first = taken(database)
    with database.writing() as session:
        assert deliveries.take(session) is None
        assert deliveries.waiting(session, 9) == 0
    hurried(database)
    second = taken(database)
    assert (second.id, second.tries) == (first.id, 2)
    assert settled(database, first, DELIVERED) is False
    assert settled(database, second, DELIVERED) is True
    assert [delivery.status for delivery in log(database, webhook)] == ["delivered"]


def test_a_failure_makes_the_webhooks_other_messages_wait(database: db.Database) -> None:
    webhook, other = hooked(database), hooked(database)
    pinged(database, webhook)
    finished(database, Status.FAILED)
    settled(database, taken(database), BROKEN)
    with database.reading() as session:
        assert deliveries.waiting(session, 9) == 1
    assert taken(database).webhook_id == other.id


def test_what_comes_after_a_failure_is_tried_at_once_and_a_success_lets_all_go(database: db.Database) -> None:
    webhook = hooked(database)
    waiting = [pinged(database, webhook) for _ in range(3)]
    settled(database, taken(database), BROKEN)
    with database.writing() as session:
        assert (deliveries.waiting(session, 9), deliveries.take(session)) == (0, None)
    after = pinged(database, webhook)
    assert (due := taken(database)).id == after.id
    settled(database, due, DELIVERED)
    assert {taken(database).id for _ in range(2)} == {delivery.id for delivery in waiting[1:]}


@pytest.mark.parametrize(("ahead", "waits"), [(-0.1, False), (50, True), (3600, False)])
def test_a_webhook_is_set_aside_for_a_minute_at_most_whatever_its_clock(
    database: db.Database, ahead: float, waits: bool
) -> None:
    pinged(database, hooked(database))
    with database.writing() as session:
        session.execute(sa.update(Webhook).values(aside_since=db.now(), aside_until=db.now(ahead)))
        assert (deliveries.waiting(session, 9), deliveries.take(session) is None) == (int(not waits), waits)


def test_a_failed_try_costs_the_same_however_much_waits(database: db.Database) -> None:
    webhook = hooked(database)
    for _ in range(9):
        pinged(database, webhook)
    due_at = [delivery.due_at for delivery in log(database, webhook)]
    written: list[int] = []

    @sa.event.listens_for(database.engine, "after_cursor_execute")
    def count(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        written.append(statement.startswith("UPDATE") and max(cursor.rowcount, 0))

    settled(database, taken(database), BROKEN)
    sa.event.remove(database.engine, "after_cursor_execute", count)
    assert sum(written) <= 3
    assert [delivery.due_at for delivery in log(database, webhook)][1:] == due_at[1:]


def test_a_test_is_tried_once(database: db.Database) -> None:
    webhook = hooked(database)
    pinged(database, webhook)
    settled(database, taken(database), Outcome(None, "timeout"))
    (delivery,) = log(database, webhook)
    assert (delivery.status, delivery.error, delivery.answered, delivery.tries) == ("failed", "timeout", None, 1)
    assert delivery.settled_at is not None
    assert delivery.payload["type"] == "webhook.test"


def test_the_next_message_is_that_of_whoever_has_the_fewest_being_sent(database: db.Database) -> None:
    hooks = [hooked(database, owner=owner) for owner in ("ann", "ann", "bob", "eve")]
    for hook in (hooks[0], hooks[0], hooks[1], hooks[2], hooks[2], hooks[3]):
        pinged(database, hook)
    sent = [taken(database) for _ in range(4)]
    for due in sent[1:3]:
        settled(database, due, DELIVERED)
    sent += [taken(database) for _ in range(2)]
    owners = {hook.id: hook.owner for hook in hooks}
    assert [owners[due.webhook_id] for due in sent] == ["ann", "bob", "eve", "ann", "bob", "ann"]
    assert [due.webhook_id for due in sent[5:]] == [hooks[1].id]


def test_so_many_tests_may_wait_and_no_more(database: db.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "MOST_TESTS", 2)
    first, second, other = hooked(database), hooked(database), hooked(database, owner="bob")
    pinged(database, first)
    settled(database, taken(database), DELIVERED)
    for hook in (second, second, other):
        pinged(database, hook)
    (done,) = log(database, first)
    with pytest.raises(errors.QuotaReached, match="2 of your tests wait"):
        pinged(database, first)
    with pytest.raises(errors.QuotaReached), database.writing() as session:
        deliveries.resend(session, "ann", first.id, done.id)
    assert [one.status for one in log(database, first)] == ["delivered"]
    settled(database, taken(database), DELIVERED)
    assert pinged(database, first).status == "pending"


def test_a_settled_message_is_sent_again_under_its_id(database: db.Database) -> None:
    webhook = hooked(database)
    first = pinged(database, webhook)
    settled(database, taken(database), DELIVERED)
    with database.writing() as session:
        assert deliveries.resend(session, "ann", webhook.id, first.id).status == "pending"
    assert (due := taken(database)).id == first.id
    with database.writing() as session:
        assert deliveries.resend(session, "ann", webhook.id, first.id).tries == 1  # on its way: left alone
    assert settled(database, due, DELIVERED) is True


# Who is disabled


def test_a_webhook_that_is_gone_is_disabled_at_once(database: db.Database) -> None:
    webhook = hooked(database)
    finished(database, Status.SUCCEEDED)
    finished(database, Status.FAILED)
    settled(database, taken(database), Outcome(410, "answered_410"))
    disabled = again(database, webhook)
    assert (disabled.enabled, disabled.disabled_reason) == (False, "It answered 410 Gone.")
    assert {(delivery.status, delivery.error) for delivery in log(database, webhook)} == {
        ("failed", "webhook_disabled"),
    }


@pytest.mark.parametrize(("hours", "disabled"), [(23.9, False), (24.1, True)])
def test_a_webhook_that_fails_for_a_day_is_disabled(database: db.Database, hours: float, disabled: bool) -> None:
    webhook = hooked(database)
    pinged(database, webhook)
    with database.writing() as session:
        session.execute(sa.update(Webhook).values(failing_since=db.now(-hours * 3600)))
    settled(database, taken(database), BROKEN)
    assert again(database, webhook).disabled_reason == (
        "Nothing could be delivered to it for 24 hours." if disabled else None
    )


def test_a_success_ends_the_count_of_failures(database: db.Database) -> None:
    webhook = hooked(database)
    pinged(database, webhook)
    settled(database, taken(database), BROKEN)
    failing_since = again(database, webhook).failing_since
    pinged(database, webhook)
    settled(database, taken(database), BROKEN)
    assert again(database, webhook).failing_since == failing_since is not None
    pinged(database, webhook)
    settled(database, taken(database), DELIVERED)
    assert again(database, webhook).failing_since is None


def test_a_message_written_while_its_webhook_was_disabled_is_not_sent(database: db.Database) -> None:
    webhook = hooked(database)
    delivery = pinged(database, webhook)
    with database.writing() as session:  # as if the two transactions had not seen each other
        session.execute(sa.update(Webhook).values(disabled_at=db.now()))
        assert deliveries.take(session) is None
    deliveries.give_up(database)
    assert [(one.id, one.status, one.error) for one in log(database, webhook)] == [
        (delivery.id, "failed", "webhook_disabled")
    ]


def test_what_waits_for_a_disabled_webhook_is_given_up_in_small_transactions(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "BATCH", 2)
    webhook, other = hooked(database), hooked(database, owner="bob")
    for _ in range(6):
        pinged(database, webhook)
    pinged(database, other)

    def given_up() -> int:
        return sum(delivery.status == "failed" for delivery in log(database, webhook))

    settled(database, taken(database), Outcome(410, "answered_410"))
    assert given_up() == 3
    assert taken(database).webhook_id == other.id
    with database.writing() as session:
        assert (deliveries.waiting(session, 9), deliveries.take(session)) == (0, None)
    assert ([webhooks.give_up(database, webhook.id) for _ in range(2)], given_up()) == ([True, False], 6)
    assert webhooks.give_up(database, other.id) is False
    assert [delivery.status for delivery in log(database, other)] == ["pending"]


def test_workers_give_up_what_waits_for_disabled_webhooks(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "BATCH", 1)
    monkeypatch.setattr(deliveries, "BATCHES", 2)
    silent, other = hooked(database), hooked(database, owner="bob")
    for webhook in (silent, silent, silent, silent, other):
        pinged(database, webhook)
    with database.writing() as session:
        webhooks.change(session, "ann", silent.id, enabled=False)
    left = []
    for _ in range(3):
        left.append([delivery.status for delivery in log(database, silent)].count("pending"))
        deliveries.give_up(database)
    assert left == [3, 1, 0]
    assert [delivery.status for delivery in log(database, other)] == ["pending"]


def test_nothing_is_tested_or_sent_again_while_disabled(database: db.Database) -> None:
    webhook = hooked(database)
    delivery = pinged(database, webhook)
    with database.writing() as session:
        webhooks.change(session, "ann", webhook.id, enabled=False)
        with pytest.raises(errors.WebhookDisabled):
            deliveries.test(session, "ann", webhook.id)
        with pytest.raises(errors.WebhookDisabled):
            deliveries.resend(session, "ann", webhook.id, delivery.id)
        webhooks.change(session, "ann", webhook.id, enabled=True)
        assert deliveries.resend(session, "ann", webhook.id, delivery.id).status == "pending"
    assert again(database, webhook).disabled_reason is None


# Whose it is


def test_a_secret_is_32_bytes_and_new_each_time(database: db.Database) -> None:
    first, second = hooked(database), hooked(database)
    with database.writing() as session:
        third = webhooks.rotate(session, "ann", second.id)
    secrets = [first.secret, second.secret, third.secret]
    assert len({base64.b64decode(secret.removeprefix("whsec_"), validate=True) for secret in secrets}) == 3
    assert all(re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", secret) for secret in secrets)
    assert again(database, second).secret == third.secret


def test_another_owners_webhook_is_not_there(database: db.Database) -> None:
    webhook, delivery = (made := hooked(database)).id, pinged(database, made).id
    acts: list[Any] = [webhooks.get, webhooks.change, webhooks.rotate, webhooks.delete, deliveries.test]
    for act in acts:
        with database.writing() as session, pytest.raises(errors.NotFound):
            act(session, "bob", webhook)
    with database.writing() as session, pytest.raises(errors.NotFound):
        deliveries.resend(session, "bob", webhook, delivery)
    with database.reading() as session, pytest.raises(errors.NotFound):
        deliveries.page(session, "bob", webhook, None, 10)
    with database.reading() as session:
        assert webhooks.page(session, "bob", None, 10) == []


def test_a_deleted_webhook_takes_its_log_along(database: db.Database) -> None:
    webhook = hooked(database)
    pinged(database, webhook)
    due = taken(database)
    with database.writing() as session:
        webhooks.delete(session, "ann", webhook.id)
    assert settled(database, due, DELIVERED) is False
    with database.reading() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Delivery)) == 0


def test_an_owner_has_twenty_at_most(database: db.Database) -> None:
    for _ in range(webhooks.MOST):
        hooked(database)
    with pytest.raises(errors.LimitReached, match="20 webhooks"):
        hooked(database)
    assert hooked(database, owner="bob").owner == "bob"
