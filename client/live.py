"""A run while it runs: a live view on a terminal, plain lines elsewhere."""

import dataclasses
from collections.abc import Iterable

from pydantic import JsonValue
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from client import answers, views

SHOWN = 12
"""Epochs in the live table: the newest ones, and the best."""
SILENT = frozenset({"progress", "best", "checkpoint"})
"""Events that the table says better."""


@dataclasses.dataclass
class Run:
    """What the events so far add up to."""

    progress: answers.Progress | None = None
    epochs: dict[int, dict[str, JsonValue]] = dataclasses.field(default_factory=dict)
    best: int | None = None
    notes: list[str] = dataclasses.field(default_factory=list)

    def take(self, event: answers.Event) -> None:
        """Adds one event."""
        if event.kind == "progress":
            self.progress = answers.Progress.model_validate(event.data)
            if self.progress.epoch:
                self.epochs.setdefault(self.progress.epoch, _values(event.data))
        elif event.kind == "best" and isinstance(epoch := event.data.get("epoch"), int):
            self.best = epoch
        elif event.kind not in SILENT:
            self.notes.append(note(event))


def note(event: answers.Event) -> str:
    """An event in words."""
    return f"{event.at.astimezone():%H:%M:%S} {event.kind}: {event.message}".rstrip(": ")


def show(events: Iterable[answers.Event], console: Console) -> None:
    """Shows a run up to the end of its events."""
    if console.is_terminal:
        _picture(events, console)
    else:
        _lines(events, console)


def _picture(events: Iterable[answers.Event], console: Console) -> None:
    run, bar = Run(), _bar(console)
    task = bar.add_task("waiting", total=1.0)
    with Live(console=console, refresh_per_second=8) as live:
        for event in events:
            run.take(event)
            if run.progress:
                bar.update(task, completed=run.progress.fraction, description=_position(run.progress))
            live.update(_group(run, bar))


def _group(run: Run, bar: Progress) -> RenderableType:
    newest = sorted(run.epochs)[-SHOWN:]
    if run.best in run.epochs and run.best not in newest:
        newest = [run.best, *newest[1:]]
    table = [views.history({epoch: run.epochs[epoch] for epoch in newest}, run.best)] if newest else []
    return Group(*(Text(line, style="dim") for line in run.notes[-6:]), *table, bar)


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, TextColumn("ETA"), TimeRemainingColumn(), console=console, auto_refresh=False)


def _lines(events: Iterable[answers.Event], console: Console) -> None:
    run, printed = Run(), 0
    for event in events:
        run.take(event)
        if event.kind not in SILENT:
            console.print(note(event), highlight=False, soft_wrap=True)
        elif run.progress and run.progress.epoch > printed:
            printed = run.progress.epoch
            values = (f"{name} {views.number(value)}" for name, value in run.epochs[printed].items())
            console.print(_position(run.progress), *values, sep="  ", highlight=False, soft_wrap=True)


def _position(progress: answers.Progress) -> str:
    return f"epoch {progress.epoch}/{progress.epochs}"


def _values(data: answers.Values) -> dict[str, JsonValue]:
    metrics = data.get("metrics")
    named = metrics.items() if isinstance(metrics, dict) else ()
    return {name: value for name, value in named if name.startswith(("train_", "val_"))} | {"lr": data.get("lr")}
