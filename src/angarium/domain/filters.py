"""Simple conditions on a profile and its subscription; a mailing goes to those for whom all hold.

A field is `subscription.category`, `subscription.provider`, `subscription.<own field>`, or a profile
attribute, with or without `profile.` before it. Text compares without regard to case; two values that
both read as numbers compare as numbers. A missing field is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from angarium.errors import InvalidInput

Value = str | int | float | bool | list[Any] | None


class Condition(msgspec.Struct, frozen=True):
    field: str
    operator: str
    value: Value = None


def parse(raw: Iterable[object]) -> tuple[Condition, ...]:
    """Conditions from JSON. Raises `InvalidInput` saying which condition is wrong and why."""
    conditions = []
    for number, item in enumerate(raw, 1):
        try:
            condition = msgspec.convert(item, Condition)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"condition {number} cannot be read: {error}") from error
        if problem := _problem(condition):
            raise InvalidInput(f"condition {number}: {problem}")
        conditions.append(condition)
    return tuple(conditions)


def _problem(condition: Condition) -> str:
    if not condition.field.strip():
        return "it names no field"
    if condition.operator not in OPERATORS:
        return f"there is no operator {condition.operator!r}; there are {', '.join(OPERATORS)}"
    if condition.operator == "in" and not isinstance(condition.value, list):
        return "the operator 'in' needs a list of values"
    return ""


def matches(
    conditions: Iterable[Condition], attributes: Mapping[str, Any], subscription: Mapping[str, Any]
) -> bool:
    """Whether all hold. `subscription` has category, provider and the subscription's own fields."""
    return all(
        OPERATORS[condition.operator](_field(condition.field, attributes, subscription), condition.value)
        for condition in conditions
    )


def _field(name: str, attributes: Mapping[str, Any], subscription: Mapping[str, Any]) -> Any:
    if name.startswith("subscription."):
        return subscription.get(name.removeprefix("subscription."))
    return attributes.get(name.removeprefix("profile."))


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value).strip().casefold()


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_equal(item, wanted) for item in value)
    left, right = _number(value), _number(wanted)
    return left == right if left is not None and right is not None else _text(value) == _text(wanted)


def _contains(value: Any, wanted: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_equal(item, wanted) for item in value)
    return _text(wanted) in _text(value)


def _empty(value: Any, _wanted: Any = None) -> bool:
    return value is None or value in ([], {}) or (isinstance(value, str) and not value.strip())


def _less(value: Any, wanted: Any) -> bool:
    if _empty(value):
        return False
    left, right = _number(value), _number(wanted)
    return left < right if left is not None and right is not None else _text(value) < _text(wanted)


def _greater(value: Any, wanted: Any) -> bool:
    return not _empty(value) and not _less(value, wanted) and not _equal(value, wanted)


OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "equal": _equal,
    "not_equal": lambda value, wanted: not _equal(value, wanted),
    "contains": _contains,
    "in": lambda value, wanted: any(_equal(value, item) for item in wanted),
    "empty": _empty,
    "not_empty": lambda value, wanted: not _empty(value),
    "greater": _greater,
    "less": _less,
}
"""Name → whether it holds for (the field's value, the condition's value)."""
