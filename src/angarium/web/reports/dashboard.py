"""The first page: outcomes over time, running launches, the queue, and what needs a person."""

from __future__ import annotations

import time
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.response import TemplateResponse

from angarium.domain.duration import in_words
from angarium.store import launches
from angarium.web.access import current, permissions
from angarium.web.access.pages import page_context
from angarium.web.mailings.models import Launch, LaunchState, LogEntry
from angarium.web.queues.pages import figures as queue
from angarium.web.reports import figures
from angarium.web.reports.models import Counter
from angarium.web.sending.models import Node, Sender
from angarium.web.sending.pages.nodes import SILENT_AFTER, silence
from angarium.web.sending.pages.senders import warnings

RANGES: Final = {"day": ("24 hours", 1), "week": ("7 days", 7), "month": ("30 days", 30)}
MINUTES_A_DAY: Final = 1440
ERRORS_SHOWN: Final = 8


def dashboard(request: HttpRequest, site: Any) -> HttpResponse:
    chosen = request.GET.get("range", "day")
    days = RANGES[chosen if chosen in RANGES else "day"][1]
    accounts, now = current.shown(request), int(time.time() // 60)
    first = now - days * MINUTES_A_DAY
    counters = Counter.objects.filter(account__in=accounts, minute__gte=first)
    context = page_context(
        request,
        "Dashboard",
        ranges=[(key, words, key == chosen) for key, (words, _) in RANGES.items()],
        outcomes=figures.outcomes(counters),
        timeline=figures.timeline(counters, first, now),
        has_accounts=bool(accounts),
        notices=notices() if permissions.may_see_platform(request.user) else [],
        errors=_errors(accounts),
        **_moving(request),
    )
    return TemplateResponse(request, "panel/dashboard.html", context)


def moving(request: HttpRequest) -> HttpResponse:
    """Running launches and the queue, as a fragment that is asked for again."""
    return render(request, "panel/moving.html", _moving(request))


def _moving(request: HttpRequest) -> dict[str, Any]:
    unfinished = Launch.objects.filter(account__in=current.shown(request), state__in=launches.UNFINISHED)
    rows = unfinished.select_related("mailing").order_by("-pk")[:20]
    return {
        "running": [(row, launches.progress(row.account_id, row.pk), _percent(row)) for row in rows],
        "queue": queue.counts(queue.scopes(request)),
        "states": dict(LaunchState.choices),
    }


def _percent(launch: Launch) -> int:
    return min(100, 100 * sum(launch.counts.values()) // launch.audience) if launch.audience else 0


def _errors(accounts: list[int]) -> Any:
    rows = LogEntry.objects.filter(account__in=accounts, level=LogEntry.Level.ERROR)
    return rows.select_related("mailing").order_by("-pk")[:ERRORS_SHOWN]


def notices() -> list[str]:
    """What the platform's keepers should look at."""
    found = []
    for node in Node.objects.order_by("name"):
        quiet = silence(node)
        if quiet is None:
            found.append(f"Node {node} has never been seen.")
        elif quiet > SILENT_AFTER:
            found.append(f"Node {node} has been silent for {in_words(quiet)}.")
        if node.notice:
            found.append(f"Node {node}: {node.notice}")
    for sender in Sender.objects.filter(active=True).order_by("name"):
        found += [f"Sender {sender}: {text}" for text in warnings(sender)]
    return found
