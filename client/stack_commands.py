"""Commands that start the service on this machine."""

import contextlib
import dataclasses
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from client import job_commands, live, part, session, stack
from client.sdk import DEFAULT_URL, Client

app = typer.Typer()

EXAMPLE = Path(__file__).parents[1] / "examples" / "digits.json"


@app.command()
def up(
    data_dir: Annotated[Path, typer.Option(envvar="FITD_DATA_DIR", help="Holds everything.")] = Path(".data"),
    port: Annotated[int, typer.Option(envvar="FITD_PORT", help="0 takes a free one.", min=0, max=65535)] = 8000,
    host: Annotated[str, typer.Option(envvar="FITD_HOST", help="Where the api listens.")] = "127.0.0.1",
    slots: Annotated[int | None, typer.Option(help="Jobs at a time.", min=1, show_default=False)] = None,
) -> None:
    """Start broker, api and worker here; Ctrl-C stops them."""
    stack.run(stack.Plan(data_dir, host, port, slots), _say, lambda url: _say(_welcome(url, data_dir)))


@app.command()
def demo(
    context: typer.Context,
    spec: Annotated[Path, typer.Option(help="The job to run.", exists=True)] = EXAMPLE,
    to: Annotated[Path, typer.Option(help="Where the results go.")] = Path(".data/demo"),
    data_dir: Annotated[Path, typer.Option(envvar="FITD_DATA_DIR", help="As of `fitd up`.")] = Path(".data"),
) -> None:
    """Start the service, run an example, fetch its results, stop. A job cut off goes on with the next `fitd up`."""
    began = time.monotonic()
    with _passing_stack(data_dir) as url, Client(url) as client:
        here = dataclasses.replace(session.of(context), client=client, url=url)
        job = client.submit(job_commands.read(spec))
        here.say(f"{job.id} posted: {spec}")
        live.show(client.follow(job.id), here.out)
        paths = [client.download(job.id, file.name, to / job.id) for file in client.artifacts(job.id)]
        here.finish(client.job(job.id), [os.path.relpath(path) for path in paths])
    here.say(f"done in {time.monotonic() - began:.1f} s. Keep a service running with: make up")


@contextlib.contextmanager
def _passing_stack(data_dir: Path) -> Iterator[str]:
    """The address of a stack that lives as long as the block."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    port = stack.free_port("127.0.0.1", 0)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "client", "up", "--data-dir", str(data_dir), "--port", str(port)]
    process = part.spawn(command, os.environ, None)
    try:
        stack.wait(
            lambda: stack.is_ready(url),
            "the stack",
            lambda: None if process.poll() is None else "the stack did not start",
        )
        yield url
    finally:
        process.terminate()
        process.wait()


def _say(text: str) -> None:
    typer.echo(text)


def _welcome(url: str, data_dir: Path) -> str:
    command = "fitd" if shutil.which("fitd") else os.path.relpath(Path(sys.executable).with_name("fitd"))
    where = "" if url == DEFAULT_URL else f" --url {url}"
    return f"""
  service     {url}
  Swagger UI  {url}/docs
  data, logs  {data_dir}, {data_dir / "logs"}
  try         {command}{where} submit {os.path.relpath(EXAMPLE)} --follow
"""
