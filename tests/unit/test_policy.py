"""Sending policies: windows, scopes, levels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.domain.policy import Limit, PolicyScope, Use, day_of, exceeded, in_force

TODAY = 20_000
MESSAGE = Use(profile=1, resource=10, channel="email", contact=100, day=TODAY)


def use(
    profile: int = 1,
    resource: int = 10,
    channel: str = "email",
    contact: int = 100,
    ago: int = 0,
    count: int = 1,
) -> Use:
    return Use(profile, resource, channel, contact, TODAY - ago, count)


@pytest.mark.parametrize(
    ("scope", "messages", "days", "uses", "held"),
    [
        ("recipient", 1, 1, [], False),
        ("recipient", 1, 1, [use()], True),
        ("recipient", 1, 1, [use(ago=1)], False),
        ("recipient", 1, 2, [use(ago=1)], True),
        ("recipient", 1, 16, [use(ago=15)], True),
        ("recipient", 1, 16, [use(ago=16)], False),
        ("recipient", 3, 7, [use(), use(ago=3)], False),
        ("recipient", 3, 7, [use(count=2), use(ago=3)], True),
        ("recipient", 1, 7, [use(resource=11, channel="sms", contact=7)], True),
        ("recipient", 1, 7, [use(profile=2)], False),
        ("resource", 1, 7, [use(resource=11)], False),
        ("resource", 1, 7, [use(channel="sms", contact=7)], True),
        ("channel", 1, 7, [use(channel="sms", contact=7)], False),
        ("channel", 1, 7, [use(resource=11, contact=7)], True),
        ("contact", 1, 7, [use(profile=2, resource=11)], True),
        ("contact", 1, 7, [use(contact=7)], False),
        ("contact", 15, 16, [use(count=14, ago=15)], False),
        ("contact", 15, 16, [use(count=15, ago=15)], True),
    ],
)  # fmt: skip
def test_a_limit_counts_its_scope_within_its_days(
    scope: str, messages: int, days: int, uses: list[Use], held: bool
) -> None:
    limit = Limit(PolicyScope(scope), messages, days)
    assert exceeded([limit], MESSAGE, uses) == (limit if held else None)


def test_the_lowest_level_overrides_and_does_not_add() -> None:
    assert in_force("account", None, None) == "account"
    assert in_force("account", "resource", None) == "resource"
    assert in_force("account", "resource", "mailing") == "mailing"
    assert in_force(None, None, None) is None
    assert in_force("account", "", None) == "", "a policy without limits lifts the account's"


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 15), st.integers(1, 16))
def test_no_window_of_the_limits_days_ever_holds_more(gaps: list[int], messages: int, days: int) -> None:
    limit, sent, today = Limit(PolicyScope.CONTACT, messages, days), [], 0
    for gap in gaps:
        today += gap // 10
        message = Use(1, 1, "email", 1, today)
        if exceeded([limit], message, sent) is None:
            sent.append(message)
    for first in range(today + 1):
        assert sum(first <= one.day < first + days for one in sent) <= messages


def test_days_are_utc() -> None:
    assert day_of(0.0) == day_of(86_399.9) == 0
    assert day_of(86_400.0) == 1
