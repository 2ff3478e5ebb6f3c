"""The spool: messages on disk between the broker and their end.

Owns a folder with two SQLite files. Everything asked of it within one flush becomes one transaction:
callers put changes into the gathering `Batch` and await `flushed()` (`taken()` for new packets), which
returns when they are on the disk (group commit). Commits begin `COMMIT_PACE` apart at least: what a
transaction costs is shared by all that came meanwhile. Statements run on the loop's thread, which is quicker
than taking turns for the interpreter's lock; only the commit, which waits for the disk, runs on a thread.

Guarantees:
- what `flushed()` returned for survives kill -9 and power cuts;
- bodies are on the disk before the index names them; a body that nothing names is swept at start;
- an outcome, the removal of its message and its events are one transaction;
- a finished packet stays known (tombstone) until the end of its messages' life and then some.
Never done: nothing is acknowledged, sent or reported here; reading bodies never takes a lock.
Known limit: one process owns the folder (a lock file refuses a second).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import msgspec

from angarium.domain.message import Packet, PacketHeader
from angarium.engine.batch import Arrivals, Batch
from angarium.engine.message import LaneKey, Message, SpooledPacket, from_row
from angarium.engine.spool_schema import BODIES, INDEX, INDEX_FORMAT, open_file
from angarium.errors import SpoolUnavailable
from angarium.events import Event, EventBatch, encode

CACHE_OCTETS: Final = 96_000_000
PACKETS_IN_MEMORY: Final = 20_000
EVENTS_PER_BATCH: Final = 1_000
DEAD_BODIES: Final = 20
COMMIT_PACE: Final = 0.02
"""Seconds from the beginning of one commit to the next one's."""
RUN_BITS: Final = 36  # numbers of one start of the engine; the start's own number stands above them

_COLUMNS: Final = (
    "seq, lane, due, packet, place, start, size, attempts, tried, id, address, domain, profile, subscription"
)


