"""What is old is deleted, a little at a time, so that nobody waits for it. Counters stay.

Events lie in the order they were recorded, which is nearly the order of their time: deleting from
the front finds the old ones without an index. A step is one short transaction.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from angarium.store import packets
from angarium.web.access.models import LoginFailure
from angarium.web.reports.models import Event, EventBatch

STEP: Final = 2_000
"""Rows of one transaction."""
DAY: Final = 86_400


def step(event_retention: float, now: float) -> int:
    """Deletes at most one step of each kind; how many rows. 0: nothing old is left."""
    before = now - event_retention
    packed = packets.forget(datetime.fromtimestamp(before, UTC), STEP)
    return _events(before) + _batches(before) + _failures(now) + packed


def _events(before: float) -> int:
    """Up to the last old one among the first rows, so that a wrong clock somewhere blocks nothing."""
    front = Event.objects.order_by("id").values_list("id", "time")[:STEP]
    last = max((id_ for id_, time in front if time < before), default=None)
    return 0 if last is None else Event.objects.filter(id__lte=last).delete()[0]


def _batches(before: float) -> int:
    old = EventBatch.objects.filter(at__lt=datetime.fromtimestamp(before, UTC)).order_by("at")
    return EventBatch.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:STEP])).delete()[0]


def _failures(now: float) -> int:
    """Failed logins only count for a short while."""
    old = LoginFailure.objects.filter(at__lt=datetime.fromtimestamp(now - DAY, UTC))
    return LoginFailure.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:STEP])).delete()[0]
