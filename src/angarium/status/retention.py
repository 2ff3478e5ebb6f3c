"""Deletes what is older than it is kept, in small steps with rests in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from angarium.errors import DatabaseUnavailable

ROUND: Final = 600.0
"""Seconds between looks when nothing is old."""
REST: Final = 0.5
"""Seconds between steps, for the recorder to work in."""

log = structlog.get_logger(__name__)
Step = Callable[[], Awaitable[int]]
"""Deletes a little; how much. 0: nothing old is left."""


async def run(step: Step) -> None:
    """Until cancelled."""
    while True:
        deleted = await _round(step)
        if deleted:
            log.info("old rows deleted", rows=deleted)
        await asyncio.sleep(ROUND)


async def _round(step: Step) -> int:
    total = 0
    try:
        while deleted := await step():
            total += deleted
            await asyncio.sleep(REST)
    except DatabaseUnavailable as error:
        log.warning("old rows stay for now", reason=str(error))
    return total
