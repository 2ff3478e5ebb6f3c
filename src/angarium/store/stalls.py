"""Which queues are stalled (`domain.stall`), from the books: counters by minute survive every restart."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable
from typing import Final

import msgspec
from django.db.models import Min, Sum

from angarium.domain import stall
from angarium.domain.gates import Scope
from angarium.domain.stall import Cause, Standing
from angarium.events import EventKind
from angarium.store import queue_books, queues
from angarium.store.queue_books import BROKER, Cell
from angarium.store.settings import known_gates
from angarium.web.mailings.models import Launch
from angarium.web.reports.models import Counter, Event
from angarium.web.sending.models import Node

ANSWERS: Final = 200
"""Soft bounces of a launch, the latest, among which the ISP's last answer is looked for."""
_WORDS: Final = {
    Cause.FROZEN: "frozen or held",
    Cause.NODE_DOWN: "no sign of life",
    Cause.NODE_TROUBLE: "a node cannot work",
    Cause.REFUSED: "the receiver puts it off",
    Cause.LIMITED: "nothing was tried: the strategy or other mailings leave no room, or no host was reached",
}


class Stall(msgspec.Struct, frozen=True):
    """A queue of one sender, mailing and ISP that does not shrink."""

    scope: Scope
    cause: Cause
    waiting: int
    waited: float
    """Seconds since the oldest of it was launched, or the last gate on it was opened."""
    words: str
    """The cause, with what is known of it."""


def stalls(scope: Scope, patience: float, now: float) -> list[Stall]:
    """Of the scope, the longest queue first. `patience`: seconds in which something should have ended."""
    parts: dict[Scope, list[Cell]] = {}
    for cell in queue_books.cells(scope):
        if cell.total:
            parts.setdefault(cell.scope, []).append(cell)
    books = _Books({key.mailing for key in parts}, patience, now)
    found = (books.stall(key, cells) for key, cells in parts.items())
    return sorted((one for one in found if one), key=lambda one: -one.waiting)


class _Books:
    """What became of these mailings of late, and the nodes."""

    def __init__(self, mailings: set[int], patience: float, now: float) -> None:
        self._patience = patience
        self._now = now
        self._counted = _counted(mailings, int((now - patience) // 60))
        self._launched = _launched(mailings)
        self._gates = known_gates(now - patience)
        self._nodes = {row.pk: row for row in Node.objects.filter(active=True)}
        self._silent = queues.silent_nodes(queues.signs_of_life()) & self._nodes.keys()

    def stall(self, key: Scope, cells: list[Cell]) -> Stall | None:
        down, troubled = self._down(cells), self._troubled(cells)
        standing = Standing(
            **{name: sum(getattr(cell, name) for cell in cells) for name in queues.STATES},
            ended=self._counted[key, True],
            refused=self._counted[key, False],
            waited=self._now - self._free_since(key),
            node_down=bool(down),
            node_trouble=bool(troubled),
        )
        cause = stall.cause(standing, self._patience)
        if cause is None:
            return None
        known = {
            Cause.NODE_DOWN: ", ".join(down),
            Cause.NODE_TROUBLE: "; ".join(troubled),
            Cause.REFUSED: _last_answer(key) if cause is Cause.REFUSED else "",
        }.get(cause, "")
        words = f"{_WORDS[cause]}: {known}" if known else _WORDS[cause]
        return Stall(key, cause, sum(cell.total for cell in cells), standing.waited, words)

    def _free_since(self, key: Scope) -> float:
        """Since when something of it could have ended: its launch, or the last gate's opening."""
        opened = (gate.until or 0.0 for gate in self._gates.gates if gate.scope.covers(key))
        return max(self._launched.get(key.mailing, self._now), *opened, 0.0)

    def _down(self, cells: Iterable[Cell]) -> list[str]:
        """Names of silent nodes that hold some of it; of all nodes when none is there to take it."""
        places = {cell.node for cell in cells}
        if BROKER in places and self._nodes and self._silent == self._nodes.keys():
            places |= self._silent
        return sorted(self._nodes[node].name for node in places & self._silent)

    def _troubled(self, cells: Iterable[Cell]) -> list[str]:
        places = {cell.node for cell in cells}
        if BROKER in places:
            places |= self._nodes.keys()
        rows = (self._nodes[node] for node in places & self._nodes.keys())
        return sorted(f"{row.name}: {row.notice}" for row in rows if row.notice)


def _counted(mailings: set[int], since: int) -> Tally[tuple[Scope, bool]]:
    """(scope, ended) → how many have ended, or soft-bounced, since that minute."""
    kinds = (EventKind.DELIVERED, EventKind.UNDELIVERED, EventKind.SOFT_BOUNCE)
    rows = Counter.objects.filter(mailing__in=mailings, kind__in=kinds, minute__gte=since).order_by()
    found: Tally[tuple[Scope, bool]] = Tally()
    for *key, kind, count in rows.values_list("account", "sender", "mailing", "isp", "kind").annotate(
        n=Sum("count")
    ):
        found[Scope(*key), kind != EventKind.SOFT_BOUNCE] += count
    return found


def _launched(mailings: set[int]) -> dict[int, float]:
    """When the oldest launch that is not over was asked for, by mailing."""
    rows = Launch.objects.filter(mailing__in=mailings, settled=False).order_by().values_list("mailing")
    return {mailing: oldest.timestamp() for mailing, oldest in rows.annotate(oldest=Min("created"))}


def _last_answer(key: Scope) -> str:
    """What the ISP said last when it put a message of the mailing off."""
    launches = Launch.objects.filter(mailing=key.mailing, settled=False).order_by("-pk")
    for launch in launches.values_list("pk", flat=True)[:3]:
        rows = Event.objects.filter(launch=launch, kind=EventKind.SOFT_BOUNCE).order_by("-id")[:ANSWERS]
        for event in rows:
            if event.isp == key.isp:
                return " ".join(part for part in (str(event.code or ""), event.enhanced, event.text) if part)
    return ""
