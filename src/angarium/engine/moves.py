"""Moves: messages whose next attempt must leave from another node.

A move is committed (number, target, messages), published to the target's queue, and only after the confirm
are the messages deleted here. A restart repeats the same move to the same target; the target knows moves
by number (tombstones). A message is thus on one node's disk at least, and sent by one node only.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Final

import msgspec
import structlog

from angarium.broker.port import Broker
from angarium.broker.topology import node_queue
from angarium.domain.message import MESSAGES_PER_PACKET, Attempted, FrameReader, PacketHeader, Recipient, pack
from angarium.engine.message import Message
from angarium.engine.spool import Spool
from angarium.errors import BrokerUnavailable

_log = structlog.get_logger()
GATHER: Final = 0.05
"""Seconds: messages that bounce together travel together."""


class Moves:
    """Carries the lanes of other nodes over to them."""

    def __init__(self, spool: Spool, broker: Broker, node: int) -> None:
        self._spool = spool
        self._broker = broker
        self._node = node
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._wake.set()
        self._task = asyncio.create_task(self._work(), name="moves")

    def look(self) -> None:
        """A message has come into a lane of another node, and is committed."""
        self._wake.set()

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What must go on while the engine runs."""
        return [self._task] if self._task else []

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        await self._repeat_unfinished()
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER)
            self._wake.clear()
            for lane, key in list(self._spool.lanes.items()):
                while key.node and (messages := self._waiting(lane)):
                    await self._move_all(messages, key.node)

    async def _repeat_unfinished(self) -> None:
        for number, node, seqs in self._spool.select("SELECT id, node, seqs FROM move ORDER BY id"):
            wanted = msgspec.msgpack.decode(seqs, type=list[int])
            messages = [found for seq in wanted for found in self._spool.messages("seq=?", (seq,))]
            await self._carry(number, node, messages, repeat=True)

    def _waiting(self, lane: int) -> list[Message]:
        return self._spool.messages("lane=? ORDER BY due, seq LIMIT ?", (lane, MESSAGES_PER_PACKET))

    async def _move_all(self, messages: list[Message], node: int) -> None:
        by_packet: defaultdict[int, list[Message]] = defaultdict(list)
        for message in messages:
            by_packet[message.packet.id].append(message)
        for together in by_packet.values():
            number = self._spool.number()
            seqs = msgspec.msgpack.encode([message.seq for message in together])
            self._spool.execute("INSERT INTO move VALUES (?, ?, ?)", (number, node, seqs))
            await self._spool.flushed()
            await self._carry(number, node, together, repeat=False)

    async def _carry(self, number: int, node: int, messages: list[Message], *, repeat: bool) -> None:
        if messages:
            await self._publish(number, node, messages, repeat=repeat)
        for message in messages:
            self._spool.end(message, ())
        self._spool.execute("DELETE FROM move WHERE id=?", (number,))
        await self._spool.flushed()

    async def _publish(self, number: int, node: int, messages: list[Message], *, repeat: bool) -> None:
        pause = 0.2
        while True:
            try:
                await self._broker.publish(
                    node_queue(node), self._packet(number, node, messages, repeat=repeat)
                )
            except BrokerUnavailable as error:
                _log.warning("move_waits_for_broker", node=node, reason=str(error))
                repeat = True
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)
            else:
                return

    def _packet(self, number: int, node: int, messages: list[Message], *, repeat: bool) -> bytes:
        header: PacketHeader = msgspec.structs.replace(
            messages[0].header,
            queue=node_queue(node),
            isp=self._spool.lanes[messages[0].lane].isp,
            move=f"{self._node}-{self._spool.id}-{number}",
            repeat=repeat,
            recipients=tuple(
                Recipient(m.id, m.address, m.domain, m.profile, m.subscription) for m in messages
            ),
            attempts=tuple(
                Attempted(m.attempts, m.due, m.tried, self._spool.lanes[m.lane].source) for m in messages
            ),
        )
        reader = FrameReader(self._spool.first_frame(messages[0].packet))
        return pack(header, [reader.read(m.place, self._spool.frame(m)) for m in messages])
