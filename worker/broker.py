"""Messages as they come from the broker: anybody's, by assumption. All but hints are dropped.

Without this gate one that is not JSON ends the worker and what it runs, and a few with a far due time stop it from
ever hearing another.
"""

from queue import Empty
from typing import Any

import structlog
from kombu import transport
from kombu.transport import redis

from jobs import queue as hints

log = structlog.get_logger()


class Channel(redis.Channel):
    """A channel that drops what cannot be read."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # the stubs leave it out
        except (Empty, *self.connection_errors):  # type: ignore[attr-defined]
            raise
        except Exception as error:  # whatever reading it has led to
            log.warning("message_dropped", error=type(error).__name__)
            raise Empty from error


class Transport(redis.Transport):
    """A transport that delivers nothing but hints."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str | None) -> None:
        if is_hint(message):
            super()._deliver(message, queue)
        else:
            log.warning("message_dropped", error="not a hint")


def is_hint(message: Any) -> bool:
    """Whether this could be a message of `jobs.queue`; what it says besides is of no matter."""
    match message:
        case {"body": str(), "content-type": "application/json", "headers": dict(headers), "properties": dict(given)}:
            is_known = headers.get("task") in (hints.TRAIN, hints.READ) and isinstance(headers.get("id"), str)
            return is_known and headers.get("eta") is None and {"delivery_info", "delivery_tag"} <= given.keys()
    return False


def guard() -> None:
    """Puts the gate before every connection of this process."""
    transport.TRANSPORT_ALIASES |= dict.fromkeys(("redis", "rediss"), f"{__name__}:Transport")
