"""Nodes: their rows, their signs of life, what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from django.db import transaction

from angarium.domain import sending
from angarium.web.reports.models import QueueFigure
from angarium.web.sending import models

NOTICE_LENGTH = 500


class Figure(Protocol):
    """How many messages of one (account, sender, mailing, ISP) a node holds, by state."""

    @property
    def account(self) -> int: ...
    @property
    def sender(self) -> int: ...
    @property
    def mailing(self) -> int: ...
    @property
    def isp(self) -> int: ...
    @property
    def new(self) -> int: ...
    @property
    def retries(self) -> int: ...
    @property
    def sending(self) -> int: ...
    @property
    def frozen(self) -> int: ...


@transaction.atomic
def register(name: str, addresses: Sequence[str] = ()) -> sending.Node:
    """The node of this name; the row, and rows of addresses that nobody has yet, are made where missing."""
    row, _ = models.Node.objects.get_or_create(name=name)
    for address in addresses:
        models.IpAddress.objects.get_or_create(address=address, defaults={"node": row})
    return _node(row)


def everyone() -> dict[int, sending.Node]:
    """Every registered node, with when it was last seen."""
    return {row.pk: _node(row) for row in models.Node.objects.all()}


def _node(row: models.Node) -> sending.Node:
    return sending.Node(row.pk, row.name, row.active, row.seen.timestamp() if row.seen else 0.0)


def heartbeat(node: int, version: int, notice: str, now: float) -> None:
    """A sign of life: the settings version the node runs, and what a person should know about it."""
    seen = datetime.fromtimestamp(now, UTC)
    models.Node.objects.filter(pk=node).update(seen=seen, version=version, notice=notice[:NOTICE_LENGTH])


@transaction.atomic
def figures(node: int, rows: Iterable[Figure], now: float) -> None:
    """Replaces what the node last said it holds. `now`: the moment the figures are true for."""
    QueueFigure.objects.filter(node=node).delete()
    QueueFigure.objects.bulk_create([_figure(node, row, now) for row in rows], batch_size=500)


def _figure(node: int, row: Figure, now: float) -> QueueFigure:
    fields: dict[str, Any] = {
        name: getattr(row, name)
        for name in ("account", "sender", "mailing", "isp", "new", "retries", "sending", "frozen")
    }
    return QueueFigure(node=node, at=now, deleting=getattr(row, "deleting", 0), **fields)
