"""Where messages wait, by (account, sender, mailing, ISP) and node: the one place that adds it up.

What nodes hold, they say. What is published, neither ended nor said to be held, is in the broker. A
command counts from its row on, before a node has said so: what a closed gate covers is frozen, and what
was cleared after a node spoke is not in the queue.

An event may name an ISP that the packet did not know yet (0): within a mailing and sender such
messages are taken from those published without an ISP.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from django.db.models import Q, QuerySet, Sum

from angarium.broker.topology import mta_queue, priority_queue
from angarium.domain import gates
from angarium.domain.gates import Scope
from angarium.events import EventKind
from angarium.web.mailings.models import Launch, LaunchState, Packet
from angarium.web.queues.models import Clear, Gate
from angarium.web.reports.models import Counter, QueueFigure
from angarium.web.sending.models import Node

MEMORY: Final = 31 * 86_400.0
"""Seconds for which opened gates and clears are told, and for which what a finished launch published is
looked for in the broker."""
BROKER: Final = 0
"""Stands where a node's number would."""
_ENDED: Final = (EventKind.DELIVERED, EventKind.UNDELIVERED)


class Cell(msgspec.Struct, frozen=True):
    """Messages of one (account, sender, mailing, ISP) in one place."""

    scope: Scope
    node: int
    new: int = 0
    retries: int = 0
    sending: int = 0
    frozen: int = 0
    deleting: int = 0
    """Cleared, and not recorded as ended: in the books, not in the queue."""
    at: float = 0.0
    """Wall clock: what the node's figures are true for."""

    @property
    def total(self) -> int:
        return self.new + self.retries + self.sending + self.frozen


def closed() -> gates.Gates:
    """The gates in force, and no clears."""
    rows = Gate.objects.filter(until=None).order_by("pk")
    return gates.Gates(tuple(gates.Gate(row.pk, row.scope, row.since) for row in rows))


def cells(scope: Scope) -> list[Cell]:
    """Everything of the scope that is on nodes or in the broker."""
    clears = [row for row in Clear.objects.filter(at__gte=time.time() - MEMORY) if overlap(row.scope, scope)]
    shut = closed()
    held = [_stopped(cell, shut) for cell in _held(scope, clears)]
    found = _in_broker(scope, held, clears).items()
    return held + [_stopped(Cell(key, BROKER, new=count), shut) for key, count in found]


def overlap(one: Scope, other: Scope) -> bool:
    """Whether a message may be within both."""
    pairs = ((getattr(one, name), getattr(other, name)) for name in Scope.__struct_fields__)
    return all(a == b or 0 in (a, b) for a, b in pairs)


def _stopped(cell: Cell, shut: gates.Gates) -> Cell:
    if not cell.new + cell.retries or not shut.closed(cell.scope):
        return cell
    return msgspec.structs.replace(cell, new=0, retries=0, frozen=cell.frozen + cell.new + cell.retries)


def _held(scope: Scope, clears: list[Clear]) -> list[Cell]:
    """What nodes said. One that has not read a clear has nothing but what it is sending."""
    versions = dict(Node.objects.values_list("pk", "version"))
    return [_said(row, versions.get(row.node, 0), clears) for row in figures(scope)]


def _said(row: QueueFigure, version: int, clears: list[Clear]) -> Cell:
    key = Scope(row.account, row.sender, row.mailing, row.isp)
    if any(clear.version > version and clear.scope.covers(key) for clear in clears):
        dead = row.deleting + row.new + row.retries + row.frozen
        return Cell(key, row.node, sending=row.sending, deleting=dead, at=row.at)
    return Cell(key, row.node, row.new, row.retries, row.sending, row.frozen, row.deleting, row.at)


def figures(scope: Scope) -> QuerySet[QueueFigure]:
    """The rows that nodes wrote about the scope."""
    return QueueFigure.objects.filter(**_wanted(scope))


def _wanted(scope: Scope) -> dict[str, int]:
    return {name: value for name, value in msgspec.structs.asdict(scope).items() if value}


