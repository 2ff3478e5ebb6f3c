"""Where a row is used, and deletion that asks first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from django.apps import apps
from django.db import transaction
from django.db.models import Model

from angarium.errors import InvalidInput

_USED_BY: Final = {
    "sending.RetryRule": (
        ("sending.MtaSender", "retry_rule", "sender"),
        ("sending.DefaultRule", "retry_rule", "default rule"),
    ),
    "sending.Strategy": (
        ("sending.MtaSender", "strategy", "sender"),
        ("sending.StrategyOverride", "strategy", "override of sender"),
    ),
    "sending.BouncePattern": (("sending.DefaultRule", "pattern", "default rule"),),
    "sending.Isp": (
        ("sending.BouncePattern", "isp", "bounce pattern"),
        ("sending.DefaultRule", "isp", "default rule"),
        ("sending.StrategyOverride", "isp", "override of sender"),
    ),
    "sending.Node": (("sending.IpAddress", "node", "IP address"),),
    "sending.IpAddress": (
        ("sending.MtaSender", "addresses", "sender"),
        ("sending.StrategyOverride", "address", "override of sender"),
    ),
    "sending.DkimKey": (("sending.MtaSender", "dkim_keys", "sender"),),
    "sending.Sender": (("mailings.Mailing", "sender", "mailing"),),
    "mailings.Template": (("mailings.Mailing", "template", "mailing"),),
    "directory.ProfileList": (("mailings.Mailing", "audience", "mailing"),),
    "directory.Resource": (("mailings.Mailing", "resource", "mailing"),),
}  # fmt: skip
"""Model → (model, field, what to call it) of those that name it."""
MOST_NAMED: Final = 20


class InUse(InvalidInput):
    """The row stays, because others name it; or because it must always be there."""

    def __init__(self, message: str, uses: list[str]) -> None:
        super().__init__(message)
        self.uses = uses


def uses(row: Model) -> list[str]:
    """In words, where a row is named, such as `sender News`; at most 20."""
    return list(_uses(row))[:MOST_NAMED]


def _uses(row: Model) -> Iterator[str]:
    for model, field, word in _USED_BY.get(row._meta.label, ()):
        for user in apps.get_model(model)._default_manager.filter(**{field: row})[:MOST_NAMED]:
            yield f"{word} {getattr(user, 'sender', user) if 'sender' in word else user}"


def refusal(row: Model) -> InUse | None:
    """Why the row cannot be deleted now; None: it can."""
    word = str(row._meta.verbose_name)
    if getattr(row, "default", False):
        return InUse(f"The default {word} can be edited, not deleted.", [])
    if getattr(row, "builtin", False):
        return InUse(f"A built-in {word} can be edited and reset, not deleted.", [])
    if found := uses(row):
        return InUse(f"The {word} “{row}” is in use: {', '.join(found)}.", found)
    return None


@transaction.atomic
def delete(row: Model) -> None:
    """Deletes a row that nothing names. Raises `InUse`, saying where it is used."""
    if reason := refusal(row):
        raise reason
    row.delete()
