"""The editor of a mailing's filters: rows of field, operator and value."""

from __future__ import annotations

import json
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError

from angarium.domain import filters
from angarium.errors import InvalidInput

OPERATORS: Final = {
    "equal": "is",
    "not_equal": "is not",
    "contains": "contains",
    "in": "is one of (a; b; c)",
    "empty": "is empty",
    "not_empty": "is not empty",
    "greater": "is greater than",
    "less": "is less than",
}
WITHOUT_VALUE: Final = ("empty", "not_empty")


class FiltersWidget(forms.Widget):
    """Shows conditions as rows; posts them as JSON."""

    template_name = "mailings/filters.html"
    known_fields: tuple[str, ...] = ()

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        context["widget"] |= {
            "rows": json.dumps(_rows(value)),
            "operators": OPERATORS.items(),
            "without_value": json.dumps(WITHOUT_VALUE),
            "known_fields": self.known_fields,
        }
        return context


class FiltersField(forms.Field):
    """Conditions of `domain.filters` as JSON."""

    widget = FiltersWidget

    def prepare_value(self, value: Any) -> Any:
        return value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(_conditions(_rows(initial)) != _conditions(_rows(data)))

    def clean(self, value: Any) -> list[dict[str, Any]]:
        conditions = _conditions(_rows(value))
        try:
            filters.parse(conditions)
        except InvalidInput as error:
            raise ValidationError(str(error)) from error
        return conditions


def _rows(value: Any) -> list[dict[str, str]]:
    """Conditions as the editor shows them: every value is a text."""
    if isinstance(value, str):
        try:
            value = json.loads(value or "[]")
        except ValueError:
            value = []
    rows = [row for row in value or [] if isinstance(row, dict)]
    return [
        {
            "field": str(row.get("field", "")),
            "operator": str(row.get("operator", "equal")),
            "value": _text(row.get("value")),
        }
        for row in rows
    ]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(_text(item) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _conditions(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Rows as conditions; rows nobody filled in are left out."""
    filled = [row for row in rows if row["field"].strip() or row["value"].strip()]
    return [
        {"field": row["field"].strip(), "operator": row["operator"], "value": _value(row)} for row in filled
    ]


def _value(row: dict[str, str]) -> Any:
    if row["operator"] in WITHOUT_VALUE:
        return None
    if row["operator"] == "in":
        return [part.strip() for part in row["value"].split(";") if part.strip()]
    return row["value"].strip()
