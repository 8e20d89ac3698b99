"""The files of a job: checkpoints and results, as rows; the bytes are in the artifact store."""

from collections.abc import Sequence
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from jobs import errors, holdings
from jobs.tables.jobs import File, Job

Kind = Literal["checkpoint", "artifact"]
BEST = "best"
"""Name of the checkpoint with the weights of the best epoch."""
RESUME = "resume"
"""Name of the checkpoint that a run goes on from where its spec asks for none that it could; gone when the job ends."""


def folder(job_id: str) -> str:
    """Where all files of a job lie in the artifact store."""
    return f"jobs/{job_id}"


def key(job_id: str, attempt: int, name: str) -> str:
    """Where one file lies; the attempt is part of it, so that no attempt writes over another's file."""
    return f"{folder(job_id)}/a{attempt}/{name}"


def list_of(session: Session, job_id: str, kind: Kind) -> Sequence[File]:
    """A job's files of one kind, in order of steps, then names."""
    query = sa.select(File).where(File.job_id == job_id, File.kind == kind)
    return session.scalars(query.order_by(File.step, File.name)).all()


def paths(session: Session, job_id: str) -> set[str]:
    """Keys of all a job's files in the artifact store."""
    return set(session.scalars(sa.select(File.path).where(File.job_id == job_id)))


def checkpoint(session: Session, job_id: str, checkpoint_id: str) -> File:
    """One checkpoint of a job.

    Raises:
        NotFound: it has none of this id; old ones are removed while a run goes on.
    """
    return _one(session, job_id, "checkpoint", File.id == checkpoint_id)


def artifact(session: Session, job_id: str, name: str) -> File:
    """One result of a job.

    Raises:
        NotFound: it has none of this name, or none yet.
    """
    return _one(session, job_id, "artifact", File.name == name)


def _one(session: Session, job_id: str, kind: Kind, chosen: sa.ColumnElement[bool]) -> File:
    file = session.scalar(sa.select(File).where(File.job_id == job_id, File.kind == kind, chosen))
    if file is None:
        raise errors.NotFound(f"This job has no such {kind}; what it has is in its list.")
    return file


def prune(session: Session, job_id: str, keep: int) -> list[str]:
    """Removes all checkpoints but the best, the one to resume from and the `keep` newest; answers their keys in the
    artifact store."""
    others = [file for file in list_of(session, job_id, "checkpoint") if not file.is_best and file.name != RESUME]
    for file in others[:-keep]:
        session.delete(file)
    return [file.path for file in others[:-keep]]


def forget_behind(session: Session, job_id: str, step: int) -> list[str]:
    """Removes the checkpoints behind a step that a run goes on from; answers their keys in the artifact store."""
    gone = sa.delete(File).where(File.job_id == job_id, File.kind == "checkpoint", File.step > step)
    return list(session.scalars(gone.returning(File.path)))


def forget_results(session: Session, job_id: str) -> None:
    """Removes what a run delivered that did not come to an end of its own."""
    session.execute(sa.delete(File).where(File.job_id == job_id, File.kind == "artifact"))


def forget(session: Session, job_id: str, kind: Kind, name: str) -> list[str]:
    """Removes the file of this name, if there is one; answers its key in the artifact store."""
    gone = sa.delete(File).where(File.job_id == job_id, File.kind == kind, File.name == name).returning(File.path)
    return list(session.scalars(gone))


def count(session: Session, job_id: str) -> None:
    """Notes what a job's files come to, with it and with its owner. For whoever adds or removes files, or ends the job:
    under the job's lock, as the last thing in the transaction."""
    size = sa.select(sa.cast(sa.func.coalesce(sa.func.sum(File.bytes), 0), sa.BigInteger)).where(File.job_id == job_id)
    known = sa.select(Job.owner, Job.file_bytes, Job.finished_at, size.scalar_subquery()).where(Job.id == job_id)
    if (job := session.execute(known).one_or_none()) is None:
        return
    owner, before, ended, now = job
    more = now - before if ended else max(0, now - before)
    if more:
        session.execute(sa.update(Job).where(Job.id == job_id).values(file_bytes=before + more))
        holdings.add_files(session, owner, more)
