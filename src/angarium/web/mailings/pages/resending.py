"""Sending a launch again to those it did not reach."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse

from angarium.domain.outcome import Reason
from angarium.errors import InvalidInput
from angarium.store import resends
from angarium.web.access.journal import record
from angarium.web.access.pages import page_context
from angarium.web.mailings.models import Mailing
from angarium.web.mailings.pages.launching import require_edit


class ResendForm(forms.Form):
    """The reasons that may be tried again, each with its count."""

    reasons = forms.MultipleChoiceField(
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one reason."},
    )

    def __init__(self, offered: dict[Reason, int], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["reasons"]
        field.choices = [(reason.value, f"{reason.value} ({count:,})") for reason, count in offered.items()]
        field.initial = [reason.value for reason in offered]


def resend(request: HttpRequest, mailing: Mailing, number: int) -> HttpResponse:
    """Asks for the reasons first; then launches."""
    require_edit(request, mailing)
    if not mailing.launches.filter(pk=number, test_address="").exists():
        raise Http404
    offered = resends.offered(mailing.account_id, number)
    form = ResendForm(offered, request.POST or None)
    if request.method == "POST" and form.is_valid() and (launched := _asked(request, mailing, number, form)):
        return redirect(f"{reverse('admin:mailings_mailing_report', args=[mailing.pk])}?launch={launched}")
    values = page_context(
        request, f"Send {mailing.name} again", mailing=mailing, may_edit=True, number=number, form=form,
        offered=offered,
    )  # fmt: skip
    return TemplateResponse(request, "mailings/resend.html", values)


def _asked(request: HttpRequest, mailing: Mailing, number: int, form: ResendForm) -> int:
    """The new launch; 0: it was refused."""
    reasons = [Reason(reason) for reason in form.cleaned_data["reasons"]]
    try:
        made = resends.request(mailing.account_id, number, reasons, request.user.pk)
    except InvalidInput as error:
        messages.error(request, f"{str(error).capitalize()}.")
        return 0
    record(request, mailing, "resent", launch=made.launch, undelivered_of=number)
    return made.launch
