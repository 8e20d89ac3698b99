"""Sends messages to webhooks, signed by the Standard Webhooks scheme. Any number of workers may do it at once."""

import json
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import structlog
from standardwebhooks import Webhook

from jobs import db, deliveries
from jobs.deliveries import Due, Outcome
from worker import outbound
from worker.outbound import OutboundError, Policy
from worker.place import Place

log = structlog.get_logger()

TICK = 1.0
"""Seconds between two looks for messages."""
AT_ONCE = 8
"""Messages that one worker sends at a time; a receiver that does not answer occupies one for seconds."""


def start(place: Place) -> threading.Thread:
    """Sends what is due until the worker stops. A try that its end cuts off is made again."""
    thread = threading.Thread(target=_rounds, args=(place,), name="delivering", daemon=True)
    thread.start()
    return thread


def deliver_due(place: Place, policy: Policy | None = None) -> int:
    """Sends messages one after the other until none is due or the worker stops; answers how many."""
    chosen = policy or Policy(place.settings.private_networks)
    sent = 0
    while not place.stopping and _deliver_next(place, chosen):
        sent += 1
    return sent


def send(due: Due, policy: Policy) -> Outcome:
    """One try. Of the answer nothing counts but its status."""
    body = json.dumps(due.payload, separators=(",", ":"))
    headers = signed(due.id, due.secret, datetime.now(UTC), body)
    try:
        status = outbound.post(policy, due.url, headers, body.encode())
    except OutboundError as error:
        return Outcome(None, error.code)
    return Outcome(status, None if 200 <= status < 300 else f"answered_{status}")


def signed(id: str, secret: str, at: datetime, body: str) -> Mapping[str, str]:
    """The headers of a message."""
    return {
        "Content-Type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(id, at, body),
    }


def _rounds(place: Place) -> None:
    busy: list[threading.Thread] = []
    while not place.stopping:
        busy = [thread for thread in busy if thread.is_alive()]
        try:
            busy += _begin(place, AT_ONCE - len(busy))
            deliveries.give_up(place.database)
        except db.AWAY as error:
            log.warning("database_away", error=type(error).__name__)
        except Exception:  # a round that fails must not be the last one
            log.exception("delivering_failed")
        time.sleep(TICK)


def _begin(place: Place, most: int) -> list[threading.Thread]:
    """Threads that send until nothing is due, at most one for each message."""
    with place.database.reading() as session:
        count = deliveries.waiting(session, most)
    threads = [threading.Thread(target=_deliver, args=(place,), name="deliver", daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def _deliver(place: Place) -> None:
    try:
        deliver_due(place)
    except db.AWAY as error:
        log.warning("database_away", error=type(error).__name__)
    except Exception:
        log.exception("delivering_failed")


def _deliver_next(place: Place, policy: Policy) -> bool:
    with place.database.writing() as session:
        due = deliveries.take(session)
    if due is None:
        return False
    outcome = send(due, policy)
    with place.database.writing() as session:
        mine = deliveries.settle(session, due, outcome)
    told = {"answered": outcome.answered, "error": outcome.error, "recorded": mine}
    log.info("webhook_tried", id=due.id, webhook=due.webhook_id, attempt=due.tries, **told)
    return True
