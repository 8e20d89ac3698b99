"""What the service decided for the caller, and what it would have the caller know."""

from pydantic import JsonValue

from jobs.spec.values import Part


class Decision(Part):
    """One `auto` and what became of it."""

    path: str
    """JSON pointer into the spec."""
    requested: JsonValue
    """What was asked for."""
    value: JsonValue
    """What it became."""
    rule: str
    """The rule's stable name."""
    why: str
    """The facts that the rule saw, for people."""


class Notice(Part):
    """A warning: the job runs, but somebody should look."""

    code: str
    """Stable, for programs."""
    path: str
    """JSON pointer into the spec; empty for the whole."""
    message: str
    """What was noticed and what to do, for people."""
