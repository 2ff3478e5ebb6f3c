"""`mailing.port.LaunchStore` on the control database."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

import msgspec
from django.db import transaction
from django.db.models import Case, IntegerField, Q, QuerySet, When
from django.db.models.functions import Now

from angarium.domain.contact import email_address
from angarium.domain.policy import MAX_DAYS, Use, day_of
from angarium.errors import InvalidInput
from angarium.mailing import log
from angarium.mailing.lease import is_dead
from angarium.mailing.port import TAKEOVER, Candidate, Committed, LaunchLost, LogLine, PacketRow, Plan, Step
from angarium.store import audience, mailing_log, packets, plans
from angarium.store.database import Database
from angarium.store.sql import insert
from angarium.web.access.models import Account
from angarium.web.directory.models import SendingPolicy
from angarium.web.mailings.models import Launch, LaunchState, PolicyUse

RUNNING: Final = (LaunchState.PREPARING, LaunchState.STOPPING)
PURGED_AT_ONCE: Final = 5_000
_USE_KEY: Final = {
    "account_id": "bigint", "profile": "bigint", "resource": "bigint", "channel": "text", "contact": "bigint",
    "day": "integer",
}  # fmt: skip


class LaunchDatabase:
    """Runs the functions below on the database's thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, owner: str, busy: bool) -> Plan | None:
        return await self._database.call(claim, owner, busy)

    async def beat(self, owner: str) -> set[int]:
        return await self._database.call(beat, owner)

    async def audience_size(self, plan: Plan, after: int) -> int:
        return await self._database.call(audience.size, plan, after)

    async def page(self, plan: Plan, after: int, size: int) -> list[Candidate]:
        return await self._database.call(audience.page, plan, after, size, day_of(time.time()))

    async def candidates(self, plan: Plan, profiles: Sequence[int]) -> dict[int, Candidate]:
        return await self._database.call(audience.profiles, plan, profiles)

    async def sample(self, plan: Plan, address: str) -> Candidate | None:
        return await self._database.call(audience.sample, plan, email_address(address).contact)

    async def recipients(self, launch: int) -> set[int]:
        return await self._database.call(_contacts, launch)

    async def unconfirmed(self, launch: int) -> list[PacketRow]:
        return await self._database.call(packets.unconfirmed, launch)

    async def commit(self, plan: Plan, owner: str, step: Step) -> Committed:
        return await self._database.call(commit, plan, owner, step)

    async def log(self, plan: Plan, lines: Sequence[LogLine]) -> None:
        await self._database.call(mailing_log.write, plan.account, plan.mailing, plan.launch, lines)

    async def finish(self, plan: Plan, owner: str, state: str, lines: Sequence[LogLine]) -> None:
        await self._database.call(finish, plan, owner, state, lines)

    async def release(self, owner: str, launch: int | None = None) -> None:
        await self._database.call(release, owner, launch)


def claim(owner: str, busy: bool) -> Plan | None:
    """The next launch whose conditional update succeeds, as a plan. What cannot be run is failed."""
    for row in _claimable(busy):
        try:
            if _take(row, owner):
                return plans.of_launch(row)
        except InvalidInput as error:
            _fail(row, error)
    return None


def _claimable(busy: bool) -> Iterable[Launch]:
    """Test sends first, then urgent mailings, then as they came."""
    rows = Launch.objects.filter(Q(state=LaunchState.WAITING) | Q(state__in=RUNNING)).select_related(
        "mailing__account__policy",
        "mailing__resource__policy",
        "mailing__policy",
        "mailing__template",
        "mailing__sender",
    )
    if busy:
        rows = rows.exclude(test_address="")
    tests_first = Case(When(test_address="", then=1), default=0, output_field=IntegerField())
    return rows.order_by(tests_first, "-mailing__urgent", "pk")


