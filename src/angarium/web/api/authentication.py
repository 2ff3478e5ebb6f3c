"""Bearer tokens, and the panel's session with its CSRF token."""

from __future__ import annotations

from typing import Any

from auditlog.context import auditlog_value
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from ninja.errors import AuthenticationError, HttpError, Throttled
from ninja.security import APIKeyCookie, HttpBearer
from ninja.utils import check_csrf

from angarium.web.access import login, tokens
from angarium.web.access.models import LoginFailure, User
from angarium.web.api.caller import Caller


class Token(HttpBearer):
    """`Authorization: Bearer ang_…`.

    A good token is always heard; failures are counted by network address, and too many are answered 429.
    """

    def authenticate(self, request: HttpRequest, token: str) -> Caller:
        found = tokens.find(token)
        if found is None:
            raise _refuse(str(request.META.get("REMOTE_ADDR", "")))
        _name_actor(found.user, token=found.name)
        return Caller(found.user, found)


class Session(APIKeyCookie):
    """Whoever is logged in to the panel. Changes need the CSRF token."""

    param_name = "sessionid"

    def __call__(self, request: HttpRequest) -> Caller | None:
        if not isinstance(request.user, User) or not request.user.is_active:
            return None
        if check_csrf(request):
            raise HttpError(403, "The CSRF token is missing or wrong.")
        return Caller(request.user)

    def authenticate(self, request: HttpRequest, key: str | None) -> Any:
        raise NotImplementedError("sessions are read by Django")


def _refuse(address: str) -> HttpError:
    key = f"api:{address}"
    try:
        login.refuse_guessing({"address": key})
    except ValidationError:
        return Throttled(int(login.WINDOW.total_seconds()))
    LoginFailure.objects.create(key=key)
    return AuthenticationError(401, "This token is not known, or has expired.")


def _name_actor(user: User, **more: str) -> None:
    """The audit journal names the person, and the token they came with."""
    context = auditlog_value.get(None)
    if context is not None:
        context.update(actor=user, additional_data=more)
