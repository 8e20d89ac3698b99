"""Commands on jobs."""

import itertools
import json
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue

from client import answers, errors, rows, session, views
from client.session import Id

app = typer.Typer()

File = Annotated[Path, typer.Argument(help="The spec, as JSON.", exists=True, dir_okay=False, show_default=False)]
Data = Annotated[
    Path | None,
    typer.Option(help="Upload this file first and train on it.", exists=True, dir_okay=False, show_default=False),
]


@app.command()
def submit(
    context: typer.Context,
    file: File,
    data: Data = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show the run until it ends.")] = False,
) -> None:
    """Put a job in the queue."""
    here = session.of(context)
    job = here.client.submit(_spec(here, file, data))
    if not follow:
        here.show(job, views.job)
        return
    here.say(f"{job.id} is {job.status}")
    here.conclude(here.follow(job.id))


@app.command()
def validate(context: typer.Context, file: File, data: Data = None) -> None:
    """Say what a spec would become and cost; run nothing."""
    here = session.of(context)
    here.show(here.client.validate(_spec(here, file, data)), views.validation)


@app.command()
def jobs(
    context: typer.Context,
    status: Annotated[list[str] | None, typer.Option(help="Only these; may be repeated.", show_default=False)] = None,
    name: Annotated[str | None, typer.Option(help="Only jobs of that name.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 20,
) -> None:
    """List jobs, newest first."""
    here = session.of(context)
    found = here.client.jobs(status=status, name=name, limit=min(limit, 200))
    here.show_all(itertools.islice(found, limit), views.jobs)


@app.command()
def show(context: typer.Context, id: Id) -> None:
    """Show a job."""
    here = session.of(context)
    here.show(here.client.job(id), views.job)


@app.command()
def follow(context: typer.Context, id: Id) -> None:
    """Show a run until it ends. Ctrl-C leaves; the job goes on."""
    here = session.of(context)
    here.conclude(here.follow(id))


@app.command()
def cancel(context: typer.Context, id: Id) -> None:
    """End a job."""
    here = session.of(context)
    here.show(here.client.cancel(id), views.job)


@app.command()
def pause(context: typer.Context, id: Id) -> None:
    """Take a job out of the queue; a running one saves itself and frees its slot."""
    here = session.of(context)
    here.show(here.client.pause(id), views.job)


@app.command()
def resume(context: typer.Context, id: Id) -> None:
    """Put a paused job back into the queue; it goes on from where it was saved."""
    here = session.of(context)
    here.show(here.client.resume(id), views.job)


@app.command()
def retry(context: typer.Context, id: Id) -> None:
    """Queue a job like one that failed, was cancelled or timed out."""
    here = session.of(context)
    here.show(here.client.retry(id), views.job)


@app.command()
def delete(context: typer.Context, id: Id) -> None:
    """Remove an ended job and its files."""
    session.of(context).client.delete(id)


@app.command()
def logs(context: typer.Context, id: Id) -> None:
    """Print a run's log."""
    here = session.of(context)
    here.show_all(here.client.log(id), views.log)


@app.command()
def metrics(
    context: typer.Context,
    id: Id,
    name: Annotated[
        list[str] | None, typer.Option(help="Only this metric; may be repeated.", show_default=False)
    ] = None,
    max_points: Annotated[int, typer.Option(help="Per metric; more are thinned so that spikes stay.", min=2)] = 200,
) -> None:
    """Print the history, one line per epoch."""
    here = session.of(context)
    history = answers.History(data=here.client.metrics(id, names=name, max_points=max_points))
    here.show(history, lambda found: views.history(_by_epoch(found)))


@app.command()
def diagnose(context: typer.Context, id: Id) -> None:
    """Show what a run says about itself and what to change in the next spec."""
    here = session.of(context)
    here.show(here.client.diagnostics(id), lambda said: views.findings(said.findings))


@app.command()
def download(
    context: typer.Context,
    id: Id,
    names: Annotated[list[str] | None, typer.Argument(help="Which artifacts; none: all.", show_default=False)] = None,
    to: Annotated[Path, typer.Option(help="Folder; made if it is not there.")] = Path("."),
) -> None:
    """Fetch the results of a job: model, preprocessing, history, curves, report."""
    here = session.of(context)
    found = here.client.artifacts(id)
    chosen = [file for file in found if not names or file.name in names]
    if missing := set(names or []) - {file.name for file in chosen}:
        raise errors.ClientError(f"{id} has no artifact {', '.join(sorted(missing))}")
    for file in chosen:
        here.say(str(here.client.download(id, file.name, to)))


@app.command()
def report(
    context: typer.Context,
    id: Id,
    to: Annotated[Path, typer.Option(help="Folder; made if it is not there.")] = Path("."),
    browse: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Fetch the report of a job, one HTML file, and print its path."""
    here = session.of(context)
    path = here.client.download(id, "report.html", to / id)
    here.out.out(str(path), highlight=False)
    if browse:
        webbrowser.open(path.resolve().as_uri())


@app.command()
def predict(
    context: typer.Context,
    id: Id,
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Rows: CSV, TSV, JSON (a list), or JSON Lines.", exists=True, dir_okay=False, show_default=False
        ),
    ] = None,
    row: Annotated[
        list[str] | None, typer.Option(help="A row as a JSON object; may be repeated.", show_default=False)
    ] = None,
) -> None:
    """Say what a job's model makes of rows shaped like those it was trained on."""
    here = session.of(context)
    given = [rows.parse(text, "--row") for text in row or []] + (rows.read(file) if file else [])
    if not given:
        raise typer.BadParameter("give a FILE of rows, or --row")
    here.show_all(here.client.predict(id, given), views.predictions)


def read(file: Path) -> dict[str, JsonValue]:
    """The spec in a file."""
    try:
        spec: JsonValue = json.loads(file.read_bytes())
    except ValueError as error:
        raise typer.BadParameter(f"{file} is not JSON: {error}") from None
    if not isinstance(spec, dict):
        raise typer.BadParameter(f"{file} must hold one JSON object")
    return spec


def _spec(here: session.Session, file: Path, data: Path | None) -> dict[str, JsonValue]:
    dataset: JsonValue = {"source": "upload", "id": here.client.upload(data).id} if data else None
    return read(file) | ({"dataset": dataset} if dataset else {})


def _by_epoch(history: answers.History) -> dict[int, dict[str, JsonValue]]:
    rows: dict[int, dict[str, JsonValue]] = {}
    for name, points in history.data.items():
        for point in points:
            rows.setdefault(point.epoch, {})[name] = point.nonfinite or point.value
    return dict(sorted(rows.items()))
