"""The sender queue of a mailing: live figures, freeze, unfreeze, clear."""

from __future__ import annotations

import time
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse

from angarium.domain.gates import Scope
from angarium.errors import InvalidInput
from angarium.store import launches, queues
from angarium.store.queues import Command, GateRow
from angarium.web.access import permissions
from angarium.web.access.journal import record
from angarium.web.access.pages import page_context
from angarium.web.mailings.models import Launch, LaunchState, Mailing
from angarium.web.mailings.pages.launching import require_edit
from angarium.web.queues.pages import figures
from angarium.web.queues.pages.pace import in_sentence, pace
from angarium.web.queues.pages.stream import stream
from angarium.web.widgets import Text

STOPPABLE: Final = (LaunchState.WAITING, LaunchState.PREPARING)


class ClearForm(forms.Form):
    """Asks for the mailing's name: what is cleared does not come back."""

    name = forms.CharField(
        required=False, label="Write the name of the mailing to confirm", widget=Text, max_length=120
    )
    stop = forms.BooleanField(required=False, initial=True)

    def __init__(self, mailing: Mailing, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mailing = mailing

    def clean_name(self) -> str:
        written = str(self.cleaned_data["name"]).strip()
        if written != self.mailing.name.strip():
            raise forms.ValidationError(f"The name is: {self.mailing.name}")
        return written


def page(request: HttpRequest, mailing: Mailing) -> HttpResponse:
    version = version_of(request)
    address = reverse("admin:mailings_mailing_queue_stream", args=[mailing.pk])
    values = page_context(
        request,
        mailing.name,
        mailing=mailing,
        figures=_figures(mailing, version),
        kinds=figures.KINDS.items(),
        stream=f"{address}?version={version}",
        may_edit=permissions.may_edit(request.user, mailing.account_id),
    )
    return TemplateResponse(request, "queues/mailing.html", values)


def live(request: HttpRequest, mailing: Mailing) -> StreamingHttpResponse:
    version = version_of(request)
    return stream(lambda: _figures(mailing, version))


def version_of(request: HttpRequest) -> int:
    """Settings version of the command that the page follows; 0: none."""
    named = request.GET.get("version", "")
    return int(named) if named.isdecimal() and len(named) < 19 else 0


def _figures(mailing: Mailing, version: int) -> dict[str, Any]:
    scope = figures.of_mailing(mailing)
    in_force = figures.gates([scope])
    shown = figures.live([scope], version)
    closed = any(gate.scope == scope for gate in in_force)
    return {
        **shown,
        "pace": in_sentence(pace(mailing.pk, time.time()), shown["total"] - shown["frozen"]),
        "closed": closed,
        "open": not closed,
        "stopped": bool(in_force),
        "gates": [_line(gate, scope) for gate in in_force],
    }


def _line(gate: GateRow, own: Scope) -> list[str]:
    what = "This mailing is frozen" if gate.scope == own else f"Hold: {figures.described(gate.scope)}"
    return [what, figures.clock(gate.since), gate.user]


def freeze(request: HttpRequest, mailing: Mailing) -> HttpResponse:
    _require_command(request, mailing)
    given = queues.close(figures.of_mailing(mailing), request.user.get_username())
    text = "Nothing more of this mailing is sent until it is unfrozen."
    return _answer(request, mailing, given, text if given.version else "The queue was frozen already.")


def unfreeze(request: HttpRequest, mailing: Mailing) -> HttpResponse:
    _require_command(request, mailing)
    scope = figures.of_mailing(mailing)
    given = queues.open_again(scope, request.user.get_username())
    left = "; ".join(figures.described(gate.scope) for gate in queues.gates(scope))
    text = "The queue goes on where it stood." if given.version else "The queue was not frozen."
    return _answer(request, mailing, given, f"{text} Still held: {left}." if left else text)


def _require_command(request: HttpRequest, mailing: Mailing) -> None:
    require_edit(request, mailing)
    if request.method != "POST":
        raise Http404


def _answer(request: HttpRequest, mailing: Mailing, given: Command, text: str) -> HttpResponse:
    messages.success(request, text)
    return redirect(f"{figures.page_of_mailing(mailing.pk)}?version={given.version}")


def clear(request: HttpRequest, mailing: Mailing) -> HttpResponse:
    """Asks first, showing how many it removes; then removes them."""
    require_edit(request, mailing)
    scope, user = figures.of_mailing(mailing), request.user.get_username()
    form = ClearForm(mailing, request.POST or None)
    if form.is_valid():
        if form.cleaned_data["stop"]:
            _stop(request, mailing)
        given = queues.clear(scope, user)
        return _answer(request, mailing, given, f"{counted(given.affected)} removed from the queue.")
    values = page_context(
        request,
        f"Clear the queue of {mailing.name}",
        mailing=mailing,
        may_edit=True,
        form=form,
        affected=queues.clear(scope, user, dry_run=True).affected,
        running=_running(mailing),
    )
    return TemplateResponse(request, "queues/clear.html", values)


def counted(number: int) -> str:
    return f"{number:,} {'message was' if number == 1 else 'messages were'}"


def _running(mailing: Mailing) -> list[Launch]:
    return list(mailing.launches.filter(state__in=STOPPABLE).order_by("pk"))


def _stop(request: HttpRequest, mailing: Mailing) -> None:
    """A launch that ends in between needs no stop."""
    for launch in _running(mailing):
        try:
            launches.stop(mailing.account_id, launch.pk)
        except InvalidInput as error:
            messages.info(request, str(error))
        else:
            record(request, mailing, "stopped", launch=launch.pk)
