"""Logs: one line an event, on standard output; JSON, or text for a terminal.

Message ids appear in hexadecimal. What could be a secret is masked whatever the level.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from angarium.config import LogSettings

_SECRET: Final = re.compile(r"password|secret|token|private_key|authorization|cookie", re.IGNORECASE)
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]+@")
MASK: Final = "***"
QUIET: Final = ("asyncio", "aiormq", "django.request", "uvicorn.access", "uvicorn.error")
"""Libraries whose own lines matter only as warnings."""


def configure(settings: LogSettings, service: str) -> None:
    """Sets up structlog and the standard library's logging for the process."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        readable,
        mask,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(_level(settings)),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    _to_standard_output(settings, shared)


def _level(settings: LogSettings) -> int:
    return logging.getLevelNamesMapping()[settings.level.upper()]


def _to_standard_output(settings: LogSettings, shared: list[Processor]) -> None:
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), pad_event_to=0)
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=_level(settings), force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, _level(settings)))


def readable(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Bytes – message ids – in hexadecimal."""
    for key, value in event.items():
        if isinstance(value, bytes):
            event[key] = value.hex()
    return event


def mask(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Hides values of telling names, and user and password in URLs."""
    for key, value in event.items():
        if _SECRET.search(key):
            event[key] = MASK
        elif isinstance(value, str) and "://" in value:
            event[key] = _CREDENTIALS.sub(f"{MASK}@", value)
    return event
