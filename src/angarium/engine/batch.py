"""The changes of one transaction of the spool, while they gather, and how they are written."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import defaultdict
from typing import Any

import msgspec

from angarium.domain.message import PacketHeader
from angarium.engine.message import LaneKey, Message, SpooledPacket
from angarium.events import Event


class Arrivals:
    """New packets of a batch. Apart from the rest, since a full disk may refuse them and nothing is lost."""

    def __init__(self) -> None:
        self.bodies: list[tuple[int, bytes]] = []
        self.packets: list[tuple[Any, ...]] = []
        self.messages: list[tuple[Any, ...]] = []
        self.counts: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
        self.statements: list[tuple[str, tuple[Any, ...]]] = []
        self.flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __bool__(self) -> bool:
        return bool(self.packets or self.statements)

    def add(self, packet: SpooledPacket, frames: bytes, messages: list[Message]) -> None:
        self.bodies.append((packet.id, frames))
        header: PacketHeader = packet.header
        self.packets.append(
            (
                packet.id, header.key, msgspec.msgpack.encode(header), packet.first_size, header.expires,
                len(messages),
            )
        )  # fmt: skip
        self.messages.extend(message.row() for message in messages)
        for message in messages:
            self.counts[message.lane][1 if message.attempts else 0] += 1

    def write(self, index: sqlite3.Connection, bodies: sqlite3.Connection) -> None:
        if self.bodies:
            bodies.executemany("INSERT INTO body VALUES (?, ?)", self.bodies)
            index.executemany("INSERT INTO packet VALUES (?, ?, ?, ?, ?, ?)", self.packets)
            index.executemany("INSERT INTO message VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)", self.messages)
            _write_counts(index, self.counts)
        for statement, values in self.statements:
            index.execute(statement, values)


class Batch:
    """Everything else: grants, outcomes, events, permits."""

    def __init__(self) -> None:
        self.arrivals = Arrivals()
        self.kept = Arrivals()
        """Priority messages written after their first attempt: not to be refused."""
        self.lanes: list[tuple[int, bytes]] = []
        self.granted: list[tuple[int, int, str, str]] = []
        self.ungranted: list[tuple[int, int]] = []
        self.ended: list[tuple[int]] = []
        self.finished_of: defaultdict[int, int] = defaultdict(int)
        self.rescheduled: list[tuple[int, float, int, str, int]] = []
        self.counts: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
        self.events: list[Event] = []
        self.permits: dict[str, bytes] = {}
        self.statements: list[tuple[str, tuple[Any, ...]]] = []
        self.published: list[tuple[int]] = []
        self.flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __bool__(self) -> bool:
        return any(
            (
                self.arrivals, self.kept, self.lanes, self.granted, self.ungranted, self.ended,
                self.rescheduled, self.counts, self.events, self.permits, self.statements, self.published,
            )
        )  # fmt: skip

    def lane(self, number: int, key: LaneKey) -> None:
        self.lanes.append((number, msgspec.msgpack.encode(key)))

    def write(self, index: sqlite3.Connection, tombstone_life: float) -> list[int]:
        """Writes all but arrivals and events. Returns the packets whose last message has ended."""
        many = index.executemany
        if self.granted:
            many("INSERT OR REPLACE INTO granted VALUES (?, ?, ?, ?)", self.granted)
        if self.ungranted:
            many("DELETE FROM granted WHERE seq=? AND grant_number=?", self.ungranted)
        if self.rescheduled:
            many("UPDATE message SET lane=?, due=?, attempts=?, tried=? WHERE seq=?", self.rescheduled)
        if self.ended:
            many("DELETE FROM message WHERE seq=?", self.ended)
        _write_counts(index, self.counts)
        if self.permits:
            many("INSERT OR REPLACE INTO permit VALUES (?, ?)", list(self.permits.items()))
        for statement, values in self.statements:
            index.execute(statement, values)
        if self.published:
            many("DELETE FROM outbox WHERE id=?", self.published)
        return [
            packet
            for packet, count in self.finished_of.items()
            if _finish_of(index, packet, count, tombstone_life)
        ]

    def write_lanes(self, index: sqlite3.Connection) -> None:
        if self.lanes:
            index.executemany("INSERT OR IGNORE INTO lane (id, key) VALUES (?, ?)", self.lanes)


def _write_counts(index: sqlite3.Connection, counts: dict[int, list[int]]) -> None:
    if counts:
        index.executemany(
            "UPDATE lane SET new=new+?, retries=retries+? WHERE id=?",
            [(new, retries, lane) for lane, (new, retries) in counts.items()],
        )


def _finish_of(index: sqlite3.Connection, packet: int, count: int, tombstone_life: float) -> bool:
    """Whether that was the packet's last message; then a tombstone takes its place."""
    alive, key, expires = index.execute(
        "UPDATE packet SET alive=alive-? WHERE id=? RETURNING alive, key, expires", (count, packet)
    ).fetchone()
    if alive > 0:
        return False
    index.execute("DELETE FROM packet WHERE id=?", (packet,))
    index.execute("INSERT OR REPLACE INTO tombstone VALUES (?, ?)", (key, expires + tombstone_life))
    return True
