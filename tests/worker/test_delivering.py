"""Messages to webhooks, from the change of a job to a receiver that checks them."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import standardwebhooks
from structlog.testing import capture_logs

from jobs import artifacts, db, deliveries, webhooks
from jobs.settings import Settings
from jobs.states import Status
from jobs.tables.webhooks import Delivery, Webhook
from tests.jobs.conftest import database, migrated_postgres, migrated_sqlite  # noqa: F401
from tests.jobs.samples import finished
from tests.worker.receivers import HERE, Act, Seen, drip, nonsense, receiving, status
from worker import delivering
from worker.place import Place

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(database: db.Database, tmp_path: Path) -> Place:  # noqa: F811
    """A worker's, allowed to call loopback."""
    settings = Settings(data_dir=tmp_path, private_networks="127.0.0.0/8")
    return Place(settings, database, artifacts.connect(settings.artifacts))


def hooked(place: Place, url: str, *kinds: webhooks.Kind) -> Webhook:
    with place.database.writing() as session:
        return webhooks.create(session, "ann", url, kinds or webhooks.TERMINAL, None)


def log(place: Place, webhook: Webhook) -> list[Delivery]:
    with place.database.reading() as session:
        return list(deliveries.page(session, "ann", webhook.id, None, 100))


def outcomes(place: Place, webhook: Webhook) -> list[tuple[str, int, int | None, str | None]]:
    return [(one.status, one.tries, one.answered, one.error) for one in log(place, webhook)]


def hurried(place: Place) -> None:
    """Everything that waits is due."""
    with place.database.writing() as session:
        session.execute(sa.update(Delivery).values(due_at=db.now(-1)))
        session.execute(sa.update(Webhook).values(aside_until=None))


def verified(secret: str, seen: Seen) -> Any:
    """What a receiver reads, once the reference library has found the signature right."""
    return standardwebhooks.Webhook(secret).verify(seen.body, seen.headers)


def test_a_receiver_reads_and_verifies_what_happened(place: Place) -> None:
    with receiving(status(204)) as server:
        webhook = hooked(place, server.url)
        job = finished(place.database, Status.SUCCEEDED)
        assert delivering.deliver_due(place) == 1
    (seen,) = server.seen
    data = {"object": "job", "id": job.id, "name": None, "status": "succeeded", "attempt": 1, "seq": job.event_seq}
    message = verified(webhook.secret, seen)
    assert (message["type"], message["data"]) == ("job.succeeded", data)
    assert (seen.method, seen.headers["content-type"], len(seen.body) < 500) == ("POST", "application/json", True)
    assert outcomes(place, webhook) == [("delivered", 1, 204, None)]
    assert [one.id for one in log(place, webhook)] == [seen.headers["webhook-id"]]


def test_a_wrong_secret_or_a_changed_body_does_not_verify(place: Place) -> None:
    with receiving(status(200)) as server:
        webhook = hooked(place, server.url)
        finished(place.database, Status.FAILED)
        delivering.deliver_due(place)
    (seen,) = server.seen
    with place.database.writing() as session:
        renewed = webhooks.rotate(session, "ann", webhook.id).secret
    for secret, body in ((renewed, seen.body), (webhook.secret, seen.body.replace(b"failed", b"succeeded"))):
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            verified(secret, replace(seen, body=body))


