"""The broker's SQLite file, opened by one process and used by one thread.

A `Batch` is one transaction: what it publishes, and the marks it sets, are on disk when `commit`
returns. A queue's mark is the highest id that may ever have been handed out; nothing above it has been.
So after a crash the messages up to the mark are the ones to flag as redelivered.
Bodies are read only when somebody is about to receive them.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from angarium.broker.embedded.connection import Body
from angarium.broker.embedded.place import DATABASE_NAME
from angarium.errors import AngariumError

FREE_PAGES_KEPT: Final = 4096
"""64 MB of free pages stay in the file for what comes next; more is given back to the file system."""
VACUUM_PAGES: Final = 256
LOAD_BYTES: Final = 16 << 20

REFUSED_WRITES: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
"""No space; a quota or a limit on the size of files."""

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS queue (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, mark INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY, queue INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS message_queue ON message (queue);
"""


class DiskFullError(AngariumError):
    """The transaction was rolled back for want of space."""


@dataclass(slots=True)
class Load:
    """Asks for bodies: of the returned messages named, and of the next messages after `after`."""

    queue: int
    returned: tuple[int, ...]
    after: int
    count: int
    bodies: dict[int, bytes] = field(default_factory=dict)
    following: list[tuple[int, bytes]] = field(default_factory=list)


@dataclass(slots=True)
class Batch:
    """What gathered while the last flush ran."""

    queues: list[tuple[int, str]] = field(default_factory=list)
    """Id and name of new queues."""
    publishes: list[tuple[int, int, Body]] = field(default_factory=list)
    """Id, queue, body."""
    acks: list[tuple[int]] = field(default_factory=list)
    moves: list[tuple[int, int, int]] = field(default_factory=list)
    """New id, new queue, old id: a dead letter is the newest message of its new queue."""
    marks: dict[int, int] = field(default_factory=dict)
    loads: list[Load] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.queues or self.publishes or self.acks or self.moves or self.marks or self.loads)


@dataclass(frozen=True, slots=True)
class StoredQueue:
    id: int
    name: str
    mark: int
    messages: int


class Storage:
    """Raises `sqlite3.Error` when the file is damaged or the disk fails: the broker must stop then."""

    def __init__(self, folder: Path, reserve: int) -> None:
        """`reserve`: bytes of the file system that publishes leave free, so that acks always have room."""
        self._folder = folder
        self._reserve = reserve
        (folder / DATABASE_NAME).touch(mode=0o600)
        self._db = sqlite3.connect(folder / DATABASE_NAME, isolation_level=None, check_same_thread=False)
        for setting in (
            "page_size=16384",
            "auto_vacuum=INCREMENTAL",
            "locking_mode=EXCLUSIVE",
            "journal_mode=WAL",
            "synchronous=FULL",
            "secure_delete=OFF",
            "wal_autocheckpoint=2048",
            "cache_size=-16384",
        ):
            self._db.execute(f"PRAGMA {setting}").fetchall()
        self._db.executescript(SCHEMA)

    def queues(self) -> list[StoredQueue]:
        rows = self._db.execute(
            "SELECT id, name, mark, (SELECT count(*) FROM message WHERE queue = queue.id)"
            " FROM queue ORDER BY id"
        )
        return [StoredQueue(*row) for row in rows]

    def last_id(self) -> int:
        """The highest id any message has or may have had."""
        query = (
            "SELECT max(ifnull((SELECT max(id) FROM message), 0), ifnull((SELECT max(mark) FROM queue), 0))"
        )
        return int(self._db.execute(query).fetchone()[0])

    def space_short(self) -> bool:
        """Whether the file system has less room than the reserve."""
        state = os.statvfs(self._folder)
        return state.f_bavail * state.f_frsize < self._reserve

    def commit(self, batch: Batch) -> None:
        """One transaction; fills in the batch's loads. After `DiskFullError` nothing of it has happened."""
        if batch.publishes and self.space_short():
            raise DiskFullError("no space left on the broker's disk")
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._apply(batch)
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if error.sqlite_errorcode in REFUSED_WRITES:
                raise DiskFullError("no space left on the broker's disk") from error
            raise

    def _apply(self, batch: Batch) -> None:
        write = self._db.executemany
        write("INSERT OR IGNORE INTO queue (id, name) VALUES (?, ?)", batch.queues)
        write("INSERT INTO message (id, queue, body) VALUES (?, ?, ?)", batch.publishes)
        write("DELETE FROM message WHERE id = ?", batch.acks)
        write("UPDATE message SET id = ?, queue = ? WHERE id = ?", batch.moves)
        for load in batch.loads:
            self._fill(load)
            if load.following:
                batch.marks[load.queue] = max(batch.marks.get(load.queue, 0), load.following[-1][0])
        # A batch may have been asked for a lower mark while a higher one was still on its way to the disk.
        marks = [(mark, queue) for queue, mark in batch.marks.items()]
        write("UPDATE queue SET mark = max(mark, ?) WHERE id = ?", marks)

    def _fill(self, load: Load) -> None:
        load.bodies.clear()
        load.following.clear()
        for returned in load.returned:
            row = self._db.execute("SELECT body FROM message WHERE id = ?", (returned,)).fetchone()
            load.bodies[returned] = row[0]
        if load.count:
            load.following.extend(self._following(load))

    def _following(self, load: Load) -> Iterator[tuple[int, bytes]]:
        query = "SELECT id, body FROM message WHERE queue = ? AND id > ? ORDER BY id LIMIT ?"
        cursor = self._db.execute(query, (load.queue, load.after, load.count))
        total = 0
        for row in cursor:
            yield row
            total += len(row[1])
            if total >= LOAD_BYTES:
                cursor.close()
                return

    def vacuum(self) -> bool:
        """Gives one step of free pages back to the file system; false when there is nothing to give."""
        free = int(self._db.execute("PRAGMA freelist_count").fetchone()[0])
        if free <= FREE_PAGES_KEPT:
            return False
        self._db.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
        return True

    def lower_marks(self, marks: dict[int, int]) -> None:
        """At an orderly stop: the marks as they really are, so that less is flagged next time."""
        exact = [(mark, queue) for queue, mark in marks.items()]
        with contextlib.suppress(sqlite3.OperationalError):
            self._db.executemany("UPDATE queue SET mark = ? WHERE id = ?", exact)

    def close(self) -> None:
        self._db.close()