@transaction.atomic
def _take(row: Launch, owner: str) -> bool:
    """Whether the launch is the owner's now; then the row is as it was taken, but for `started`."""
    if _must_wait(row):
        return False
    free = _owned(row.pk, row.owner).filter(state=row.state)
    if row.state != LaunchState.WAITING and not is_dead(row.owner):
        long_ago = Now() - timedelta(seconds=TAKEOVER)
        free = free.filter(Q(heartbeat__isnull=True) | Q(heartbeat__lt=long_ago))
    state = LaunchState.PREPARING if row.state == LaunchState.WAITING else row.state
    if not free.update(state=state, owner=owner, heartbeat=Now(), started=_first(row), finished=None):
        return False
    row.refresh_from_db(fields=["state", "cursor", "counts"])
    return True


def _first(row: Launch) -> object:
    return row.started if row.started is not None else Now()


def _owned(launch: int, owner: str) -> QuerySet[Launch]:
    return Launch.objects.filter(pk=launch, owner=owner)


def _must_wait(row: Launch) -> bool:
    """Launches of an account that has sending policies go one after another: each counts the last one's."""
    if row.test_address or not SendingPolicy.objects.filter(account_id=row.account_id).exists():
        return False
    list(Account.objects.select_for_update().filter(pk=row.account_id))
    others = Launch.objects.filter(account_id=row.account_id, state__in=RUNNING, test_address="")
    return others.exclude(pk=row.pk).exists()


@transaction.atomic
def _fail(row: Launch, reason: InvalidInput) -> None:
    Launch.objects.filter(pk=row.pk).update(
        state=LaunchState.FAILED, owner="", heartbeat=None, finished=Now()
    )
    mailing_log.write_for(row, [log.failed(reason)])


def beat(owner: str) -> set[int]:
    """Renews the claims of the owner on its launches, which are returned."""
    held = Launch.objects.filter(owner=owner, state__in=RUNNING)
    held.update(heartbeat=Now())
    return set(held.values_list("pk", flat=True))


@transaction.atomic
def commit(plan: Plan, owner: str, step: Step) -> Committed:
    """Raises `LaunchLost`."""
    held = _owned(plan.launch, owner).filter(state__in=RUNNING)
    if not held.update(cursor=step.cursor, counts=step.counts, heartbeat=Now()):
        raise LaunchLost("another launcher has taken the launch over")
    packets.replace(plan, step.replaced)
    packets.confirm(plan, step.confirmed)
    numbers = packets.add(plan, step.packets)
    _count_uses(plan, step.uses)
    mailing_log.write(plan.account, plan.mailing, plan.launch, step.log)
    stopping = held.filter(state=LaunchState.STOPPING).exists()
    return Committed(numbers, stopping)


def _count_uses(plan: Plan, uses: Sequence[Use]) -> None:
    if not uses:
        return
    insert(
        "policy_use",
        {**_USE_KEY, "count": "integer"},
        [(plan.account, *msgspec.structs.astuple(use)) for use in uses],
        f"({', '.join(_USE_KEY)}) DO UPDATE SET count = policy_use.count + excluded.count",
    )
    old = PolicyUse.objects.filter(account_id=plan.account, day__lte=uses[0].day - MAX_DAYS)
    PolicyUse.objects.filter(pk__in=old.values("pk")[:PURGED_AT_ONCE]).delete()


@transaction.atomic
def finish(plan: Plan, owner: str, state: str, lines: Sequence[LogLine]) -> None:
    """Raises `LaunchLost`."""
    held = _owned(plan.launch, owner).filter(state__in=RUNNING)
    if not held.update(state=state, owner="", heartbeat=None, finished=Now()):
        raise LaunchLost("another launcher has taken the launch over")
    mailing_log.write(plan.account, plan.mailing, plan.launch, lines)


def release(owner: str, launch: int | None = None) -> None:
    """So that any launcher can claim them at once."""
    held = Launch.objects.filter(owner=owner, state__in=RUNNING)
    (held if launch is None else held.filter(pk=launch)).update(owner="", heartbeat=None)


def _contacts(launch: int) -> set[int]:
    return {recipient.contact for recipient in packets.all_recipients(launch)}
