"""Calls that owners have made for them, for datasets and for webhooks, and the rules that they are under.

The rules are those of production. A test only says which name server is asked, whose certificates count, that the one
address 127.0.0.1 stands for a public one, and which port a public server has; all else of 127.0.0.0/8 stays inside.
"""

import ssl
from collections.abc import Callable
from ipaddress import IPv4Network

import sqlalchemy as sa

from jobs import datasets, db, deliveries, imports, webhooks
from jobs.tables.datasets import Dataset
from worker import delivering, fetching, outbound
from worker.outbound import Policy
from worker.place import Place

CSV = b"a,b\n1,2\n"
OUTSIDE, INSIDE = "127.0.0.1", "127.0.0.2"
LOOPBACK = IPv4Network("127.0.0.0/8")
DENIED = [network for network in outbound.DENIED if network != LOOPBACK]
DENIED += LOOPBACK.address_exclude(IPv4Network(OUTSIDE))
Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
WAYS = ("import", "webhook")
INNER = {"import": "fetch_failed", "webhook": "not_allowed"}


Rules = Callable[..., Policy]
"""For the names of a name server and the ports of web servers."""


def settled(here: Place, url: str, policy: Policy) -> Dataset:
    """A dataset after all tries to fetch it."""
    with here.database.writing() as session:
        made = imports.create(session, "ann", "set.csv", url)
    for _ in range(len(imports.PAUSES) + 1):
        hurry(here.database)
        fetching.fetch_next(here, policy)
    with here.database.reading() as session:
        found = datasets.get(session, "ann", made.id)
        session.refresh(found, ["preview"])
        return found


def hurry(database: db.Database) -> None:
    with database.writing() as session:
        session.execute(sa.update(Dataset).where(Dataset.status == "fetching").values(fetch_at=db.now(-1)))


def outcome(here: Place, way: str, url: str, policy: Policy) -> str:
    """What an owner is told of a call."""
    if way == "import":
        found = settled(here, url, policy)
        return found.error.code if found.error else found.status
    with here.database.writing() as session:
        webhook = webhooks.create(session, "ann", url, webhooks.TERMINAL, None)
        deliveries.test(session, "ann", webhook.id)
    delivering.deliver_due(here, policy)
    with here.database.reading() as session:
        (delivery,) = deliveries.page(session, "ann", webhook.id, None, 9)
    return delivery.error or delivery.status


def stored(here: Place) -> list[str]:
    assert here.artifacts.root is not None
    return sorted(path.name for path in here.artifacts.root.rglob("*") if path.is_file())
