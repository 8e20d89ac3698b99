"""The `fitd` command."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from client import (
    dataset_commands,
    errors,
    job_commands,
    key_commands,
    session,
    stack,
    stack_commands,
    webhook_commands,
    worker_commands,
)
from client.sdk import DEFAULT_URL, Client

FAILED, REFUSED, UNREACHABLE = 1, 2, 3
PIPED_WIDTH = 200
"""Columns where there is no terminal to ask."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog="Exit codes: 0 fine; 1 the job failed, was cancelled or timed out, or the stack did not start; "
    "2 wrong usage, or the service refused; 3 the service cannot be reached or failed; 130 left by Ctrl-C.",
)
app.add_typer(stack_commands.app)
app.add_typer(job_commands.app)
app.add_typer(dataset_commands.app, name="datasets")
app.add_typer(webhook_commands.app, name="webhooks")
app.add_typer(worker_commands.app, name="workers")
app.add_typer(key_commands.app, name="keys")


@app.callback()
def options(
    context: typer.Context,
    url: Annotated[str, typer.Option(envvar="FITD_URL", help="Where the service is.")] = DEFAULT_URL,
    raw: Annotated[bool, typer.Option("--json", help="Print the service's JSON, for scripts.")] = False,
) -> None:
    """Train models by declaring them. --url and --json may stand before or behind the command."""
    client = context.with_resource(Client(url))
    out = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
    context.obj = session.Session(client, url.rstrip("/"), raw, out, Console(stderr=True))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command and exits with its code."""
    try:
        app(_globals_first(sys.argv[1:] if arguments is None else arguments))
    except errors.ApiError as error:
        sys.exit(_complain(str(error), REFUSED if error.status < 500 else UNREACHABLE))
    except errors.Unreachable as error:
        sys.exit(_complain(f"{error}\nIs the service up? Start one with: fitd up", UNREACHABLE))
    except stack.StackError as error:
        sys.exit(_complain(str(error), FAILED))
    except errors.ClientError as error:
        sys.exit(_complain(str(error), REFUSED))


def _complain(text: str, code: int) -> int:
    Console(stderr=True).print(text, style="red", highlight=False, markup=False, soft_wrap=True)
    return code


def _globals_first(arguments: Sequence[str]) -> list[str]:
    """Moves `--json`, `--url X` and `--url=X` in front of the command, where typer wants them."""
    first: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--json" or word.startswith("--url="):
            first.append(word)
        elif word == "--url":
            first += [word, *[value for value in [next(words, None)] if value is not None]]
        else:
            rest.append(word)
    return first + rest
