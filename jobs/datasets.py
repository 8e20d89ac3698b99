"""Datasets: stored by their content, read once by a worker, listed, previewed, deleted."""

from collections.abc import Sequence
from typing import Literal

import sqlalchemy as sa
from pydantic import JsonValue
from sqlalchemy.orm import Session

from jobs import allowances, db, errors, events, ids, profiles, rules, store
from jobs.allowances import USUAL, Allowance
from jobs.record import Failure, Usage
from jobs.spec.data import Builtin, GivenSplit, Rows, Upload
from jobs.spec.data import Dataset as DatasetChoice
from jobs.spec.job import JobSpec
from jobs.spec.profile import DatasetProfile
from jobs.states import Status
from jobs.tables.datasets import Dataset
from jobs.tables.jobs import Job

Lock = Literal["share", "update"]
MOST_DEATHS = 3
"""Workers that may die over a file before it is called invalid."""
UNSETTLED = ("fetching", "profiling")


def create(session: Session, owner: str, name: str, path: str, size: int, sha256: str) -> Dataset:
    """A dataset whose bytes are already in the artifact store; a worker will read it."""
    dataset = Dataset(
        id=ids.new("ds"),
        owner=owner,
        name=name,
        bytes=size,
        sha256=sha256,
        path=path,
        status="profiling",
        created_at=db.now(),
        updated_at=db.now(),
    )
    session.add(dataset)
    session.flush()
    session.refresh(dataset)
    return dataset


def twin(session: Session, owner: str, sha256: str) -> Dataset | None:
    """A dataset of this owner with the same bytes that has been read. All that have these bytes stay until the commit,
    and so does their file."""
    query = sa.select(Dataset).where(Dataset.sha256 == sha256).order_by(Dataset.id).with_for_update()
    same = session.scalars(query.execution_options(populate_existing=True)).all()
    return next((known for known in same if known.owner == owner and known.status == "ready"), None)


def get(session: Session, owner: str, dataset_id: str, *, lock: Lock | None = None) -> Dataset:
    """One dataset of this owner; locked, it stays as it is until the commit.

    Raises:
        NotFound: no such dataset, or somebody else's.
    """
    query = sa.select(Dataset).where(Dataset.id == dataset_id, Dataset.owner == owner)
    if lock:
        query = query.with_for_update(read=lock == "share").execution_options(populate_existing=True)
    dataset = session.scalar(query)
    if dataset is None:
        raise errors.NotFound("There is no such dataset here.")
    return dataset


def page(session: Session, owner: str, after: str | None, limit: int) -> Sequence[Dataset]:
    """The owner's datasets, newest first, below the id `after`."""
    query = sa.select(Dataset).where(Dataset.owner == owner)
    if after:
        query = query.where(Dataset.id < after)
    return session.scalars(query.order_by(Dataset.id.desc()).limit(limit)).all()


def delete(session: Session, owner: str, dataset_id: str) -> str | None:
    """Removes a dataset; answers its key in the artifact store if no other dataset has the same bytes.

    Raises:
        InUse: a job that has not ended needs it.
    """
    dataset = get(session, owner, dataset_id, lock="update")
    if store.uses(session, dataset):
        raise errors.InUse("A job that has not ended needs this dataset; cancel the job or wait for it.")
    session.delete(dataset)
    session.flush()
    shared = session.scalar(sa.select(sa.exists().where(Dataset.sha256 == dataset.sha256)))
    return None if shared else dataset.path


def claim(
    session: Session, worker: str, lease: float, waits: sa.ColumnElement[bool] = Dataset.status == "profiling"
) -> Dataset | None:
    """Takes the oldest dataset that waits for a reader, or whose reader has died; one that too many died over is
    settled as invalid instead."""
    free = sa.and_(waits, _free())
    oldest = sa.select(Dataset.id).where(free).order_by(Dataset.id).limit(1).with_for_update()
    taken = session.scalar(
        sa.update(Dataset)
        .where(Dataset.id == oldest.scalar_subquery(), free)
        .values(deaths=Dataset.deaths + sa.case((Dataset.lease_until.is_(None), 0), else_=1))
        .values(attempt=Dataset.attempt + 1, lease_owner=worker, lease_until=db.now(lease))
        .returning(Dataset.id)
    )
    if taken is None:
        return None
    dataset = session.get_one(Dataset, taken, populate_existing=True)
    if dataset.deaths < MOST_DEATHS:
        return dataset
    text = f"{dataset.deaths} workers died over this file. Upload a smaller or simpler one."
    error = Failure(error_class="data", code="poison", message=text)
    settle(session, dataset.id, dataset.attempt, None, [], error, USUAL)  # its jobs fail whatever they may take
    return claim(session, worker, lease, waits)


def renew(session: Session, dataset_id: str, attempt: int, lease: float) -> bool:
    """Extends a lease; False if it is lost."""
    mine = sa.and_(Dataset.id == dataset_id, Dataset.attempt == attempt, Dataset.status.in_(UNSETTLED))
    renewed = sa.update(Dataset).where(mine).values(lease_until=db.now(lease)).returning(Dataset.id)
    return session.scalar(renewed) is not None


