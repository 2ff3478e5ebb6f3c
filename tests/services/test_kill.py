"""kill -9 at random instants under load: nothing is lost, and what came twice is listed as doubtful."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.installation import Installation

SERVICES = ("broker", "mta", "recorder", "launcher")
VICTIMS = ("launcher", "mta", "courier", "recorder", "broker")
ROUNDS = 20
SOAK_ROUNDS = 200
A_ROUND = 100
"""Recipients a round: the load goes on as long as the killing."""
SLOW = {"connections": 4, "messages_per_connection": 20, "attempts": 1, "interval": 1}
"""At most 160 messages a second from two addresses, so that a round of killing meets traffic."""


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path, LAUNCHER__PAGE="100")
    yield made
    made.close()


def kill_in_turn(installation: Installation, rounds: int, chance: random.Random) -> None:
    """One victim a round; it is started again a moment later."""
    victims = list(VICTIMS) * (rounds // len(VICTIMS) + 1)
    for victim in victims[:rounds]:
        time.sleep(chance.uniform(0.05, 0.9))  # the instant is meant to be any
        if victim == "courier":
            installation.kill_courier("mta")
            continue
        installation.kill(victim)
        time.sleep(chance.uniform(0.0, 0.5))
        installation.start(victim)


def check_books(installation: Installation, people: list[str]) -> None:
    ends = installation.ends()
    taken = installation.taken()
    assert set(ends) == set(people), "recipients without an end"
    assert {address: len(found) for address, found in ends.items() if len(found) != 1} == {}
    delivered = {address for address, (end,) in ends.items() if end.kind == "deliv"}
    refused = {address for address in people if address.startswith("hard")}
    assert delivered == set(people) - refused
    assert delivered - set(taken) == set(), "called delivered, never seen by the sink"
    twice = {address for address, count in taken.items() if count > 1}
    assert twice <= installation.doubtful(), "came twice without being listed as doubtful"


def run_rounds(installation: Installation, rounds: int) -> None:
    chance = random.Random()
    seed = chance.randrange(1 << 32)
    print(f"seed {seed}")
    chance.seed(seed)
    fates = (
        "deliver",
        "deliver",
        "deliver",
        "deliver",
        "deliver",
        "soft1",
        "soft2",
        "hard",
        "greylist",
        "slow0.3",
    )
    people = [f"{fates[n % 10]}+{n}@domain{n % 7}.example" for n in range(rounds * A_ROUND)]
    installation.build(people, installation.start_sink(), strategy=SLOW, rule={
        "mode": "other_ip", "retries": 50, "interval": 30, "type": "random", "modifier": 1.0,
    })  # fmt: skip
    installation.start(*SERVICES)
    installation.launch()
    installation.wait_until(lambda: len(installation.taken()) > 20, "the first deliveries")
    kill_in_turn(installation, rounds, chance)
    installation.wait_for_ends(len(people), patience=60 + rounds * 6)
    check_books(installation, people)
    assert Counter(installation.taken())


def test_killing_each_service_in_turn_loses_nothing_and_doubles_only_the_doubtful(
    installation: Installation,
) -> None:
    run_rounds(installation, ROUNDS)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_killing_for_long_loses_nothing_and_doubles_only_the_doubtful(installation: Installation) -> None:
    run_rounds(installation, SOAK_ROUNDS)
