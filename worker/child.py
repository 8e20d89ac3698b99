"""The process that trains one job, or reads one file. It has no credentials: it gets files and a pipe.

The process that all are forked from has imported this module and all it needs, so that a run starts in milliseconds.
Nothing may touch CUDA or start a thread when it is imported: a fork copies neither. polars starts one that only waits
to delete what was spilled to disk; its pool begins with the first query.

Every message on the pipe is one JSON object. The process dies with its worker.
"""

import errno
import os
import resource
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread

import torch

from jobs import failpoints
from jobs.errors import DataInvalid, NoGpu
from trainer import alive, device, memory, run
from trainer.reports import Finished
from trainer.sources import profiling, reading
from worker.messages import DRAIN, NO_MEMORY, Alive, Drained, Equipped, Failed, News, Order, Read, Spent

PREVIEW_ROWS = 100
"""Rows kept beside the profile, to be looked at."""
MOST_TOLD = 4 << 20
"""Bytes of a profile and its preview, which are kept in the database: 10,000 columns of numbers take 3 MiB."""
MOST_SAID = 1_000
"""Characters of a message: it may name what a file names."""


def train(pipe: Connection, order: str) -> None:
    """Trains one job by an `Order` in JSON."""

    def work() -> None:
        failpoints.reach("child.started")
        given = Order.model_validate_json(order)
        _confine(given)
        torch.set_num_threads(given.threads)
        if torch.cuda.is_available():
            torch.cuda.set_device(given.slot % torch.cuda.device_count())
        drained = True
        alive.listen(lambda: _say(pipe, Alive()))
        news = run.run(given.spec, given.files, given.folder, given.resume, lambda: _asked(pipe), given.background)
        for report in news:
            _say(pipe, report)
            drained = not isinstance(report, Finished)
        if drained:
            _say(pipe, Drained())

    _guarded(pipe, work)


def read(pipe: Connection, path: str, sha256: str, memory: int, seconds: float) -> None:
    """Reads one uploaded file under limits of address space (bytes) and processor time (seconds)."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))  # ended by SIGXCPU, not by SIGKILL
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    def work() -> None:
        try:
            _say(pipe, _read(Path(path), sha256))
        except MemoryError as error:
            raise DataInvalid(f"Reading it takes more than {memory >> 20:,} MiB of memory: send less.") from error

    _guarded(pipe, work)


def _read(path: Path, sha256: str) -> Read:
    data = reading.read(path)
    profile = profiling.profile(data).model_copy(update={"sha256": sha256})
    found = Read(profile=profile, preview=profiling.preview(data, PREVIEW_ROWS))
    if len(found.model_dump_json().encode()) > MOST_TOLD:
        raise DataInvalid(f"Its names and words alone fill {MOST_TOLD >> 20} MiB: shorten them or send fewer columns.")
    return found


def look(pipe: Connection) -> None:
    """Says what there is to compute with."""

    def work() -> None:
        # As a run asks: a driver may count devices that it cannot use.
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        gpus = [torch.cuda.get_device_name(index) for index in range(count)]
        _say(pipe, Equipped(gpus=gpus, versions={"fitd": metadata.version("fitd"), "torch": torch.__version__}))

    _guarded(pipe, work)


def _guarded(pipe: Connection, work: Callable[[], None]) -> None:
    os.setsid()
    _step_forward()
    Thread(target=_die_with_worker, daemon=True).start()
    try:
        work()
    except Exception as error:  # every failure is told to the worker, whatever it is
        _say(pipe, _classified(error))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    on_gpu = torch.cuda.is_initialized()
    _say(pipe, Spent(peak_memory_bytes=torch.cuda.max_memory_allocated() if on_gpu else peak, on_gpu=on_gpu))
    pipe.close()


def _confine(order: Order) -> None:
    """What exceeds these limits fails with an error that can be classed. CUDA reserves more memory than there is."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (order.file_bytes, order.file_bytes))
    if not torch.cuda.is_available():
        resource.setrlimit(resource.RLIMIT_DATA, (order.memory_bytes, order.memory_bytes))


def _step_forward() -> None:
    """Whom the kernel kills for want of memory is this process, not the worker nor the one that all are forked from."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _classified(error: Exception) -> Failed:
    trace = "".join(traceback.format_exception(error))
    match error:
        case DataInvalid():
            return Failed(error_class="data", code=error.code, message=str(error)[:MOST_SAID])
        case NoGpu():  # whoever claimed the job had one
            return Failed(error_class="infrastructure", code="gpu_lost", message=str(error))
        case RuntimeError() | MemoryError() if memory.ran_out(error):
            return Failed(error_class="oom", code="out_of_memory", message=NO_MEMORY, trace=trace)
        case RuntimeError() if device.failed(error):
            text = "The worker's GPU, or its driver, failed."
            return Failed(error_class="infrastructure", code="gpu_failed", message=text, trace=trace)
        case OSError() if error.errno == errno.EFBIG:
            text = "The run wrote a larger file than a job may here: choose a smaller model."
            return Failed(error_class="spec", code="takes_too_much", message=text, trace=trace)
        case OSError():
            text = f"The worker could not read or write a file ({type(error).__name__})."
            is_full = error.errno == errno.ENOSPC
            return Failed(
                error_class="infrastructure",
                code="disk_full" if is_full else "io_error",
                message=text,
                trace=trace,
            )
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
