"""Requests that survive a restarting or busy service."""

import contextlib
import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx2

from client import errors

BUSY = frozenset({429, 503})
LONGEST_PAUSE = 60.0
"""Seconds; a service that asks for more gets its error handed to the caller."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Wire:
    """A connection to one service. Every call of the contract may be repeated, so connection errors, 429 and 503
    are tried again, up to `attempts` times in all, with growing pauses or as long as `Retry-After` says."""

    def __init__(self, base_url: str, key: str | None, timeout: float, attempts: int) -> None:
        self._attempts = attempts
        self._http = httpx2.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(timeout, connect=min(timeout, 5.0)),
            trust_env=httpx2.URL(base_url).host not in LOOPBACK,  # a proxy cannot reach this machine's loopback
        )

    def close(self) -> None:
        """Closes the sockets."""
        self._http.close()

    def send(self, method: str, path: str, **request: Any) -> httpx2.Response:
        """The whole answer of a call that went well; anything else is an `ApiError` or `Unreachable`. `request` is
        what `httpx2.Client.build_request` takes."""
        return self._answer(lambda: self._http.build_request(method, path, **request), stream=False)

    @contextlib.contextmanager
    def stream(self, method: str, path: str, **request: Any) -> Iterator[httpx2.Response]:
        """As `send`, with the body left to be read; where that breaks off, `Unreachable`."""
        response = self._answer(lambda: self._http.build_request(method, path, **request), stream=True)
        with contextlib.closing(response):
            try:
                yield response
            except httpx2.TransportError as error:
                raise _unreachable(response.request.url, error) from error

    def pages(self, path: str, params: Mapping[str, Any]) -> Iterator[Any]:
        """The items of a list, page by page."""
        cursor: dict[str, Any] = {}
        while True:
            page = self.send("GET", path, params={**params, **cursor}).json()
            yield from page["data"]
            if not page.get("has_more"):
                return
            cursor = {"after": page["next"]}

    def _answer(self, build: Callable[[], httpx2.Request], *, stream: bool) -> httpx2.Response:
        for attempt in itertools.count(1):
            last = attempt >= self._attempts
            try:
                return self._try(build(), stream)
            except httpx2.TransportError as error:
                if last:
                    raise _unreachable(self._http.base_url, error) from error
                pause = backoff(attempt)
            except errors.ApiError as error:
                pause = backoff(attempt) if error.retry_after is None else error.retry_after
                if last or error.status not in BUSY or pause > LONGEST_PAUSE:
                    raise
            time.sleep(pause)
        raise AssertionError("the loop ends only by return or raise")

    def _try(self, request: httpx2.Request, stream: bool) -> httpx2.Response:
        response = self._http.send(request, stream=stream)
        if response.is_success:
            return response
        with contextlib.closing(response):
            response.read()
        raise errors.of(response)


def backoff(attempt: int) -> float:
    """Seconds before the next try: about 0.1, 0.2, 0.4, … up to 5, spread so that callers do not march in step."""
    return min(5.0, 0.1 * 2.0 ** (attempt - 1)) * random.uniform(0.75, 1.25)


def query(values: Mapping[str, object]) -> dict[str, Any]:
    """Query parameters without those that are None."""
    return {name: value for name, value in values.items() if value is not None}


def _unreachable(url: httpx2.URL, error: httpx2.TransportError) -> errors.Unreachable:
    return errors.Unreachable(f"no answer from {url}: {error or type(error).__name__}")
