"""What became of a mailing: totals, course over time, the story of one message.

Every function takes the account and shows nothing of another's.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from django.db.models import QuerySet, Sum

from angarium.domain.gates import Scope
from angarium.errors import InvalidInput
from angarium.events import EventKind
from angarium.store import queues
from angarium.web.mailings.models import Launch, Mailing, Packet
from angarium.web.reports import figures
from angarium.web.reports.models import Counter, Event

ANSWERS_READ: Final = 2_000
"""The latest events looked through for the last answers."""
_ANSWERS: Final = (EventKind.SOFT_BOUNCE, EventKind.HARD_BOUNCE, EventKind.UNDELIVERED)


class Report(msgspec.Struct, frozen=True):
    """Where the messages are. sent = delivered + hard + blocked + undelivered + queue + deleting."""

    audience: int
    sent: int
    """Published: the broker confirmed them."""
    delivered: int
    hard_bounces: int
    blocked: int
    undelivered: int
    """For other reasons than a hard bounce or a block."""
    reasons: dict[str, int]
    """Of `undelivered`."""
    soft_bounces: int
    """Attempts, not messages."""
    doubtful: int
    new: int
    retries: int
    sending: int
    frozen: int
    deleting: int
    """Cleared, and not recorded as ended yet."""
    at: float | None
    """Wall clock: what the queue's figures are true for; None: no node said anything."""


class Answer(msgspec.Struct, frozen=True):
    """What a provider said, and how often among the latest events."""

    isp: int
    kind: str
    code: int
    enhanced: str
    text: str
    pattern: str
    count: int
    last: float


def mailing_report(account: int, mailing: int, launch: int | None = None) -> Report:
    """Of all launches of a mailing but test sends, or of one. The queue's figures are the mailing's.

    Raises `InvalidInput` when the account has no such mailing or launch.
    """
    launches = _launches(account, mailing, launch)
    counted = figures.outcomes(_counters(account, launches))
    queue = queues.queue(Scope(account=account, mailing=mailing))
    packets = Packet.objects.filter(launch__in=launches, published=True)
    sent = packets.aggregate(n=Sum("count"))["n"] or 0
    return Report(
        audience=launches.aggregate(n=Sum("audience"))["n"] or 0,
        sent=sent,
        delivered=counted["delivered"],
        hard_bounces=counted["hard"],
        blocked=counted["blocked"],
        undelivered=counted["undelivered"],
        reasons=counted["reasons"],
        soft_bounces=counted["soft"],
        doubtful=counted["doubtful"],
        new=queue.new,
        retries=queue.retries,
        sending=queue.sending,
        frozen=queue.frozen,
        deleting=max(sent - counted["ended"] - queue.total, 0),
        at=queue.at,
    )


def timeline(account: int, mailing: int, launch: int | None = None) -> dict[str, Any]:
    """Outcomes over time: `start` and `step` in seconds, `series` name → counts, at most 60 points."""
    return figures.timeline(_counters(account, _launches(account, mailing, launch)))


def message_story(account: int, message: bytes) -> list[dict[str, Any]]:
    """Everything recorded of one message (16 bytes), the oldest first."""
    rows: Any = Event.objects.filter(message=message, account=account).values()
    return sorted(rows, key=lambda row: (row["time"], row["attempt"], row["id"]))


def last_answers(account: int, mailing: int, launch: int | None = None, limit: int = 50) -> list[Answer]:
    """The latest refusals, alike ones together, the most frequent first."""
    launches = _launches(account, mailing, launch).values_list("pk", flat=True)
    found: dict[tuple[int, str, int, str, str, str], list[float]] = {}
    for kind in _ANSWERS:
        rows = Event.objects.filter(launch__in=list(launches), kind=kind, account=account).order_by("-id")
        for row in rows[:ANSWERS_READ]:
            key = (row.isp, row.kind, row.code, row.enhanced, row.text, row.pattern)
            found.setdefault(key, []).append(row.time)
    answers = [Answer(*key, len(times), max(times)) for key, times in found.items()]
    return sorted(answers, key=lambda answer: (-answer.count, -answer.last))[:limit]


def _launches(account: int, mailing: int, launch: int | None) -> QuerySet[Launch]:
    """A launch by its number, or all of the mailing that went to its audience."""
    if not Mailing.objects.filter(pk=mailing, account=account).exists():
        raise InvalidInput(f"there is no mailing {mailing}")
    rows = Launch.objects.filter(mailing=mailing, account=account)
    if launch is None:
        return rows.filter(test_address="")
    if not (rows := rows.filter(pk=launch)).exists():
        raise InvalidInput(f"there is no launch {launch} of mailing {mailing}")
    return rows


def _counters(account: int, launches: QuerySet[Launch]) -> QuerySet[Counter]:
    return Counter.objects.filter(launch__in=launches.values("pk"), account=account)
