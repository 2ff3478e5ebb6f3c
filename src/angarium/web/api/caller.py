"""Who calls: a person, perhaps by a token that is narrowed to one account.

What one may not see is not there (404); what one may see but not do is refused (403).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest
from ninja.errors import HttpError

from angarium.web.access import permissions
from angarium.web.access.models import Account, ApiToken, User
from angarium.web.api.errors import Invalid

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Caller:
    user: User
    token: ApiToken | None = None

    @property
    def narrowed(self) -> bool:
        """The token is good for one account only, and for nothing of the platform."""
        return self.token is not None and self.token.account_id is not None

    @property
    def accounts(self) -> QuerySet[Account]:
        return self._within(permissions.accounts_visible(self.user))

    @property
    def editable_accounts(self) -> QuerySet[Account]:
        return self._within(permissions.accounts_editable(self.user))

    def _within(self, accounts: QuerySet[Account]) -> QuerySet[Account]:
        if self.token is None or self.token.account_id is None:
            return accounts
        return accounts.filter(pk=self.token.account_id)

    def own(self, rows: QuerySet[M], field: str = "account", account: int | None = None) -> QuerySet[M]:
        """Those of the rows that belong to accounts the caller sees, or to the one named."""
        accounts = self.accounts if account is None else self.accounts.filter(pk=account)
        return rows.filter(**{f"{field}__in": accounts.values("pk")})

    def find(self, rows: QuerySet[M], field: str = "account", **key: Any) -> M:
        """One row of the caller's accounts. Raises `Http404`."""
        row = self.own(rows, field).filter(**key).first()
        if row is None:
            raise Http404
        return row

    def must_edit(self, account: Account | int) -> None:
        """Raises 403 where the caller may only look, 404 where not even that."""
        number = account.pk if isinstance(account, Account) else account
        if self.editable_accounts.filter(pk=number).exists():
            return
        if self.accounts.filter(pk=number).exists():
            raise HttpError(403, "You may look at this account, not change it.")
        raise Http404

    def account_for_new(self, number: int | None) -> Account:
        """The account a new row goes into; it may be left out where there is only one."""
        if number is None:
            return self._only_account()
        self.must_edit(number)
        return self.accounts.get(pk=number)

    def _only_account(self) -> Account:
        accounts = list(self.editable_accounts[:2])
        if len(accounts) == 1:
            return accounts[0]
        if not accounts:
            raise HttpError(403, "You may not change anything in any account.")
        raise Invalid({"account": "Say which account: you may work in several."})

    @property
    def sees_platform(self) -> bool:
        return not self.narrowed and permissions.may_see_platform(self.user)

    @property
    def administers(self) -> bool:
        return not self.narrowed and permissions.may_administer(self.user)

    def must_see_platform(self) -> None:
        if not self.sees_platform:
            raise Http404

    def must_edit_platform(self) -> None:
        self.must_see_platform()
        if not permissions.may_edit_platform(self.user):
            raise HttpError(403, "You may look at the platform's settings, not change them.")

    def must_administer(self) -> None:
        if not self.administers:
            raise Http404


def caller(request: HttpRequest) -> Caller:
    """Whoever the request was authenticated as."""
    found: Caller = request.auth  # type: ignore[attr-defined]
    return found
