"""Intake: packets from the broker into the spool.

Guarantees: a broker message is acknowledged only after what it carries is on the disk, or finished, or
known to be elsewhere. When the disk is full the packets stay in the broker, intake pauses and says so.
A priority message is tried first and written only if it could not be finished at once.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final

import structlog

from angarium.broker.port import Broker, Consumer, Delivery
from angarium.broker.topology import node_queue
from angarium.domain.message import Packet, PacketHeader, unpack
from angarium.engine.message import Message
from angarium.engine.neighbours import TALK, Neighbours
from angarium.engine.schedule import Schedule
from angarium.engine.spool import Spool
from angarium.errors import AngariumError, BrokerUnavailable, CorruptPacket, SpoolUnavailable

PREFETCH: Final = 8
PRIORITY_PREFETCH: Final = 200
PRIORITY_PATIENCE: Final = 2.0
"""Seconds a priority message may wait to be tried before it goes to the disk."""
PAUSE: Final = 1.0
"""Seconds before a packet is tried again that something else held up."""
_log = structlog.get_logger()

_STORE_BLOB: Final = "INSERT OR REPLACE INTO blob VALUES (?, ?)"


class Intake:
    """See the module's head. `offer` hands a priority message to the carrier, `doubt` a doubtful one;
    `is_shut` says that a packet must not be tried at once."""

    def __init__(
        self,
        spool: Spool,
        schedule: Schedule,
        broker: Broker,
        node: int,
        *,
        nodes: Callable[[], set[int]],
        silence: float,
        min_free_disk: int,
        blobs_of: Callable[[PacketHeader], tuple[str, ...]],
        fetch_blob: Callable[[str], Awaitable[bytes | None]],
        is_shut: Callable[[PacketHeader], bool],
        offer: Callable[[Message], None],
        doubt: Callable[[Message], None],
    ) -> None:
        self._spool = spool
        self._schedule = schedule
        self._broker = broker
        self._node = node
        self._min_free_disk = min_free_disk
        self._blobs_of = blobs_of
        self._fetch_blob = fetch_blob
        self._is_shut = is_shut
        self._offer = offer
        self._doubt = doubt
        self.neighbours = Neighbours(spool, broker, node, nodes, self._settle, silence)
        self._consumers: dict[str, tuple[Consumer, asyncio.Task[None]]] = {}
        self._wanted: dict[str, bool] = {}
        self._unfinished: dict[int, Delivery] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.notice = ""
        """Why nothing is taken; empty when all is well."""

    # ── which queues ────────────────────────────────────────────────────────────────────────────

    async def consume(self, queues: dict[str, bool]) -> None:
        """From now on these queues (name → priority), and this node's own."""
        self._wanted = {**queues, node_queue(self._node): False}
        self._check_disk()
        await self._follow()

    async def look_after(self) -> None:
        """Called every second: disk space, and what is kept aside."""
        self._check_disk()
        await self._follow()
        await self.neighbours.ask()

    def _check_disk(self) -> None:
        free = self._spool.free_disk()
        if self._spool.failure:
            self.notice = self._spool.failure
        elif free < self._min_free_disk:
            self.notice = (
                f"only {free / 1e6:.0f} MB of disk are free, less than mta.min_free_disk"
                f" ({self._min_free_disk / 1e6:.0f} MB): no more messages are taken until there is room"
            )
        elif self.notice:
            _log.info("intake_resumed")
            self.notice = ""

    async def stop(self) -> None:
        """Takes nothing more; what is being taken is finished."""
        self._wanted = {}
        await self._follow()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=10)

    async def _follow(self) -> None:
        wanted = {} if self.notice else self._wanted
        for queue in self._consumers.keys() - wanted.keys():
            consumer, task = self._consumers.pop(queue)
            await consumer.cancel()
            task.cancel()
        for queue in wanted.keys() - self._consumers.keys():
            await self._open(queue, priority=wanted[queue])

    async def _open(self, queue: str, *, priority: bool) -> None:
        try:
            consumer = await self._broker.consume(queue, prefetch=PRIORITY_PREFETCH if priority else PREFETCH)
        except BrokerUnavailable as error:
            _log.warning("broker_unavailable", queue=queue, reason=str(error))
            return
        self._consumers[queue] = consumer, asyncio.create_task(self._read(consumer, priority=priority))

    async def _read(self, consumer: Consumer, *, priority: bool) -> None:
        async for delivery in consumer:
            self._background(self._handle(delivery, priority=priority))

    # ── one delivery ────────────────────────────────────────────────────────────────────────────

    async def _handle(self, delivery: Delivery, *, priority: bool) -> None:
        try:
            if delivery.body.startswith(TALK):
                await self.neighbours.heard(delivery.body)
                await delivery.ack()
            elif await self._take(delivery, priority=priority):
                await delivery.ack()
        except CorruptPacket as error:
            _log.error("packet_dead_lettered", queue=delivery.queue, reason=str(error))
            await self._quietly(delivery.dead_letter())
        except SpoolUnavailable as error:
            _log.error("spool_unavailable", reason=str(error))
            self.notice = str(error)
            await self._quietly(delivery.requeue())
        except BrokerUnavailable as error:
            _log.warning("broker_unavailable", queue=delivery.queue, reason=str(error))
        except AngariumError as error:  # the database is away: an attachment cannot be had now
            _log.warning("packet_waits", queue=delivery.queue, reason=str(error))
            await asyncio.sleep(PAUSE)
            await self._quietly(delivery.requeue())

    async def _quietly(self, settling: Awaitable[None]) -> None:
        try:
            await settling
        except BrokerUnavailable as error:
            _log.warning("broker_unavailable", reason=str(error))

    async def _take(self, delivery: Delivery, *, priority: bool) -> bool:
        """Whether the delivery may be acknowledged now."""
        packet = unpack(delivery.body)
        key = packet.header.key
        if not packet.header.recipients:
            raise CorruptPacket("the packet holds no message")
        blobs = await self._missing_blobs(packet.header)
        if self._spool.knows(key):
            return True
        again = delivery.redelivered or packet.header.repeat
        if again and not self.neighbours.alone():
            return await self._keep_aside(key, delivery)
        if priority and not again and not self._is_shut(packet.header):
            self._try_first(packet, delivery)
            return False
        messages = self._store(packet, blobs, priority=priority)
        await self._spool.taken()
        if priority and again:
            for message in messages:
                self._doubt(message)
        else:
            self._schedule.arrived(messages)
        return True

    async def _keep_aside(self, key: str, delivery: Delivery) -> bool:
        self.neighbours.keep_aside(key, delivery.queue, delivery.body)
        try:
            await self._spool.taken()
        except SpoolUnavailable:
            self.neighbours.forget(key)
            raise
        return True

    def _store(self, packet: Packet, blobs: dict[str, bytes], *, priority: bool) -> list[Message]:
        for sha256, content in blobs.items():
            self._spool.batch.arrivals.statements.append((_STORE_BLOB, (sha256, content)))
        return self._spool.take(packet, time.time(), priority=priority)

    def _settle(self, wire: bytes, queue: str, doubtful: bool) -> None:
        """A packet that was aside is ours."""
        messages = self._store(unpack(wire), {}, priority=self._wanted.get(queue, False))
        self._background(self._settled(messages, doubtful))

    async def _settled(self, messages: list[Message], doubtful: bool) -> None:
        try:
            await self._spool.taken()
        except SpoolUnavailable as error:
            _log.error("spool_unavailable", reason=str(error))
            self.neighbours.reload()
            return
        if doubtful:
            for message in messages:
                self._doubt(message)
        else:
            self._schedule.arrived(messages)

    async def _missing_blobs(self, header: PacketHeader) -> dict[str, bytes]:
        """Attachments this spool has not had yet. They are stored before their messages."""
        missing: dict[str, bytes] = {}
        for sha256 in self._blobs_of(header):
            if self._spool.select("SELECT 1 FROM blob WHERE sha256=?", (sha256,)):
                continue
            content = await self._fetch_blob(sha256)
            if content is None:
                raise CorruptPacket(f"attachment {sha256} is not in the database")
            missing[sha256] = content
        return missing

    # ── priority: try first ─────────────────────────────────────────────────────────────────────

    def _try_first(self, packet: Packet, delivery: Delivery) -> None:
        message = self._spool.hold_in_memory(packet, time.time())
        self._unfinished[message.seq] = delivery
        self._offer(message)
        asyncio.get_running_loop().call_later(PRIORITY_PATIENCE, self._lose_patience, message)

    def _lose_patience(self, message: Message) -> None:
        if message.seq not in self._unfinished or message.gone or message.stored:
            return
        if message.grant:
            asyncio.get_running_loop().call_later(PRIORITY_PATIENCE, self._lose_patience, message)
            return
        message.gone = True
        self._background(self._write_down(message))

    async def _write_down(self, message: Message) -> None:
        later = copy.copy(message)
        later.gone = False
        self._spool.store_held(later)
        try:
            await self._spool.taken()
        except SpoolUnavailable as error:
            _log.error("spool_unavailable", reason=str(error))
            if delivery := self._unfinished.pop(message.seq, None):
                await self._quietly(delivery.requeue())
            return
        self._schedule.arrived([later])
        self.finished(message)

    def finished(self, message: Message) -> None:
        """A message tried before it was written has its end, or is written, on the disk: acknowledge it."""
        if delivery := self._unfinished.pop(message.seq, None):
            self._background(self._quietly(delivery.ack()))

    def _background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
