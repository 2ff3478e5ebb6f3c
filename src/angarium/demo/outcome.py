"""What has become of a launch so far, from the books that reports read too."""

from __future__ import annotations

from typing import Any

import msgspec
from django.db.models import Max, Min, Sum

from angarium.domain.outcome import Reason
from angarium.events import EventKind
from angarium.store import launches
from angarium.web.reports.models import Event, QueueFigure


class Outcome(msgspec.Struct, frozen=True):
    """recipients = delivered + hard_bounce + undelivered + not_sent + those without an end yet."""

    recipients: int
    state: str
    """Of the launch."""
    is_prepared: bool
    """Nothing more will be published."""
    published: int
    delivered: int
    hard_bounce: int
    undelivered: int
    """For any other reason than a hard bounce."""
    tried: int
    """Messages attempted at least once."""
    soft_bounces: int
    retries: int
    """Messages that wait for a retry."""
    span: float
    """Seconds from the launch to the latest first attempt."""

    @property
    def ended(self) -> int:
        return self.delivered + self.hard_bounce + self.undelivered

    @property
    def not_sent(self) -> int:
        """Held back by a check, or not possible to render."""
        return self.recipients - self.published if self.is_prepared else 0

    @property
    def is_over(self) -> bool:
        return self.is_prepared and self.ended >= self.published

    @property
    def rate(self) -> float:
        """First attempts a second."""
        return self.tried / self.span if self.span else 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "channel": "email",
            "provider": "mta",
            "recipients": self.recipients,
            "outcomes": {
                "delivered": self.delivered,
                "hard_bounce": self.hard_bounce,
                "undelivered": self.undelivered,
                "not_sent": self.not_sent,
            },
            "messages_per_second": round(self.rate, 1),
        }


def read(account: int, mailing: int, launch: int) -> Outcome:
    progress = launches.progress(account, launch)
    events = Event.objects.filter(launch=launch)
    ends = events.filter(kind=EventKind.UNDELIVERED)
    ended, delivered = ends.count(), events.filter(kind=EventKind.DELIVERED).count()
    hard = ends.filter(reason=Reason.HARD_BOUNCE).count()
    first = events.filter(
        attempt=1, kind__in=(EventKind.DELIVERED, EventKind.UNDELIVERED, EventKind.SOFT_BOUNCE)
    ).aggregate(earliest=Min("time"), latest=Max("time"))
    waiting = QueueFigure.objects.filter(mailing=mailing).aggregate(retries=Sum("retries"))
    return Outcome(
        recipients=progress.audience,
        state=progress.state,
        is_prepared=progress.is_over,
        published=progress.published,
        delivered=delivered,
        hard_bounce=hard,
        undelivered=ended - hard,
        tried=events.filter(attempt__gte=1).values("message").distinct().count(),
        soft_bounces=events.filter(kind=EventKind.SOFT_BOUNCE).count(),
        retries=min(waiting["retries"] or 0, progress.published - delivered - ended),
        span=max(0.0, (first["latest"] or 0) - progress.created.timestamp()) if first["latest"] else 0.0,
    )
