"""Commands on workers."""

from typing import Annotated

import typer

from client import session, views

app = typer.Typer(no_args_is_help=True, help="Who trains.")

Name = Annotated[str, typer.Argument(help="As in the list.", show_default=False)]


@app.command("list")
def list_(context: typer.Context) -> None:
    """List the workers: what each has and does."""
    here = session.of(context)
    here.show_all(here.client.workers.list(), views.workers)


@app.command()
def drain(context: typer.Context, name: Name) -> None:
    """Ask a worker to save and hand back what it runs and to take nothing more."""
    here = session.of(context)
    here.show(here.client.workers.drain(name), lambda worker: views.workers([worker]))


@app.command()
def resume(context: typer.Context, name: Name) -> None:
    """Let a drained worker take jobs again."""
    here = session.of(context)
    here.show(here.client.workers.resume(name), lambda worker: views.workers([worker]))
