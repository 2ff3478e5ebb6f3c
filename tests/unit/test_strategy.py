"""Speeds, and which strategy applies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.domain.sending import Sender, SendingSettings, Strategy, StrategyOverride
from angarium.domain.strategy import pick, problems, speed


def strategy(
    number: int, connections: int = 1, messages: int = 1, attempts: int = 1, interval: float = 60
) -> Strategy:
    return Strategy(number, f"s{number}", connections, messages, attempts, interval)


@pytest.mark.parametrize(
    ("given", "minute", "hour", "day"),
    [
        (strategy(1, 1, 60, 1, 60), 60, 3_600, 86_400),
        (strategy(1, 2, 5, 3, 10), 180, 10_800, 259_200),
        (strategy(1, 1, 1, 1, 3_600), 1 / 60, 1, 24),
        (strategy(1, 10, 100, 1, 0.5), 120_000, 7_200_000, 172_800_000),
    ],
)
def test_the_speed_of_one_ip(given: Strategy, minute: float, hour: float, day: float) -> None:
    assert speed(given) == pytest.approx((minute, hour, day))


SETTINGS = SendingSettings(1, strategies={n: strategy(n) for n in range(1, 7)}, default_strategy=1)
OVERRIDES = (
    StrategyOverride(3, isp=7),
    StrategyOverride(4, address=5),
    StrategyOverride(6, address=5, isp=7),
)


@pytest.mark.parametrize(
    ("own", "overrides", "address", "isp", "expected"),
    [
        (0, (), 5, 7, 1),
        (2, (), 5, 7, 2),
        (2, OVERRIDES, 5, 7, 6),
        (2, OVERRIDES, 5, 8, 4),
        (2, OVERRIDES, 6, 7, 3),
        (2, OVERRIDES, 6, 8, 2),
        (2, OVERRIDES, 5, 0, 4),
        (0, OVERRIDES, 6, 0, 1),
        (2, (StrategyOverride(99, address=5, isp=7), StrategyOverride(3, isp=7)), 5, 7, 3),
        (99, (), 5, 7, 1),
    ],
)
def test_the_most_specific_strategy_wins(
    own: int, overrides: tuple[StrategyOverride, ...], address: int, isp: int, expected: int
) -> None:
    sender = Sender(1, "s", "email", "mta", strategy=own, overrides=overrides)
    assert pick(SETTINGS, sender, address, isp).id == expected


overrides = st.builds(StrategyOverride, st.integers(1, 8), st.integers(0, 3), st.integers(0, 3))


@given(st.permutations(OVERRIDES), st.integers(0, 9), st.integers(0, 9))
def test_the_order_of_overrides_does_not_matter(
    shuffled: list[StrategyOverride], address: int, isp: int
) -> None:
    def picked(given: tuple[StrategyOverride, ...]) -> int:
        return pick(SETTINGS, Sender(1, "s", "email", "mta", strategy=2, overrides=given), address, isp).id

    assert picked(tuple(shuffled)) == picked(OVERRIDES)


@given(st.lists(overrides, max_size=6), st.integers(1, 3), st.integers(1, 3), st.integers(0, 8))
def test_a_strategy_for_another_address_or_isp_is_never_picked(
    given: list[StrategyOverride], address: int, isp: int, own: int
) -> None:
    sender = Sender(1, "s", "email", "mta", strategy=own, overrides=tuple(given))
    fitting = {o.strategy for o in given if o.address in (0, address) and o.isp in (0, isp)}
    assert pick(SETTINGS, sender, address, isp).id in fitting | {own, 1}


GOOD = {
    "name": "60:60",
    "connections": 1,
    "messages_per_connection": 60,
    "attempts": 1,
    "interval": 60,
    "helo": "ptr",
}


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, set()),
        ({"interval": 0.5}, set()),
        ({"name": ""}, {"name"}),
        ({"connections": 0}, {"connections"}),
        ({"connections": 1.5}, {"connections"}),
        ({"connections": 1001}, {"connections"}),
        ({"messages_per_connection": None}, {"messages_per_connection"}),
        ({"attempts": True}, {"attempts"}),
        ({"interval": 0}, {"interval"}),
        ({"interval": 86_401}, {"interval"}),
        ({"interval": float("nan")}, {"interval"}),
        ({"helo": "random"}, {"helo"}),
    ],
)
def test_bad_fields_of_a_strategy_get_a_message_each(changes: dict[str, object], fields: set[str]) -> None:
    assert set(problems(GOOD | changes)) == fields
