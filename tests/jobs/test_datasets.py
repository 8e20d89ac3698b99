"""Datasets: read once, by one reader, for all jobs that wait; deleted when nothing needs them."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from jobs import datasets, db, errors, profiles, store
from jobs.allowances import USUAL
from jobs.record import Failure
from jobs.spec.job import JobSpec
from jobs.spec.profile import DatasetProfile
from jobs.states import Status
from jobs.tables.datasets import Dataset
from jobs.tables.jobs import Job

from .samples import ROWS, claimed, counts, found, kinds

SHA = "ab" * 32
PROFILE = profiles.of_rows(ROWS).model_copy(update={"sha256": SHA})
UNREADABLE = Failure(error_class="data", code="data_invalid", message="Row 3 has 9 cells.")


def uploaded(database: db.Database, owner: str = "ann", sha256: str = SHA) -> Dataset:
    with database.writing() as session:
        return datasets.create(session, owner, "set.csv", f"datasets/{sha256}", 9, sha256)


def read(database: db.Database, verdict: DatasetProfile | Failure = PROFILE) -> bool:
    """The oldest unread dataset is read, with this verdict."""
    with database.writing() as session:
        dataset = datasets.claim(session, "w1", 30)
    assert dataset is not None
    with database.writing() as session:
        return settled(session, dataset, verdict)


def settled(session: sa.orm.Session, dataset: Dataset, verdict: DatasetProfile | Failure = PROFILE) -> bool:
    profile, error = (verdict, None) if isinstance(verdict, DatasetProfile) else (None, verdict)
    return datasets.settle(session, dataset.id, dataset.attempt, profile, [{"x": 1.5}] if profile else [], error, USUAL)


def spec(*chosen: Dataset, target: str = "y") -> JobSpec:
    """Of a job that learns from the first dataset and is tested on the second."""
    sources = [{"source": "upload", "id": dataset.id} for dataset in chosen]
    split = {"kind": "given", "test": sources[1]} if len(sources) > 1 else {"kind": "auto"}
    return JobSpec.model_validate({"dataset": sources[0], "target": target, "split": split})


def submitted(database: db.Database, wanted: JobSpec) -> Job:
    with database.writing() as session:
        return store.create(session, "ann", wanted, datasets.resolve(session, "ann", wanted, USUAL))


def now(database: db.Database, dataset: Dataset) -> Dataset:
    with database.reading() as session:
        return datasets.get(session, dataset.owner, dataset.id)


def test_a_new_dataset_waits_for_a_reader(database: db.Database) -> None:
    dataset = now(database, uploaded(database))
    assert (dataset.status, dataset.attempt, dataset.profile, dataset.preview) == ("profiling", 0, None, [])


def test_another_owners_dataset_is_not_there(database: db.Database) -> None:
    dataset = uploaded(database)
    with database.writing() as session:
        for act in (datasets.get, datasets.delete):
            with pytest.raises(errors.NotFound):
                act(session, "bob", dataset.id)
        assert datasets.page(session, "bob", None, 10) == []


def test_pages_are_newest_first(database: db.Database) -> None:
    ids = sorted((uploaded(database).id for _ in range(4)), reverse=True)
    with database.reading() as session:
        first = [dataset.id for dataset in datasets.page(session, "ann", None, 3)]
        second = [dataset.id for dataset in datasets.page(session, "ann", first[-1], 3)]
    assert first + second == ids


def test_each_dataset_has_one_reader(database: db.Database) -> None:
    ids = [uploaded(database).id for _ in range(12)]

    def work(worker: int) -> list[str]:
        with database.writing() as session:
            taken = [datasets.claim(session, f"w{worker}", 30) for _ in range(4)]
            return [dataset.id for dataset in taken if dataset]

    with ThreadPoolExecutor(6) as threads:
        taken = Counter(dataset for share in threads.map(work, range(6)) for dataset in share)
    assert max(taken.values()) == 1
    assert set(taken) <= set(ids)


def test_a_dataset_whose_reader_died_is_read_by_another(database: db.Database) -> None:
    dataset = uploaded(database)
    with database.writing() as session:
        first = datasets.claim(session, "w1", -1)
        assert first is not None
        session.expunge(first)
        second = datasets.claim(session, "w2", 30)
        assert second is not None
    assert (first.attempt, first.deaths, second.attempt, second.deaths) == (1, 0, 2, 1)
    with database.writing() as session:
        assert not settled(session, first, UNREADABLE)
        assert settled(session, second)
    assert now(database, dataset).status == "ready"


def test_a_file_that_kills_its_readers_is_invalid_in_the_end(database: db.Database) -> None:
    poison = uploaded(database)
    job = submitted(database, spec(poison))
    with database.writing() as session:
        for _ in range(datasets.MOST_DEATHS):
            assert datasets.claim(session, "w1", -1) is not None
        assert datasets.claim(session, "w1", -1) is None
    poison = now(database, poison)
    assert (poison.status, poison.error and poison.error.code) == ("invalid", "poison")
    assert found(database, job).status is Status.FAILED


def test_a_reader_that_stops_has_not_died(database: db.Database) -> None:
    uploaded(database)
    with database.writing() as session:
        first = datasets.claim(session, "w1", 30)
        assert first is not None
        datasets.give_back(session, first.id, first.attempt)
        second = datasets.claim(session, "w2", 30)
        assert second is not None
        assert (second.attempt, second.deaths) == (2, 0)


def test_there_is_something_to_read_until_it_is_claimed(database: db.Database) -> None:
    seen = []
    with database.writing() as session:
        seen.append(datasets.any_unread(session))
    uploaded(database)
    with database.writing() as session:
        seen.append(datasets.any_unread(session))
        datasets.claim(session, "w1", 30)
        seen.append(datasets.any_unread(session))
    assert seen == [False, True, False]


def test_a_verdict_is_kept(database: db.Database) -> None:
    good = uploaded(database)
    assert read(database)
    bad = uploaded(database)
    assert read(database, UNREADABLE)
    good, bad = now(database, good), now(database, bad)
    assert (good.status, good.profile, good.preview, good.error) == ("ready", PROFILE, [{"x": 1.5}], None)
    assert (bad.status, bad.profile, bad.preview, bad.error) == ("invalid", None, [], UNREADABLE)


def test_a_job_on_a_read_dataset_is_ready_at_once(database: db.Database) -> None:
    dataset = uploaded(database)
    read(database)
    job = submitted(database, spec(dataset))
    assert (job.resolved_spec is not None, job.dataset_id, job.dataset_hash) == (True, dataset.id, SHA)


def test_a_job_that_waited_is_resolved_when_its_dataset_is_read(database: db.Database) -> None:
    waiting = submitted(database, spec(uploaded(database)))
    assert (waiting.resolved_spec, waiting.status_code) == (None, "dataset_profiling")
    read(database)
    job = found(database, waiting)
    assert (job.status, job.status_code, job.dataset_hash) == ("queued", None, SHA)
    assert kinds(database, job) == ["created", "queued"]
    assert claimed(database).id == job.id


def test_a_job_that_does_not_fit_its_dataset_fails_with_the_faults(database: db.Database) -> None:
    job = submitted(database, spec(uploaded(database), target="none"))
    read(database)
    job = found(database, job)
    assert (job.status, job.error and job.error.code) == ("failed", "spec_invalid")
    assert job.error is not None
    assert [fault["pointer"] for fault in job.error.errors] == ["/target"]
    assert kinds(database, job) == ["created", "failed"]


def test_a_job_whose_dataset_turns_out_unreadable_fails(database: db.Database) -> None:
    job = submitted(database, spec(uploaded(database)))
    read(database, UNREADABLE)
    job = found(database, job)
    assert job.error is not None
    assert (job.status, [fault["code"] for fault in job.error.errors]) == ("failed", ["data_invalid"])


def test_a_job_cancelled_while_it_waited_stays_so(database: db.Database) -> None:
    job = submitted(database, spec(uploaded(database)))
    with database.writing() as session:
        store.cancel(session, "ann", job.id)
    read(database)
    assert found(database, job).resolved_spec is None
    assert kinds(database, job) == ["created", "cancelled"]


def test_a_job_waits_for_both_its_datasets(database: db.Database) -> None:
    job = submitted(database, spec(uploaded(database), uploaded(database)))
    read(database)
    assert found(database, job).resolved_spec is None
    read(database)
    assert found(database, job).dataset_hash == f"{SHA}+{SHA}"


def test_datasets_settled_at_the_same_time_leave_no_job_waiting(database: db.Database) -> None:
    pairs = [(uploaded(database), uploaded(database)) for _ in range(6)]
    jobs = [submitted(database, spec(*pair)) for pair in pairs]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: read(database), range(12)))
    assert [found(database, job).status_code for job in jobs] == [None] * 6


def test_a_job_made_while_its_dataset_is_settled_does_not_wait_for_ever(database: db.Database) -> None:
    sets = [uploaded(database) for _ in range(8)]
    with ThreadPoolExecutor(2) as threads:
        reading = [threads.submit(read, database) for _ in sets]
        jobs = [submitted(database, spec(dataset)) for dataset in sets]
        assert [future.result() for future in reading] == [True] * 8
    assert [found(database, job).status_code for job in jobs] == [None] * 8


def test_a_spec_on_an_unknown_dataset_is_refused(database: db.Database) -> None:
    dataset = uploaded(database, owner="bob")
    with database.reading() as session, pytest.raises(errors.SpecInvalid) as caught:
        datasets.resolve(session, "ann", spec(dataset), USUAL)
    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [("/dataset", "not_found")]


@pytest.mark.parametrize("place", [0, 1])
def test_a_dataset_that_a_job_needs_stays(database: db.Database, place: int) -> None:
    pair = (uploaded(database), uploaded(database))
    job = submitted(database, spec(*pair))
    with database.writing() as session, pytest.raises(errors.InUse):
        datasets.delete(session, "ann", pair[place].id)
    with database.writing() as session:
        store.cancel(session, "ann", job.id)
        datasets.delete(session, "ann", pair[place].id)
    assert found(database, job).status is Status.CANCELLED
    assert counts(database)["datasets"] == 1


def test_bytes_go_with_the_last_dataset_that_has_them(database: db.Database) -> None:
    first, second, other = uploaded(database), uploaded(database, "bob"), uploaded(database, sha256="cd" * 32)
    with database.writing() as session:
        assert datasets.delete(session, "ann", other.id) == other.path
        assert datasets.delete(session, "ann", first.id) is None
        assert datasets.delete(session, "bob", second.id) == second.path
