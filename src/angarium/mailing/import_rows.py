"""What a line of an audience file says about a person."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from angarium.domain.contact import EmailAddress, email_address
from angarium.errors import InvalidInput
from angarium.mailing.csv_rows import Row

STATUSES: Final = (
    "subscribed", "unsubscribed", "complained", "hardbounced", "unconfirmed", "suspended", "invalid",
)  # fmt: skip
LASTING: Final = frozenset({"unsubscribed", "complained", "hardbounced"})
"""What an import never turns back into a subscription."""
KEY_LENGTH: Final = 254
_EMAIL_NAMES: Final = ("email", "e-mail", "email address")
_SURE_DIGITS: Final = 15
"""Longer numbers are identifiers more often than quantities, and lose digits as floating point."""


class Columns(msgspec.Struct, frozen=True):
    """Which columns mean what; names as in the header."""

    names: tuple[str, ...]
    email: int | None
    key: int | None
    """None: the e-mail address is the key."""
    status: int | None

    @classmethod
    def of(cls, names: list[str], key: str | None, status: str | None) -> Columns:
        """Raises `InvalidInput` for columns that are not there."""
        email = next((at for at, name in enumerate(names) if name.lower() in _EMAIL_NAMES), None)
        if email is None and key is None:
            raise InvalidInput(f"there is no column 'email'; the header names {', '.join(map(repr, names))}")
        return cls(tuple(names), email, _place(names, key), _place(names, status))


class Person(msgspec.Struct, frozen=True):
    key: str
    email: EmailAddress | None
    attributes: dict[str, Any]
    status: str | None
    """None: the file does not say."""


def person(row: Row, columns: Columns) -> Person:
    """Raises `InvalidInput` with the reason why the line is rejected."""
    fields = row.fields
    text = "" if columns.email is None else fields[columns.email]
    email = email_address(text) if text.strip() else None
    if email is None and columns.email is not None:
        raise InvalidInput("the e-mail address is missing")
    key = fields[columns.key].strip() if columns.key is not None else email.contact if email else ""
    if not 1 <= len(key) <= KEY_LENGTH:
        raise InvalidInput(f"the key must have 1 to {KEY_LENGTH} characters")
    special = (columns.email, columns.status)
    attributes = {
        name: typed(field)
        for at, (name, field) in enumerate(zip(columns.names, fields, strict=True))
        if name and at not in special
    }
    return Person(key, email, attributes, _status(fields, columns))


def typed(text: str) -> str | int | float | bool:
    """A number or a truth value where the text is exactly how one is written; else the text as it is.

    `42` and `-1.5` become numbers, `true` and `false` truth values; `007`, `+7 999`, `1e5`, `1.50` stay text.
    """
    if text in ("true", "false"):
        return text == "true"
    if not text or len(text) > _SURE_DIGITS or text[-1] not in "0123456789":
        return text
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if str(number) == text:
            return number
    return text


def merged_status(known: str, wanted: str | None) -> str:
    """The status after an import: nobody who left, complained or bounced is subscribed again."""
    if wanted is None or (known in LASTING and wanted not in LASTING):
        return known
    return wanted


def _status(fields: list[str], columns: Columns) -> str | None:
    if columns.status is None or not (status := fields[columns.status].strip().lower()):
        return None
    if status not in STATUSES:
        raise InvalidInput(f"there is no status {status!r}; there are {', '.join(STATUSES)}")
    return status


def _place(names: list[str], wanted: str | None) -> int | None:
    if wanted is None:
        return None
    if wanted not in names:
        raise InvalidInput(f"there is no column {wanted!r}; the header names {', '.join(map(repr, names))}")
    return names.index(wanted)
