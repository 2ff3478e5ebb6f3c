"""Who a launch may go to: list entries with their profiles, and what the checks need to know of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import msgspec
from django.db import connection

from angarium.domain.contact import contact_hash, domain_of
from angarium.domain.policy import MAX_DAYS, Use
from angarium.mailing.checks import choose
from angarium.mailing.port import Candidate, Plan, Subscription
from angarium.store.sql import within
from angarium.web.directory.models import ListEntry

_COLUMNS: Final = "p.id, p.attributes, s.id, s.address, s.contact, s.status, s.provider, s.category, s.fields"
_SUBSCRIPTIONS: Final = (
    "LEFT JOIN subscription s ON s.profile_id = p.id AND s.resource_id = %s AND s.channel = %s"
)
_ORDER: Final = "s.priority DESC, s.id"
_PAGE: Final = f"""
    SELECT e.id, {_COLUMNS}
    FROM (SELECT id, profile_id FROM list_entry WHERE list_id = %s AND id > %s ORDER BY id LIMIT %s) e
    JOIN profile p ON p.id = e.profile_id {_SUBSCRIPTIONS}
    ORDER BY e.id, {_ORDER}
"""  # noqa: S608 – constants only
_PROFILES: Final = f"SELECT p.id, {_COLUMNS} FROM profile p {_SUBSCRIPTIONS} WHERE p.account_id = %s AND "  # noqa: S608

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
Row = tuple[Any, ...]


def size(plan: Plan, after: int = 0) -> int:
    """How many entries of the list follow the one named."""
    return ListEntry.objects.filter(
        list_id=plan.audience, list__account_id=plan.account, pk__gt=after
    ).count()


def page(plan: Plan, after: int, limit: int, day: int) -> list[Candidate]:
    """The next candidates in the order of entries, with the stop list, suppressions and policy uses."""
    with connection.cursor() as cursor:
        cursor.execute(_PAGE, [plan.audience, after, limit, plan.resource, plan.channel])
        rows = cursor.fetchall()
    return _informed(plan, [_candidate(plan, list(group)) for _, group in groupby(rows, itemgetter(0))], day)


def profiles(plan: Plan, ids: Sequence[int]) -> dict[int, Candidate]:
    """Profiles of the account by id; their entry is the profile's id. Nothing is looked up beyond them."""
    condition, wanted = within("p.id", ids)
    sql = f"{_PROFILES}{condition} ORDER BY p.id, {_ORDER}"
    with connection.cursor() as cursor:
        cursor.execute(sql, [plan.resource, plan.channel, plan.account, *wanted])
        rows = cursor.fetchall()
    found = (_candidate(plan, list(group)) for _, group in groupby(rows, itemgetter(0)))
    return {candidate.profile: candidate for candidate in found}


def sample(plan: Plan, contact: str) -> Candidate | None:
    """The profile a contact belongs to, else the first of the audience."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT profile_id FROM subscription WHERE channel = %s AND contact = %s AND account_id = %s"
            " ORDER BY CASE WHEN resource_id = %s THEN 0 ELSE 1 END, id LIMIT 1",
            [plan.channel, contact, plan.account, plan.resource],
        )
        row = cursor.fetchone()
    if row is None:
        row = ListEntry.objects.filter(list_id=plan.audience).order_by("pk").values_list("profile_id").first()
    return profiles(plan, [row[0]]).get(row[0]) if row else None


def _candidate(plan: Plan, rows: list[Row]) -> Candidate:
    entry, profile, attributes = rows[0][:3]
    fields = _decode(attributes)
    known = [_subscription(row) for row in rows if row[3] is not None]
    chosen = choose(known, plan.conditions, fields)
    contact = contact_hash(plan.channel, chosen.contact) if chosen else 0
    return Candidate(entry, profile, fields, chosen, contact)


def _subscription(row: Row) -> Subscription:
    number, address, contact, status, provider, category, fields = row[3:]
    own = _decode(fields) if fields != "{}" else {}
    return Subscription(number, address, contact, status, {**own, "provider": provider, "category": category})


def _informed(plan: Plan, candidates: list[Candidate], day: int) -> list[Candidate]:
    contacts = [one.subscription.contact for one in candidates if one.subscription]
    stopped = _stopped(plan.channel, contacts)
    suppressed = _suppressed(plan.suppression_lists, contacts)
    uses = _uses(plan, candidates, day) if plan.limits else {}
    if not (stopped or suppressed or uses):
        return candidates
    return [_with(one, stopped, suppressed, uses) for one in candidates]


def _with(
    candidate: Candidate, stopped: set[str], suppressed: set[str], uses: dict[tuple[str, int], list[Use]]
) -> Candidate:
    contact = candidate.subscription.contact if candidate.subscription else ""
    own = {*uses.get(("profile", candidate.profile), ()), *uses.get(("contact", candidate.contact), ())}
    return msgspec.structs.replace(
        candidate,
        stopped=contact in stopped,
        suppressed=contact in suppressed or domain_of(contact) in suppressed,
        uses=tuple(own),
    )


def _stopped(channel: str, contacts: list[str]) -> set[str]:
    condition, wanted = within("contact", contacts)
    return _values(f"SELECT contact FROM stop_entry WHERE channel = %s AND {condition}", [channel, *wanted])  # noqa: S608


def _suppressed(lists: Sequence[int], contacts: list[str]) -> set[str]:
    """Contacts and domains. An address has an @ and a domain has none, so that one set holds both."""
    if not lists:
        return set()
    named, list_ids = within("list_id", lists)
    value, wanted = within("value", [*contacts, *{domain_of(contact) for contact in contacts}])
    return _values(f"SELECT value FROM suppression_entry WHERE {named} AND {value}", [*list_ids, *wanted])  # noqa: S608


def _values(sql: str, parameters: list[Any]) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return {row[0] for row in cursor.fetchall()}


def _uses(plan: Plan, candidates: Iterable[Candidate], day: int) -> dict[tuple[str, int], list[Use]]:
    found: dict[tuple[str, int], list[Use]] = {}
    for column in ("profile", "contact"):
        condition, wanted = within(column, [getattr(one, column) for one in candidates])
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT profile, resource, channel, contact, day, count FROM policy_use"  # noqa: S608
                f" WHERE account_id = %s AND day > %s AND {condition}",
                [plan.account, day - MAX_DAYS, *wanted],
            )
            for row in cursor.fetchall():
                found.setdefault((column, row[0] if column == "profile" else row[3]), []).append(Use(*row))
    return found
