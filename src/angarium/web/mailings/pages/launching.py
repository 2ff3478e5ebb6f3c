"""Launching a mailing, stopping and resuming a launch, test sends."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse

from angarium.domain.contact import email_address
from angarium.errors import InvalidInput
from angarium.store import launches
from angarium.web.access import permissions
from angarium.web.access.journal import record
from angarium.web.access.pages import page_context
from angarium.web.directory.models import Subscription, SubscriptionStatus
from angarium.web.mailings.models import Launch, Mailing
from angarium.web.mailings.pages.preview import find_reader
from angarium.web.widgets import Text


class TestForm(forms.Form):
    address = forms.CharField(max_length=320, label="Address", widget=Text)
    preview_as = forms.CharField(
        max_length=320, required=False, label="With the fields of", widget=Text,
        help_text="Address or key of a profile; empty: the profile of the address, or the first of the list.",
    )  # fmt: skip

    def clean_address(self) -> str:
        try:
            return email_address(self.cleaned_data["address"]).address
        except InvalidInput as error:
            raise forms.ValidationError(f"{str(error).capitalize()}.") from error


def require_edit(request: HttpRequest, mailing: Mailing) -> None:
    """Those who may only look get the 404 of things that are not there."""
    if not permissions.may_edit(request.user, mailing.account_id):
        raise Http404


def launch(request: HttpRequest, mailing: Mailing) -> HttpResponse:
    """Asks first, showing how many it goes to; then launches."""
    require_edit(request, mailing)
    if request.method == "POST":
        try:
            number = launches.request(mailing.account_id, mailing.pk, request.user.pk)
        except InvalidInput as error:
            messages.error(request, str(error))
            return redirect("admin:mailings_mailing_launch", mailing.pk)
        record(request, mailing, "launched", launch=number)
        return redirect(f"{reverse('admin:mailings_mailing_report', args=[mailing.pk])}?launch={number}")
    values = page_context(
        request,
        f"Launch {mailing.name}",
        mailing=mailing,
        may_edit=True,
        problems=problems(mailing),
        **_audience(mailing),
    )
    return TemplateResponse(request, "mailings/launch.html", values)


def _audience(mailing: Mailing) -> dict[str, int]:
    profiles = mailing.audience.entries.count()
    reachable = (
        Subscription.objects.filter(
            resource=mailing.resource_id,
            channel=mailing.channel,
            status=SubscriptionStatus.SUBSCRIBED,
            profile__in=mailing.audience.entries.values("profile"),
        )
        .values("profile")
        .distinct()
        .count()
    )
    return {"profiles": profiles, "reachable": reachable}


def problems(mailing: Mailing) -> list[str]:
    """What stands against a launch, in sentences."""
    found = launches.validate(mailing)
    if mailing.launches.filter(state__in=launches.UNFINISHED, test_address="").exists():
        found.append("a launch of this mailing is being prepared already")
    return [f"{text[:1].upper()}{text[1:]}." for text in found]


def stop(request: HttpRequest, mailing: Mailing, number: int) -> HttpResponse:
    return _command(request, mailing, number, launches.stop, "stopped", "Nothing more is prepared.")


def resume(request: HttpRequest, mailing: Mailing, number: int) -> HttpResponse:
    return _command(request, mailing, number, launches.resume, "resumed", "The launch goes on where it was.")


def _command(
    request: HttpRequest, mailing: Mailing, number: int, command: Any, word: str, answer: str
) -> HttpResponse:
    require_edit(request, mailing)
    if request.method != "POST" or not mailing.launches.filter(pk=number).exists():
        raise Http404
    try:
        command(mailing.account_id, number)
    except InvalidInput as error:
        messages.error(request, str(error))
    else:
        record(request, mailing, word, launch=number)
        messages.success(request, answer)
    return redirect(f"{reverse('admin:mailings_mailing_report', args=[mailing.pk])}?launch={number}")


def test_send(request: HttpRequest, mailing: Mailing) -> HttpResponse:
    """One message to one address; the audience is not touched."""
    require_edit(request, mailing)
    form = TestForm(request.POST or None)
    if request.method == "POST" and form.is_valid() and _sent(request, mailing, form):
        return redirect("admin:mailings_mailing_test", mailing.pk)
    tests = Launch.objects.filter(mailing=mailing).exclude(test_address="").order_by("-pk")[:10]
    values = page_context(
        request, f"Test send of {mailing.name}", mailing=mailing, may_edit=True, form=form, tests=tests
    )
    return TemplateResponse(request, "mailings/test.html", values)


def _sent(request: HttpRequest, mailing: Mailing, form: TestForm) -> bool:
    wanted, address = form.cleaned_data["preview_as"], form.cleaned_data["address"]
    profile = None
    if wanted:
        reader = find_reader(mailing.account_id, wanted, "")
        if reader is None:
            form.add_error("preview_as", "There is no such profile in this account.")
            return False
        profile = reader.id
    try:
        number = launches.request_test(mailing.account_id, mailing.pk, address, profile, request.user.pk)
    except InvalidInput as error:
        form.add_error(None, str(error))
        return False
    record(request, mailing, "test send", launch=number, address=address)
    messages.success(request, f"The test to {address} is on its way.")
    return True
