"""Commands on keys."""

from typing import Annotated

import typer

from client import session, views

Id = Annotated[str, typer.Argument(help="The key's id, key_…", show_default=False)]

app = typer.Typer(no_args_is_help=True, help="Who may ask. The first key of a service: python -m jobs.mint OWNER")


@app.command()
def create(
    context: typer.Context,
    owner: Annotated[str, typer.Argument(help="Whose things its holder sees.", show_default=False)],
    scope: Annotated[str, typer.Option(help="read, submit or admin.")] = "submit",
    name: Annotated[str | None, typer.Option(help="For people.", show_default=False)] = None,
) -> None:
    """Make a key and show its token, this once."""
    here = session.of(context)
    here.show(here.client.keys.create(owner, scope=scope, name=name), views.key)


@app.command("list")
def list_(context: typer.Context) -> None:
    """List the keys, newest first."""
    here = session.of(context)
    here.show_all(here.client.keys.list(), views.keys)


@app.command()
def revoke(context: typer.Context, id: Id) -> None:
    """End a key for good, within seconds."""
    here = session.of(context)
    here.show(here.client.keys.revoke(id), lambda key: views.keys([key]))
