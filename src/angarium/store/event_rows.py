"""The event table in the databases' own fastest ways: `executemany` on SQLite, `COPY` on PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from django.db import connection

from angarium.events import Event, EventKind, slot

Key = tuple[bytes, str]
"""Message id and slot."""
SLOT_LENGTH: Final = 80
_LENGTHS: Final = {
    "channel": 20, "address": 320, "source": 45, "reason": 80, "enhanced": 12, "text": 500, "mx": 255,
    "tls": 12, "pattern": 120,
}  # fmt: skip
_FIELDS: Final = tuple(field for field in Event.__struct_fields__ if field != "key")
_LIMITS: Final = tuple((_FIELDS.index(name), length) for name, length in _LENGTHS.items())
_COLUMNS: Final = ", ".join((*_FIELDS, "slot"))
_INSERT: Final = f"INSERT INTO event ({_COLUMNS})"
_TURN: Final = 0x616E67
"""Key of PostgreSQL's advisory lock that recorders hold while they write."""


def take_turn() -> None:
    """Until the transaction ends no other recorder writes. SQLite has one writer anyway."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_TURN])


def insert_batches(ids: Sequence[str], at: float) -> set[str]:
    """Notes the batches; the ids that were there before."""
    if not ids:
        return set()
    with connection.cursor() as cursor:
        marks = ", ".join(["(%s, %s)"] * len(ids))
        parameters = [value for id_ in ids for value in (text(id_, 80), moment(at))]
        cursor.execute(
            f"INSERT INTO event_batch (id, at) VALUES {marks} ON CONFLICT DO NOTHING RETURNING id",  # noqa: S608
            parameters,
        )
        fresh = {row[0] for row in cursor.fetchall()}
    return {id_ for id_ in ids if text(id_, 80) not in fresh}


def insert(events: Mapping[Key, Event]) -> set[Key]:
    """Inserts what is not there yet; the keys of what was inserted."""
    if not events:
        return set()
    rows = [_row(event) for event in events.values()]
    insert_rows = _insert_postgresql if connection.vendor == "postgresql" else _insert_sqlite
    inserted = insert_rows(rows)
    if inserted is None:
        return set(events)
    kept = {(row[_FIELDS.index("message")], row[-1]): key for row, key in zip(rows, events, strict=True)}
    return {kept[key] for key in inserted}


def _insert_sqlite(rows: list[tuple[Any, ...]]) -> set[Key] | None:
    """The keys inserted; None: all. This transaction is the only writer: what is new has a higher id."""
    marks = ", ".join(["%s"] * (len(_FIELDS) + 1))
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM event")
        last = cursor.fetchone()[0]
        cursor.executemany(f"{_INSERT} VALUES ({marks}) ON CONFLICT (message, slot) DO NOTHING", rows)
        if cursor.rowcount == len(rows):
            return None
        cursor.execute("SELECT message, slot FROM event WHERE id > %s", [last])
        return {(bytes(message), slot_) for message, slot_ in cursor.fetchall()}


def _insert_postgresql(rows: list[tuple[Any, ...]]) -> set[Key] | None:
    """The keys inserted; None: all."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS incoming ON COMMIT DELETE ROWS AS SELECT {_COLUMNS} FROM event LIMIT 0"  # noqa: S608, E501
        )
        with connection.wrap_database_errors, cursor.copy(f"COPY incoming ({_COLUMNS}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        cursor.execute(
            f"{_INSERT} SELECT {_COLUMNS} FROM incoming ON CONFLICT (message, slot) DO NOTHING"  # noqa: S608
            " RETURNING message, slot"
        )
        if cursor.rowcount == len(rows):
            return None
        return {(bytes(message), slot_) for message, slot_ in cursor.fetchall()}


def ends(messages: Sequence[bytes]) -> Iterator[tuple[int, Event]]:
    """The stored ends of these messages, with their row ids."""
    query = f"SELECT id, {', '.join(_FIELDS)} FROM event WHERE message = %s AND slot = 'end'"  # noqa: S608
    with connection.cursor() as cursor:
        for message in messages:
            cursor.execute(query, [message])
            if row := cursor.fetchone():
                yield row[0], _event(row[1:])


def replace(row: int, event: Event) -> None:
    """Puts another event into a row."""
    assignments = ", ".join(f"{field} = %s" for field in (*_FIELDS, "slot"))
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE event SET {assignments} WHERE id = %s", [*_row(event), row])  # noqa: S608


def _row(event: Event) -> tuple[Any, ...]:
    """The columns' values; texts cut to their columns' lengths."""
    values = list(msgspec.structs.astuple(event)[:-1])
    values[0] = event.kind.value
    for index, length in _LIMITS:
        if value := values[index]:
            values[index] = text(value, length)
    values.append(_short(slot(event)))
    return tuple(values)


def _event(values: Sequence[Any]) -> Event:
    fields = dict(zip(_FIELDS, values, strict=True))
    fields["kind"], fields["message"] = EventKind(fields["kind"]), bytes(fields["message"])
    return Event(**fields)


def moment(seconds: float) -> Any:
    """A wall-clock time as a parameter of a raw statement."""
    return connection.ops.adapt_datetimefield_value(datetime.fromtimestamp(seconds, UTC))


def text(value: str, length: int) -> str:
    """What both databases take: no NUL, at most so many characters."""
    return value.replace("\0", "")[:length]


def _short(name: str) -> str:
    """A slot that fits its column and stays unique."""
    name = name.replace("\0", "")
    if len(name) <= SLOT_LENGTH:
        return name
    return name[:40] + hashlib.blake2b(name.encode(), digest_size=20).hexdigest()
