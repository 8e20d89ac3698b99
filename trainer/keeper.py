"""What of a run is kept, and when: written by a thread of its own while training goes on."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from jobs.spec.job import JobSpec
from trainer import checkpoints, snapshots
from trainer.checkpoints import Origin
from trainer.model.parameters import Tensors
from trainer.reports import Progress, Saved
from trainer.state import Moment, State

SAVE_SECONDS = 2.0
"""Checkpoints at the ends of epochs are at least this far apart; the last and the best are always written."""
LATEST = 50.0
"""So many seconds after the last snapshot to go on from there is another, whatever the spec asks for: with the time to
write it, a crash costs no more than a minute."""
SHARE = 0.01
"""Of the time that snapshots at the ends of epochs may hold training up for: large ones are further apart."""

Write = Callable[[Path], None]


@dataclass
class Keeper:
    """Writes what is due. What it announces is complete and on disk, and in the order of steps."""

    spec: JobSpec
    folder: Path
    origin: Origin
    saved_step: int = 0
    """Of the last checkpoint that the spec asked for,"""
    resumable_step: int = 0
    """and of the last one to go on from."""
    saved_best: int = 0
    saved_at: float = field(default_factory=time.monotonic)
    resumable_at: float = field(default_factory=time.monotonic)
    apart: float = field(default_factory=lambda: SAVE_SECONDS)
    writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "keeper"))
    pending: Future[list[Saved]] | None = None
    """One set of files at a time."""

    def close(self) -> None:
        """Waits for what is being written."""
        self.writer.shutdown()

    def passing(self, report: Progress, moment: Moment) -> Iterator[Saved]:
        """What is complete by now; begins to write what is due."""
        if self.pending and self.pending.done():
            yield from self._written()
        asked, now = self._asked(report), time.monotonic()
        if self.spec.checkpoint.save_freq == "epoch":
            asked = asked and now - self.saved_at >= self.apart and not self.pending
        late = now - self.resumable_at >= LATEST and not self.pending
        if asked or late:
            yield from self._written()
            self._begin(moment, asked=asked, resumable=late)

    def leaving(self, report: Progress, moment: Moment) -> Iterator[Saved]:
        """Everything to go on from this moment."""
        yield from self._last(moment, asked=self._asked(report), resumable=True)

    def ending(self, moment: Moment) -> Iterator[Saved]:
        """The best and the last."""
        yield from self._last(moment, asked=True, resumable=False)

    def _last(self, moment: Moment, *, asked: bool, resumable: bool) -> Iterator[Saved]:
        yield from self._written()
        self._begin(moment, asked=asked, resumable=resumable)
        yield from self._written()

    def _asked(self, report: Progress) -> bool:
        """Whether this is a moment that the spec names."""
        every = self.spec.checkpoint.save_freq
        return report.step % every == 0 if isinstance(every, int) else report.epoch_ended

    def _written(self) -> Iterator[Saved]:
        """Waits for it. An error of the writing thread is raised here."""
        if self.pending:
            pending, self.pending = self.pending, None
            yield from pending.result()

    def _begin(self, moment: Moment, *, asked: bool, resumable: bool) -> None:
        began = time.monotonic()
        files = [*self._best(moment.state), *self._checkpoint(moment.state, asked=asked, resumable=resumable)]
        self.pending = self.writer.submit(_write, self.folder, files) if files else None
        self.saved_at = time.monotonic()
        self.apart = min(max(SAVE_SECONDS, (self.saved_at - began) / SHARE), LATEST)

    def _best(self, state: State) -> Iterator[tuple[Saved, Write]]:
        """The best weights, if they are not written yet. A resumed run writes them again: those that an earlier attempt
        wrote may be of an epoch behind its checkpoint, and gone."""
        best = state.newest_best()
        if best.step != self.saved_best:
            self.saved_best = best.step
            saved = _saved("best", best.step, best.epoch, _metrics(state, best.step))
            yield saved, partial(checkpoints.write_tensors, tensors=_copied(state.best_weights()), header={})

    def _checkpoint(self, state: State, *, asked: bool, resumable: bool) -> Iterator[tuple[Saved, Write]]:
        policy, step = self.spec.checkpoint, state.step
        if asked and step != self.saved_step and not policy.save_best_only:
            self.saved_step = step
            if policy.save_weights_only:
                weights = _copied(state.network.state())
                saved = _saved("checkpoint", step, state.epoch, dict(state.latest))
                yield saved, partial(checkpoints.write_tensors, tensors=weights, header={})
            else:
                yield self._snapshot("checkpoint", state)
        if resumable and step != self.resumable_step:
            yield self._snapshot("resume", state)

    def _snapshot(self, what: Literal["checkpoint", "resume"], state: State) -> tuple[Saved, Write]:
        self.resumable_step, self.resumable_at = state.step, time.monotonic()
        saved = _saved(what, state.step, state.epoch, dict(state.latest), resumable=True)
        return saved, partial(checkpoints.write, snapshot=snapshots.take(state), origin=self.origin)


def _write(folder: Path, files: list[tuple[Saved, Write]]) -> list[Saved]:
    for saved, write in files:
        write(folder / saved.name)
    return [saved for saved, _ in files]


def _copied(tensors: Tensors) -> Tensors:
    """Training goes on to change them in place."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def _metrics(state: State, step: int) -> dict[str, JsonValue]:
    """As they were at an earlier step."""
    return {point.name: point.value for point in state.history if point.step == step}


WORDS = {"checkpoint": "step", "resume": "resume", "best": "best"}


def _saved(
    what: Literal["checkpoint", "resume", "best"],
    step: int,
    epoch: int,
    metrics: dict[str, JsonValue],
    *,
    resumable: bool = False,
) -> Saved:
    """Never a name twice: the file before may not be fetched yet."""
    return Saved(
        what=what,
        name=f"{WORDS[what]}-{step:09d}.safetensors",
        content_type="application/octet-stream",
        step=step,
        epoch=epoch,
        resumable=resumable,
        metrics=metrics,
    )
