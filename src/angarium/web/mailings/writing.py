"""Writing templates and mailings without a form: checked field by field, within one account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import transaction
from django.db.models import Model

from angarium.domain import filters
from angarium.domain.contact import email_address
from angarium.errors import InvalidInput
from angarium.mailing import render
from angarium.web.directory.models import ProfileList, Resource, SendingPolicy, SuppressionList
from angarium.web.mailings import files
from angarium.web.mailings.models import Mailing, Template
from angarium.web.sending.models import Sender

PARTS: Final = ("subject", "preheader", "html", "text")
OPTIONS: Final = ("from_address", "from_name", "reply_to", "to_name", "headers")
SHORTEST_LIFE, LONGEST_LIFE = 60, 30 * 86_400
_OWNED: Final[Mapping[str, type[Model]]] = {
    "template": Template, "audience": ProfileList, "resource": Resource, "policy": SendingPolicy,
}  # fmt: skip


def write_template(row: Template, values: Mapping[str, Any]) -> None:
    """`name` and the parts that are named. Raises Django's `ValidationError`."""
    row.name = values.get("name", row.name)
    row.content = {**(row.content or {}), **{part: values[part] for part in PARTS if part in values}}
    found: dict[str, list[str]] = {}
    for problem in render.problems(row.content):
        found.setdefault(_part_of(problem), []).append(problem)
    _check(row, found)
    row.save()
    for file in row.files.all():
        files.place(file, row.content.get("html", ""))


@transaction.atomic
def write_mailing(row: Mailing, values: Mapping[str, Any]) -> None:
    """The values that are named; rows of other tables by number. Raises Django's `ValidationError`.

    What the mailing names must be its account's, and the sender one the account may use. A mailing that
    could not be launched yet may be saved: `store.launches.validate` tells what it lacks.
    """
    found = _links(row, values)
    options = {name: values[name] for name in OPTIONS if name in values}
    row.options = {name: value for name, value in {**(row.options or {}), **options}.items() if value}
    for name in ("name", "active", "urgent", "filters", "launch_limit", "life", "not_after"):
        if name in values:
            setattr(row, name, values[name])
    found |= _addresses(row.options) | _filters(row.filters) | _headers(row.options.get("headers", {}))
    if row.life is not None and not SHORTEST_LIFE <= row.life <= LONGEST_LIFE:
        found["life"] = [f"Give seconds, from {SHORTEST_LIFE} to {LONGEST_LIFE} (30 days)."]
    lists = _suppression_lists(row, values.get("suppression_lists"), found)
    _check(row, found)
    row.save()
    if lists is not None:
        row.suppression_lists.set(lists)


def _links(row: Mailing, values: Mapping[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, model in _OWNED.items():
        if name not in values:
            continue
        linked = model._default_manager.filter(account=row.account_id, pk=values[name]).first()
        if values[name] is not None and linked is None:
            found[name] = [f"The account has no {model._meta.verbose_name} {values[name]}."]
        setattr(row, f"{name}_id", linked.pk if linked else None)
    if "sender" in values:
        sender = Sender.objects.filter(accounts=row.account_id, pk=values["sender"]).first()
        if sender is None:
            found["sender"] = [f"The account may use no sender {values['sender']}."]
        else:
            row.sender = sender
    return found


def _addresses(options: dict[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in ("from_address", "reply_to"):
        if options.get(name):
            try:
                options[name] = email_address(options[name]).address
            except InvalidInput as error:
                found[name] = [str(error)]
    if problem := render.problems({"subject": "x", "text": "x"}, str(options.get("to_name", ""))):
        found["to_name"] = problem
    return found


def _filters(conditions: Any) -> dict[str, list[str]]:
    try:
        filters.parse(conditions or [])
    except InvalidInput as error:
        return {"filters": [str(error)]}
    return {}


def _headers(headers: Mapping[str, str]) -> dict[str, list[str]]:
    for name, value in headers.items():
        if not name or not all("!" <= letter <= "~" and letter != ":" for letter in name):
            return {"headers": [f"{name!r} is not the name of a header field."]}
        if "\r" in value or "\n" in value:
            return {"headers": [f"The value of {name} must be one line."]}
    return {}


def _suppression_lists(
    row: Mailing, numbers: list[int] | None, found: dict[str, list[str]]
) -> list[SuppressionList] | None:
    if numbers is None:
        return None
    lists = list(SuppressionList.objects.filter(account=row.account_id, pk__in=numbers))
    if missing := set(numbers) - {row.pk for row in lists}:
        found["suppression_lists"] = [f"The account has no suppression list {min(missing)}."]
    return lists


def _part_of(problem: str) -> str:
    """A problem begins with the part it is in; one that does not concerns the content as a whole."""
    part = problem.partition(":")[0].partition(",")[0]
    if part in PARTS:
        return part
    return "subject" if "subject" in problem else "html"


def _check(row: Model, found: Mapping[str, list[str]]) -> None:
    try:
        row.full_clean(exclude=set(found) & {field.name for field in row._meta.get_fields()})
    except ValidationError as error:
        more = error.message_dict
        if NON_FIELD_ERRORS in more:  # the unique constraint of account and name
            more["name"] = [f"There is a {row._meta.verbose_name} of this name already."]
            del more[NON_FIELD_ERRORS]
        raise ValidationError({**more, **found}) from None
    if found:
        raise ValidationError(dict(found))
