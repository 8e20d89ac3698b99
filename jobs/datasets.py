"""Datasets: stored by their content, read once by a worker, listed, previewed, deleted."""

import json
from typing import Any, Literal, get_args

import sqlalchemy as sa
from pydantic import JsonValue
from sqlalchemy.orm import Session, aliased

from jobs import allowances, db, errors, ids, listing, profiles, rules, store, turns
from jobs.allowances import Allowance
from jobs.record import Failure
from jobs.spec.data import Builtin, GivenSplit, Rows, Upload
from jobs.spec.data import Dataset as DatasetChoice
from jobs.spec.job import JobSpec
from jobs.spec.profile import DatasetProfile
from jobs.tables.datasets import Dataset

Lock = Literal["share", "update"]
Unsettled = Literal["fetching", "profiling"]
MOST_DEATHS = 3
"""Workers that may die over a file before it is called invalid."""
MOST_POISONED = 10
"""Datasets that one claim settles as invalid."""
UNSETTLED: tuple[Unsettled, ...] = get_args(Unsettled)
MOST_UNREAD = 1000
"""Of one owner that may wait for a reader."""


def create(session: Session, owner: str, name: str, path: str, size: int, sha256: str) -> Dataset:
    """A dataset whose bytes are already in the artifact store; a worker will read it."""
    return add(session, owner=owner, name=name, bytes=size, sha256=sha256, path=path, status="profiling")


def add(session: Session, **values: Any) -> Dataset:
    """A new dataset."""
    dataset = Dataset(id=ids.new("ds"), created_at=db.now(), updated_at=db.now(), **values)
    session.add(dataset)
    session.flush()
    session.refresh(dataset)
    return dataset


def twin(session: Session, owner: str, sha256: str) -> Dataset | None:
    """A dataset of this owner with the same bytes that has been read."""
    same = sa.select(Dataset).where(Dataset.sha256 == sha256, Dataset.owner == owner, Dataset.status == "ready")
    return session.scalar(same.order_by(Dataset.id).limit(1).execution_options(populate_existing=True))


def path_of(session: Session, sha256: str) -> str | None:
    """The key in the artifact store under which some dataset has these bytes."""
    named = sa.select(Dataset.path).where(Dataset.sha256 == sha256)
    return session.scalar(named.order_by(Dataset.id.desc()).limit(1))


def pin(session: Session, sha256: str, path: str) -> bool:
    """Whether a dataset has its bytes under this key; one then does until the commit."""
    naming = sa.select(Dataset.id).where(*_at(sha256, path)).limit(1).with_for_update(read=True, key_share=True)
    return session.scalar(naming) is not None


def _at(sha256: str, path: str) -> tuple[sa.ColumnElement[bool], ...]:
    return Dataset.sha256 == sha256, Dataset.path == path


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


def stored_as(session: Session, owner: str, dataset_id: str) -> tuple[str, str]:
    """Key in the artifact store and SHA-256 of a dataset's bytes: all that a worker needs, whatever else newer ones
    have written about it.

    Raises:
        NotFound: no such dataset, or somebody else's.
    """
    query = sa.select(Dataset.path, Dataset.sha256).where(Dataset.id == dataset_id, Dataset.owner == owner)
    found = session.execute(query).one_or_none()
    if found is None:
        raise errors.NotFound("There is no such dataset here.")
    return found[0], found[1]


def page(session: Session, owner: str, after: str | None, limit: int) -> listing.Page[Dataset]:
    """The owner's datasets, newest first, below the id `after`."""
    query = sa.select(Dataset.id, db.size(Dataset.profile)).where(Dataset.owner == owner)
    if after:
        query = query.where(Dataset.id < after)
    found = session.execute(query.order_by(Dataset.id.desc()).limit(limit + 1)).all()
    shown, more = listing.cut(found, limit)
    rows = session.scalars(sa.select(Dataset).where(Dataset.id.in_(shown)).order_by(Dataset.id.desc())).all()
    return listing.Page(rows, more)


def delete(session: Session, owner: str, dataset_id: str) -> str | None:
    """Removes a dataset; answers its key in the artifact store if no other dataset has its bytes there. After the
    commit none ever will, so that they may be removed without a lock.

    Raises:
        InUse: a job that has not ended needs it.
    """
    dataset = get(session, owner, dataset_id, lock="update")
    if store.uses(session, dataset):
        raise errors.InUse("A job that has not ended needs this dataset; cancel the job or wait for it.")
    session.delete(dataset)
    session.flush()
    shared = session.scalar(sa.select(sa.exists().where(*_at(dataset.sha256, dataset.path))))
    return None if shared else dataset.path


def claim(
    session: Session,
    worker: str,
    lease: float,
    status: Unsettled = "profiling",
    due: sa.ColumnElement[bool] | None = None,
    most: int | None = None,
) -> Dataset | None:
    """Takes the dataset whose turn it is: one that waits for a reader, or whose reader has died. First come owners of
    whom the fewest are being read, then the oldest; none of whom already `most` are. One that too many died over is
    settled as invalid instead, and so are a few more."""
    free = sa.and_(Dataset.status == status, _free(), sa.true() if due is None else due)
    for _ in range(MOST_POISONED):
        dataset = _next(session, worker, lease, free, _owners(status, free, most))
        if dataset is None or not _is_poison(session, dataset):
            return dataset
    return None


