"""Datasets on their way from a server to the store: kept once, tried again, left to others."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import artifacts, datasets, db, imports, orphans, profiles, store, unresolved
from jobs.allowances import USUAL
from jobs.artifacts import Artifacts
from jobs.settings import Settings
from jobs.spec.job import JobSpec
from jobs.states import Status
from jobs.tables.datasets import Dataset
from tests.attacks import hostile
from tests.fleet import until
from tests.jobs.conftest import database, migrated_postgres, migrated_sqlite  # noqa: F401
from tests.jobs.samples import ROWS, found
from tests.worker.receivers import Act, receiving, status
from worker import courier, fetching
from worker.place import Place

CSV = b"x,y\n1,a\n2,b\n"
SHA = hashlib.sha256(CSV).hexdigest()
Begin = Callable[[], "subprocess.Popen[bytes]"]
PROFILE = profiles.of_rows(ROWS).model_copy(update={"sha256": SHA})


@pytest.fixture
def place(database: db.Database, tmp_path: Path) -> Place:  # noqa: F811
    """A worker's, allowed to call loopback."""
    settings = Settings(data_dir=tmp_path, private_networks="127.0.0.0/8", heartbeat_seconds=0.05)
    return Place(settings, database, artifacts.connect(settings.artifacts))


def asked(place: Place, url: str, owner: str = "ann", name: str = "set.csv") -> Dataset:
    with place.database.writing() as session:
        return imports.create(session, owner, name, url)


def now(place: Place, dataset: Dataset) -> Dataset:
    with place.database.reading() as session:
        found = datasets.get(session, dataset.owner, dataset.id)
        session.refresh(found, ["preview"])
        return found


def hurry(place: Place) -> None:
    """Everything that waits is due."""
    with place.database.writing() as session:
        session.execute(sa.update(Dataset).where(Dataset.status == "fetching").values(fetch_at=db.now(-1)))


def stored(place: Place) -> list[str]:
    assert place.artifacts.root is not None
    root = place.artifacts.root
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def held(begun: threading.Event, over: threading.Event) -> Act:
    """Answers in two halves, the second when it is told to."""

    def act(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CSV))
        handler.wfile.write(CSV[:3])
        handler.wfile.flush()
        begun.set()
        over.wait(10)
        with contextlib.suppress(OSError):
            handler.wfile.write(CSV[3:])

    return act


def test_what_was_fetched_waits_for_a_reader_as_an_upload_does(place: Place) -> None:
    with receiving(status(200, CSV)) as server:
        dataset = asked(place, server.url)
        assert (dataset.status, dataset.bytes, dataset.sha256, dataset.path) == ("fetching", 0, "", "")
        assert [fetching.fetch_next(place), fetching.fetch_next(place)] == [True, False]
    dataset = now(place, dataset)
    assert (dataset.status, dataset.bytes, dataset.sha256) == ("profiling", len(CSV), SHA)
    assert (dataset.lease_owner, dataset.lease_until, dataset.deaths) == (None, None, 0)
    assert fnmatch(dataset.path, f"datasets/up_*/{SHA}")
    assert stored(place) == [dataset.path]
    with place.database.writing() as session:
        claimed = datasets.claim(session, "w", 30)
    assert claimed is not None
    assert claimed.id == dataset.id


def test_a_store_that_is_slow_to_keep_a_file_does_not_lose_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    move, hasty = Artifacts.move, place.settings.model_copy(update={"lease_seconds": 0.5})

    def slowly(store: Artifacts, source: str, target: str) -> None:
        time.sleep(1)
        with place.database.writing() as session:
            assert imports.take(session, "another", 30) is None
        move(store, source, target)

    monkeypatch.setattr(Artifacts, "move", slowly)
    with receiving(status(200, CSV)) as server:
        dataset = asked(place, server.url)
        fetching.fetch_next(replace(place, settings=hasty))
    assert (now(place, dataset).status, now(place, dataset).attempt) == ("profiling", 1)
    with place.database.writing() as session:
        assert not datasets.renew(session, dataset.id, 1, 30)  # it is no longer ours


def test_no_reader_takes_what_is_not_here_yet(place: Place) -> None:
    asked(place, "https://data.example.com/")
    with place.database.writing() as session:
        assert datasets.any_unread(session) is False
        assert datasets.claim(session, "w", 30) is None
        assert imports.any_due(session) is True


def test_the_same_address_is_fetched_once_for_whoever_asks_again(place: Place) -> None:
    with receiving(status(200, CSV)) as server:
        first, again = asked(place, server.url), asked(place, server.url)
        others = [asked(place, server.url, owner="bob"), asked(place, server.url, name="b")]
        fetching.fetch_next(place)
        later = asked(place, server.url)
    assert first.id == again.id
    assert len({first.id, later.id, *(one.id for one in others)}) == 4


