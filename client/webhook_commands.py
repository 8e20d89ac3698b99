"""Commands on webhooks."""

from typing import Annotated

import typer

from client import session, views

app = typer.Typer(help="Have an address told of changes of jobs.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="The webhook's id, wh_…", show_default=False)]


@app.command()
def create(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="Where to send messages.", show_default=False)],
    event: Annotated[
        list[str] | None, typer.Option(help="succeeded, failed, started, … Repeat it for more; without it, all ends.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="For people.")] = None,
) -> None:
    """Create a webhook and show the secret of its signatures, this once."""
    here = session.of(context)
    here.show(here.client.webhooks.create(url, events=event or None, description=description), views.webhook)


@app.command("list")
def list_all(context: typer.Context) -> None:
    """List webhooks, newest first."""
    here = session.of(context)
    here.show_all(here.client.webhooks.list(), views.webhooks)


@app.command()
def test(context: typer.Context, id: Id) -> None:
    """Send a message that tells of nothing; `log` shows whether it arrived."""
    here = session.of(context)
    here.show(here.client.webhooks.test(id), lambda item: views.deliveries([item]))


@app.command()
def log(
    context: typer.Context,
    id: Id,
    most: Annotated[int, typer.Option(help="How many of the newest.", min=1, max=1000)] = 20,
) -> None:
    """Show what was sent to a webhook, and what came of it."""
    here = session.of(context)
    here.show_all(here.client.webhooks.deliveries(id, most=most), views.deliveries)


@app.command()
def delete(context: typer.Context, id: Id) -> None:
    """Remove a webhook and its log."""
    session.of(context).client.webhooks.delete(id)
