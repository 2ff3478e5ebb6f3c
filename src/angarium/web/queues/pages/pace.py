"""How fast the queue of a mailing empties, and when it will be empty."""

from __future__ import annotations

from typing import Final

from django.db.models import Min, Sum

from angarium.domain.duration import in_words
from angarium.domain.outcome import Reason
from angarium.events import EventKind
from angarium.web.reports.models import Counter

LOOKED_AT: Final = 5
"""Minutes before the one that runs."""


def pace(mailing: int, now: float) -> float:
    """Messages a minute that were delivered or given up of late; what people removed does not count."""
    ended = Counter.objects.filter(mailing=mailing, kind__in=(EventKind.DELIVERED, EventKind.UNDELIVERED))
    late = ended.filter(minute__gte=int(now // 60) - LOOKED_AT).exclude(reason=Reason.REMOVED)
    found = late.aggregate(count=Sum("count"), first=Min("minute"))
    if not found["count"]:
        return 0.0
    return float(found["count"] / max(now / 60 - found["first"], 1.0))


def in_sentence(pace: float, moving: int) -> str:
    """`moving`: messages that no gate stops. Empty when there is nothing to say."""
    if not moving or pace < 0.1:
        return ""
    rate = f"{pace:,.0f}" if pace >= 10 else f"{pace:.1f}"
    return f"{rate} a minute come to an end: at this pace all is done in {in_words(60 * moving / pace)}."
