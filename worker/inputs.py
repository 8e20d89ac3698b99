"""What a run begins with: its order, local copies of its datasets, and the newest checkpoint that is whole."""

from pathlib import Path

from jobs import artifacts, datasets, files
from jobs.spec.explained import Background
from jobs.tables.jobs import File
from worker.messages import Order
from worker.place import Place
from worker.record import Record

MICRO_BATCHES = 4
"""Parts of each batch in the attempt after one that ran out of memory."""


def order(record: Record, folder: Path, slot: int) -> Order:
    """What a child is told; its files are in the folder, or beside it.

    Raises:
        Gone: the artifact store has not the bytes of a dataset.
    """
    job, place = record.job, record.place
    assert job.resolved_spec is not None, "only resolved jobs are claimed"
    known = Background(
        decisions=job.resolution,
        warnings=job.warnings,
        dataset_hash=job.dataset_hash,
        micro_batches=MICRO_BATCHES if job.oom_attempts else 1,
        seconds=job.usage.seconds,
        most_seconds=place.settings.max_job_seconds,
    )
    return Order(
        spec=job.resolved_spec,
        background=known,
        files=_datasets(record),
        folder=folder,
        resume=_checkpoint(record, folder),
        threads=place.threads,
        slot=slot,
        memory_bytes=place.settings.max_job_memory_bytes,
        file_bytes=place.settings.max_job_disk_bytes,
    )


def _datasets(record: Record) -> dict[str, Path]:
    """By their ids."""
    job, place = record.job, record.place
    wanted = [id for id in (job.dataset_id, job.test_dataset_id) if id]
    found = record.read(lambda session: [datasets.stored_as(session, job.owner, id) for id in wanted])
    return {id: place.local(*stored) for id, stored in zip(wanted, found, strict=True)}


def _checkpoint(record: Record, folder: Path) -> Path | None:
    """A copy in this folder, if there is one; what is passed over is noted."""
    known = record.read(lambda session: files.list_of(session, record.job.id, "checkpoint"))
    for file in reversed([file for file in known if file.resumable]):
        path = folder / "resume.safetensors"
        fault = _fetch(record.place, file, path)
        if fault is None:
            return path
        record.note("checkpoint_refused", f"Checkpoint {file.name} is {fault} and was passed over.")
    return None


def _fetch(place: Place, file: File, path: Path) -> str | None:
    """What is wrong with it."""
    try:
        place.artifacts.fetch(file.path, path)
    except FileNotFoundError:
        return "gone"
    return None if artifacts.sha256(path) == file.sha256 else "damaged"
