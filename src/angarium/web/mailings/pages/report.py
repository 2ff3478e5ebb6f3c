"""What became of a launch, live: progress, outcomes, queue; and the mailing log."""

from __future__ import annotations

from typing import Any, Final

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from msgspec.structs import asdict

from angarium.domain.gates import Scope
from angarium.store import launches, queues
from angarium.web.access import permissions
from angarium.web.access.pages import page_context
from angarium.web.mailings.models import Launch, LaunchState, LogEntry, Mailing
from angarium.web.reports import figures

LOG_PAGE: Final = 100
LAUNCHES_LISTED: Final = 30


def report(request: HttpRequest, mailing: Mailing) -> HttpResponse:
    launch = _chosen(request, mailing)
    others = mailing.launches.order_by("-pk")[:LAUNCHES_LISTED]
    values = page_context(
        request,
        mailing.name,
        mailing=mailing,
        launch=launch,
        launches=others,
        figures=launch_figures(launch) if launch else None,
        may_edit=permissions.may_edit(request.user, mailing.account_id),
    )
    return TemplateResponse(request, "mailings/report.html", values)


def live(request: HttpRequest, mailing: Mailing) -> HttpResponse:
    """The figures of the report as JSON; the page asks for them each second while they move."""
    launch = _chosen(request, mailing)
    if launch is None:
        raise Http404
    return JsonResponse(launch_figures(launch))


def _chosen(request: HttpRequest, mailing: Mailing) -> Launch | None:
    """The launch the address names, else the last that is not a test."""
    named = request.GET.get("launch", "")
    if named:
        launch = mailing.launches.filter(pk=named).first() if named.isdecimal() else None
        if launch is None:
            raise Http404
        return launch
    return mailing.launches.filter(test_address="").order_by("-pk").first()


def launch_figures(launch: Launch) -> dict[str, Any]:
    progress = launches.progress(launch.account_id, launch.pk)
    counters = figures.of_launch(launch.pk)
    outcomes = figures.outcomes(counters)
    open_messages = max(0, progress.published - outcomes["ended"])
    return {
        "launch": launch.pk,
        "state": progress.state,
        "state_words": LaunchState(progress.state).label,
        "audience": progress.audience,
        "handled": progress.handled,
        "published": progress.published,
        "errors": progress.errors,
        "held_back": [{"reason": held.reason, "count": held.count} for held in progress.held_back],
        "open": open_messages,
        "moving": not progress.is_over or open_messages > 0,
        "stoppable": progress.state in (LaunchState.WAITING, LaunchState.PREPARING),
        "resumable": progress.state in launches.RESUMABLE,
        "resendable": progress.is_over
        and not launch.test_address
        and outcomes["blocked"] + outcomes["undelivered"] > 0,
        "delivered_share": figures.share(outcomes["delivered"], progress.published),
        "queue": asdict(queues.queue(Scope(account=launch.account_id, mailing=launch.mailing_id))),
        "timeline": figures.launch_timeline(launch.pk),
        **outcomes,
    }


def log(request: HttpRequest, mailing: Mailing) -> HttpResponse:
    """The mailing log, the newest line first, by level, launch and words."""
    rows = LogEntry.objects.filter(mailing=mailing).order_by("-pk")
    level, launch, words = (request.GET.get(name, "").strip() for name in ("level", "launch", "words"))
    if level in LogEntry.Level.values:
        rows = rows.filter(level=level)
    if launch.isdecimal():
        rows = rows.filter(launch=int(launch))
    if words:
        rows = rows.filter(message__icontains=words) | rows.filter(address__icontains=words)
    page = Paginator(rows, LOG_PAGE).get_page(request.GET.get("page"))
    values = page_context(
        request,
        f"Log of {mailing.name}",
        mailing=mailing,
        page=page,
        levels=LogEntry.Level.choices,
        launches=mailing.launches.order_by("-pk")[:LAUNCHES_LISTED],
        may_edit=permissions.may_edit(request.user, mailing.account_id),
        chosen={"level": level, "launch": launch, "words": words},
    )
    return TemplateResponse(request, "mailings/log.html", values)
