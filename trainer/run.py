"""One run from its files to its files: the data is read, the model trained, checkpoints and results are written.

The caller iterates, as with `fit`, and does with the news what it likes; files are complete when they are announced.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import torch

from jobs.errors import DataInvalid
from jobs.spec.explained import UNKNOWN, Background
from jobs.spec.job import JobSpec
from trainer import checkpoints, data, threads
from trainer.account import results
from trainer.account.results import Result
from trainer.checkpoints import Origin
from trainer.fit import fit
from trainer.keeper import Keeper
from trainer.reports import Finished, Progress, Saved, Started
from trainer.snapshots import Snapshot


def run(
    spec: JobSpec,
    files: Mapping[str, Path],
    folder: Path,
    resume: Path | None,
    draining: Callable[[], bool],
    background: Background = UNKNOWN,
) -> Iterator[Started | Progress | Saved | Finished]:
    """Trains by a resolved spec; `files` are local copies of its uploaded datasets, by id.

    Takes at most as many threads as torch is set to, and those of the checkpoint `resume` where it goes on from one.
    Where that cannot be gone on with to the same bits, the run begins anew and `Started` says why. `draining` is asked
    after every report: once it says yes, the run is saved and left without a `Finished`.

    Raises:
        DataInvalid: the data cannot be used.
        torch.OutOfMemoryError: the batch does not fit on the device.
        OSError: a file cannot be written.
    """
    torch.set_flush_denormal(True)  # a dead unit's moments decay to subnormal numbers, which are slow
    loaded = data.load(spec, files)
    rows = loaded.digest
    snapshot, refused = _taken_up(resume, checkpoints.origin(spec, rows)) if resume else (None, None)
    if snapshot is None:
        threads.settle(spec, loaded)
    with closing(Keeper(spec, folder, checkpoints.origin(spec, rows))) as keeper:
        for moment in fit(spec, loaded, snapshot, background=background):
            report = moment.report
            match report:
                case Started():
                    yield report.model_copy(update={"refused": refused})
                case Progress():
                    yield report
                    if draining():
                        yield from keeper.leaving(report, moment)
                        return
                    yield from keeper.passing(report, moment)
                case Finished():
                    yield from keeper.ending(moment)
                    known = background.along(moment.state.decisions)
                    for result in results.write(folder, spec, loaded, moment.state, report, known, report.diagnostics):
                        yield _announced(result, report)
                    yield report


def _taken_up(path: Path, here: Origin) -> tuple[Snapshot | None, str | None]:
    """What to go on from, or why not."""
    try:
        kept = checkpoints.read(path)
    except DataInvalid as error:
        return None, str(error)
    refused = checkpoints.difference(kept.origin, here)
    if refused:
        return None, refused
    torch.set_num_threads(kept.threads)  # a count that is chosen: any machine can take it
    return kept.snapshot, None


def _announced(result: Result, report: Finished) -> Saved:
    return Saved(
        what="result",
        name=result.name,
        content_type=result.content_type,
        step=report.step,
        epoch=report.epoch,
        resumable=False,
    )