def test_bytes_that_have_been_read_before_are_ready_at_once(place: Place) -> None:
    with receiving(status(200, CSV)) as server:
        with place.database.writing() as session:
            known = datasets.create(session, "ann", "x", f"datasets/{SHA}", len(CSV), SHA)
            claimed = datasets.claim(session, "w", 30)
            assert claimed is not None
            datasets.settle(session, known.id, claimed.attempt, PROFILE, [{"x": 1}], None)
        mine, theirs = asked(place, server.url), asked(place, server.url, owner="bob")
        waiting = waits_for(place, mine)
        fetching.fetch_next(place)
        fetching.fetch_next(place)
    while unresolved.resolve(place.database, USUAL):
        continue
    assert [(now(place, one).status, now(place, one).preview) for one in (mine, theirs)] == [
        ("ready", [{"x": 1}]),
        ("profiling", []),
    ]
    assert stored(place) == [f"datasets/{SHA}"]
    assert found(place.database, waiting).resolved_spec is not None


def waits_for(place: Place, dataset: Dataset) -> Any:
    spec = JobSpec.model_validate({"dataset": {"source": "upload", "id": dataset.id}, "target": "y"})
    with place.database.writing() as session:
        return store.create(session, dataset.owner, spec, datasets.resolve(session, dataset.owner, spec, USUAL))


def test_what_may_pass_is_tried_again_and_then_given_up(place: Place) -> None:
    with receiving(status(503)) as server:
        dataset, told = asked(place, server.url), []
        for _ in range(5):
            fetching.fetch_next(place)
            told.append((now(place, dataset).status, now(place, dataset).fetch_tries, fetching.fetch_next(place)))
            hurry(place)
    assert told == [*(("fetching", n, False) for n in (1, 2, 3)), *[("invalid", 3, False)] * 2]
    assert len(server.seen) == 4


@pytest.mark.parametrize("passing", [500, 502, 503, 408, 429])
def test_a_server_that_recovers_is_served(place: Place, passing: int) -> None:
    with receiving(status(passing), status(200, CSV)) as server:
        dataset = asked(place, server.url)
        fetching.fetch_next(place)
        hurry(place)
        fetching.fetch_next(place)
    assert now(place, dataset).status == "profiling"


def test_a_job_that_waits_for_what_cannot_be_had_fails_with_the_reason(place: Place) -> None:
    with receiving(status(404)) as server:
        job = waits_for(place, asked(place, server.url))
        fetching.fetch_next(place)
    while unresolved.resolve(place.database, USUAL):
        continue
    job = found(place.database, job)
    assert (job.status, job.error and "Mend it and import it again" in job.error.message) == (Status.FAILED, True)


def test_two_workers_fetch_each_dataset_once(place: Place) -> None:
    with receiving(status(200, CSV)) as server:
        made = [asked(place, f"{server.url}?{n}", owner=f"o{n}") for n in range(12)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: fetching.fetch_next(place), range(16)))
    assert {now(place, one).status for one in made} == {"profiling"}
    assert len({seen.path for seen in server.seen}) == len(server.seen) == 12


def test_slow_servers_of_one_owner_do_not_hold_up_the_others(place: Place) -> None:
    for n in range(5):
        asked(place, f"https://slow.example.com/{n}")
    other = asked(place, "https://data.example.com/", owner="bob")
    with place.database.writing() as session:
        taken = [imports.take(session, "w", 30) for _ in range(4)]
    assert [one and one.owner for one in taken] == ["ann", "bob", "ann", None]
    assert taken[1] is not None
    assert taken[1].id == other.id


def test_a_long_download_keeps_its_lease(place: Place) -> None:
    begun, over = threading.Event(), threading.Event()
    with receiving(held(begun, over)) as server, ThreadPoolExecutor(1) as thread:
        dataset = asked(place, server.url)
        fetched = thread.submit(fetching.fetch_next, place)
        assert begun.wait(10)
        first = now(place, dataset).lease_until
        until(lambda: (now(place, dataset).lease_until or first) != first, 10)
        with place.database.writing() as session:
            assert imports.take(session, "w2", 30) is None
        over.set()
        assert fetched.result(10)
    assert (now(place, dataset).status, now(place, dataset).attempt) == ("profiling", 1)


@pytest.mark.parametrize("how", ["deleted", "drained", "taken"])
def test_a_download_that_is_no_longer_wanted_leaves_nothing(place: Place, how: str) -> None:
    begun, over = threading.Event(), threading.Event()
    with receiving(held(begun, over)) as server, ThreadPoolExecutor(1) as thread:
        dataset = asked(place, server.url)
        fetched = thread.submit(fetching.fetch_next, place)
        assert begun.wait(10)
        disturb(place, dataset, how)
        over.set()
        assert fetched.result(10)
    assert stored(place) == []
    if how != "deleted":
        again = now(place, dataset)
        assert (again.status, again.fetch_tries, again.deaths) == ("fetching", 0, 0)
        assert (again.lease_owner is None) == (how == "drained")


