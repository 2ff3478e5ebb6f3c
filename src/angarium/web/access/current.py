"""The account a person works in: what lists show and what new objects belong to."""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import HttpRequest

from angarium.web.access.models import Account
from angarium.web.access.permissions import accounts_editable, accounts_visible

KEY = "account"
ALL = 0


def accounts(request: HttpRequest) -> list[Account]:
    """All accounts the person sees; read once a request."""
    found: list[Account] | None = getattr(request, "_accounts", None)
    if found is None:
        found = list(accounts_visible(request.user))
        request._accounts = found  # type: ignore[attr-defined]
    return found


def current(request: HttpRequest) -> Account | None:
    """The chosen account; None: all that the person sees."""
    seen = accounts(request)
    if len(seen) == 1:
        return seen[0]
    chosen = request.session.get(KEY, ALL)
    return next((account for account in seen if account.pk == chosen), None)


def shown(request: HttpRequest) -> list[int]:
    """Ids of the accounts whose objects lists show."""
    account = current(request)
    return [account.pk] if account else [account.pk for account in accounts(request)]


def choose(request: HttpRequest, account: int) -> bool:
    """Remembers the choice. False: the person does not see that account."""
    if account != ALL and account not in {seen.pk for seen in accounts(request)}:
        return False
    request.session[KEY] = account
    return True


def editable(request: HttpRequest) -> QuerySet[Account]:
    return accounts_editable(request.user)


def new_object_account(request: HttpRequest) -> Account | None:
    """The account a new object belongs to; None: the person must say which."""
    allowed = list(editable(request))
    named = request.GET.get(KEY, "")
    if named.isdecimal():
        return next((account for account in allowed if account.pk == int(named)), None)
    chosen = current(request)
    if chosen:
        return chosen if chosen in allowed else None
    return allowed[0] if len(allowed) == 1 else None
