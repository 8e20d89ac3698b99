"""Datasets: read once, by one reader, for all jobs that wait; deleted when nothing needs them."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import datasets, db, errors, profiles, quotas, store, unresolved
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
        mine = settled(session, dataset, verdict)
    resolve(database)
    return mine


def resolve(database: db.Database) -> None:
    """All jobs that can be."""
    while unresolved.resolve(database, USUAL):
        continue


def settled(session: sa.orm.Session, dataset: Dataset, verdict: DatasetProfile | Failure = PROFILE) -> bool:
    profile, error = (verdict, None) if isinstance(verdict, DatasetProfile) else (None, verdict)
    return datasets.settle(session, dataset.id, dataset.attempt, profile, [{"x": 1.5}] if profile else [], error)


def spec(*chosen: Dataset, target: str = "y") -> JobSpec:
    """Of a job that learns from the first dataset and is tested on the second."""
    sources = [{"source": "upload", "id": dataset.id} for dataset in chosen]
    split = {"kind": "given", "test": sources[1]} if len(sources) > 1 else {"kind": "auto"}
    return JobSpec.model_validate({"dataset": sources[0], "target": target, "split": split})


def submitted(database: db.Database, wanted: JobSpec, owner: str = "ann") -> Job:
    with database.writing() as session:
        return store.create(session, owner, wanted, datasets.resolve(session, owner, wanted, USUAL))


def now(database: db.Database, dataset: Dataset) -> Dataset:
    with database.reading() as session:
        found = datasets.get(session, dataset.owner, dataset.id)
        session.refresh(found, ["preview"])
        return found


def test_a_new_dataset_waits_for_a_reader(database: db.Database) -> None:
    dataset = now(database, uploaded(database))
    assert (dataset.status, dataset.attempt, dataset.profile, dataset.preview) == ("profiling", 0, None, [])


def test_another_owners_dataset_is_not_there(database: db.Database) -> None:
    dataset = uploaded(database)
    with database.writing() as session:
        for act in (datasets.get, datasets.delete):
            with pytest.raises(errors.NotFound):
                act(session, "bob", dataset.id)
        assert datasets.page(session, "bob", None, 10).rows == []


def test_pages_are_newest_first(database: db.Database) -> None:
    ids = sorted((uploaded(database).id for _ in range(4)), reverse=True)
    with database.reading() as session:
        first = [dataset.id for dataset in datasets.page(session, "ann", None, 3).rows]
        second = [dataset.id for dataset in datasets.page(session, "ann", first[-1], 3).rows]
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


def test_the_next_file_is_that_of_whoever_has_the_fewest_being_read(database: db.Database) -> None:
    made = [uploaded(database, owner) for owner in ("ann", "ann", "ann", "bob", "bob", "eve")]
    with database.writing() as session:
        taken = [datasets.claim(session, "w1", 30) for _ in range(5)]
        assert taken[1] is not None
        settled(session, taken[1])
        taken.append(datasets.claim(session, "w1", 30))
    order = [made.index(next(one for one in made if dataset and one.id == dataset.id)) for dataset in taken]
    assert order == [0, 3, 5, 1, 4, 2]


def test_so_many_datasets_may_wait_for_a_reader_and_no_more(database: db.Database) -> None:
    for owner in ("ann", "ann", "bob"):
        uploaded(database, owner)
    with database.reading() as session:
        quotas.check_unread(session, "ann", 2)
        with pytest.raises(errors.QuotaReached, match="1 of your datasets wait to be read"):
            quotas.check_unread(session, "ann", 1)
        quotas.check_unread(session, "bob", 1)


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
    resolve(database)
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


def awaited(database: db.Database) -> int:
    """Datasets whose jobs have still to be resolved."""
    with database.reading() as session:
        return session.scalar(sa.select(sa.func.count()).where(Dataset.awaited_at.is_not(None))) or 0


def verdict(database: db.Database) -> None:
    """Of whoever reads the oldest dataset, and is gone then."""
    with database.writing() as session:
        dataset = datasets.claim(session, "w1", 30)
        assert dataset is not None
        assert settled(session, dataset)


def unresolved_ones(database: db.Database) -> int:
    with database.reading() as session:
        return session.scalar(sa.select(sa.func.count()).where(Job.resolved_spec.is_(None))) or 0


def test_many_jobs_of_one_dataset_are_resolved_some_at_a_time_by_anybody(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unresolved, "BATCH", 3)
    dataset = uploaded(database)
    jobs = [submitted(database, spec(dataset, target="none" if number == 4 else "y")) for number in range(7)]
    verdict(database)
    left = [(unresolved_ones(database), awaited(database))]
    while unresolved.resolve(database, USUAL):
        left.append((unresolved_ones(database), awaited(database)))
    assert left == [(7, 1), (4, 1), (2, 1), (1, 1), (1, 0)]  # one of them has failed
    assert [found(database, job).status for job in jobs] == ["queued"] * 4 + ["failed"] + ["queued"] * 2
    assert [len(kinds(database, job)) for job in jobs] == [2] * 7


def test_each_transaction_resolves_at_least_one_job_however_long_it_takes(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unresolved, "SECONDS", -1)
    dataset = uploaded(database)
    for _ in range(3):
        submitted(database, spec(dataset))
    verdict(database)
    assert [(unresolved.resolve(database, USUAL), unresolved_ones(database)) for _ in range(3)] == [
        (True, 2),
        (True, 1),
        (True, 0),
    ]


def test_owners_whose_datasets_were_read_take_turns(database: db.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unresolved, "BATCH", 1)
    many, one = uploaded(database), uploaded(database, "bob")
    for _ in range(3):
        submitted(database, spec(many))
    with database.writing() as session:
        theirs = store.create(session, "bob", spec(one), datasets.resolve(session, "bob", spec(one), USUAL))
    verdict(database)
    verdict(database)
    assert unresolved.resolve(database, USUAL)
    assert (unresolved_ones(database), found(database, theirs).status_code) == (2, None)


def test_several_workers_resolve_each_job_once(database: db.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unresolved, "BATCH", 2)
    dataset = uploaded(database)
    jobs = [submitted(database, spec(dataset)) for _ in range(12)]
    verdict(database)
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda _: resolve(database), range(3)))
    resolve(database)
    assert [kinds(database, job) for job in jobs] == [["created", "queued"]] * 12
    assert awaited(database) == 0


def test_what_only_newer_workers_can_resolve_is_left_to_them(database: db.Database) -> None:
    job = submitted(database, spec(uploaded(database)))
    verdict(database)
    with database.writing() as session:
        session.execute(sa.update(Job).values(spec_version=Job.spec_version + 1))
    assert (unresolved.resolve(database, USUAL), awaited(database)) == (False, 1)
    with database.writing() as session:
        assert unresolved.any_left(session) is False
        session.execute(sa.update(Job).values(spec_version=Job.spec_version - 1))
    resolve(database)
    assert (found(database, job).status_code, awaited(database)) == (None, 0)


def test_what_a_newer_reader_said_of_a_dataset_ends_no_job(database: db.Database) -> None:
    theirs, mine = uploaded(database, owner="ann"), uploaded(database, owner="zoe")
    jobs = [submitted(database, spec(theirs)), submitted(database, spec(mine), owner="zoe")]
    verdict(database)
    verdict(database)
    with database.writing() as session:
        plain = sa.select(sa.type_coerce(Dataset.profile, sa.JSON)).where(Dataset.id == theirs.id)
        profile = {**session.scalars(plain).one(), "skew": 0.3}
        changed = sa.update(Dataset).where(Dataset.id == theirs.id)
        session.execute(changed.values(profile=sa.literal(profile, sa.JSON)))
    with database.reading() as session, pytest.raises(errors.NewerRecord):
        datasets.resolve(session, "ann", spec(theirs), USUAL)
    resolve(database)
    assert [kinds(database, job) for job in jobs] == [["created"], ["created", "queued"]]
    with database.reading() as session:
        assert datasets.stored_as(session, "ann", theirs.id) == (theirs.path, theirs.sha256)


def test_a_job_that_trips_the_rules_fails_and_holds_up_no_other(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [submitted(database, spec(uploaded(database, owner=owner)), owner=owner) for owner in ("ann", "zoe")]
    verdict(database)
    verdict(database)
    rules_of = datasets.resolved

    def trip(session: Session, owner: str, *rest: Any) -> Any:
        return 1 / 0 if owner == "ann" else rules_of(session, owner, *rest)

    monkeypatch.setattr(datasets, "resolved", trip)
    resolve(database)
    assert [kinds(database, job) for job in jobs] == [["created", "failed"], ["created", "queued"]]
    failed = found(database, jobs[0]).error
    assert failed
    assert (failed.error_class, failed.code) == ("internal", "internal_error")


def test_a_claim_settles_so_many_datasets_and_no_more(database: db.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "MOST_POISONED", 2)
    poison = [uploaded(database) for _ in range(3)]
    with database.writing() as session:
        session.execute(sa.update(Dataset).values(deaths=datasets.MOST_DEATHS))
        assert datasets.claim(session, "w1", 30) is None
    assert sorted(now(database, one).status for one in poison) == ["invalid", "invalid", "profiling"]


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
