"""Rows by the name or number a person types."""

from __future__ import annotations

from typing import TypeVar

from django.db import models

from angarium.errors import InvalidInput
from angarium.web.access.models import Account
from angarium.web.mailings.models import Mailing
from angarium.web.sending.models import Sender

Row = TypeVar("Row", bound=models.Model)


def account(named: str | None) -> int:
    """The account of this name or number; without a name the only one there is. Raises `InvalidInput`."""
    rows = Account.objects.filter(active=True)
    if named is not None:
        return _find(rows, named, "account").pk
    names = list(rows.values_list("name", flat=True)[:10])
    if len(names) == 1:
        return rows.get().pk
    if not names:
        raise InvalidInput("there is no account yet; name one with --account and --new-account makes it")
    raise InvalidInput(f"say which account with --account: {', '.join(names)}")


def mailing(account_id: int, named: str) -> int:
    return _find(Mailing.objects.filter(account_id=account_id), named, "mailing").pk


def sender(account_id: int, named: str | None) -> int:
    """Of those the account may use; without a name the only one."""
    rows = Sender.objects.filter(accounts=account_id)
    if named is not None:
        return _find(rows, named, "sender").pk
    names = list(rows.values_list("name", flat=True))
    if len(names) != 1:
        known = f": {', '.join(names)}" if names else "; the account may use none yet"
        raise InvalidInput(f"say which sender with --sender{known}")
    return rows.get().pk


def existing_or_new(model: type[Row], account_id: int, named: str) -> int:
    """The row of the account by name or number; a name that is new makes one."""
    rows = model._default_manager.filter(account_id=account_id)
    if named.isdecimal() and rows.filter(pk=int(named)).exists():
        return int(named)
    return int(model._default_manager.get_or_create(account_id=account_id, name=named)[0].pk)


def new_account(name: str) -> int:
    return Account.objects.get_or_create(name=name)[0].pk


def _find(rows: models.QuerySet[Row], named: str, word: str) -> Row:
    row = rows.filter(name=named).first()
    if row is None and named.isdecimal():
        row = rows.filter(pk=int(named)).first()
    if row is None:
        names = list(rows.order_by("-pk").values_list("name", flat=True)[:10])
        known = f"; there are {', '.join(map(repr, names))}" if names else "; there is none yet"
        raise InvalidInput(f"there is no {word} {named!r}{known}")
    return row
