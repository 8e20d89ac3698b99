"""Commands on datasets."""

from pathlib import Path
from typing import Annotated

import typer

from client import session, views
from client.answers import Dataset
from client.session import Session

app = typer.Typer(help="Upload and look at data.", no_args_is_help=True)

Wait = Annotated[bool, typer.Option(help="Wait until it has been read.")]
Id = Annotated[str, typer.Argument(help="The dataset's id, ds_…", show_default=False)]


@app.command("list")
def list_all(context: typer.Context) -> None:
    """List uploaded datasets, newest first."""
    here = session.of(context)
    here.show_all(here.client.datasets(), views.datasets)


@app.command()
def upload(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV, TSV, Parquet, NPZ, or zip of class folders.", exists=True)],
    wait: Wait = True,
) -> None:
    """Upload a file."""
    here = session.of(context)
    _conclude(here, here.client.upload(file), wait)


@app.command("import")
def import_url(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="An https address of such a file.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="For people; else the file's name.")] = None,
    wait: Wait = True,
) -> None:
    """Have the service fetch a file."""
    here = session.of(context)
    _conclude(here, here.client.import_dataset(url, name=name), wait)


@app.command()
def show(
    context: typer.Context,
    id: Id,
    rows: Annotated[int, typer.Option(help="How many of the first rows.", min=0, max=100)] = 5,
) -> None:
    """Show what was found in a dataset."""
    here = session.of(context)
    found = here.client.dataset(id)
    here.show(found, lambda item: views.dataset(item, here.client.preview(id, limit=rows) if rows else []))


@app.command()
def delete(context: typer.Context, id: Id) -> None:
    """Remove a dataset that no unfinished job needs."""
    session.of(context).client.delete_dataset(id)


def _conclude(here: Session, found: Dataset, wait: bool) -> None:
    if wait:
        found = here.client.wait_dataset(found.id)
    here.show(found, lambda item: views.dataset(item, []))
    if found.status == "invalid":
        raise typer.Exit(2)
