"""The retry rules of the specification, as tables."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.domain.outcome import Defer, Reason, Undelivered
from angarium.domain.retry import LONGEST_DELAY, attempt_times, delay, next_attempt, problems
from angarium.domain.sending import RetryMode, RetryRule, RetryType, SourceAddress

SAME, OTHER, ANY_NODE = RetryMode.SAME_IP, RetryMode.OTHER_IP, RetryMode.OTHER_NODE
FIXED, GEOMETRIC, RANDOM = RetryType.FIXED, RetryType.GEOMETRIC, RetryType.RANDOM

A1 = SourceAddress(1, "127.0.0.1", node=1)
A2 = SourceAddress(2, "127.0.0.2", node=1)
A3 = SourceAddress(3, "127.0.0.3", node=1)
B1 = SourceAddress(4, "127.0.1.1", node=2)

DAY = 86_400.0


def rule(
    mode: RetryMode = SAME,
    kind: RetryType = FIXED,
    retries: int = 5,
    interval: float = 15,
    exponent: float = 2,
    modifier: float = 0.5,
) -> RetryRule:
    return RetryRule(1, "rule", mode, retries, interval, kind, exponent, modifier)


def decide(given: RetryRule, made: int = 1, tried: tuple[str, ...] = (A1.address,), **more: object) -> object:
    arguments = {"ended": 1000.0, "expires": 1000 + 365 * DAY, "chance": 0.0, "node": 1} | more
    arguments.setdefault("addresses", (A1, A2, B1))
    return next_attempt(given, made=made, tried=tried, reason="busy", **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "chance", "minutes"),
    [
        (FIXED, 0.0, [15, 15, 15, 15, 15]),
        (FIXED, 0.9, [15, 15, 15, 15, 15]),
        (GEOMETRIC, 0.0, [15, 30, 60, 120, 240]),
        (RANDOM, 0.0, [15, 15, 15, 15, 15]),
        (RANDOM, 0.5, [18.75] * 5),
        (RANDOM, 0.8, [21] * 5),
    ],
)
def test_the_delay_before_each_retry(kind: RetryType, chance: float, minutes: list[float]) -> None:
    assert [delay(rule(kind=kind), n, chance) / 60 for n in range(1, 6)] == pytest.approx(minutes)


@pytest.mark.parametrize("mode", list(RetryMode))
@pytest.mark.parametrize(
    ("kind", "seconds"),
    [(FIXED, [900, 900, 900]), (GEOMETRIC, [900, 1800, 3600]), (RANDOM, [1012.5, 1012.5, 1012.5])],
)
def test_all_modes_and_types_wait_from_the_end_of_the_failed_attempt(
    mode: RetryMode, kind: RetryType, seconds: list[float]
) -> None:
    for made, wait in enumerate(seconds, start=1):
        decision = decide(rule(mode, kind), made, ended=5000.0, chance=0.25)
        assert isinstance(decision, Defer)
        assert decision.until == pytest.approx(5000 + wait)
        assert decision.reason == "busy"
        assert decision.counted


@pytest.mark.parametrize("mode", list(RetryMode))
@pytest.mark.parametrize("kind", list(RetryType))
@pytest.mark.parametrize("retries", [0, 1, 5])
def test_the_number_of_retries_counts_attempts_after_the_first(
    mode: RetryMode, kind: RetryType, retries: int
) -> None:
    given = rule(mode, kind, retries)
    for made in range(1, retries + 1):
        assert isinstance(decide(given, made), Defer)
    assert decide(given, retries + 1) == Undelivered(Reason.MAX_ATTEMPTS, "busy")


@pytest.mark.parametrize("kind", list(RetryType))
def test_a_retry_after_the_end_of_life_is_not_waited_for(kind: RetryType) -> None:
    assert isinstance(decide(rule(kind=kind), expires=1000 + 900.0), Defer)
    assert decide(rule(kind=kind), expires=1000 + 899.9) == Undelivered(Reason.LIFETIME, "busy")


@pytest.mark.parametrize(
    ("mode", "tried", "addresses", "address", "node"),
    [
        # same IP
        (SAME, [A1], [A1, A2, B1], A1.address, None),
        (SAME, [A1, A2], [A1, A2, B1], A2.address, None),
        (SAME, [A3], [A1, A2], None, None),  # taken from the sender meanwhile: any of this node
        (SAME, [], [A1, A2], None, None),
        # any other IP of the same node: least recently tried first
        (OTHER, [A1], [A1, A2, B1], A2.address, None),
        (OTHER, [A1, A2], [A1, A2, B1], A1.address, None),
        (OTHER, [A1, A2], [A1, A2, A3], A3.address, None),
        (OTHER, [A1, A2, A3], [A1, A2, A3], A1.address, None),
        (OTHER, [A2, A1, A3, A1], [A1, A2, A3], A2.address, None),
        (OTHER, [A1], [A1, B1], A1.address, None),  # no other on this node: the same
        (OTHER, [A1], [A1], A1.address, None),
        (OTHER, [], [A1, A2], None, None),
        # any other IP of any node
        (ANY_NODE, [A1], [A1, B1], B1.address, 2),
        (ANY_NODE, [A1, A2], [A1, A2, B1], B1.address, 2),
        (ANY_NODE, [B1, A1], [A1, A2, B1], A2.address, None),
        (ANY_NODE, [A2, B1, A1], [A1, A2, B1], A2.address, None),
        (ANY_NODE, [B1, A2, A1], [A1, A2, B1], B1.address, 2),
        (ANY_NODE, [A1], [A1], A1.address, None),
    ],
)
def test_where_the_next_attempt_leaves_from(
    mode: RetryMode,
    tried: list[SourceAddress],
    addresses: list[SourceAddress],
    address: str | None,
    node: int | None,
) -> None:
    decision = decide(rule(mode), 1, tuple(a.address for a in tried), addresses=addresses)
    assert isinstance(decision, Defer)
    assert (decision.address, decision.node) == (address, node)


def test_chance_spreads_messages_over_addresses_not_tried_yet() -> None:
    chosen = {decide(rule(ANY_NODE), addresses=(A1, A2, A3, B1), chance=c / 10).address for c in range(10)}  # type: ignore[attr-defined]
    assert chosen == {A2.address, A3.address, B1.address}


rules = st.builds(
    rule,
    mode=st.sampled_from(RetryMode),
    kind=st.sampled_from(RetryType),
    retries=st.integers(0, 1000),
    interval=st.floats(0.01, 43_200),
    exponent=st.floats(1, 100),
    modifier=st.floats(0, 1000),
)
chances = st.floats(0, 1, exclude_max=True)


@given(rules, st.integers(1, 1000), chances)
def test_a_delay_is_at_least_the_interval_and_never_beyond_its_bounds(
    given: RetryRule, failed: int, chance: float
) -> None:
    seconds = delay(given, failed, chance)
    assert given.interval * 60 <= seconds <= LONGEST_DELAY
    if given.type is RANDOM:
        assert seconds <= given.interval * 60 * (1 + given.modifier) * (1 + 1e-12)


@given(
    rules, st.integers(1, 1001), chances, st.lists(st.sampled_from([A1, A2, A3, B1]), max_size=6),
    st.lists(st.sampled_from([A1, A2, A3, B1]), unique=True),
)  # fmt: skip
def test_a_decision_keeps_the_rules_promises(
    given: RetryRule, made: int, chance: float, tried: list[SourceAddress], addresses: list[SourceAddress]
) -> None:
    used = tuple(a.address for a in tried)
    decision = decide(given, made, used, addresses=addresses, chance=chance, expires=1000 + 10 * DAY)
    if isinstance(decision, Undelivered):
        assert decision.reason in (Reason.MAX_ATTEMPTS, Reason.LIFETIME)
        return
    assert isinstance(decision, Defer)
    assert made <= given.retries
    assert decision.until <= 1000 + 10 * DAY
    known = {a.address: a.node for a in addresses}
    if decision.address is not None:
        assert known[decision.address] == (decision.node or 1)
    if given.mode is not ANY_NODE:
        assert decision.node is None
    reachable = {a.address for a in addresses if given.mode is ANY_NODE or a.node == 1} - set(used[-1:])
    if given.mode is not SAME and used and reachable:
        assert decision.address in reachable


@pytest.mark.parametrize(
    ("given", "minutes"),
    [
        (rule(kind=FIXED, retries=3), [(15, 15), (30, 30), (45, 45)]),
        (rule(kind=GEOMETRIC, retries=4), [(15, 15), (45, 45), (105, 105), (225, 225)]),
        (rule(kind=RANDOM, retries=3), [(15, 22.5), (30, 45), (45, 67.5)]),
        (rule(retries=0), []),
    ],
)
def test_the_preview_lists_the_earliest_and_latest_time_of_each_retry(
    given: RetryRule, minutes: list[tuple[float, float]]
) -> None:
    assert attempt_times(given) == [(a * 60, b * 60) for a, b in minutes]


def test_the_preview_ends_with_the_messages_life() -> None:
    assert attempt_times(rule(kind=RANDOM, retries=9), life=1000) == [(900, 1000)]


GOOD = {"name": "Slow", "mode": "same_ip", "retries": 5, "interval": 15, "type": "fixed"}


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, set()),
        ({"retries": 0}, set()),
        ({"retries": 1000, "interval": 43_200}, set()),
        ({"name": " "}, {"name"}),
        ({"name": None}, {"name"}),
        ({"mode": "elsewhere"}, {"mode"}),
        ({"type": None}, {"type"}),
        ({"retries": -1}, {"retries"}),
        ({"retries": 1001}, {"retries"}),
        ({"retries": 1.5}, {"retries"}),
        ({"retries": None}, {"retries"}),
        ({"retries": True}, {"retries"}),
        ({"interval": 0}, {"interval"}),
        ({"interval": -3}, {"interval"}),
        ({"interval": 43_201}, {"interval"}),
        ({"interval": math.nan}, {"interval"}),
        ({"interval": "15"}, {"interval"}),
        ({"type": "geometric"}, {"exponent"}),
        ({"type": "geometric", "exponent": 0.5}, {"exponent"}),
        ({"type": "geometric", "exponent": 101}, {"exponent"}),
        ({"type": "geometric", "exponent": 1}, set()),
        ({"type": "random", "modifier": -0.1}, {"modifier"}),
        ({"type": "random", "modifier": 1001}, {"modifier"}),
        ({"type": "random", "modifier": 0, "exponent": -7}, set()),
    ],
)
def test_bad_fields_of_a_rule_get_a_message_each(changes: dict[str, object], fields: set[str]) -> None:
    found = problems(GOOD | changes)
    assert set(found) == fields
    assert all(message.endswith(".") for message in found.values())