def test_signatures_are_those_of_the_specification() -> None:
    at = datetime.fromtimestamp(1614265330, UTC)
    secret, id = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert delivering.signed(id, secret, at, '{"test": 2432232314}') == {
        "Content-Type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_what_failed_is_sent_again_under_the_same_id(place: Place) -> None:
    with receiving(status(500), status(200)) as server:
        webhook = hooked(place, server.url)
        finished(place.database, Status.SUCCEEDED)
        assert delivering.deliver_due(place) == 1
        assert outcomes(place, webhook) == [("pending", 1, 500, "answered_500")]
        assert delivering.deliver_due(place) == 0
        hurried(place)
        assert delivering.deliver_due(place) == 1
    assert outcomes(place, webhook) == [("delivered", 2, 200, None)]
    assert len({seen.headers["webhook-id"] for seen in server.seen}) == 1
    first, second = (verified(webhook.secret, seen) for seen in server.seen)
    assert first == second


@pytest.mark.parametrize(
    ("act", "answered", "error"),
    [
        (status(302, Location="/x"), 302, "answered_302"),
        (status(404, b"secret words"), 404, "answered_404"),
        (drip, None, "timeout"),
        (nonsense, None, "bad_answer"),
    ],
)
def test_of_a_failure_only_its_kind_is_kept(place: Place, act: Act, answered: int | None, error: str) -> None:
    with receiving(act) as server, capture_logs() as lines:
        webhook = hooked(place, f"{server.url}?token=private")
        finished(place.database, Status.SUCCEEDED)
        delivering.deliver_due(place, replace(HERE, seconds=0.5))
    assert outcomes(place, webhook) == [("pending", 1, answered, error)]
    assert len(server.seen) == 1
    assert [(line["event"], line["error"], line["attempt"]) for line in lines] == [("webhook_tried", error, 1)]
    assert not any(word in json.dumps(lines) for word in ("private", "secret", webhook.secret))


def test_an_address_that_is_not_public_is_not_called(place: Place) -> None:
    with receiving(status(200)) as server:
        webhook = hooked(place, server.url)
        finished(place.database, Status.SUCCEEDED)
        delivering.deliver_due(place, replace(HERE, private=()))
    assert outcomes(place, webhook) == [("pending", 1, None, "not_allowed")]
    assert server.seen == []


def test_a_receiver_that_is_gone_hears_nothing_more(place: Place) -> None:
    with receiving(status(410)) as server:
        webhook = hooked(place, server.url)
        for _ in range(2):
            finished(place.database, Status.SUCCEEDED)
        assert delivering.deliver_due(place) == 1
        finished(place.database, Status.SUCCEEDED)
        assert delivering.deliver_due(place) == 0
    assert len(server.seen) == 1
    with place.database.reading() as session:
        assert webhooks.get(session, "ann", webhook.id).disabled_reason == "It answered 410 Gone."


def test_two_workers_send_each_message_once(place: Place) -> None:
    with receiving(status(200)) as server:
        webhook = hooked(place, server.url)
        for _ in range(20):
            finished(place.database, Status.SUCCEEDED)
        workers = [threading.Thread(target=delivering.deliver_due, args=(place,)) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    ids = [seen.headers["webhook-id"] for seen in server.seen]
    assert sorted(ids) == sorted(one.id for one in log(place, webhook))
    assert (len(ids), set(outcomes(place, webhook))) == (20, {("delivered", 1, 200, None)})


def test_no_transaction_is_open_while_a_receiver_thinks(place: Place) -> None:
    written: list[str] = []

    def act(handler: Any) -> None:
        with place.database.writing() as session:
            written.append(webhooks.rotate(session, "ann", webhook.id).secret)
        status(200)(handler)

    with receiving(act) as server:
        webhook = hooked(place, server.url)
        finished(place.database, Status.SUCCEEDED)
        delivering.deliver_due(place)
    assert len(written) == 1
    assert outcomes(place, webhook) == [("delivered", 1, 200, None)]


def test_the_receiver_of_the_documents_verifies_a_message(place: Place) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/webhooks.md").read_text(), re.DOTALL)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    webhook = hooked(place, f"http://127.0.0.1:{port}/")
    job = finished(place.database, Status.SUCCEEDED)
    command = [sys.executable, "-uc", code.replace("8080", str(port))]
    environment = {**os.environ, "SECRET": webhook.secret}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as receiver:
        await_listener(port)
        delivering.deliver_due(place)
        receiver.terminate()
        printed = receiver.communicate(timeout=10)[0]
    assert printed.decode() == f"job.succeeded {job.id}\n"


def await_listener(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return


def test_a_worker_delivers_until_it_stops(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    arrived = threading.Event()
    monkeypatch.setattr(delivering, "TICK", 0.01)

    def act(handler: Any) -> None:
        status(200)(handler)
        arrived.set()

    with receiving(act) as server:
        thread = delivering.start(place)
        webhook = hooked(place, server.url)
        finished(place.database, Status.SUCCEEDED)
        assert arrived.wait(10)
        place.over.set()
        thread.join(10)
    for sender in (sender for sender in threading.enumerate() if sender.name == "deliver"):
        sender.join(10)
    assert not thread.is_alive()
    assert outcomes(place, webhook) == [("delivered", 1, 200, None)]
