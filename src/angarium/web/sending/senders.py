"""Writing a sender: its row, its settings as our own SMTP, and what they link to, as one change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model

from angarium.web.access.models import Account
from angarium.web.sending import validation
from angarium.web.sending.models import DkimKey, IpAddress, MtaSender, Sender, StrategyOverride

_SENDER: Final = ("name", "active")
_LINKS: Final[Mapping[str, type[Model]]] = {"addresses": IpAddress, "dkim_keys": DkimKey, "accounts": Account}


@transaction.atomic
def write(sender: Sender, values: dict[str, Any]) -> Sender:
    """Saves the values that are named; links and overrides, where named, replace all of them.

    Foreign keys and links are row numbers; an override is `{strategy, address, isp}`. Raises Django's
    `ValidationError`, field by field.
    """
    linked = {name: _rows(name, values[name]) for name in _LINKS if name in values}
    _put(sender, {name: values[name] for name in _SENDER if name in values})
    mta = MtaSender.objects.filter(pk=sender.pk).first() or MtaSender(sender=sender)
    own = {"strategy": "strategy_id", "retry_rule": "retry_rule_id"}
    names = ("strategy", "retry_rule", "doubt", "life", "bounce_domain", "tls")
    _put(mta, {own.get(name, name): values[name] for name in names if name in values})
    for name, rows in linked.items():
        getattr(sender if name == "accounts" else mta, name).set(rows)
    if "overrides" in values:
        _override(mta, values["overrides"])
    return Sender.objects.get(pk=sender.pk)


def _put(row: Model, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(row, name, value)
    validation.check(row)
    row.save()


def _rows(name: str, numbers: Sequence[int]) -> list[Model]:
    rows = list(_LINKS[name]._default_manager.filter(pk__in=numbers))
    if missing := set(numbers) - {row.pk for row in rows}:
        raise ValidationError({name: f"There is no {', '.join(str(number) for number in sorted(missing))}."})
    return rows


def _override(mta: MtaSender, overrides: Iterable[Mapping[str, Any]]) -> None:
    mta.overrides.all().delete()
    for override in overrides:
        row = StrategyOverride(
            sender=mta,
            strategy_id=override["strategy"],
            address_id=override.get("address"),
            isp_id=override.get("isp"),
        )
        try:
            row.full_clean()
        except ValidationError as error:
            text = " ".join(message for messages in error.message_dict.values() for message in messages)
            raise ValidationError({"overrides": text}) from None
        row.save()
