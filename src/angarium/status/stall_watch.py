"""Looks for stalled queues now and then: an alarm in the log and in the figures for Prometheus."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Final, Protocol

import prometheus_client
import structlog

from angarium.domain.stall import Cause
from angarium.errors import DatabaseUnavailable

EVERY: Final = 60.0
"""Seconds between looks."""
STALLED = prometheus_client.Gauge(
    "angarium_queue_stalled_messages", "Messages of queues of which nothing ends, by likely cause.", ["cause"]
)
log = structlog.get_logger(__name__)


class Stall(Protocol):
    @property
    def scope(self) -> Hashable: ...
    @property
    def cause(self) -> Cause: ...
    @property
    def waiting(self) -> int: ...
    @property
    def words(self) -> str: ...


Look = Callable[[], Awaitable[Sequence[Stall]]]


async def run(look: Look) -> None:
    """Until cancelled."""
    known: dict[Hashable, Cause] = {}
    while True:
        try:
            known = tell(await look(), known)
        except DatabaseUnavailable as error:
            log.warning("queues_not_looked_at", reason=str(error))
        await asyncio.sleep(EVERY)


def tell(stalls: Sequence[Stall], known: dict[Hashable, Cause]) -> dict[Hashable, Cause]:
    """Logs what has stalled, or for another cause, and what moves again; what is known now."""
    found: dict[Hashable, Cause] = {}
    waiting: Counter[Cause] = Counter()
    for stall in stalls:
        found[stall.scope] = stall.cause
        waiting[stall.cause] += stall.waiting
        if known.get(stall.scope) is not stall.cause:
            note = log.info if stall.cause is Cause.FROZEN else log.warning
            note("queue_stalled", scope=str(stall.scope), messages=stall.waiting, cause=stall.words)
    for scope in known.keys() - found.keys():
        log.info("queue_moves_again", scope=str(scope))
    for cause in Cause:
        STALLED.labels(cause.value).set(waiting[cause])
    return found
