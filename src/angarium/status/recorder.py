"""The recorder: the data plane's only writer of events, counters, subscription statuses, stop list.

A delivery is acknowledged after its events are committed, so a kill at any instant makes the broker
deliver it again, and storing again changes nothing. What cannot be read, or what the database cannot
take even alone, goes to the dead-letter queue. When the database is away or its disk is full, events
wait in the broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import structlog
from prometheus_client import Counter, Gauge, Histogram

from angarium.broker.port import Broker, Consumer, Delivery
from angarium.broker.topology import DEAD, EVENTS
from angarium.errors import BrokerUnavailable, CorruptPacket, DatabaseUnavailable
from angarium.events import EventBatch, decode

EVENTS_AT_ONCE: Final = 1_000
"""In one transaction, which stays well under 100 ms."""
PREFETCH: Final = 200
PAUSE: Final = 1.0
"""Seconds before a database that was away is tried again."""
QUIET: Final = 0.2
"""Seconds without a delivery after which a stopping recorder is done."""
LOOK: Final = 5.0
"""Seconds between looks at the queues' lengths."""

log = structlog.get_logger(__name__)
_stored = Counter("angarium_recorder_events", "Events stored.")
_repeated = Counter("angarium_recorder_repeated", "Events that came again and changed nothing.")
_dead = Counter("angarium_recorder_dead_letters", "Deliveries that could not be stored.")
_seconds = Histogram("angarium_recorder_transaction_seconds", "Time of a transaction.")
_lag = Gauge("angarium_recorder_lag_seconds", "Age of the oldest event of the last transaction when stored.")
_ready = Gauge("angarium_queue_ready", "Deliveries waiting in a queue.", ["queue"])


class Stored(Protocol):
    @property
    def events(self) -> int: ...
    @property
    def repeated(self) -> int: ...


Store = Callable[[Sequence[EventBatch]], Awaitable[Stored]]
"""Stores batches in one transaction; repeating it is harmless.

Raises `CorruptPacket` when the database cannot take what they say.
"""
Arrival = tuple[Delivery, tuple[EventBatch, ...]]
Tell = Callable[[str], None]
"""Takes what a person should know about the recorder; empty when all is well."""


class Recorder:
    def __init__(self, broker: Broker, store: Store, tell: Tell) -> None:
        self._broker = broker
        self._store = store
        self._tell = tell
        self._arrived: asyncio.Queue[Arrival] = asyncio.Queue(PREFETCH)

    async def run(self, stop: asyncio.Event) -> None:
        """Records until `stop`, and then what is still arriving."""
        consumer = await self._broker.consume(EVENTS, prefetch=PREFETCH)
        async with asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(self._receive(consumer))
            looking = tasks.create_task(self._look())
            await self._record(stop)
            looking.cancel()
            await consumer.cancel()
            receiving.cancel()

    async def _receive(self, consumer: Consumer) -> None:
        async for delivery in consumer:
            try:
                batches = decode(delivery.body)
            except CorruptPacket as error:
                await self._give_up(delivery, str(error))
            else:
                await self._arrived.put((delivery, batches))

    async def _record(self, stop: asyncio.Event) -> None:
        stopping = asyncio.create_task(stop.wait())
        try:
            while group := await self._gather(stopping):
                await self._keep(group)
        finally:
            stopping.cancel()

    async def _gather(self, stopping: asyncio.Task[bool]) -> list[Arrival]:
        """What has arrived, up to one transaction's worth; empty when it is time to end."""
        group: list[Arrival] = []
        first = asyncio.create_task(self._arrived.get())
        await asyncio.wait((first, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not first.done():
            await asyncio.wait((first,), timeout=QUIET)
        if not first.done():
            first.cancel()
            return group
        group.append(first.result())
        total = _events_of(group[0])
        while total < EVENTS_AT_ONCE and not self._arrived.empty():
            group.append(self._arrived.get_nowait())
            total += _events_of(group[-1])
        return group

    async def _keep(self, group: list[Arrival]) -> None:
        """Stores and acknowledges; a group that cannot be stored is tried one by one."""
        try:
            await self._commit([batch for _, batches in group for batch in batches])
        except CorruptPacket as error:
            if len(group) == 1:
                return await self._give_up(group[0][0], str(error))
            for single in group:
                await self._keep([single])
            return None
        for delivery, _ in group:
            with contextlib.suppress(BrokerUnavailable):  # it comes again and changes nothing
                await delivery.ack()
        return None

    async def _commit(self, batches: list[EventBatch]) -> None:
        """Returns when it is done, however long the database is away."""
        began = time.perf_counter()
        stored = await self._stored(batches)
        _seconds.observe(time.perf_counter() - began)
        _stored.inc(stored.events)
        _repeated.inc(stored.repeated)
        _lag.set(time.time() - min((e.time for batch in batches for e in batch.events), default=time.time()))

    async def _stored(self, batches: list[EventBatch]) -> Stored:
        while True:
            try:
                stored = await self._store(batches)
            except CorruptPacket:
                raise
            except Exception as error:
                log.warning(
                    "events wait in the broker",
                    reason=str(error),
                    exc_info=not isinstance(error, DatabaseUnavailable),
                )
                self._tell(f"events wait in the broker: {error}")
                await asyncio.sleep(PAUSE)
            else:
                self._tell("")
                return stored

    async def _give_up(self, delivery: Delivery, reason: str) -> None:
        log.error("events cannot be stored", reason=reason, octets=len(delivery.body), queue=DEAD)
        _dead.inc()
        with contextlib.suppress(BrokerUnavailable):
            await delivery.dead_letter()

    async def _look(self) -> None:
        while True:
            with contextlib.suppress(BrokerUnavailable):
                for queue in (EVENTS, DEAD):
                    _ready.labels(queue).set((await self._broker.depth(queue)).ready)
            await asyncio.sleep(LOOK)


def _events_of(arrival: Arrival) -> int:
    return sum(len(batch.events) for batch in arrival[1])


async def run(broker: Broker, store: Store, tell: Tell, stop: asyncio.Event) -> None:
    """The service: records until `stop` is set."""
    await Recorder(broker, store, tell).run(stop)