def _in_broker(scope: Scope, held: list[Cell], clears: list[Clear]) -> dict[Scope, int]:
    """Messages that were published and nobody else accounts for, never fewer than none."""
    left = _published(scope)
    left.subtract(_ended(scope))
    left.subtract(_sum(held, lambda cell: cell.total + cell.deleting))
    _attribute(left)
    return _without_dead({key: count for key, count in left.items() if count > 0}, scope, held, clears)


def _attribute(left: Tally[Scope]) -> None:
    """What an ISP has too much of was published without an ISP."""
    for key, count in list(left.items()):
        if key.isp and count < 0:
            left[msgspec.structs.replace(key, isp=0)] += count
            left[key] = 0


def _without_dead(
    waiting: dict[Scope, int], scope: Scope, held: list[Cell], clears: list[Clear]
) -> dict[Scope, int]:
    """At most what was published since the last clear and is not on nodes."""
    alive = _sum(held, lambda cell: cell.new + cell.retries + cell.frozen)
    since: dict[int, Tally[Scope]] = {}
    for key in waiting:
        before = max((clear.before for clear in clears if clear.scope.covers(key)), default=0)
        if before:
            if before not in since:
                since[before] = _published(scope, before)
            waiting[key] = min(waiting[key], max(since[before][key] - alive[key], 0))
    return {key: count for key, count in waiting.items() if count}


def _published(scope: Scope, first: int = 0) -> Tally[Scope]:
    """In packets with this number or a higher one."""
    rows = Packet.objects.filter(published=True, launch__in=_launches(scope))
    if first:
        rows = rows.filter(pk__gte=first)
    if scope.sender:
        rows = rows.filter(queue__in=queues_of(scope.sender))
    if scope.isp:
        rows = rows.filter(isp=scope.isp)
    names = ("launch__account", "launch__mailing", "queue", "isp")
    found: Tally[Scope] = Tally()
    for account, mailing, queue, isp, count in rows.order_by().values_list(*names).annotate(n=Sum("count")):
        found[Scope(account, sender_of(queue), mailing, isp)] += count
    return found


def queues_of(sender: int) -> tuple[str, str]:
    """What a launcher publishes its messages to."""
    return mta_queue(sender), priority_queue(sender)


def sender_of(queue: str) -> int:
    """Of the queue's name (`broker.topology`): a mailing's sender may have changed since."""
    return int(queue.rpartition("_")[2])


def _launches(scope: Scope) -> QuerySet[Launch, Any]:
    """Those that may have messages somewhere: of a mailing, or not over for long."""
    rows = Launch.objects.filter(settled=False)
    if scope.account:
        rows = rows.filter(account=scope.account)
    if scope.mailing:
        return rows.filter(mailing=scope.mailing).values("pk")
    since = datetime.fromtimestamp(time.time() - MEMORY, UTC)
    return rows.filter(Q(finished=None) | Q(finished__gte=since)).values("pk")


def _ended(scope: Scope) -> Tally[Scope]:
    # The launches say which account and mailing: named again, they lead SQLite to a worse index.
    wanted = {name: value for name, value in _wanted(scope).items() if name in ("sender", "isp")}
    rows = Counter.objects.filter(kind__in=_ENDED, launch__in=_launches(scope), **wanted)
    found = rows.order_by().values_list("account", "sender", "mailing", "isp").annotate(n=Sum("count"))
    return Tally({Scope(*key): count for *key, count in found})


def settle() -> int:
    """Marks launches of which nothing can be anywhere any more, so that no figure adds them up; how many."""
    over = Launch.objects.filter(state=LaunchState.PREPARED, settled=False)
    launches = list(over.values_list("pk", flat=True))
    packets = Packet.objects.filter(launch__in=over.values("pk")).order_by().values_list("launch")
    sent = dict(packets.annotate(n=Sum("count")))
    ends = Counter.objects.filter(launch__in=over.values("pk"), kind__in=_ENDED).order_by()
    ended = dict(ends.values_list("launch").annotate(n=Sum("count")))
    done = [launch for launch in launches if ended.get(launch, 0) >= sent.get(launch, 0)]
    return Launch.objects.filter(pk__in=done).update(settled=True) if done else 0


def _sum(held: Iterable[Cell], count: Callable[[Cell], int]) -> Tally[Scope]:
    found: Tally[Scope] = Tally()
    for cell in held:
        found[cell.scope] += count(cell)
    return found
