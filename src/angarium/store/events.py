"""Events into the database: once each, with all that follows from them, in one transaction.

What a crash leaves: the whole of a call or nothing of it. Storing the same batch again changes
nothing, nor does storing the same event in another batch. A message has at most one end; of two
that are reported the one of higher rank stays, and the counters tell of that one only.
Several recorders may run; their transactions take turns.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from django.db import DataError, IntegrityError, connection, transaction

from angarium.errors import CorruptPacket
from angarium.events import RANK, Event, EventBatch, EventKind, slot
from angarium.store import event_rows
from angarium.store.event_rows import Key
from angarium.store.standing import follow

_UPSERT_COUNTERS = """
    INSERT INTO counter (account, mailing, launch, sender, channel, isp, kind, reason, minute, count)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (launch, sender, isp, kind, reason, minute)
    DO UPDATE SET count = counter.count + excluded.count
"""
CounterKey = tuple[int, int, int, int, str, int, str, str, int]
"""account, mailing, launch, sender, channel, isp, kind, reason, minute: in the columns' order."""


class Stored(NamedTuple):
    """What a call added."""

    events: int
    repeated: int
    """Events, of this call, that were there already or lost to a higher end."""


def store(batches: Sequence[EventBatch], now: float) -> Stored:
    """Stores batches in one transaction. `now`: wall clock, seconds.

    Raises `CorruptPacket` when the database cannot take what one of them says; nothing was stored then.
    """
    try:
        return _store(batches, now)
    except (DataError, IntegrityError, OverflowError, ValueError) as error:
        raise CorruptPacket(f"the events cannot be stored: {error}") from error


def _store(batches: Sequence[EventBatch], now: float) -> Stored:
    with transaction.atomic():
        event_rows.take_turn()
        known = event_rows.insert_batches([batch.id for batch in batches], now)
        events = [event for batch in batches if batch.id not in known for event in batch.events]
        fresh = _insert(events)
        total = sum(len(batch.events) for batch in batches)
        return Stored(fresh, total - fresh)


def _insert(events: Sequence[Event]) -> int:
    """How many of the events are in the database now and were not before."""
    offered = unique(events)
    inserted = event_rows.insert(offered)
    fresh = [event for key, event in offered.items() if key in inserted]
    tally = Tally(counter_key(event) for event in fresh)
    _settle_ends(
        {key: event for key, event in offered.items() if key[1] == "end" and key not in inserted}, tally
    )
    _count(tally)
    follow(fresh)
    return len(fresh)


def unique(events: Iterable[Event]) -> dict[Key, Event]:
    """One event a (message, slot): of two ends the higher, of other repeats the first."""
    found: dict[Key, Event] = {}
    for event in events:
        key = (event.message, slot(event))
        other = found.get(key)
        if other is None or outranks(event.kind, other.kind):
            found[key] = event
    return found


def outranks(new: EventKind, old: EventKind) -> bool:
    """Whether one end of a message replaces another."""
    return RANK.get(new, 0) > RANK.get(old, 0)


def counter_key(event: Event) -> CounterKey:
    """The counter an event adds to."""
    return (
        event.account, event.mailing, event.launch, event.sender, event.channel, event.isp,
        event.kind.value, event_rows.text(event.reason, 80), int(event.time // 60),
    )  # fmt: skip


def _settle_ends(late: dict[Key, Event], tally: Tally[CounterKey]) -> None:
    """Ends of messages that have one already: a higher one replaces it, and the counters follow."""
    for row, old in event_rows.ends([message for message, _ in late]):
        new = late[old.message, "end"]
        if outranks(new.kind, old.kind):
            event_rows.replace(row, new)
            tally[counter_key(old)] -= 1
            tally[counter_key(new)] += 1


def _count(tally: Tally[CounterKey]) -> None:
    rows = sorted((*key, count) for key, count in tally.items() if count)
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(_UPSERT_COUNTERS, rows)
