"""What takes long, in parts: a few parts at a time, and the owners take turns. How many answers are begun, and how
slowly they are read, keeps nobody else from the service."""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

from starlette.concurrency import run_in_threadpool

AT_ONCE = 2
"""Parts that are made at a time."""


class Turns:
    """Who makes the next part."""

    def __init__(self) -> None:
        self.free = asyncio.Semaphore(AT_ONCE)
        self.owners: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def taken(self, owner: str, parts: Iterator[str]) -> AsyncIterator[str]:
        """The parts, each made in its turn; an owner waits for one of them at most, whatever they ask for."""
        own = self.owners.setdefault(owner, asyncio.Lock())
        while True:
            async with own, self.free:
                part = await run_in_threadpool(next, parts, None)
            if part is None:
                return
            if part:
                yield part


class Rounds:
    """Who is next of the threads that wait to work: one of each owner's, then a second of each, …"""

    def __init__(self, most: int) -> None:
        self.free = most
        self.lock = threading.Lock()
        self.waiting: OrderedDict[str, deque[threading.Event]] = OrderedDict()
        """By owner; whose turn it is next comes first."""

    @contextmanager
    def taken(self, owner: str) -> Iterator[None]:
        """Waits for a turn, which ends with the block."""
        turn = threading.Event()
        with self.lock:
            self.waiting.setdefault(owner, deque()).append(turn)
            self._go_on()
        turn.wait()
        try:
            yield
        finally:
            with self.lock:
                self.free += 1
                self._go_on()

    def _go_on(self) -> None:
        if self.free and self.waiting:
            owner, turns = self.waiting.popitem(last=False)
            turns.popleft().set()
            self.free -= 1
            if turns:
                self.waiting[owner] = turns
