"""What a run begins with: local copies of its datasets, and the newest checkpoint that is whole."""

from pathlib import Path

from jobs import artifacts, datasets, files
from jobs.tables.jobs import File
from worker.place import Place
from worker.record import Record


def fetch_datasets(record: Record) -> dict[str, Path]:
    """By their ids.

    Raises:
        Gone: the artifact store has not their bytes.
    """
    job, place = record.job, record.place
    wanted = [id for id in (job.dataset_id, job.test_dataset_id) if id]
    found = record.read(lambda session: [datasets.stored_as(session, job.owner, id) for id in wanted])
    return {id: place.local(*stored) for id, stored in zip(wanted, found, strict=True)}


def fetch_checkpoint(record: Record, folder: Path) -> Path | None:
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
