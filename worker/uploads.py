"""Files of a run on their way into the artifact store, while the run goes on and is listened to."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from jobs import artifacts, failpoints, files, ids
from jobs.tables.jobs import File
from trainer.reports import Saved
from worker.holds import Hold
from worker.place import Place

LOOK = 0.25
"""Seconds between two looks at whether the lease still is ours."""


class Uploads:
    """One attempt's: one at a time, in the order in which they were announced."""

    def __init__(self, place: Place, hold: Hold) -> None:
        self.place = place
        self.hold = hold
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="upload")
        self.under_way: deque[Future[File]] = deque()

    def add(self, saved: Saved, source: Path) -> None:
        """Sends a file off; it is gone from its folder afterwards."""
        self.under_way.append(self.pool.submit(self._put, saved, source))

    def stored(self, *, all: bool = False) -> Iterator[File]:
        """Those that are in the store by now, or `all` of them, to be committed.

        Raises:
            OSError, obstore.exceptions.BaseError: one could not be stored.
            Lost: the lease ran out meanwhile.
        """
        while self.under_way:
            while all and not wait([self.under_way[0]], LOOK).done:
                self.hold.check()
            if not self.under_way[0].done():
                return
            yield self.under_way.popleft().result()

    def close(self) -> None:
        """Sends nothing more."""
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _put(self, saved: Saved, source: Path) -> File:
        file = self._file(saved, source)
        failpoints.reach("file.put")
        self.place.artifacts.put(file.path, source)
        source.unlink()
        failpoints.reach("file.stored")
        return file

    def _file(self, saved: Saved, source: Path) -> File:
        job, is_result = self.hold.job, saved.what == "result"
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