def _next(
    session: Session, worker: str, lease: float, free: sa.ColumnElement[bool], owners: sa.Select[str]
) -> Dataset | None:
    for owner in session.scalars(owners).all():
        if taken := _take(session, owner, worker, lease, free):
            return session.get_one(Dataset, taken, populate_existing=True)
    return None


def _owners(status: Unsettled, free: sa.ColumnElement[bool], most: int | None) -> sa.Select[str]:
    """Owners of free datasets, in the order in which the next one is theirs."""
    owners, held = turns.owners(Dataset, lambda dataset: dataset.status == status), aliased(Dataset)
    oldest = sa.select(Dataset.id).where(free, Dataset.owner == owners.c.owner).order_by(Dataset.id).limit(1)
    taken = sa.and_(held.status == status, held.owner == owners.c.owner, held.lease_until > db.now())
    count = sa.select(sa.func.count()).select_from(held).where(taken)
    found = sa.select(
        owners.c.owner, oldest.scalar_subquery().label("oldest"), count.scalar_subquery().label("taken")
    ).subquery()
    may = found.c.oldest.is_not(None) if most is None else sa.and_(found.c.oldest.is_not(None), found.c.taken < most)
    return sa.select(found.c.owner).where(may).order_by(found.c.taken, found.c.oldest)


def _take(session: Session, owner: str, worker: str, lease: float, free: sa.ColumnElement[bool]) -> str | None:
    its = sa.and_(free, Dataset.owner == owner)
    oldest = sa.select(Dataset.id).where(its).order_by(Dataset.id).limit(1).with_for_update()
    return session.scalar(
        sa.update(Dataset)
        .where(Dataset.id == oldest.scalar_subquery(), its)
        .values(deaths=Dataset.deaths + sa.case((Dataset.lease_owner.is_(None), 0), else_=1))
        .values(attempt=Dataset.attempt + 1, lease_owner=worker, lease_until=db.now(lease))
        .returning(Dataset.id)
    )


def _is_poison(session: Session, dataset: Dataset) -> bool:
    """Whether too many workers died over it; then it is settled."""
    if dataset.deaths < MOST_DEATHS:
        return False
    text = f"{dataset.deaths} workers died over this file. Upload a smaller or simpler one."
    error = Failure(error_class="data", code="poison", message=text)
    settle(session, dataset.id, dataset.attempt, None, [], error)
    return True


def renew(session: Session, dataset_id: str, attempt: int, lease: float) -> bool:
    """Extends a lease; False if it is lost, or was handed back."""
    held = sa.and_(Dataset.lease_owner.is_not(None), Dataset.status.in_(UNSETTLED))
    mine = sa.and_(Dataset.id == dataset_id, Dataset.attempt == attempt, held)
    renewed = sa.update(Dataset).where(mine).values(lease_until=db.now(lease)).returning(Dataset.id)
    return session.scalar(renewed) is not None


def settle(
    session: Session,
    dataset_id: str,
    attempt: int,
    profile: DatasetProfile | None,
    preview: list[dict[str, JsonValue]],
    error: Failure | None,
) -> bool:
    """The verdict of whoever claimed it; False if that is for another to give. The jobs that waited for it are resolved
    afterwards, by `unresolved`."""
    if _is_for_newer(session, dataset_id):
        give_back(session, dataset_id, attempt)
        return False
    settled = session.scalar(
        sa.update(Dataset)
        .where(Dataset.id == dataset_id, Dataset.attempt == attempt, Dataset.status.in_(UNSETTLED))
        .values(fetch_at=None, status="ready" if profile else "invalid", profile=profile, preview=preview, error=error)
        .values(lease_owner=None, lease_until=None, updated_at=db.now(), told_bytes=_told(profile, preview))
        .values(awaited_at=db.now())
        .returning(Dataset.id)
    )
    return settled is not None


def _told(profile: DatasetProfile | None, preview: list[dict[str, JsonValue]]) -> int:
    return len(profile.model_dump_json()) + len(json.dumps(preview)) if profile else 0


def give_back(session: Session, dataset_id: str, attempt: int, *, died: bool = False, wait: float = 0.0) -> None:
    """Lets another worker read it, after so many seconds: this one stops, its reader was killed, or the bytes could not
    be had."""
    mine = sa.and_(Dataset.id == dataset_id, Dataset.attempt == attempt)
    free = {"lease_owner": None, "lease_until": db.now(wait) if wait else None}
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
    allowances.check_size(spec)
    return resolved(session, owner, spec, allowance, "share" if session.info.get("writing") else None)


def resolved(
    session: Session, owner: str, spec: JobSpec, allowance: Allowance, lock: Lock | None = None
) -> rules.Resolved | None:
    """The same, of a spec that was accepted before."""
    faults: list[errors.Fault] = []
    known: dict[str, DatasetProfile | None] = {}
    for pointer, choice in _choices(spec):
        try:
            known[pointer] = _profile(session, owner, choice, lock)
        except (errors.NotFound, errors.DataInvalid) as error:
            faults.append(errors.Fault(pointer=pointer, code=error.code, detail=str(error)))
    profile = known.get("/dataset")
    if faults or profile is None or None in known.values():
        if faults := rules.faults(spec) + faults:
            raise errors.SpecInvalid(faults)
        return None
    found = rules.resolve(spec, profile, known.get("/split/test"))
    allowances.check(found, allowance)
    return found


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
