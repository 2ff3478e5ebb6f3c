"""The second factor: codes of an authenticator app (TOTP, RFC 6238), asked for at login."""

from __future__ import annotations

from base64 import b32encode
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django_otp.plugins.otp_totp.models import TOTPDevice

from angarium.web.access.journal import record
from angarium.web.access.models import User
from angarium.web.access.pages import page_context
from angarium.web.widgets import Text

NAME: Final = "authenticator app"


class CodeForm(forms.Form):
    code = forms.CharField(
        max_length=10,
        label="Code",
        widget=Text(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )


def device(user: Any) -> Any:
    """What the person's codes are checked against; None: they have no second factor."""
    return TOTPDevice.objects.filter(user=user, confirmed=True).first()


def accepts(user: Any, code: str) -> bool:
    """Whether the code is right, now and for the first time; anything is for who has no second factor.

    Wrong codes make the device wait, each time longer.
    """
    found = device(user)
    return found is None or bool(found.verify_token(code.replace(" ", "")))


@transaction.atomic
def remove(request: HttpRequest, user: User) -> None:
    TOTPDevice.objects.filter(user=user).delete()
    record(request, user, "second factor removed")


def page(request: HttpRequest) -> HttpResponse:
    """Sets it up, or removes it; either way a right code proves that the app is at hand."""
    has_one = device(request.user)
    shown = has_one or TOTPDevice.objects.get_or_create(user=request.user, confirmed=False, name=NAME)[0]
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        if shown.verify_token(form.cleaned_data["code"].replace(" ", "")):
            return _changed(request, shown, bool(has_one))
        form.add_error(
            "code", "This code is not right. Codes change every 30 seconds; wait for the next one."
        )
    context = page_context(
        request, "Second factor", form=form, has_one=has_one, key=_key(shown), address=shown.config_url
    )
    response = TemplateResponse(request, "access/second_factor.html", context)
    response["Cache-Control"] = "no-store"
    return response


def _changed(request: HttpRequest, shown: Any, had_one: bool) -> HttpResponse:
    if had_one:
        remove(request, request.user)  # type: ignore[arg-type]
        messages.success(request, "The second factor is removed: the password is enough again.")
    else:
        shown.confirmed = True
        shown.save(update_fields=["confirmed"])
        record(request, request.user, "second factor set up")  # type: ignore[arg-type]
        messages.success(request, "From now on a code is asked for when you log in.")
    return redirect("admin:second_factor")


def _key(shown: Any) -> str:
    """As people type it: base32 in groups of four."""
    text = b32encode(shown.bin_key).decode().rstrip("=")
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))