class Spool:
    """See the module's head."""

    def __init__(self, folder: Path, node: int, tombstone_life: float) -> None:
        self._folder = folder
        self._tombstone_life = tombstone_life
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(folder / "lock")
        self._index = open_file(folder / "index.db", page_size=4096, cache_mb=64)
        self._bodies = open_file(folder / "bodies.db", page_size=16_384, cache_mb=16)
        self._index.executescript(INDEX)
        self._bodies.executescript(BODIES)
        self._reader = open_file(folder / "index.db", page_size=4096, cache_mb=32)
        self._body_reader = open_file(folder / "bodies.db", page_size=16_384, cache_mb=8)
        self._check_format()
        self.id = self._meta("id") or self._set_meta("id", uuid.uuid4().hex[:12])
        self._run = int(self._meta("run") or 0) + 1
        self._set_meta("run", self._run)
        self._numbers = self._run << RUN_BITS
        self._node = node
        self._packets: OrderedDict[int, SpooledPacket] = OrderedDict()
        self._frames: OrderedDict[int, bytes] = OrderedDict()
        self._frames_octets = 0
        self._unstored: dict[int, bytes] = {}
        self._keys_gathering: set[str] = set()
        self._ending: set[int] = set()
        """Messages whose end is not committed yet: who reads the disk still finds them."""
        self._forgotten_keys: list[str] = []
        self._dead_bodies: list[tuple[int]] = []
        self._deleting: list[tuple[int]] = []
        self._lane_ids: dict[LaneKey, int] = {}
        self.lanes: dict[int, LaneKey] = {}
        self.lane_counts: dict[int, list[int]] = {}
        self._load_lanes()
        self._next_outbox = self._last_outbox() + 1
        self._sweep_bodies()
        self.on_outbox: Callable[[int, bytes], None] = lambda number, batch: None
        self.before_commit: Callable[[], None] = lambda: None
        """Called right before a batch is closed, to add to it what is decided at the last moment."""
        self.failure: str = ""
        self._thread = ThreadPoolExecutor(1, "spool-commit")
        self.batch = Batch()
        self._wanted = asyncio.Event()
        self._closing = False
        self._next_commit = 0.0
        self._task = asyncio.create_task(self._commit_as_they_come(), name="spool")

    # ── numbers and lanes ───────────────────────────────────────────────────────────────────────

    def number(self) -> int:
        """A number this spool has never given and will never give again."""
        self._numbers += 1
        return self._numbers

    def lane(self, key: LaneKey) -> int:
        """The lane's number; a new lane is written with the gathering batch."""
        if (known := self._lane_ids.get(key)) is not None:
            return known
        number = self.number()
        self._lane_ids[key] = number
        self.lanes[number] = key
        self.lane_counts[number] = [0, 0]
        self.batch.lane(number, key)
        return number

    # ── changes: all of them gather in the batch ────────────────────────────────────────────────

    def flushed(self) -> asyncio.Future[None]:
        """Done when all asked for so far, arrivals apart, is on the disk. It waits rather than fails."""
        self._wanted.set()
        return self.batch.flushed

    def want_commit(self) -> None:
        """`before_commit` has something to add."""
        self._wanted.set()

    def taken(self) -> asyncio.Future[None]:
        """Done when the arrivals so far are on the disk. Raises `SpoolUnavailable` when it is full."""
        self._wanted.set()
        return self.batch.arrivals.flushed

    def knows(self, key: str) -> bool:
        """Whether this packet is here, was here, is held or is being taken."""
        if key in self._keys_gathering:
            return True
        found = self._reader.execute(
            "SELECT 1 FROM packet WHERE key=?1 UNION ALL SELECT 1 FROM tombstone WHERE key=?1"
            " UNION ALL SELECT 1 FROM held WHERE key=?1 LIMIT 1",
            (key,),
        ).fetchone()
        return found is not None

    def take(self, packet: Packet, now: float, *, priority: bool = False) -> list[Message]:
        """Puts a packet's messages into the batch and returns them."""
        header = packet.header
        spooled = SpooledPacket(
            self.number(),
            msgspec.structs.replace(header, recipients=(), attempts=()),
            header.recipients[0].size,
        )
        messages = list(self._messages_of(packet, spooled, now, priority=priority))
        self._keep_packet(spooled)
        self._keep_frames(spooled.id, packet.frames)
        self.store(spooled, packet.frames, messages)
        return messages

    def store(self, packet: SpooledPacket, frames: bytes, messages: list[Message]) -> None:
        """Adds a packet and its messages to the arrivals."""
        self._keys_gathering.add(packet.header.key)
        self.batch.arrivals.add(packet, frames, messages)
        for message in messages:
            message.stored = True
            self._unstored.pop(packet.id, None)
            self._note(message, 1)

    def hold_in_memory(self, packet: Packet, now: float) -> Message:
        """The one message of a priority packet, to be tried before it is written to disk."""
        header = packet.header
        bare = msgspec.structs.replace(header, recipients=(), attempts=())
        spooled = SpooledPacket(self.number(), bare, header.recipients[0].size)
        message = next(self._messages_of(packet, spooled, now, priority=True))
        message.stored = False
        self._keep_packet(spooled)
        self._unstored[spooled.id] = packet.frames
        self._keys_gathering.add(header.key)
        return message

    def store_held(self, message: Message) -> None:
        """A message held in memory could not be tried at once: to the disk, as new."""
        self.store(message.packet, self._unstored[message.packet.id], [message])

    def grant(self, message: Message, source: str, mx: str) -> None:
        """Notes that the message is about to go to a courier."""
        message.grant = self.number()
        if message.stored:
            self.batch.granted.append((message.seq, message.grant, source, mx))

    def ungrant(self, message: Message) -> None:
        """It was not sent and is ready again."""
        if message.stored and message.grant:
            self.batch.ungranted.append((message.seq, message.grant))
        message.grant = 0
        message.begun = False

    def end(self, message: Message, events: Iterable[Event]) -> None:
        """The message's end: removal and events in one transaction. A second end before that is none."""
        if message.seq in self._ending:
            return
        self.batch.events.extend(events)
        self._wanted.set()
        if not message.stored:
            header = message.packet.header
            until = header.expires + self._tombstone_life
            self.execute("INSERT OR REPLACE INTO tombstone VALUES (?, ?)", (header.key, until))
            self._unstored.pop(message.packet.id, None)
            self._forgotten_keys.append(header.key)
            return
        self._ending.add(message.seq)
        self.batch.ended.append((message.seq,))
        if message.grant:
            self.batch.ungranted.append((message.seq, message.grant))
        self.batch.finished_of[message.packet.id] += 1
        self._count(message, -1)

    def reschedule(
        self,
        message: Message,
        *,
        due: float,
        lane: int,
        attempts: int,
        tried: tuple[str, ...],
        events: Iterable[Event],
    ) -> None:
        """The message stays, for later."""
        self.batch.events.extend(events)
        self._wanted.set()
        if message.stored:
            self._count(message, -1)
            if message.grant:
                self.batch.ungranted.append((message.seq, message.grant))
        message.due, message.lane, message.attempts, message.tried = due, lane, attempts, tried
        message.grant, message.begun = 0, False
        if message.stored:
            self._count(message, 1)
            self.batch.rescheduled.append((lane, due, attempts, ",".join(tried), message.seq))
        else:
            self.batch.kept.add(message.packet, self._unstored.pop(message.packet.id), [message])
            self._note(message, 1)
            message.stored = True

    def permit(self, scope: str, state: bytes) -> None:
        """The state of a window, committed with the grants it allowed."""
        self.batch.permits[scope] = state

    def execute(self, statement: str, values: tuple[Any, ...] = ()) -> None:
        """A further statement of the batch, for the neighbours in this folder."""
        self.batch.statements.append((statement, values))

    def report(self, events: Iterable[Event]) -> None:
        """Events without a change of a message."""
        self.batch.events.extend(events)

    def published(self, outbox: Sequence[int]) -> None:
        """The broker has these outbox rows. They go with the next commit: alone they are worth none."""
        self.batch.published.extend((number,) for number in outbox)

    # ── reading ─────────────────────────────────────────────────────────────────────────────────

    def ready(self, lane: int, after: tuple[float, int], until: float, limit: int) -> list[Message]:
        """Committed messages of a lane due by `until`, in order of (due, seq), beyond `after`."""
        rows = self._reader.execute(
            f"SELECT {_COLUMNS} FROM message WHERE lane=? AND (due, seq) > (?, ?) AND due <= ?"  # noqa: S608
            " ORDER BY due, seq LIMIT ?",
            (lane, *after, until, limit),
        ).fetchall()
        return self.from_rows(rows)

    def next_due(self, lane: int, after: tuple[float, int]) -> float | None:
        """When the lane's next message beyond `after` is due."""
        row = self._reader.execute(
            "SELECT due FROM message WHERE lane=? AND (due, seq) > (?, ?) ORDER BY due, seq LIMIT 1",
            (lane, *after),
        ).fetchone()
        return float(row[0]) if row else None

    def select(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Committed rows, for the neighbours in this folder."""
        return self._reader.execute(query, values).fetchall()

    def messages(self, where: str, values: tuple[Any, ...] = ()) -> list[Message]:
        """Committed messages by a condition of our own making, for recovery and sweeps."""
        query = f"SELECT {_COLUMNS} FROM message WHERE {where}"  # noqa: S608
        return self.from_rows(self._reader.execute(query, values).fetchall())

    def messages_of(self, packet: int) -> list[Message]:
        """Committed messages of a packet: they were numbered right after it."""
        return self.messages("seq BETWEEN ? AND ? AND packet=?", (packet, packet + 500, packet))

    def is_granted(self, message: Message) -> bool:
        """Whether a grant is committed."""
        return bool(self.select("SELECT 1 FROM granted WHERE seq=?", (message.seq,)))

    def from_rows(self, rows: list[tuple[Any, ...]]) -> list[Message]:
        missing = {row[3] for row in rows} - self._packets.keys()
        for number in missing:
            self._load_packet(number)
        return [from_row(row, self._packets) for row in rows]

    def frame(self, message: Message) -> bytes:
        """The compressed frame of one message."""
        return self._part(message.packet.id, message.start, message.size)

    def first_frame(self, packet: SpooledPacket) -> bytes:
        """The frame that is the dictionary of the others."""
        return self._part(packet.id, 0, packet.first_size)

    def outbox(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Committed outbox rows not published yet."""
        return self._reader.execute(
            "SELECT id, batch FROM outbox WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
        ).fetchall()

    def tidy(self, now: float) -> None:
        """Forgets tombstones whose time is over and gives freed pages back to the disk."""
        self.execute("DELETE FROM tombstone WHERE until < ?", (now,))
        if not self._index.in_transaction:
            self._index.execute("PRAGMA incremental_vacuum(200)").fetchall()
        if not self._bodies.in_transaction:
            self._bodies.execute("PRAGMA incremental_vacuum(200)").fetchall()

    def free_disk(self) -> int:
        """Octets free on the spool's file system."""
        stat = os.statvfs(self._folder)
        return stat.f_bavail * stat.f_frsize

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What must go on while the engine runs."""
        return [self._task]

    async def close(self) -> None:
        """Flushes what gathered and closes the files."""
        self._closing = True
        self._wanted.set()
        await self._task
        self._thread.shutdown()
        for connection in (self._reader, self._body_reader, self._index, self._bodies):
            connection.close()
        os.close(self._lock)

    # ── the commit loop ─────────────────────────────────────────────────────────────────────────

    async def _commit_as_they_come(self) -> None:
        while not (self._closing and not self._wanted.is_set()):
            await self._wanted.wait()
            await self._keep_pace()
            self._wanted.clear()
            self.before_commit()
            batch, self.batch = self.batch, Batch()
            if batch:
                await self._commit_until_it_works(batch)
            else:
                self._after(batch, [], [])

    async def _keep_pace(self) -> None:
        clock = asyncio.get_running_loop().time
        if not self._closing and (pause := self._next_commit - clock()) > 0:
            await asyncio.sleep(pause)
        self._next_commit = clock() + COMMIT_PACE

    async def _commit_until_it_works(self, batch: Batch) -> None:
        """What cannot be written: arrivals are refused (the broker keeps them), the rest is tried again."""
        while True:
            try:
                outbox, empty = await self._commit(batch)
            except sqlite3.OperationalError as error:
                self._roll_back()
                self.failure = f"the spool cannot be written: {error}"
                if batch.arrivals:
                    self._refuse_arrivals(batch)
                    continue
                if self._closing:
                    batch.flushed.set_exception(SpoolUnavailable(self.failure))
                    batch.flushed.exception()
                    return
                await asyncio.sleep(0.5)
                continue
            self.failure = ""
            self._after(batch, outbox, empty)
            return

    async def _commit(self, batch: Batch) -> tuple[list[tuple[int, bytes]], list[int]]:
        self._index.execute("BEGIN IMMEDIATE")
        if batch.arrivals.bodies or batch.kept.bodies or len(self._dead_bodies) > DEAD_BODIES:
            self._bodies.execute("BEGIN IMMEDIATE")
            self._deleting, self._dead_bodies = self._dead_bodies, []
            self._bodies.executemany("DELETE FROM body WHERE packet=?", self._deleting)
        batch.write_lanes(self._index)
        batch.arrivals.write(self._index, self._bodies)
        batch.kept.write(self._index, self._bodies)
        empty = batch.write(self._index, self._tombstone_life)
        outbox = self._write_outbox(batch.events)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._flush)
        return outbox, empty

    def _write_outbox(self, events: list[Event]) -> list[tuple[int, bytes]]:
        rows: list[tuple[int, bytes]] = []
        for start in range(0, len(events), EVENTS_PER_BATCH):
            number = self._next_outbox + len(rows)
            some = tuple(events[start : start + EVENTS_PER_BATCH])
            rows.append((number, encode(EventBatch(f"n{self._node}:{self.id}:{number}", some))))
        if rows:
            self._index.executemany("INSERT INTO outbox VALUES (?, ?)", rows)
        return rows

    def _flush(self) -> None:
        """Bodies before the index rows that name them."""
        if self._bodies.in_transaction:
            self._bodies.commit()
        self._index.commit()

    def _roll_back(self) -> None:
        for connection in (self._bodies, self._index):
            if connection.in_transaction:
                connection.rollback()
        self._dead_bodies, self._deleting = self._deleting + self._dead_bodies, []

    def _refuse_arrivals(self, batch: Batch) -> None:
        refused, batch.arrivals = batch.arrivals, Arrivals()
        for _, key, *_rest in refused.packets:
            self._keys_gathering.discard(key)
        for lane, (new, retries) in refused.counts.items():
            self.lane_counts[lane][0] -= new
            self.lane_counts[lane][1] -= retries
        refused.flushed.set_exception(SpoolUnavailable(self.failure))
        refused.flushed.exception()  # whoever waits sees it

    def _after(self, batch: Batch, outbox: list[tuple[int, bytes]], empty: list[int]) -> None:
        for _, key, *_rest in (*batch.arrivals.packets, *batch.kept.packets):
            self._keys_gathering.discard(key)
        for key in self._forgotten_keys:
            self._keys_gathering.discard(key)
        self._forgotten_keys.clear()
        self._ending.difference_update(seq for (seq,) in batch.ended)
        self._next_outbox += len(outbox)
        self._deleting = []
        self._dead_bodies.extend((packet,) for packet in empty)
        for packet in empty:
            self.forget_frames(packet)
        for future in (batch.arrivals.flushed, batch.flushed):
            if not future.done():
                future.set_result(None)
        for number, wire in outbox:
            self.on_outbox(number, wire)

    # ── small parts ─────────────────────────────────────────────────────────────────────────────

    def _messages_of(
        self, packet: Packet, spooled: SpooledPacket, now: float, *, priority: bool
    ) -> Iterator[Message]:
        header, start = packet.header, 0
        lane = self.lane(LaneKey(header.account, header.sender, header.mailing, header.isp, "", priority))
        for place, recipient in enumerate(header.recipients):
            before = header.attempts[place] if header.attempts else None
            at = lane
            if before is not None and before.source:
                at = self.lane(
                    LaneKey(
                        header.account, header.sender, header.mailing, header.isp, before.source, priority
                    )
                )
            yield Message(
                self.number(), at, before.due if before else now, spooled, place, start, recipient.size,
                before.count if before else 0, before.addresses if before else (), recipient.id,
                recipient.address, recipient.domain, recipient.profile, recipient.subscription,
            )  # fmt: skip
            start += recipient.size

    def _count(self, message: Message, change: int) -> None:
        self._note(message, change)
        self.batch.counts[message.lane][1 if message.attempts else 0] += change

    def _note(self, message: Message, change: int) -> None:
        self.lane_counts[message.lane][1 if message.attempts else 0] += change

    def _part(self, packet: int, start: int, size: int) -> bytes:
        frames = self._frames.get(packet) or self._unstored.get(packet)
        if frames is None:
            # The whole packet: its other messages will be wanted soon.
            frames = self._body_reader.execute(
                "SELECT frames FROM body WHERE packet=?", (packet,)
            ).fetchone()[0]
            self._keep_frames(packet, frames)
        return frames[start : start + size]

    def _keep_packet(self, packet: SpooledPacket) -> None:
        self._packets[packet.id] = packet
        if len(self._packets) > PACKETS_IN_MEMORY:
            self._packets.popitem(last=False)

    def _keep_frames(self, packet: int, frames: bytes) -> None:
        self._frames[packet] = frames
        self._frames_octets += len(frames)
        while self._frames_octets > CACHE_OCTETS and len(self._frames) > 1:
            self._frames_octets -= len(self._frames.popitem(last=False)[1])

    def forget_frames(self, packet: int) -> None:
        """A packet that will not be read again soon."""
        if (frames := self._frames.pop(packet, None)) is not None:
            self._frames_octets -= len(frames)

    def _load_packet(self, number: int) -> None:
        header, first = self._reader.execute(
            "SELECT header, first_size FROM packet WHERE id=?", (number,)
        ).fetchone()
        self._keep_packet(SpooledPacket(number, msgspec.msgpack.decode(header, type=PacketHeader), first))

    def _load_lanes(self) -> None:
        for number, key, new, retries in self._index.execute("SELECT id, key, new, retries FROM lane"):
            lane = msgspec.msgpack.decode(key, type=LaneKey)
            self._lane_ids[lane] = number
            self.lanes[number] = lane
            self.lane_counts[number] = [new, retries]

    def _last_outbox(self) -> int:
        row = self._index.execute("SELECT seq FROM sqlite_sequence WHERE name='outbox'").fetchone()
        return int(row[0]) if row else 0

    def _sweep_bodies(self) -> None:
        """Bodies whose index rows never committed, and those whose last message has ended."""
        known = {row[0] for row in self._index.execute("SELECT id FROM packet")}
        orphans = [
            (row[0],) for row in self._bodies.execute("SELECT packet FROM body") if row[0] not in known
        ]
        self._bodies.executemany("DELETE FROM body WHERE packet=?", orphans)

    def _check_format(self) -> None:
        found = self._meta("format")
        if found is None:
            self._set_meta("format", INDEX_FORMAT)
        elif int(found) != INDEX_FORMAT:
            raise SpoolUnavailable(
                f"the spool in {self._folder} has format {found}, this version reads {INDEX_FORMAT}:"
                " drain it with the version that made it"
            )

    def _meta(self, key: str) -> Any:
        row = self._index.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return row[0] if row else None

    def _set_meta(self, key: str, value: Any) -> Any:
        self._index.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
        return value


def _lock(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise SpoolUnavailable(f"another engine owns the spool in {path.parent}") from None
    return handle
