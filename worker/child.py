"""The process that trains one job, or reads one file. It has no credentials: it gets files and a pipe.

Every message on the pipe is one JSON object. The process dies with its worker.
"""

import os
import resource
import traceback
from collections.abc import Callable
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread

import torch

from jobs.errors import DataInvalid, NoGpu
from jobs.spec.explained import Background
from jobs.spec.job import JobSpec
from trainer import memory, run
from trainer.reports import Finished
from trainer.sources import profiling, reading
from worker.messages import DRAIN, Drained, Failed, News, Read, Spent

PREVIEW_ROWS = 100
"""Rows kept beside the profile, to be looked at."""


def train(
    pipe: Connection, spec: str, background: str, files: dict[str, str], folder: str, resume: str | None, threads: int
) -> None:
    """Trains one job by its resolved spec and what else is known of it, both as JSON."""

    def work() -> None:
        torch.set_num_threads(threads)
        parsed = JobSpec.model_validate_json(spec)
        paths = {id: Path(path) for id, path in files.items()}
        drained = True
        checkpoint = Path(resume) if resume else None
        known = Background.model_validate_json(background)
        for news in run.run(parsed, paths, Path(folder), checkpoint, lambda: _asked(pipe), known):
            _say(pipe, news)
            drained = not isinstance(news, Finished)
        if drained:
            _say(pipe, Drained())

    _guarded(pipe, work)


def read(pipe: Connection, path: str, sha256: str, memory: int, seconds: float) -> None:
    """Reads one uploaded file under limits of address space (bytes) and processor time (seconds)."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    def work() -> None:
        data = reading.read(Path(path))
        profile = profiling.profile(data).model_copy(update={"sha256": sha256})
        _say(pipe, Read(profile=profile, preview=profiling.preview(data, PREVIEW_ROWS)))

    _guarded(pipe, work)


def _guarded(pipe: Connection, work: Callable[[], None]) -> None:
    os.setsid()
    Thread(target=_die_with_worker, daemon=True).start()
    try:
        work()
    except Exception as error:  # every failure is told to the worker, whatever it is
        _say(pipe, _classified(error))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    on_gpu = torch.cuda.is_initialized()
    _say(pipe, Spent(peak_memory_bytes=torch.cuda.max_memory_allocated() if on_gpu else peak, on_gpu=on_gpu))
    pipe.close()


def _classified(error: Exception) -> Failed:
    trace = "".join(traceback.format_exception(error))
    match error:
        case DataInvalid():
            return Failed(error_class="data", code=error.code, message=str(error))
        case NoGpu():
            return Failed(error_class="spec", code=error.code, message=str(error))
        case RuntimeError() | MemoryError() if memory.ran_out(error):
            text = "It does not fit into memory: take a smaller batch_size or a smaller model."
            return Failed(error_class="oom", code="out_of_memory", message=text, trace=trace)
        case OSError():
            text = f"The worker could not read or write a file ({type(error).__name__})."
            return Failed(error_class="infrastructure", code="io_error", message=text, trace=trace)
        case _:
            text = f"fitd failed in an unforeseen way ({type(error).__name__}); its operator finds more in the log."
            return Failed(error_class="internal", code="internal_error", message=text, trace=trace)


def _say(pipe: Connection, news: News) -> None:
    pipe.send_bytes(news.model_dump_json().encode())


def _asked(pipe: Connection) -> bool:
    """Whether the worker wants the run to be saved and left."""
    return pipe.poll() and pipe.recv_bytes() == DRAIN


def _die_with_worker() -> None:
    # The parent by process id is the fork server, which outlives the worker; multiprocessing's sentinel is the worker.
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
