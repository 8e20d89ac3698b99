"""Answers that take long to make, in parts: a few parts at a time, and the owners take turns. How many answers are
begun, and how slowly they are read, keeps nobody else from the service."""

import asyncio
from collections.abc import AsyncIterator, Iterator
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
