"""The spool's two SQLite files: the index (small pages, rewritten often) and the bodies (large pages)."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

INDEX_FORMAT: Final = 1

INDEX: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lane (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE,
    new INTEGER NOT NULL DEFAULT 0, retries INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS packet (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, header BLOB NOT NULL, first_size INTEGER NOT NULL,
    expires REAL NOT NULL, alive INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS packet_expires ON packet (expires);
CREATE TABLE IF NOT EXISTS message (
    seq INTEGER PRIMARY KEY, lane INTEGER NOT NULL, due REAL NOT NULL, packet INTEGER NOT NULL,
    place INTEGER NOT NULL, start INTEGER NOT NULL, size INTEGER NOT NULL,
    attempts INTEGER NOT NULL, tried TEXT NOT NULL, id BLOB NOT NULL, address TEXT NOT NULL,
    domain TEXT NOT NULL, profile INTEGER NOT NULL, subscription INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS message_due ON message (lane, due, seq);
CREATE TABLE IF NOT EXISTS granted (
    seq INTEGER PRIMARY KEY, grant_number INTEGER NOT NULL, source TEXT NOT NULL, mx TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS move (id INTEGER PRIMARY KEY, node INTEGER NOT NULL, seqs BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS held (
    key TEXT PRIMARY KEY, queue TEXT NOT NULL, wire BLOB NOT NULL, since REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS tombstone (key TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tombstone_until ON tombstone (until);
CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, batch BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS permit (scope TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blob (sha256 TEXT PRIMARY KEY, content BLOB NOT NULL);
"""

BODIES: Final = """
CREATE TABLE IF NOT EXISTS body (packet INTEGER PRIMARY KEY, frames BLOB NOT NULL);
"""


def open_file(path: Path, *, page_size: int, cache_mb: int) -> sqlite3.Connection:
    """A connection that flushes at every commit and is handed from thread to thread by its owner."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.execute(f"PRAGMA page_size={page_size}")
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA cache_size=-{cache_mb * 1024}")
    connection.execute(f"PRAGMA wal_autocheckpoint={32_000_000 // page_size}")
    connection.execute("PRAGMA journal_size_limit=67108864")
    return connection
