"""Gates and clears: what they cover, how they add up, and how they lengthen a life."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.domain.gates import Clear, Gate, Gates, Scope

LANE = Scope(account=1, sender=2, mailing=3, isp=4)


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        (Scope(mailing=3), True),
        (Scope(mailing=4), False),
        (Scope(account=1), True),
        (Scope(sender=2, isp=4), True),
        (Scope(sender=2, isp=5), False),
        (Scope(account=1, sender=2, mailing=3, isp=4), True),
        (Scope(), True),
    ],
)
def test_a_scope_covers_what_agrees_in_all_it_names(scope: Scope, covered: bool) -> None:
    assert scope.covers(LANE) is covered
    assert Gates(gates=(Gate(1, scope, since=0.0),)).closed(LANE) is covered


def test_a_gate_that_was_opened_stops_nothing() -> None:
    assert not Gates(gates=(Gate(1, Scope(mailing=3), since=0.0, until=5.0),)).closed(LANE)


def test_gates_add_up_and_opening_one_leaves_the_other() -> None:
    frozen, held = Gate(1, Scope(mailing=3), since=0.0), Gate(2, Scope(sender=2), since=0.0)
    assert Gates((frozen, held)).closed(LANE)
    assert Gates((frozen,)).closed(LANE)
    assert Gates((held,)).closed(LANE)
    assert not Gates().closed(LANE)


@pytest.mark.parametrize(("packet", "dead"), [(9, True), (10, False), (11, False)])
def test_a_clear_covers_the_packets_before_it(packet: int, dead: bool) -> None:
    gates = Gates(clears=(Clear(1, Scope(mailing=3), before=10),))
    assert (gates.cleared_by(LANE, packet) is not None) is dead
    assert gates.cleared_by(Scope(1, 2, 99, 4), packet) is None


@pytest.mark.parametrize(
    ("spans", "rest"),
    [
        ([], 0.0),
        ([(10.0, 20.0)], 10.0),
        ([(10.0, None)], 90.0),
        ([(-50.0, 20.0)], 20.0),  # closed before the message was published
        ([(10.0, 30.0), (20.0, 40.0)], 30.0),  # both closed at once counts once
        ([(10.0, 20.0), (50.0, 60.0)], 20.0),
        ([(200.0, None)], 0.0),
    ],
)
def test_the_time_gates_were_closed_does_not_count(
    spans: list[tuple[float, float | None]], rest: float
) -> None:
    gates = Gates(tuple(Gate(n, Scope(mailing=3), since, until) for n, (since, until) in enumerate(spans)))
    assert gates.rest(LANE, 0.0, 100.0) == rest


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=8))
def test_the_rest_is_the_seconds_in_which_some_gate_was_closed(spans: list[tuple[int, int]]) -> None:
    closed = [(min(span), max(span)) for span in spans]
    gates = Gates(tuple(Gate(n, Scope(), float(a), float(b)) for n, (a, b) in enumerate(closed)))
    counted = sum(any(a <= second < b for a, b in closed) for second in range(20, 80))
    assert gates.rest(LANE, 20.0, 80.0) == counted
