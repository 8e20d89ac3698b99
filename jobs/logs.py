"""Logs of the service itself: one event a line, for people or as JSON, never with control characters or secrets."""

import logging
import re
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def configure(form: Literal["console", "json"]) -> None:
    """Sends structlog and the standard library's logging to standard error in one form."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _printable,
    ]
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    lines: list[Processor] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(lines if form == "json" else [plain]),
            ],
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for talkative in ("alembic", "celery", "kombu"):
        logging.getLogger(talkative).setLevel(logging.WARNING)


def _printable(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    return {key: _CONTROL.sub(" ", value) if isinstance(value, str) else value for key, value in event.items()}
