"""A batch of imported people, written in a handful of statements."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from django.db import connection
from django.utils import timezone

from angarium.mailing.import_rows import Person, merged_status
from angarium.store.sql import insert, within

CHANNEL: Final = "email"
_PROFILE: Final = {
    "account_id": "bigint", "key": "text", "attributes": "jsonb", "created": "timestamptz",
    "updated": "timestamptz",
}  # fmt: skip
_SUBSCRIPTION: Final = {
    "account_id": "bigint", "profile_id": "bigint", "resource_id": "bigint", "channel": "text",
    "address": "text", "contact": "text", "status": "text", "fields": "jsonb", "created": "timestamptz",
    "updated": "timestamptz", "provider": "text", "category": "text", "priority": "smallint",
}  # fmt: skip
_ENTRY: Final = {"list_id": "bigint", "profile_id": "bigint"}
_UPDATE: Final = "UPDATE subscription SET address = %s, contact = %s, status = %s, updated = %s WHERE id = %s"
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Target(msgspec.Struct, frozen=True):
    """Where the people go."""

    account: int
    resource: int | None
    into: int | None


class Done(msgspec.Struct):
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    subscribed: int = 0


class _Known(msgspec.Struct):
    """A subscription that is there."""

    id: int
    contact: str
    status: str


def store(target: Target, people: Sequence[Person]) -> Done:
    """Call it within a transaction."""
    done = Done()
    if not people:
        return done
    ids = _profiles(target, people, done)
    if target.resource is not None:
        _subscriptions(target, people, ids, done)
    if target.into is not None:
        entries = dict.fromkeys((target.into, ids[one.key]) for one in people)
        insert("list_entry", _ENTRY, list(entries), "DO NOTHING")
    return done


def _profiles(target: Target, people: Sequence[Person], done: Done) -> dict[str, int]:
    """Key → profile id. Columns of the file replace attributes; other attributes stay."""
    known = _known_profiles(target.account, people)
    before = {key: attributes for key, (_, attributes) in known.items()}
    after: dict[str, dict[str, Any]] = {}
    for one in people:
        old = after.get(one.key, before.get(one.key))
        new = one.attributes if old is None else old | one.attributes
        if old is None:
            done.created += 1
        elif new == old and _types(new) == _types(old):
            done.unchanged += 1
            continue
        else:
            done.updated += 1
        after[one.key] = new
    now = _now()
    insert(
        "profile",
        _PROFILE,
        [(target.account, key, _json(attributes), now, now) for key, attributes in after.items()],
        "(account_id, key) DO UPDATE SET attributes = excluded.attributes, updated = excluded.updated",
    )
    if len(known) < len({one.key for one in people}):
        known = _known_profiles(target.account, people)
    return {key: number for key, (number, _) in known.items()}


def _types(attributes: dict[str, Any]) -> list[type]:
    """`1 == True` in Python, not in a profile."""
    return [type(value) for value in attributes.values()]


def _known_profiles(account: int, people: Sequence[Person]) -> dict[str, tuple[int, dict[str, Any]]]:
    condition, wanted = within("key", list({one.key for one in people}))
    sql = f"SELECT id, key, attributes FROM profile WHERE account_id = %s AND {condition}"  # noqa: S608
    return {key: (number, _decode(attributes)) for number, key, attributes in _rows(sql, [account, *wanted])}


def _subscriptions(target: Target, people: Sequence[Person], ids: dict[str, int], done: Done) -> None:
    known = _known_subscriptions(target, set(ids.values()))
    new: dict[tuple[int, str], tuple[Any, ...]] = {}
    changed: dict[int, tuple[Any, ...]] = {}
    now = _now()
    for one in people:
        if one.email is None:
            continue
        profile = ids[one.key]
        row = _match(known.get(profile, []), one)
        if row is None:
            status = merged_status("subscribed", one.status)
            new[profile, one.email.contact] = (
                target.account, profile, target.resource, CHANNEL, one.email.address, one.email.contact,
                status, "{}", now, now, "", "", 0,
            )  # fmt: skip
        elif (change := _change(row, one)) is not None:
            changed[row.id] = (one.email.address, *change, now, row.id)
    done.subscribed += len(new)
    insert("subscription", _SUBSCRIPTION, list(new.values()), "DO NOTHING")
    if changed:
        with connection.cursor() as cursor:
            cursor.executemany(_UPDATE, list(changed.values()))


def _match(known: list[_Known], one: Person) -> _Known | None:
    """The subscription of the address; else the profile's only one, whose address has changed."""
    assert one.email is not None
    same = next((row for row in known if row.contact == one.email.contact), None)
    return same or (known[0] if len(known) == 1 else None)


def _change(row: _Known, one: Person) -> tuple[str, str] | None:
    """Contact and status to write; None: nothing changes. A new address is not dead as the old one was."""
    assert one.email is not None
    moved = row.contact != one.email.contact
    known = "subscribed" if moved and row.status in ("hardbounced", "invalid") else row.status
    status = merged_status(known, one.status)
    if not moved and status == row.status:
        return None
    row.contact, row.status = one.email.contact, status
    return row.contact, status


def _known_subscriptions(target: Target, profiles: set[int]) -> dict[int, list[_Known]]:
    condition, wanted = within("profile_id", profiles)
    sql = (
        "SELECT profile_id, id, contact, status FROM subscription"  # noqa: S608
        f" WHERE resource_id = %s AND channel = %s AND {condition} ORDER BY id"
    )
    known: dict[int, list[_Known]] = {}
    for profile, *row in _rows(sql, [target.resource, CHANNEL, *wanted]):
        known.setdefault(profile, []).append(_Known(*row))
    return known


def _rows(sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, list(parameters))
        return list(cursor.fetchall())


def _json(attributes: dict[str, Any]) -> str:
    return msgspec.json.encode(attributes).decode()


def _now() -> datetime | str | None:
    return connection.ops.adapt_datetimefield_value(timezone.now())
