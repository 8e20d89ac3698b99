"""What a terminal shows of jobs and datasets."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from pydantic import JsonValue
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from client import answers
from client.keys import Key
from client.webhooks import Delivery, Webhook
from client.workers import Worker

COLOURS = {
    "succeeded": "green",
    "failed": "red",
    "timed_out": "red",
    "cancelled": "yellow",
    "running": "cyan",
    "ready": "green",
    "invalid": "red",
    "delivered": "green",
    "working": "cyan",
    "idle": "green",
    "silent": "red",
}

SEVERITIES = {"error": "red", "warning": "yellow", "info": "green"}


def jobs(items: Iterable[answers.Job]) -> Table:
    """One line per job."""
    table = _table("id", "name", "status", "epoch", "best", "created")
    for job in items:
        epoch = f"{job.progress.epoch}/{job.progress.epochs}" if job.progress else ""
        table.add_row(job.id, job.name or "", status(job.status), epoch, _best(job), _moment(job.created_at))
    return table


def job(item: answers.Job) -> RenderableType:
    """All that matters of a job: where it stands, what was decided for the caller, what came out."""
    facts = _facts(
        {
            "id": item.id,
            "name": item.name,
            "status": status(item.status),
            "reason": item.status_reason and (item.status_reason.message or item.status_reason.code),
            "stopped by": item.stop_reason,
            "created": _moment(item.created_at),
            "started": _moment(item.started_at),
            "finished": _moment(item.finished_at),
            "epoch": item.progress and f"{item.progress.epoch} of {item.progress.epochs}",
            "best": _best(item),
            "attempt": item.attempt or None,
            "seconds": f"{item.usage.seconds:.1f}" if item.usage and item.attempt else None,
            "may": ", ".join(item.allowed_actions),
        }
    )
    return Group(facts, *decisions(item.resolution, item.warnings), *outcome(item))


def decisions(resolution: Iterable[answers.Decision], warnings: Iterable[answers.Notice]) -> list[RenderableType]:
    """What became of every `auto`, and the warnings."""
    table = _table("field", "became", "because")
    for decision in resolution:
        table.add_row(decision.path, _short(decision.value), decision.why)
    notes: list[RenderableType] = [_line("warning", "yellow", f"{note.path} {note.message}") for note in warnings]
    return [table, *notes] if table.row_count else notes


def validation(item: answers.Validation) -> RenderableType:
    """What a spec would become and cost."""
    cost = item.estimate.model_dump(exclude_none=True) if item.estimate else {}
    return Group(
        _line("valid", "green", "the spec can be run"), *decisions(item.resolution, item.warnings), _facts(cost)
    )


def outcome(item: answers.Job) -> list[RenderableType]:
    """Why it failed, what it says about itself, the held-out scores and the confusion matrix."""
    parts: list[RenderableType] = []
    if item.error:
        parts.append(_line("error", "red", f"{item.error.code}: {item.error.message}"))
    if item.diagnostics and item.diagnostics.findings:
        parts.append(findings(item.diagnostics.findings))
    scores = {name: value for name, value in (item.test or {}).items() if isinstance(value, int | float)}
    if scores:
        parts += [Text("held-out scores", style="bold"), _facts(scores)]
    match (item.test or {}).get("confusion"):
        case {"labels": list(labels), "matrix": list(matrix)}:
            parts += [Text("confusion (rows: true, columns: predicted)", style="bold"), confusion(labels, matrix)]
    return parts


def conclusion(item: answers.Job, results: Iterable[str]) -> RenderableType:
    """How a job ended, and where its results are."""
    ending = Text.assemble(item.id, " ", status(item.status), f" ({item.stop_reason})" if item.stop_reason else "")
    best = [Text(f"best: {_best(item)}")] if item.best else []
    return Group(ending, *best, *outcome(item), *(Text(place, no_wrap=True, overflow="ignore") for place in results))


def findings(items: Sequence[answers.Finding] | None) -> RenderableType:
    """What a run says about itself, with the remedy."""
    if items is None:
        return Text("nothing yet: the run has not come to an end of its own")
    table = _table("finding", "what was seen", "change")
    for item in items:
        remedy = "\n".join(f"{change.get('path')} → {_short(change.get('value'))}" for change in item.patch)
        table.add_row(Text(item.code, style=SEVERITIES.get(item.severity, "")), Text(item.message), Text(remedy))
    return table


def confusion(labels: list[JsonValue], matrix: list[JsonValue]) -> Table:
    """Counts per true and predicted class; right ones green, wrong ones the redder the more of a class they are."""
    table = _table("", *map(str, labels))
    for i, (label, counts) in enumerate(zip(labels, matrix, strict=True)):
        if isinstance(counts, list):
            row = [int(count) for count in counts if isinstance(count, int | float)]
            table.add_row(
                Text(str(label), style="bold"), *(_cell(n, sum(row), right=i == j) for j, n in enumerate(row))
            )
    return table


def history(rows: Mapping[int, Mapping[str, JsonValue]], best: int | None = None) -> Table:
    """One line per epoch, a star at the best one."""
    names = list(dict.fromkeys(name for values in rows.values() for name in values))
    table = _table("epoch", *names)
    for epoch, values in rows.items():
        mark = " ★" if epoch == best else ""
        style = "bold green" if mark else ""
        table.add_row(f"{epoch}{mark}", *(number(values.get(name)) for name in names), style=style)
    return table


def files(items: Iterable[answers.File]) -> Table:
    """Name and size."""
    table = _table("file", "bytes", "sha256")
    for file in items:
        table.add_row(file.name, f"{file.bytes:,}", file.sha256[:12])
    return table


def predictions(items: Iterable[answers.Prediction]) -> Table:
    """One line per row: its label and how probable each class is, or its values."""
    rows = list(items)
    named = rows[0].values or rows[0].probabilities if rows else {}
    table = _table("row", *(["label"] if rows and rows[0].label is not None else []), *named)
    for place, item in enumerate(rows, start=1):
        label = [] if item.label is None else [Text(item.label, style="bold")]
        table.add_row(str(place), *label, *map(number, (item.values or item.probabilities).values()))
    return table


def log(lines: Iterable[answers.LogLine]) -> RenderableType:
    """Time, level where it matters, message."""
    return Group(*(Text(f"{line.at.astimezone():%H:%M:%S} {line.level:7} {line.message}") for line in lines))


def datasets(items: Iterable[answers.Dataset]) -> Table:
    """One line per dataset."""
    table = _table("id", "name", "status", "rows", "bytes", "created")
    for item in items:
        rows = f"{item.profile.rows:,}" if item.profile else ""
        table.add_row(item.id, item.name, status(item.status), rows, f"{item.bytes:,}", _moment(item.created_at))
    return table


def dataset(item: answers.Dataset, preview: list[answers.Values]) -> RenderableType:
    """What was found in a dataset, and its first rows."""
    parts: list[RenderableType] = [datasets([item])]
    if item.error:
        parts.append(_line("error", "red", f"{item.error.code}: {item.error.message}"))
    if item.profile:
        table = _table("column", "kind", "missing", "distinct", "min", "max", "mean")
        for column in item.profile.columns:
            measures = (column.missing, column.distinct, column.min, column.max, column.mean)
            table.add_row(column.name, column.kind, *map(number, measures))
        parts += [table, *(_line("warning", "yellow", warning) for warning in item.profile.warnings)]
    if preview:
        rows = _table(*preview[0])
        for row in preview:
            rows.add_row(*(_short(value) for value in row.values()))
        parts.append(rows)
    return Group(*parts)


def workers(items: Iterable[Worker]) -> Table:
    """One line per worker."""
    table = _table("name", "status", "jobs", "of slots", "GPUs", "fitd", "heard of")
    for item in items:
        gpus = ", ".join(item.gpus) or "none"
        jobs = "\n".join(item.jobs)
        version = item.versions.get("fitd", "")
        table.add_row(item.name, status(item.status), jobs, str(item.slots), gpus, version, _moment(item.seen_at))
    return table


def keys(items: Iterable[Key]) -> Table:
    """One line per key."""
    table = _table("id", "owner", "scope", "name", "made", "used", "state")
    for item in items:
        times = _moment(item.created_at), _moment(item.last_used_at)
        state = f"revoked {_moment(item.revoked_at)}" if item.revoked_at else "valid"
        table.add_row(item.id, item.owner, item.scope, item.name or "", *times, state)
    return table


def key(item: Key) -> RenderableType:
    """A new key with its token."""
    return _facts({"id": item.id, "owner": item.owner, "scope": item.scope, "token": item.token})


def webhooks(items: Iterable[Webhook]) -> Table:
    """One line per webhook."""
    table = _table("id", "url", "told of", "state")
    for item in items:
        failing = f"failing since {_moment(item.failing_since)}" if item.failing_since else "enabled"
        state = failing if item.enabled else item.disabled_reason or "disabled"
        table.add_row(item.id, item.url, ", ".join(item.events), state)
    return table


def webhook(item: Webhook) -> RenderableType:
    """A new webhook with its secret."""
    return _facts({"id": item.id, "url": item.url, "told of": ", ".join(item.events), "secret": item.secret})


def deliveries(items: Iterable[Delivery]) -> Table:
    """One line per message."""
    table = _table("id", "kind", "job", "status", "tries", "error", "created", "next try")
    for item in items:
        due = _moment(item.due_at) if item.status == "pending" else ""
        told = (item.id, item.kind, item.job_id or "", status(item.status), str(item.tries))
        table.add_row(*told, item.error or "", _moment(item.created_at), due)
    return table


def status(value: str) -> Text:
    """In its colour."""
    return Text(value, style=COLOURS.get(value, ""))


def number(value: JsonValue) -> str:
    """Four significant digits, or as it is."""
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "id")
    return table


def _facts(values: Mapping[str, object]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in values.items():
        if value is not None and value != "":
            table.add_row(Text(name, style="dim"), value if isinstance(value, Text) else Text(_plain(value)))
    return table


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _line(word: str, colour: str, rest: str) -> Text:
    return Text.assemble((f"{word}: ", colour), rest)


def _cell(count: int, total: int, *, right: bool) -> Text:
    if right:
        return Text(str(count), style="bold green")
    return Text(
        str(count) if count else "·", style="dim" if not count else "red" if count < 0.1 * total else "bold red"
    )


def _best(item: answers.Job) -> str:
    return f"{item.best.monitor} {item.best.value:.4g} (epoch {item.best.epoch})" if item.best else ""


def _moment(value: datetime | None) -> str:
    return f"{value.astimezone():%Y-%m-%d %H:%M:%S}" if value else ""


def _short(value: JsonValue) -> str:
    text = json.dumps(value) if isinstance(value, dict | list) else number(value)
    return text if len(text) <= 60 else text[:59] + "…"
