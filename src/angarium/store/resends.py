"""Sends a mailing again to those whom a launch did not reach, as a launch of its own.

Who that is stands in a list made for it, so that the launch resumes as any other and events may be deleted
meanwhile. All checks are made again: whose address has died since, or who has unsubscribed, gets nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec
from django.db import transaction
from django.db.models import QuerySet, Sum

from angarium.domain.outcome import Reason
from angarium.errors import InvalidInput
from angarium.events import EventKind
from angarium.store import launches
from angarium.web.directory.models import ListEntry, Profile, ProfileList
from angarium.web.mailings.models import Launch
from angarium.web.reports.models import Counter, Event

REASONS = tuple(reason for reason in Reason if reason is not Reason.HARD_BOUNCE)
"""Those that may be tried again: a hard bounce says that the address is dead."""
_AT_ONCE = 1_000


class Resend(msgspec.Struct, frozen=True):
    recipients: int
    """Profiles it goes to, before the checks."""
    launch: int
    """The new launch; 0: a dry run."""


def offered(account: int, launch: int) -> dict[Reason, int]:
    """How many messages of the launch ended undelivered, for each reason that may be tried again."""
    rows = Counter.objects.filter(account=account, launch=launch, kind=EventKind.UNDELIVERED).order_by()
    counts = dict(rows.values_list("reason").annotate(n=Sum("count")))
    return {reason: counts[reason] for reason in REASONS if counts.get(reason)}


@transaction.atomic
def request(
    account: int, launch: int, reasons: Collection[Reason], user: int | None = None, *, dry_run: bool = False
) -> Resend:
    """Asks for it; no reasons: all of `REASONS`. Raises `InvalidInput` saying why it is refused."""
    old = _over(account, launch)
    profiles = _undelivered(old, _fit(reasons))
    if dry_run:
        return Resend(profiles.count(), 0)
    mailing = launches.ready(account, old.mailing_id)
    new = Launch.objects.create(account_id=account, mailing=mailing, created_by_id=user)
    name = f"Launch {new.pk}: undelivered of launch {old.pk}"
    new.recipients = ProfileList.objects.create(account_id=account, name=name)
    new.audience = sum(_add(new.recipients, some) for some in _parts(profiles))
    if not new.audience:
        raise InvalidInput(f"launch {old.pk} left nobody undelivered for these reasons")
    new.save(update_fields=["recipients", "audience"])
    return Resend(new.audience, new.pk)


def _over(account: int, launch: int) -> Launch:
    row = Launch.objects.filter(pk=launch, account=account, test_address="").first()
    if row is None:
        raise InvalidInput(f"there is no launch {launch}")
    if row.state in launches.UNFINISHED:
        raise InvalidInput(f"launch {launch} is not over: stop it or wait for its end")
    return row


def _fit(reasons: Collection[Reason]) -> Collection[Reason]:
    if Reason.HARD_BOUNCE in reasons:
        raise InvalidInput("a hard bounce says that the address is dead: it is not tried again")
    return reasons or REASONS


def _undelivered(launch: Launch, reasons: Collection[Reason]) -> QuerySet[Profile]:
    ended = Event.objects.filter(launch=launch.pk, kind=EventKind.UNDELIVERED, reason__in=list(reasons))
    return Profile.objects.filter(account=launch.account_id, pk__in=ended.values("profile"))


def _parts(profiles: QuerySet[Profile]) -> Iterator[list[int]]:
    found = list(profiles.order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(found), _AT_ONCE):
        yield found[start : start + _AT_ONCE]


def _add(to: ProfileList, profiles: list[int]) -> int:
    return len(ListEntry.objects.bulk_create([ListEntry(list=to, profile_id=pk) for pk in profiles]))
