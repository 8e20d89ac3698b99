"""Where the rules write down what they decided, what is wrong and what is worth a look."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel, JsonValue

from jobs.errors import Fault
from jobs.spec.explained import Decision, Notice

Choice = TypeVar("Choice")
MOST = 100
"""Faults, and notices, that are written down: a table may have 10,000 columns, and a spec name as many."""


@dataclass
class Ledger:
    """Filled while the rules run; faults do not stop them, so that a caller learns of all at once."""

    faults: list[Fault] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def fault(self, pointer: str, code: str, detail: str) -> None:
        """Something that must be mended before the job can run."""
        if len(self.faults) < MOST:
            self.faults.append(Fault(pointer=pointer, code=code, detail=detail))

    def warn(self, path: str, code: str, message: str) -> None:
        """Something that runs, but may not be meant."""
        if len(self.notices) < MOST:
            self.notices.append(Notice(code=code, path=path, message=message))

    def decide(self, path: str, requested: object, value: Choice, rule: str, why: str) -> Choice:
        """Notes a decision and hands its value on."""
        self.decisions.append(Decision(path=path, requested=_json(requested), value=_json(value), rule=rule, why=why))
        return value


def _json(value: object) -> JsonValue:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, Sequence):
        return [_json(item) for item in value]
    raise TypeError(f"a decision cannot be about a {type(value).__name__}")