def disturb(place: Place, dataset: Dataset, how: str) -> None:
    with place.database.writing() as session:
        if how == "deleted":
            datasets.delete(session, "ann", dataset.id)
        elif how == "taken":
            another = {"attempt": Dataset.attempt + 1, "lease_owner": "w2", "lease_until": db.now(60)}
            session.execute(sa.update(Dataset).where(Dataset.id == dataset.id).values(**another))
    if how == "drained":
        place.drain_asked.set()


def test_a_worker_that_dies_is_replaced_and_three_of_them_are_enough(place: Place) -> None:
    dataset = asked(place, "https://data.example.com/")
    with place.database.writing() as session:
        assert [imports.take(session, f"w{n}", -1) is None for n in range(4)] == [False, False, False, True]
    poison = now(place, dataset)
    assert (poison.status, poison.error and poison.error.code) == ("invalid", "poison")


def test_a_store_that_is_away_is_not_the_fault_of_the_file(place: Place, tmp_path: Path) -> None:
    with receiving(status(200, CSV)) as server:
        dataset = asked(place, server.url)
        (tmp_path / "artifacts" / "uploads").write_text("in the way")
        assert fetching.fetch_next(place)
        (tmp_path / "artifacts" / "uploads").unlink()
        assert (now(place, dataset).status, now(place, dataset).fetch_tries) == ("fetching", 0)
        hurry(place)
        assert fetching.fetch_next(place)
    assert now(place, dataset).status == "profiling"


def test_without_room_nothing_is_fetched(place: Place) -> None:
    full = place.settings.model_copy(update={"least_free_bytes": 2**62})
    asked(place, "https://data.example.com/")
    assert fetching.fetch_next(Place(full, place.database, place.artifacts)) is False


def test_no_more_is_fetched_than_the_owner_may_store(place: Place) -> None:
    few = Place(place.settings.model_copy(update={"max_stored_bytes": 100_000}), place.database, place.artifacts)
    with receiving(hostile.ENDLESS) as server:
        dataset = asked(place, server.url)
        assert fetching.fetch_next(few)
    after = now(place, dataset)
    assert (after.status, after.error and after.error.code, stored(place)) == ("invalid", "limit_reached", [])


def test_a_disk_that_fills_up_meanwhile_is_not_filled_to_the_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    free = iter([2**40, 2**40, 0, 0])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=next(free)))
    with receiving(hostile.ENDLESS) as server:
        dataset = asked(place, server.url)
        assert fetching.fetch_next(place)
        assert fetching.fetch_next(place) is False
    after = now(place, dataset)
    assert (after.status, after.fetch_tries, after.lease_owner, stored(place)) == ("fetching", 0, None, [])


def test_a_worker_fetches_until_it_stops(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "TICK", 0.01)
    with receiving(status(200, CSV)) as server:
        threads = fetching.start(place)
        dataset = asked(place, server.url)
        until(lambda: now(place, dataset).status == "profiling", 10)
        place.over.set()
        for thread in threads:
            thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


@pytest.fixture
def begin(place: Place, tmp_path: Path) -> Begin:
    """Starts a courier over the same database and store."""
    url = place.database.engine.url.render_as_string(hide_password=False)
    mine = {"FITD_DATA_DIR": str(tmp_path), "FITD_DATABASE_URL": url, "FITD_PRIVATE_NETWORKS": "127.0.0.0/8"}
    lease = {"FITD_LEASE_SECONDS": "1", "FITD_HEARTBEAT_SECONDS": "0.2"}
    return lambda: subprocess.Popen([sys.executable, "-m", courier.__name__], env={**os.environ, **mine, **lease})


def test_the_courier_fetches_and_ends_when_it_is_told_to(place: Place, begin: Begin) -> None:
    with receiving(status(200, CSV)) as server, begin() as process:
        dataset = asked(place, server.url)
        until(lambda: now(place, dataset).status == "profiling", 30)
        process.terminate()
        assert process.wait(10) == 0


def test_what_a_killed_courier_had_begun_is_fetched_by_the_next(
    place: Place, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, never = threading.Event(), threading.Event()
    with receiving(held(begun, never), status(200, CSV)) as server:
        dataset = asked(place, server.url)
        with begin() as process:
            assert begun.wait(30)
            process.kill()
        assert (now(place, dataset).status, now(place, dataset).attempt) == ("fetching", 1)
        with begin() as process:
            until(lambda: now(place, dataset).status == "profiling", 30)
            process.terminate()
        never.set()
    after = now(place, dataset)
    assert (after.attempt, after.deaths, after.sha256) == (2, 0, SHA)
    monkeypatch.setattr(orphans, "AGE", -60)
    assert orphans.Sweep(place.database, place.artifacts).step() == 1
    assert stored(place) == [after.path]
