"""The queue of all mailings a person sees; for postmasters, of the platform. Hold, release and clear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse

from angarium.domain.gates import Scope
from angarium.store import queues
from angarium.store.queues import Command, GateRow
from angarium.web.access import current, permissions
from angarium.web.access.pages import page_context
from angarium.web.mailings.models import Mailing
from angarium.web.queues.pages import figures
from angarium.web.queues.pages.mailing import counted, version_of
from angarium.web.queues.pages.scope_form import ScopeForm
from angarium.web.queues.pages.stream import stream

_COMMANDS: Final[dict[str, Callable[..., Command]]] = {
    "hold": queues.close,
    "release": queues.open_again,
    "clear": queues.clear,
}
_UNCHANGED: Final = {
    "hold": "It was held already.",
    "release": "There is no hold of exactly this scope.",
    "clear": "There was nothing to clear.",
}


def may_see(request: HttpRequest) -> bool:
    return bool(current.accounts(request)) or permissions.may_see_platform(request.user)


def overview(request: HttpRequest) -> HttpResponse:
    _require(may_see(request))
    version = version_of(request)
    values = page_context(
        request,
        "Sender queue",
        figures=_figures(request, version),
        kinds=figures.KINDS.items(),
        stream=f"{reverse('admin:queue_stream')}?version={version}",
        form=ScopeForm(request) if _may_command(request) else None,
    )
    return TemplateResponse(request, "queues/overview.html", values)


def live(request: HttpRequest) -> StreamingHttpResponse:
    _require(may_see(request))
    version = version_of(request)
    return stream(lambda: _figures(request, version))


def command(request: HttpRequest) -> HttpResponse:
    """Counts what a command would meet, asks, and gives it."""
    _require(_may_command(request))
    form = ScopeForm(request, request.POST or request.GET)
    if request.method == "POST" and form.is_valid():
        return _give(request, form.cleaned_data["action"], form.scope())
    values = page_context(request, "Sender queue", form=form, **_would(request, form))
    return TemplateResponse(request, "queues/command.html", values)


def _would(request: HttpRequest, form: ScopeForm) -> dict[str, Any]:
    if not form.is_valid():
        return {}
    action, scope = form.cleaned_data["action"], form.scope()
    command = _COMMANDS[action](scope, request.user.get_username(), dry_run=True)
    return {"action": action, "scope": figures.described(scope), "affected": command.affected}


def _give(request: HttpRequest, action: str, scope: Scope) -> HttpResponse:
    given = _COMMANDS[action](scope, request.user.get_username())
    words = figures.described(scope)
    answers = {
        "hold": f"Held: {words}. Nothing more of it is sent until it is released.",
        "release": f"Released: {words}.",
        "clear": f"Cleared: {words}. {counted(given.affected)} removed from the queue.",
    }
    messages.success(request, answers[action] if given.version else _UNCHANGED[action])
    return redirect(f"{reverse('admin:queue')}?version={given.version}")


def _require(allowed: bool) -> None:
    """What a person may not see is not there."""
    if not allowed:
        raise Http404


def _may_command(request: HttpRequest) -> bool:
    """Senders and ISPs are shared by accounts: those who keep the platform hold them."""
    return permissions.may_edit_platform(request.user)


def _figures(request: HttpRequest, version: int) -> dict[str, Any]:
    scopes = figures.scopes(request)
    return {
        **figures.live(scopes, version),
        "mailings": _mailings(request, scopes),
        "gates": [_line(request, gate) for gate in figures.gates(scopes)],
    }


def _mailings(request: HttpRequest, scopes: list[Scope]) -> list[list[Any]]:
    """Those of accounts that the person does not see are one line."""
    rows = figures.rows(scopes, "mailing")
    found = Mailing.objects.select_related("account").in_bulk([row.id for row in rows])
    seen = {account.pk for account in current.accounts(request)}
    own = {number: mailing for number, mailing in found.items() if mailing.account_id in seen}
    lines = [figures.cells(_named(request, own[row.id]), row.queue) for row in rows if row.id in own]
    if others := [row.queue for row in rows if row.id not in own]:
        lines.append(figures.cells("Mailings of other accounts", figures.added(others)))
    return lines


def _named(request: HttpRequest, mailing: Mailing) -> dict[str, str]:
    """With its account where the page shows several: only there may names be the same."""
    account = f" ({mailing.account})" if current.current(request) is None else ""
    return figures.link(f"{mailing.name}{account}", figures.page_of_mailing(mailing.pk))


def _line(request: HttpRequest, gate: GateRow) -> list[Any]:
    return [
        figures.described(gate.scope),
        figures.clock(gate.since),
        gate.user,
        _opening(request, gate.scope),
    ]


def _opening(request: HttpRequest, scope: Scope) -> dict[str, str] | str:
    """The way to the command that opens a gate, for those who may give it."""
    if scope.account and not permissions.may_edit(request.user, scope.account):
        return ""
    if scope.mailing:
        return figures.link("Queue", figures.page_of_mailing(scope.mailing))
    if not _may_command(request):
        return ""
    named = {name: getattr(scope, name) for name in ("account", "sender", "isp") if getattr(scope, name)}
    address = reverse("admin:queue_command")
    return figures.link("Release", f"{address}?{urlencode({'action': 'release', **named})}")
