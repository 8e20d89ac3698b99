"""Files of a run on their way into the artifact store, while the run goes on and is listened to."""

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, wait
from pathlib import Path

from jobs import artifacts, failpoints, files, ids
from jobs.tables.jobs import File, Job
from trainer.reports import Saved
from worker.place import Place


class Uploads:
    """One attempt's, out of its folder; `most` checkpoints are kept.

    One file is under way at a time, and what will not be kept does not wait for its turn: a store that is slower than
    the run saves costs neither room in scratch nor time at the end.
    """

    def __init__(self, place: Place, job: Job, folder: Path, most: int) -> None:
        self.place = place
        self.job = job
        self.folder = folder
        self.under_way: Future[File] | None = None
        self.waiting: list[Saved] = []
        """In the order in which they were announced."""
        self.turns: list[str] = ["resume", "checkpoint", "best", "result"]
        """Kinds take turns; the one that was served last is the last."""
        self.kept: dict[str, deque[int]] = {
            "resume": deque(maxlen=1),
            "checkpoint": deque(maxlen=most),
            "best": deque(maxlen=1),
            "result": deque(),
        }
        """Steps of the newest that were announced, of each kind as many as the job keeps."""

    @property
    def all_stored(self) -> bool:
        """Whether nothing waits or is under way."""
        return self.under_way is None

    def add(self, saved: Saved) -> None:
        """Sends a file off; it is gone from the folder afterwards. What waits and is superseded by it goes at once."""
        self.waiting.append(saved)
        for kind in {saved.what, "resume"} if saved.resumable else {saved.what}:
            self.kept[kind].append(saved.step)
        for old in [one for one in self.waiting if one.step < self.kept[one.what][0]]:
            self.waiting.remove(old)
            (self.folder / old.name).unlink()
        self._begin()

    def hasten(self) -> None:
        """What the run goes on from is next."""
        resumable = [one.what for one in self.waiting if one.resumable]
        self.turns.sort(key=lambda kind: kind not in resumable[-1:])

    def stored(self) -> Iterator[File]:
        """Those that are in the store by now, to be committed; as long as nobody asks, nothing more begins.

        Raises:
            OSError, obstore.exceptions.BaseError: one could not be stored.
        """
        while self.under_way and self.under_way.done():
            file, self.under_way = self.under_way.result(), None
            self._begin()
            yield file

    def wait(self, seconds: float) -> None:
        """At most so long for what is under way."""
        wait([self.under_way] if self.under_way else [], seconds)

    def _begin(self) -> None:
        if self.under_way is None and self.waiting:
            self.under_way = Future()
            # A daemon: a worker that stops does not wait for a store that does not answer.
            threading.Thread(target=self._send, args=(self._next(), self.under_way), name="upload", daemon=True).start()

    def _next(self) -> Saved:
        """The newest first: a run that is lost goes on from there."""
        newest = {one.what: one for one in self.waiting}
        kind = min(newest, key=self.turns.index)
        self.turns.sort(key=lambda other: other == kind)
        self.waiting.remove(newest[kind])
        return newest[kind]

    def _send(self, saved: Saved, sent: Future[File]) -> None:
        try:
            sent.set_result(self._put(saved, self.folder / saved.name))
        except Exception as error:  # whoever asks for the result hears of it
            sent.set_exception(error)

    def _put(self, saved: Saved, source: Path) -> File:
        file = self._file(saved, source)
        failpoints.reach("file.put")
        self.place.artifacts.put(file.path, source)
        source.unlink()
        failpoints.reach("file.stored")
        return file

    def _file(self, saved: Saved, source: Path) -> File:
        job, is_result = self.job, saved.what == "result"
        return File(
            id=ids.new("file" if is_result else "ckpt"),
            job_id=job.id,
            kind="artifact" if is_result else "checkpoint",
            name={"best": files.BEST, "resume": files.RESUME}.get(saved.what, saved.name),
            attempt=job.attempt,
            step=saved.step,
            epoch=saved.epoch,
            path=files.key(job.id, job.attempt, saved.name),
            content_type=saved.content_type,
            bytes=source.stat().st_size,
            sha256=artifacts.sha256(source),
            is_best=saved.what == "best",
            resumable=saved.resumable,
            metrics=saved.metrics,
        )
