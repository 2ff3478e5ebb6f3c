"""The sender queue: its figures, and the commands that stop it, let it go on and empty it.

A command is one transaction: the gate or clear, the settings version that carries it, and its line in
the audit journal. Committed, it survives every crash; nodes read it within a second and start no attempt
before their first read. No message is rewritten, so lifting a gate restores what was there. The access
rules stay with the callers: they have checked the scope.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final, Literal

import msgspec
from django.db import transaction
from django.db.models import Model, QuerySet

from angarium.domain.gates import Scope
from angarium.errors import InvalidInput
from angarium.store import queue_books
from angarium.store.queue_books import BROKER, Cell
from angarium.web.access.journal import note
from angarium.web.access.models import Account
from angarium.web.mailings.models import Launch, LaunchState, Mailing, Packet
from angarium.web.queues.models import Clear, Gate
from angarium.web.sending.changes import bump
from angarium.web.sending.models import Isp, Node, Sender, SettingsVersion

SILENCE: Final = 10.0
"""Seconds without a sign of life."""
PATIENCE: Final = 3.0
"""Seconds a caller waits for nodes to confirm: they read each second and say so in the next."""
LOOK_EVERY: Final = 0.05
PREPARING: Final = (LaunchState.WAITING, LaunchState.PREPARING, LaunchState.STOPPING, LaunchState.PAUSED)
By = Literal["mailing", "sender", "isp", "node"]
STATES: Final = ("new", "retries", "sending", "frozen")
_MODELS: Final[dict[str, type[Model]]] = {
    "account": Account,
    "sender": Sender,
    "mailing": Mailing,
    "isp": Isp,
    "node": Node,
}
_NAMELESS: Final = {"isp": "Other domains", "node": "In the broker"}


class Queue(msgspec.Struct, frozen=True):
    """total = new + retries + sending + frozen."""

    total: int
    new: int
    retries: int
    sending: int
    frozen: int
    at: float | None
    """Wall clock: the oldest moment any node's figures are true for; None: no node said anything."""
    silent: tuple[str, ...]
    """Nodes without a sign of life for 10 s or more: their last known figures are in the sums."""


class Row(msgspec.Struct, frozen=True):
    """A part of the queue. `id` 0: the broker among nodes; domains that no ISP lists among ISPs."""

    id: int
    name: str
    queue: Queue


class GateRow(msgspec.Struct, frozen=True):
    id: int
    scope: Scope
    since: float
    user: str


class Command(msgspec.Struct, frozen=True):
    affected: int
    """Messages counted when it was given; with dry_run: that would be."""
    version: int
    """The settings version that carries it; 0 for a dry run or when nothing changed."""


def queue(scope: Scope) -> Queue:
    """The figures of a scope: on all nodes and in the broker."""
    return _queue(queue_books.cells(scope), signs_of_life())


def breakdown(scope: Scope, by: By) -> list[Row]:
    """The figures' parts that hold something, the largest first. They add up to those of the scope."""
    parts: dict[int, list[Cell]] = {}
    for cell in queue_books.cells(scope):
        if cell.total:
            parts.setdefault(cell.node if by == "node" else getattr(cell.scope, by), []).append(cell)
    names = dict(_MODELS[by]._default_manager.filter(pk__in=parts).values_list("pk", "name"))
    signs = signs_of_life()
    rows = [
        Row(key, names.get(key) or _nameless(by, key), _queue(part, signs)) for key, part in parts.items()
    ]
    return sorted(rows, key=lambda row: (-row.queue.total, row.id))


def gates(scope: Scope | None = None) -> list[GateRow]:
    """In force, the oldest first; with a scope those that stop any of it."""
    rows = [
        GateRow(row.pk, row.scope, row.since, row.user)
        for row in Gate.objects.filter(until=None).order_by("pk")
    ]
    if scope is None:
        return rows
    wanted = _filled(scope)
    return [row for row in rows if queue_books.overlap(row.scope, wanted)]


def close(scope: Scope, user: str, *, dry_run: bool = False) -> Command:
    """Freezes a mailing, or holds a scope. Closing twice changes nothing. Raises `InvalidInput`."""
    scope = _known(scope)
    cells = queue_books.cells(scope)
    affected = sum(cell.new + cell.retries for cell in cells)
    return _command(scope, user, affected, dry_run, _close)


def open_again(scope: Scope, user: str, *, dry_run: bool = False) -> Command:
    """Lifts the gate of exactly this scope; those of others stay. Raises `InvalidInput`."""
    scope = _known(scope)
    others = [gate for gate in queue_books.closed().gates if gate.scope != scope]
    freed = (
        cell.frozen
        for cell in queue_books.cells(scope)
        if not any(gate.scope.covers(cell.scope) for gate in others)
    )
    return _command(scope, user, sum(freed), dry_run, _open)


def clear(scope: Scope, user: str, *, dry_run: bool = False) -> Command:
    """Removes all that waits and was published before; what is being sent is not affected.

    Raises `InvalidInput`.
    """
    scope = _known(scope)
    cells = queue_books.cells(scope)
    affected = sum(cell.new + cell.retries + cell.frozen for cell in cells)
    return _command(scope, user, affected, dry_run, _clear)


