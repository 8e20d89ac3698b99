"""What every command has at hand."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, TypeVar

import typer
from rich.console import Console, RenderableType

from client import answers, live, views
from client.sdk import Client

Answer = TypeVar("Answer", bound=answers.Answer)
Id = Annotated[str, typer.Argument(help="The job's id, job_…", show_default=False)]


@dataclasses.dataclass(frozen=True)
class Session:
    """One run of the command."""

    client: Client
    url: str
    raw: bool
    """Print the service's JSON, for scripts."""
    out: Console
    err: Console

    def show(self, answer: Answer, view: Callable[[Answer], RenderableType]) -> None:
        """Prints one answer."""
        self._print(lambda: _plain(answer), lambda: view(answer))

    def show_all(self, found: Iterable[Answer], view: Callable[[list[Answer]], RenderableType]) -> None:
        """Prints a list."""
        items = list(found)
        self._print(lambda: [_plain(item) for item in items], lambda: view(items))

    def _print(self, plain: Callable[[], object], view: Callable[[], RenderableType]) -> None:
        if self.raw:
            self.out.out(json.dumps(plain(), indent=2), highlight=False)
        else:
            self.out.print(view())

    def say(self, text: str) -> None:
        """A word to the person, never mixed into the output."""
        self.err.print(text, highlight=False, soft_wrap=True, markup=False)

    def follow(self, id: str) -> answers.Job:
        """The job once it has ended, shown until then; Ctrl-C ends the command with 130 and leaves the job alone."""
        try:
            live.show(self.client.follow(id), self.err if self.raw else self.out)
        except KeyboardInterrupt:
            self.say(f"\ndetached; the job goes on. Come back with: fitd follow {id}\nEnd it with: fitd cancel {id}")
            raise typer.Exit(130) from None
        return self.client.job(id)

    def conclude(self, job: answers.Job) -> None:
        """`finish` with the addresses of the results."""
        self.finish(job, [f"{self.url}{file.content}" for file in self.client.artifacts(job.id)])

    def finish(self, job: answers.Job, results: Sequence[str]) -> None:
        """Prints what came out of a job that has ended and where it is; exits with 1 unless it succeeded."""
        self.show(job, lambda item: views.conclusion(item, results))
        if job.status != "succeeded":
            raise typer.Exit(1)


def of(context: typer.Context) -> Session:
    """The session of this command."""
    found = context.find_object(Session)
    assert found is not None
    return found


def _plain(answer: answers.Answer) -> object:
    return answer.model_dump(mode="json", by_alias=True, exclude_unset=True)
