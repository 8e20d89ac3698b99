"""A word from within what takes long and reports nothing: that the run goes on. It changes no bit of a result.

Only who hangs says nothing, so it is said where something is done, never by a clock.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar

APART = 1.0
"""Seconds between two words, at least."""


class _Listener:
    def __init__(self, told: Callable[[], None]) -> None:
        self.told = told
        self.at = time.monotonic()


_listener: ContextVar[_Listener | None] = ContextVar("listener", default=None)
"""Of this thread: others that a run starts say nothing, and need not wait for each other."""


def listen(told: Callable[[], None]) -> None:
    """From now on it is told what this thread says."""
    _listener.set(_Listener(told))


def say() -> None:
    """To be called between two pieces of work, however small; nobody may listen."""
    listener = _listener.get()
    if listener and (now := time.monotonic()) - listener.at >= APART:
        listener.at = now
        listener.told()