def unconfirmed(version: int) -> list[str]:
    """Names of active nodes that ran before and do not run this settings version yet."""
    return list(_behind(version).values())


def confirm(version: int, patience: float = PATIENCE) -> list[str]:
    """Waits until all nodes run the version, or nobody who is alive is behind; who is behind."""
    deadline = time.monotonic() + patience
    while behind := _behind(version):
        alive = behind.keys() - silent_nodes(signs_of_life())
        if not alive or time.monotonic() > deadline:
            break
        time.sleep(LOOK_EVERY)
    return list(behind.values())


def preparing(scope: Scope) -> list[int]:
    """Launches of the scope's mailing that a clear does not end: they may still publish."""
    rows = Launch.objects.filter(mailing=scope.mailing, state__in=PREPARING)
    return list(rows.order_by("pk").values_list("pk", flat=True))


# Figures


class Sign(msgspec.Struct, frozen=True):
    name: str
    seen: float
    """Wall clock; 0: never."""
    active: bool


def signs_of_life() -> dict[int, Sign]:
    """When each node was last heard of."""
    return {
        row.pk: Sign(row.name, row.seen.timestamp() if row.seen else 0.0, row.active)
        for row in Node.objects.order_by("name")
    }


def silent_nodes(signs: dict[int, Sign]) -> set[int]:
    """Nodes without a sign of life."""
    since = time.time() - SILENCE
    return {node for node, sign in signs.items() if sign.seen <= since}


def _queue(cells: Iterable[Cell], signs: dict[int, Sign]) -> Queue:
    found = list(cells)
    new, retries, sending, frozen = (
        sum(getattr(cell, state) for cell in found) for state in ("new", "retries", "sending", "frozen")
    )
    holding = {cell.node for cell in found if cell.total} - {BROKER}
    silent = silent_nodes(signs)
    moments = [cell.at for cell in found if cell.node in holding] + [
        sign.seen for node, sign in signs.items() if sign.active and node not in silent
    ]
    return Queue(
        total=new + retries + sending + frozen,
        new=new,
        retries=retries,
        sending=sending,
        frozen=frozen,
        at=min(moments, default=None),
        silent=tuple(sign.name for node, sign in signs.items() if node in holding & silent),
    )


def _nameless(by: By, key: int) -> str:
    return _NAMELESS[by] if by in _NAMELESS and not key else f"{by} {key}"


def _behind(version: int) -> dict[int, str]:
    rows = Node.objects.filter(active=True, version__lt=version, seen__isnull=False)
    return dict(rows.order_by("name").values_list("pk", "name"))


# Commands


def _command(
    scope: Scope, user: str, affected: int, dry_run: bool, change: Callable[[Scope, str, int, int], bool]
) -> Command:
    if dry_run:
        return Command(affected, 0)
    with transaction.atomic():
        version = SettingsVersion.objects.select_for_update().get(pk=1).version + 1
        if not change(scope, user, affected, version):
            return Command(0, 0)
        bump()
    return Command(affected, version)


def _close(scope: Scope, user: str, affected: int, version: int) -> bool:
    if _closed(scope).exists():
        return False
    row = Gate.objects.create(**_columns(scope), since=time.time(), user=user)
    note(row, "freeze" if scope.mailing else "hold", user=user, affected=affected)
    return True


def _open(scope: Scope, user: str, affected: int, version: int) -> bool:
    row = _closed(scope).first()
    if row is None:
        return False
    row.until = time.time()
    row.save(update_fields=["until"])
    note(row, "unfreeze" if scope.mailing else "release", user=user, affected=affected)
    return True


def _clear(scope: Scope, user: str, affected: int, version: int) -> bool:
    last = Packet.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    row = Clear.objects.create(
        **_columns(scope), before=last + 1, at=time.time(), user=user, affected=affected, version=version
    )
    note(row, "clear", user=user, affected=affected, before=row.before)
    return True


def _closed(scope: Scope) -> QuerySet[Gate]:
    return Gate.objects.filter(until=None, **_columns(scope))


def _columns(scope: Scope) -> dict[str, int | None]:
    return {f"{name}_id": value or None for name, value in msgspec.structs.asdict(scope).items()}


def _known(scope: Scope) -> Scope:
    """With the mailing's account, so that a mailing has one gate however it is named."""
    for word, number in msgspec.structs.asdict(scope).items():
        if number and not _MODELS[word]._default_manager.filter(pk=number).exists():
            raise InvalidInput(f"there is no {word} {number}")
    filled = _filled(scope)
    if filled.account != (scope.account or filled.account):
        raise InvalidInput(f"there is no mailing {scope.mailing} in account {scope.account}")
    return msgspec.structs.replace(scope, account=filled.account)


def _filled(scope: Scope) -> Scope:
    """With the account and sender of the mailing."""
    row = Mailing.objects.filter(pk=scope.mailing).first()
    if row is None:
        return scope
    return msgspec.structs.replace(scope, account=row.account_id, sender=scope.sender or row.sender_id)