def settle(
    session: Session,
    dataset_id: str,
    attempt: int,
    profile: DatasetProfile | None,
    preview: list[dict[str, JsonValue]],
    error: Failure | None,
    allowance: Allowance,
) -> bool:
    """The verdict of whoever claimed it; every job that waited for it is resolved, or fails with the faults found.
    False if that is for another to do."""
    if _is_for_newer(session, dataset_id):
        give_back(session, dataset_id, attempt)
        return False
    settled = session.scalar(
        sa.update(Dataset)
        .where(Dataset.id == dataset_id, Dataset.attempt == attempt, Dataset.status.in_(UNSETTLED))
        .values(fetch_at=None, status="ready" if profile else "invalid", profile=profile, preview=preview, error=error)
        .values(lease_owner=None, lease_until=None, updated_at=db.now())
        .returning(Dataset.id)
    )
    if settled is None:
        return False
    for job in store.waiting_for(session, dataset_id):
        _resolve(session, job, allowance)
    return True


def give_back(session: Session, dataset_id: str, attempt: int, *, died: bool = False) -> None:
    """Lets another worker read it, because this one stops, or because its reader was killed."""
    mine = sa.and_(Dataset.id == dataset_id, Dataset.attempt == attempt)
    free = {"lease_owner": None, "lease_until": None}
    session.execute(sa.update(Dataset).where(mine).values(deaths=Dataset.deaths + int(died), **free))


def any_unread(session: Session) -> bool:
    """Whether a dataset waits for a reader."""
    return session.scalar(sa.select(sa.exists().where(Dataset.status == "profiling", _free()))) or False


def _free() -> sa.ColumnElement[bool]:
    nobody_reads = sa.or_(Dataset.lease_until.is_(None), Dataset.lease_until < db.now())
    return sa.and_(nobody_reads, ~store.newer_waits(Dataset.id))


def _is_for_newer(session: Session, dataset_id: str) -> bool:
    """Whether a job came meanwhile that only a newer reader can resolve; none comes before the commit."""
    session.execute(sa.select(Dataset.id).where(Dataset.id == dataset_id).with_for_update())
    return session.scalar(sa.select(store.newer_waits(Dataset.id)).where(Dataset.id == dataset_id)) or False


def resolve(session: Session, owner: str, spec: JobSpec, allowance: Allowance) -> rules.Resolved | None:
    """Everything that was left to the service, decided; None while a dataset is still being read.

    In a writing session the datasets stay as they are until the commit: a job that waits for one is seen when it is
    settled, and one that a job needs is not deleted.

    Raises:
        SpecInvalid: with every fault, an unknown or invalid dataset included, or what it would take too much of.
    """
    return _resolved(session, owner, spec, allowance, "share" if session.info.get("writing") else None)


def _resolved(
    session: Session, owner: str, spec: JobSpec, allowance: Allowance, lock: Lock | None
) -> rules.Resolved | None:
    faults: list[errors.Fault] = []
    known: dict[str, DatasetProfile | None] = {}
    for pointer, choice in _choices(spec):
        try:
            known[pointer] = _profile(session, owner, choice, lock)
        except errors.FitdError as error:
            faults.append(errors.Fault(pointer=pointer, code=error.code, detail=str(error)))
    profile = known.get("/dataset")
    if faults or profile is None or None in known.values():
        if faults := rules.faults(spec) + faults:
            raise errors.SpecInvalid(faults)
        return None
    resolved = rules.resolve(spec, profile, known.get("/split/test"))
    allowances.check(resolved, allowance)
    return resolved


def _choices(spec: JobSpec) -> list[tuple[str, DatasetChoice]]:
    test = [("/split/test", spec.split.test)] if isinstance(spec.split, GivenSplit) else []
    return [("/dataset", spec.dataset), *test]


def _profile(session: Session, owner: str, choice: DatasetChoice, lock: Lock | None) -> DatasetProfile | None:
    match choice:
        case Builtin():
            return profiles.builtin()[choice.name]
        case Rows():
            return profiles.of_rows(choice.rows)
        case Upload():
            dataset = get(session, owner, choice.id, lock=lock)
            if dataset.error:
                raise errors.DataInvalid(f"This dataset is invalid: {dataset.error.message}")
            return dataset.profile


def _resolve(session: Session, job: Job, allowance: Allowance) -> None:
    try:
        # Of two datasets that are settled at once, the second sees both.
        resolved = _resolved(session, job.owner, job.spec, allowance, None)
    except errors.SpecInvalid as error:
        text = "The spec does not fit its dataset: " + " ".join(fault.detail for fault in error.faults)
        failure = Failure(
            error_class="spec", code=error.code, message=text, errors=[fault.model_dump() for fault in error.faults]
        )
        if store.move(
            session,
            job.id,
            Status.FAILED,
            fence=Job.resolved_spec.is_(None),
            finished_at=db.now(),
            error=failure,
            usage=Usage(),
            status_code=error.code,
            status_message=text,
        ):
            events.append(session, job.id, "failed", text, level="error")
        return
    if resolved:
        session.execute(
            sa.update(Job)
            .where(Job.id == job.id, Job.status == job.status)
            .values(resolved_spec=resolved.spec, resolution=resolved.decisions, warnings=resolved.notices)
            .values(dataset_hash=resolved.dataset_hash, needs_gpu=resolved.spec.device == "cuda")
            .values(status_code=None, status_message=None)
        )
        kind = "queued" if job.status is Status.QUEUED else "resolved"
        events.append(session, job.id, kind, "The dataset was read; nothing is left to guess.")
