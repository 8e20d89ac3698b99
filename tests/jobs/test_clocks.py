"""What a clock that was ahead has left behind."""

import sqlalchemy as sa

from jobs import clocks, datasets, db, imports, webhooks
from jobs.tables.datasets import Dataset
from jobs.tables.webhooks import Delivery

from .samples import created

HOUR = 3600.0


def test_what_waits_for_a_time_that_nobody_meant_waits_no_longer(database: db.Database) -> None:
    with database.writing() as session:
        read = datasets.create(session, "ann", "x", "datasets/x", 1, "x")
        fetched = imports.create(session, "ann", "y", "https://data.example.com/")
        webhooks.create(session, "ann", "https://hooks.example.com/", ["queued"], None)
    created(database)
    ahead = {"lease_until": db.now(2 * HOUR), "fetch_at": db.now(2 * HOUR)}
    with database.writing() as session:
        session.execute(sa.update(Dataset).values(**ahead))
        session.execute(sa.update(Delivery).values(due_at=db.now(13 * HOUR), taken_until=db.now(2 * HOUR)))
        assert imports.any_due(session) is False
        assert clocks.mend(session) == 6
        assert clocks.mend(session) == 0
        assert session.scalars(sa.select(Delivery.id).where(Delivery.due_at <= db.now())).one()
        taken = [datasets.claim(session, "w", 30), imports.take(session, "w", 30)]
        assert [one and one.id for one in taken] == [read.id, fetched.id]


def test_what_waits_on_purpose_is_left_alone(database: db.Database) -> None:
    with database.writing() as session:
        datasets.create(session, "ann", "x", "datasets/x", 1, "x")
        session.execute(sa.update(Dataset).values(lease_until=db.now(60)))
        assert (clocks.mend(session), datasets.claim(session, "w", 30)) == (0, None)
