"""One run from its files to its files: the data is read, the model trained, checkpoints and results are written.

The caller iterates, as with `fit`, and does with the news what it likes; files are complete when they are announced.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from jobs.spec.explained import UNKNOWN, Background
from jobs.spec.job import JobSpec
from trainer import checkpoints, data, snapshots, threads
from trainer.account import results
from trainer.fit import fit
from trainer.reports import Finished, Progress, Saved, Started
from trainer.state import Moment

SAVE_SECONDS = 2.0
"""Checkpoints at the ends of epochs are at least this far apart; the last and the best are always written."""


def run(
    spec: JobSpec,
    files: Mapping[str, Path],
    folder: Path,
    resume: Path | None,
    draining: Callable[[], bool],
    background: Background = UNKNOWN,
) -> Iterator[Started | Progress | Saved | Finished]:
    """Trains by a resolved spec; `files` are local copies of its uploaded datasets, by id.

    Takes at most as many threads as torch is set to. `draining` is asked after every report: once it says yes, the
    run is saved and left without a `Finished`.

    Raises:
        DataInvalid: the data, or the checkpoint to resume from, cannot be used.
        torch.OutOfMemoryError: the batch does not fit on the device.
    """
    torch.set_flush_denormal(True)  # a dead unit's moments decay to subnormal numbers, which are slow
    loaded = data.load(spec, files)
    threads.settle(spec, loaded)
    if resume and not checkpoints.same_build(resume, spec):
        loaded.notes.append("The checkpoint is of another build, device or thread count: the run begins anew.")
        resume = None
    keeper = _Keeper(spec, folder)
    for moment in fit(spec, loaded, checkpoints.read(resume) if resume else None):
        report = moment.report
        if isinstance(report, Finished):
            known = background.along(moment.state.decisions)
            for result in results.write(folder, spec, loaded, moment.state, report, known, report.diagnostics):
                yield _saved("result", result.name, report, content_type=result.content_type)
            yield from keeper.last(moment)
            yield report
            return
        yield report
        if isinstance(report, Progress):
            if draining():
                yield from keeper.last(moment)
                return
            yield from keeper.due(report, moment)


@dataclass
class _Keeper:
    """Decides what is written when."""

    spec: JobSpec
    folder: Path
    saved_at: float = field(default_factory=time.monotonic)
    saved_step: int = 0
    saved_best: int = 0

    def due(self, report: Progress, moment: Moment) -> Iterator[Saved]:
        """The checkpoints that the spec asks for at this moment."""
        every = self.spec.checkpoint.save_freq
        if isinstance(every, int):
            due = report.step % every == 0
        else:
            due = report.epoch_ended and time.monotonic() - self.saved_at >= SAVE_SECONDS
        if due:
            yield from self.last(moment)

    def last(self, moment: Moment) -> Iterator[Saved]:
        """The best epoch's weights and the run as it stands, where they are newer than what is written."""
        report, policy = moment.report, self.spec.checkpoint
        assert not isinstance(report, Started)
        self.saved_at = time.monotonic()
        best = moment.state.newest_best()
        if best.step != self.saved_best:
            self.saved_best = best.step
            name = f"best-{best.step:09d}.safetensors"  # never a name twice: the file before may not be fetched yet
            checkpoints.write_tensors(self.folder / name, moment.state.best_weights(), {})
            yield _saved("best", name, report, step=best.step, epoch=best.epoch)
        if report.step != self.saved_step and not policy.save_best_only:
            self.saved_step = report.step
            name = f"step-{report.step:09d}.safetensors"
            if policy.save_weights_only:
                checkpoints.write_tensors(self.folder / name, moment.state.network.state(), {})
            else:
                checkpoints.write(self.folder / name, snapshots.take(moment.state), self.spec)
            yield _saved("checkpoint", name, report, resumable=not policy.save_weights_only)


def _saved(
    what: Literal["checkpoint", "best", "result"],
    name: str,
    report: Progress | Finished,
    *,
    content_type: str = "application/octet-stream",
    step: int | None = None,
    epoch: int | None = None,
    resumable: bool = False,
) -> Saved:
    return Saved(
        what=what,
        name=name,
        content_type=content_type,
        step=report.step if step is None else step,
        epoch=report.epoch if epoch is None else epoch,
        resumable=resumable,
    )
