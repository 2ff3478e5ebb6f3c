"""Strategies as the receiver counts them: connections at once, messages in any interval, across restarts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.installation import Installation

STRATEGY = {"connections": 2, "messages_per_connection": 5, "attempts": 3}
MOST = 30
"""2 × 5 × 3."""
NODES = {"node-1": ["127.0.0.11"]}


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    yield made
    made.close()


def most_in_window(moments: list[float], seconds: float) -> int:
    """The most of these moments within any window of this length."""
    moments = sorted(moments)
    return max(sum(start <= moment < start + seconds for moment in moments) for start in moments)


def check(installation: Installation, interval: int) -> None:
    events = installation.seen()
    began = {(event.connection, event.began) for event in events if event.event == "answer"}
    assert most_in_window([moment for _, moment in began], interval) <= MOST
    assert most_in_window([event.time for event in events if event.event == "answer"], interval) <= MOST
    opened = now = most = 0
    for event in events:
        now += {"open": 1, "close": -1}.get(event.event, 0)
        opened += event.event == "open"
        most = max(most, now)
    assert most <= 2
    assert opened * 5 >= len(began), "more than 5 messages went over a connection"


@pytest.mark.parametrize(("kind", "interval"), [("deliver", 3), ("slow1", 3), ("changing", 10)])
def test_the_receiver_never_counts_more_than_the_strategy_allows(
    installation: Installation, kind: str, interval: int
) -> None:
    fates = {"changing": ["slow2", "deliver", "deliver", "slow1", "deliver"]}.get(kind, [kind])
    people = [f"{fates[n % len(fates)]}+{n}@example.com" for n in range(70)]
    installation.build(
        people, installation.start_sink(), nodes=NODES, strategy=STRATEGY | {"interval": interval}
    )
    installation.start("broker", "mta", "recorder", "launcher")
    installation.launch()
    installation.wait_for_ends(len(people), patience=150)
    check(installation, interval)


def test_a_restart_of_the_engine_goes_on_counting(installation: Installation) -> None:
    people = [f"deliver+{n}@example.com" for n in range(70)]
    installation.build(people, installation.start_sink(), nodes=NODES, strategy=STRATEGY | {"interval": 5})
    installation.start("broker", "mta", "recorder", "launcher")
    installation.launch()
    installation.wait_until(lambda: sum(installation.taken().values()) >= 20, "the first messages")
    installation.kill("mta")
    installation.start("mta")
    installation.wait_until(lambda: sum(installation.taken().values()) >= 40, "the next messages")
    assert installation.stop("mta") == 0
    installation.start("mta")
    installation.wait_for_ends(len(people), patience=150)
    check(installation, 5)
