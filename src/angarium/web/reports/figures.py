"""What the pages count: outcomes of launches and accounts, by kind, by reason and over time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from django.db.models import BigIntegerField, Count, QuerySet, Sum
from django.db.models.functions import Cast, Floor

from angarium.domain.outcome import Reason
from angarium.events import EventKind
from angarium.web.reports.models import Counter, Event, QueueFigure

MOST_POINTS: Final = 60
STEPS: Final = tuple(
    minutes * 60 for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10_080)
)
"""Seconds a point of a chart may stand for."""
SECOND_STEPS: Final = (1, 2, 5, 10, 15, 30, 60)
YOUNG: Final = 1_800
"""Seconds for which a launch is shown by seconds."""
MOST_EVENTS: Final = 20_000
"""Above it the counters, which are kept by minutes, must do."""
SERIES: Final = ("delivered", "soft", "hard", "undelivered")
_OF_KIND: Final = {
    EventKind.DELIVERED: "delivered",
    EventKind.SOFT_BOUNCE: "soft",
    EventKind.HARD_BOUNCE: "hard",
    EventKind.UNDELIVERED: "undelivered",
}
QUEUE: Final = ("new", "retries", "sending", "frozen")


def outcomes(counters: QuerySet[Counter]) -> dict[str, Any]:
    """Totals by kind. `undelivered` leaves out hard bounces and blocks, which stand by themselves."""
    rows = counters.order_by().values("kind", "reason").annotate(n=Sum("count"))
    kinds: dict[str, int] = defaultdict(int)
    reasons: dict[str, int] = defaultdict(int)
    for row in rows:
        kinds[row["kind"]] += row["n"]
        if row["kind"] == EventKind.UNDELIVERED:
            reasons[row["reason"] or "no reason given"] += row["n"]
    hard, blocked = reasons.pop(Reason.HARD_BOUNCE, 0), reasons.pop(Reason.BLOCKED, 0)
    return {
        "sent": kinds[EventKind.SEND],
        "delivered": kinds[EventKind.DELIVERED],
        "soft": kinds[EventKind.SOFT_BOUNCE],
        "hard": hard,
        "blocked": blocked,
        "undelivered": sum(reasons.values()),
        "reasons": dict(sorted(reasons.items(), key=lambda item: -item[1])),
        "doubtful": kinds[EventKind.DOUBT],
        "complaints": kinds[EventKind.COMPLAIN],
        "unsubscribed": kinds[EventKind.UNSUBSCRIBE],
        "ended": kinds[EventKind.DELIVERED] + kinds[EventKind.UNDELIVERED],
    }


def queue(figures: QuerySet[QueueFigure]) -> dict[str, int]:
    """Messages the nodes hold, by state."""
    found = figures.aggregate(**{state: Sum(state) for state in QUEUE})
    return {state: found[state] or 0 for state in QUEUE}


def timeline(
    counters: QuerySet[Counter], first: int | None = None, last: int | None = None
) -> dict[str, Any]:
    """Outcomes over time from one minute (since 1970) to another; see `_series`."""
    rows = counters.filter(kind__in=_OF_KIND).order_by().values_list("minute", "kind", "reason")
    points = [(minute * 60, kind, reason, n) for minute, kind, reason, n in rows.annotate(n=Sum("count"))]
    begin = min((row[0] for row in points), default=0) if first is None else first * 60
    end = max((row[0] for row in points), default=0) if last is None else last * 60
    return _series(points, begin, end, STEPS)


def launch_timeline(launch: int) -> dict[str, Any]:
    """Outcomes of a launch over time: by seconds while it is young and small, which takes its events."""
    coarse = timeline(of_launch(launch))
    count = sum(map(sum, coarse["series"].values()))
    if not count or count > MOST_EVENTS or len(coarse["series"]["delivered"]) * coarse["step"] > YOUNG:
        return coarse
    rows = Event.objects.filter(launch=launch, kind__in=_OF_KIND).order_by()
    seconds = rows.annotate(second=Cast(Floor("time"), BigIntegerField())).values_list(
        "second", "kind", "reason"
    )
    points = list(seconds.annotate(n=Count("pk")))
    if not points:
        return coarse
    moments = [row[0] for row in points]
    return _series(points, min(moments), max(moments), SECOND_STEPS)


def _series(
    rows: Iterable[tuple[int, str, str, int]], begin: int, end: int, steps: tuple[int, ...]
) -> dict[str, Any]:
    """At most 60 points: `start` (seconds since 1970), `step` (seconds), a list a series.

    `rows` are second, kind, reason and count.
    """
    step = next((step for step in steps if (end - begin) / step < MOST_POINTS), steps[-1])
    begin -= begin % step
    size = (end - begin) // step + 1 if end else 0
    series = {name: [0] * size for name in SERIES}
    for second, kind, reason, count in rows:
        index = (second - begin) // step
        if 0 <= index < size and not (kind == EventKind.UNDELIVERED and reason == Reason.HARD_BOUNCE):
            series[_OF_KIND[EventKind(kind)]][index] += count
    return {"start": begin, "step": step, "series": series}


def of_launch(launch: int) -> QuerySet[Counter]:
    return Counter.objects.filter(launch=launch)


def of_accounts(accounts: Iterable[int]) -> QuerySet[Counter]:
    return Counter.objects.filter(account__in=list(accounts))


def share(part: int, whole: int) -> str:
    """A percentage as a person reads it: 100 % only when it is all of them."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if part < whole:
        percent = min(percent, 99.9)
    return f"{percent:.1f} %".replace(".0 %", " %")
