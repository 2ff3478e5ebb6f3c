"""Conditions of a mailing, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from angarium.domain.filters import OPERATORS, matches, parse
from angarium.errors import InvalidInput

PROFILE = {
    "city": "Riga", "age": 42, "points": "17.5", "vip": True, "tags": ["new", "vip"], "note": " ",
    "none": None,"since": "2024-03-01",
}  # fmt: skip
SUBSCRIPTION = {"category": "weekly", "provider": "gmail", "level": "gold"}


@pytest.mark.parametrize(
    ("field", "operator", "value", "holds"),
    [
        ("city", "equal", "riga", True),
        ("city", "equal", "Rig", False),
        ("profile.city", "equal", "Riga", True),
        ("age", "equal", "42", True),
        ("age", "equal", 42.0, True),
        ("vip", "equal", True, True),
        ("vip", "equal", "true", True),
        ("vip", "equal", 1, False),
        ("tags", "equal", "VIP", True),
        ("missing", "equal", "", True),
        ("missing", "equal", "x", False),
        ("city", "not_equal", "Oslo", True),
        ("missing", "not_equal", "Oslo", True),
        ("city", "not_equal", "RIGA", False),
        ("city", "contains", "IG", True),
        ("tags", "contains", "new", True),
        ("tags", "contains", "ne", False),
        ("missing", "contains", "x", False),
        ("city", "in", ["Oslo", "Riga"], True),
        ("age", "in", ["41", "42"], True),
        ("city", "in", [], False),
        ("missing", "empty", None, True),
        ("note", "empty", None, True),
        ("none", "empty", None, True),
        ("age", "empty", None, False),
        ("city", "not_empty", None, True),
        ("note", "not_empty", None, False),
        ("age", "greater", 41, True),
        ("age", "greater", "42", False),
        ("points", "greater", 9, True),
        ("points", "less", "100", True),
        ("since", "less", "2024-04-01", True),
        ("since", "greater", "2024-02-29", True),
        ("missing", "less", 5, False),
        ("missing", "greater", 5, False),
        ("subscription.category", "equal", "weekly", True),
        ("subscription.provider", "in", ["gmail"], True),
        ("subscription.level", "equal", "Gold", True),
        ("subscription.city", "equal", "Riga", False),
    ],
)
def test_a_condition_holds_when_the_table_says_so(field: str, operator: str, value: Any, holds: bool) -> None:
    conditions = parse([{"field": field, "operator": operator, "value": value}])
    assert matches(conditions, PROFILE, SUBSCRIPTION) is holds


def test_all_conditions_must_hold_and_none_is_no_obstacle() -> None:
    yes = {"field": "city", "operator": "equal", "value": "Riga"}
    no = {"field": "age", "operator": "less", "value": 18}
    assert not matches(parse([yes, no]), PROFILE, SUBSCRIPTION)
    assert matches((), {}, {})


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"field": "city", "operator": "like", "value": "x"}, "no operator 'like'"),
        ({"field": " ", "operator": "equal", "value": "x"}, "names no field"),
        ({"field": "city", "operator": "in", "value": "x"}, "list of values"),
        ({"operator": "equal"}, "condition 1"),
        ("city = Riga", "condition 1"),
    ],
)
def test_broken_conditions_are_refused_in_words(raw: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        parse([raw])


def test_no_operator_fails_on_odd_values() -> None:
    odd = [None, "", "x", 1, 1.5, True, [], ["a"], {}, {"a": 1}, float("nan")]
    for name, holds in OPERATORS.items():
        for left in odd:
            for right in [[one] for one in odd] if name == "in" else odd:
                assert holds(left, right) in (True, False)
