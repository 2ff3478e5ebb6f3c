"""Packets on their way to the broker: several at once, each until it is confirmed.

A packet whose confirm did not come is published again, marked `repeat`, for as long as it takes.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Final

from prometheus_client import Counter

from angarium.broker.port import Broker
from angarium.errors import BrokerUnavailable

FIRST_WAIT: Final = 0.2
LONGEST_WAIT: Final = 15.0
"""Seconds between attempts while the broker is away."""

_packets = Counter("angarium_launcher_packets", "Packets confirmed by the broker.")
_repeats = Counter("angarium_launcher_repeats", "Packets published as repeats.")

Wire = Callable[[bool], bytes]
"""A packet's bytes, given whether it is a repeat."""


class Publisher:
    """Publishes the packets of one launch, at most `in_flight` at a time."""

    def __init__(self, broker: Broker, in_flight: int, outage: Callable[[bool], Awaitable[None]]) -> None:
        """`outage` is told once when the broker goes away (True) and when it is back (False)."""
        self._broker = broker
        self._slots = asyncio.Semaphore(in_flight)
        self._outage = outage
        self._away = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._confirmed: list[int] = []
        self._failure: BaseException | None = None

    async def submit(self, number: int, queue: str, wire: Wire, repeat: bool = False) -> None:
        """Returns once there is room. Raises what an earlier packet failed with."""
        await self._slots.acquire()
        if self._failure is not None:
            self._slots.release()
            raise self._failure
        task = asyncio.create_task(self._publish(number, queue, wire, repeat))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Returns once all are confirmed. Raises what one failed with."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._failure is not None:
            raise self._failure

    def confirmed(self) -> list[int]:
        """Numbers confirmed since the last call."""
        numbers, self._confirmed = self._confirmed, []
        return numbers

    async def cancel(self) -> None:
        """Gives up what is under way: it may or may not have been published."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _publish(self, number: int, queue: str, wire: Wire, repeat: bool) -> None:
        try:
            await self._until_confirmed(queue, wire, repeat)
            self._confirmed.append(number)
            _packets.inc()
        except Exception as error:
            self._failure = self._failure or error
        finally:
            self._slots.release()

    async def _until_confirmed(self, queue: str, wire: Wire, repeat: bool) -> None:
        for attempt in itertools.count():
            try:
                _repeats.inc(repeat or attempt > 0)
                await self._broker.publish(queue, wire(repeat or attempt > 0))
            except BrokerUnavailable:
                await self._say(True)
                await asyncio.sleep(min(FIRST_WAIT * 2 ** min(attempt, 10), LONGEST_WAIT))
            else:
                await self._say(False)
                return

    async def _say(self, away: bool) -> None:
        if self._away != away:
            self._away = away
            await self._outage(away)
