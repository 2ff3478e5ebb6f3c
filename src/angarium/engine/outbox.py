"""The outbox: events on their way from the spool to the recorder.

A batch of events was committed with the outcomes it tells of; it is published with confirm, together with
those that come right after it, and deleted by a later commit. A batch may be published twice (a kill in
between): its id lets the recorder store it once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import structlog

from angarium.broker.port import Broker
from angarium.broker.topology import EVENTS
from angarium.engine.spool import Spool
from angarium.errors import BrokerUnavailable
from angarium.events import join

IN_FLIGHT: Final = 8
IN_MEMORY: Final = 1_000
GATHER: Final = 0.1
"""Seconds that a batch waits for others to go with."""
OCTETS: Final = 256_000
"""A broker message holds no further batch beyond that."""
_log = structlog.get_logger()


class Outbox:
    """Publishes what the spool commits, in order of commit, several at a time."""

    def __init__(self, spool: Spool, broker: Broker) -> None:
        self._spool = spool
        self._broker = broker
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._last = 0
        """The newest row that is in `_waiting` or was; newer ones are on the disk only."""
        self._behind = True
        self._empty = asyncio.Event()
        self._wake = asyncio.Event()
        self._wake.set()
        self._under_way: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        spool.on_outbox = self._committed

    def start(self) -> None:
        self._task = asyncio.create_task(self._publish_as_they_come(), name="outbox")

    async def drain(self, patience: float) -> None:
        """Waits until everything committed is published, at most `patience` seconds."""
        try:
            async with asyncio.timeout(patience):
                await self._empty.wait()
        except TimeoutError:
            _log.warning("outbox_not_drained", waiting=len(self._waiting))

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What must go on while the engine runs."""
        return [self._task] if self._task else []

    async def stop(self) -> None:
        for task in (*self._under_way, *([self._task] if self._task else [])):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _committed(self, number: int, wire: bytes) -> None:
        if number <= self._last:
            return
        if self._behind or len(self._waiting) >= IN_MEMORY:
            self._behind = True
        else:
            self._waiting.append((number, wire))
            self._last = number
        self._empty.clear()
        self._wake.set()

    async def _publish_as_they_come(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER)
            self._wake.clear()
            while self._next():
                if len(self._under_way) >= IN_FLIGHT:
                    await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
                task = asyncio.create_task(self._publish(*self._take_some()))
                self._under_way.add(task)
                task.add_done_callback(self._done)
            self._note_emptiness()

    def _take_some(self) -> tuple[list[int], bytes]:
        """The oldest rows that wait, as many as go into one message."""
        numbers: list[int] = []
        bodies: list[bytes] = []
        octets = 0
        while self._waiting and octets < OCTETS:
            number, body = self._waiting.popleft()
            numbers.append(number)
            bodies.append(body)
            octets += len(body)
        return numbers, join(bodies)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._note_emptiness()

    def _note_emptiness(self) -> None:
        if not (self._behind or self._waiting or self._under_way):
            self._empty.set()

    def _next(self) -> bool:
        if not self._waiting and self._behind:
            rows = self._spool.outbox(self._last, IN_MEMORY)
            self._waiting.extend(rows)
            self._last = rows[-1][0] if rows else self._last
            self._behind = len(rows) == IN_MEMORY
        return bool(self._waiting)

    async def _publish(self, numbers: list[int], body: bytes) -> None:
        pause = 0.1
        while True:
            try:
                await self._broker.publish(EVENTS, body)
            except BrokerUnavailable as error:
                _log.warning("events_wait_for_broker", reason=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)
            else:
                self._spool.published(numbers)
                return
