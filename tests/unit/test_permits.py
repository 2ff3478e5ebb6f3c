"""Sliding windows: the receiver never counts more than the limit."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from angarium.domain.permits import Window


def test_a_fresh_window_gives_its_whole_limit() -> None:
    assert Window(30, 10.0).available(0.0) == 30


def test_what_is_under_way_counts() -> None:
    window = Window(30, 10.0)
    window.begin(12)
    assert window.available(5.0) == 18
    assert window.next_free(5.0) is None


def test_what_ended_counts_for_the_interval_and_at_most_two_percent_longer() -> None:
    window = Window(1, 10.0)
    window.begin()
    window.end(3.0)
    assert window.available(12.99) == 0
    assert window.available(13.21) == 1


def test_what_was_cancelled_does_not_count() -> None:
    window = Window(1, 10.0)
    window.begin()
    window.cancel()
    assert window.available(0.0) == 1


def test_next_free_is_the_moment_something_may_begin() -> None:
    window = Window(2, 10.0)
    window.begin(2)
    window.end(1.0, 2)
    free = window.next_free(1.5)
    assert free is not None
    assert window.available(free - 0.01) == 0
    assert window.available(free) == 2


def test_a_restart_goes_on_counting() -> None:
    before = Window(5, 10.0)
    before.begin(5)
    before.end(2.0, 3)
    after = Window(5, 10.0)
    after.restore(*before.dump(), now=4.0)
    assert after.available(4.0) == 0
    assert after.available(12.5) == 3
    assert after.available(14.5) == 5


def test_another_strategy_keeps_what_was_counted() -> None:
    window = Window(10, 10.0)
    window.begin(10)
    window.end(1.0, 10)
    window.adjust(15, 60.0, now=2.0)
    assert window.available(2.0) == 5
    assert window.available(62.5) == 15


@settings(max_examples=200)
@given(
    limit=st.integers(1, 20),
    durations=st.lists(st.floats(0, 15), min_size=1, max_size=150),
    seen=st.lists(st.floats(0, 1), min_size=150, max_size=150),
)
def test_no_interval_holds_more_than_the_limit_wherever_the_receiver_saw_them(
    limit: int, durations: list[float], seen: list[float]
) -> None:
    interval = 10.0
    window = Window(limit, interval)
    now, under_way, sightings = 0.0, [], []
    for duration, where in zip(durations, seen, strict=False):
        while not window.available(now):
            times = list(under_way) + [free for free in [window.next_free(now)] if free]
            now = max(now, min(times))
            for end in sorted(end for end in under_way if end <= now):
                under_way.remove(end)
                window.end(end)
        window.begin()
        under_way.append(now + duration)
        under_way.sort()
        sightings.append(now + duration * where)
        for end in [end for end in under_way if end <= now]:
            under_way.remove(end)
            window.end(end)
    for start in sightings:
        assert sum(start <= at < start + interval for at in sightings) <= limit
