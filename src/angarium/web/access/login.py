"""Logging in, with a limit to guessing: per user name and per network address."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib.auth import authenticate
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice

from angarium.web.access.models import LoginFailure

if TYPE_CHECKING:
    from django.contrib.auth.forms import AuthenticationForm
else:
    from unfold.forms import AuthenticationForm

WINDOW: Final = timedelta(minutes=15)
MOST_FAILURES: Final = {"user": 5, "address": 20}
"""Failed attempts within the window before further ones are refused unread."""


class LoginForm(AuthenticationForm):
    """User name, password, and a code where the person has set up a second factor.

    Any active person may enter; what they see depends on their role.
    """

    code = forms.CharField(
        required=False,
        max_length=10,
        label="Code, if you use a second factor",
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )

    right_password = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = "User name"
        self.fields["code"].widget.attrs["class"] = self.fields["password"].widget.attrs.get("class", "")
        if not TOTPDevice.objects.filter(confirmed=True).exists():
            del self.fields["code"]

    def clean(self) -> dict[str, Any]:
        username = self.cleaned_data.get("username")
        password = self.cleaned_data.get("password")
        if not username or not password:
            return self.cleaned_data
        keys = _keys(username, self.request)
        refuse_guessing(keys)
        self.user_cache = authenticate(self.request, username=username, password=password)
        if self.user_cache is None or not self._proven(self.user_cache):
            for key in keys.values():
                LoginFailure.objects.create(key=key)
            raise self.get_invalid_login_error()
        LoginFailure.objects.filter(key=keys["user"]).delete()
        return self.cleaned_data

    def _proven(self, user: AbstractBaseUser) -> bool:
        from angarium.web.access.second_factor import accepts

        self.right_password = True
        return accepts(user, self.cleaned_data.get("code") or "")

    def get_invalid_login_error(self) -> ValidationError:
        if self.right_password:
            return ValidationError("Give the code that your authenticator app shows now.", code="code")
        return ValidationError("The user name or the password is wrong.", code="invalid_login")

    def confirm_login_allowed(self, user: AbstractBaseUser) -> None:
        """`authenticate` already refuses people who are not active."""


def refuse_guessing(keys: dict[str, str]) -> None:
    """Raises `ValidationError` when a key has failed too often, saying when to come back."""
    now = timezone.now()
    LoginFailure.objects.filter(at__lt=now - WINDOW).delete()
    for kind, key in keys.items():
        failures = list(LoginFailure.objects.filter(key=key).order_by("at").values_list("at", flat=True))
        if len(failures) >= MOST_FAILURES[kind]:
            freed = failures[-MOST_FAILURES[kind]] + WINDOW
            minutes = max(1, -int((now - freed).total_seconds() // 60))
            whom = "this user name" if kind == "user" else "your network address"
            raise ValidationError(
                f"Too many failed attempts for {whom}. Try again in {minutes} min.", code="too_many"
            )


def _keys(username: str, request: HttpRequest | None) -> dict[str, str]:
    address = request.META.get("REMOTE_ADDR", "") if request else ""
    return {"user": f"user:{username.lower()[:150]}", "address": f"address:{address}"}
