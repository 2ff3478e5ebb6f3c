"""The whole path with real processes: launcher, broker, engine, couriers, recorder, and a sandbox sink."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.installation import End, Installation

SERVICES = ("broker", "mta", "recorder", "launcher")


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    yield made
    made.close()


def addresses(**counts: int) -> list[str]:
    """So many addresses of each fate, over a few domains."""
    return [f"{fate}+{n}@domain{n % 7}.example" for fate, count in counts.items() for n in range(count)]


def test_every_recipient_ends_as_the_sink_decided(installation: Installation) -> None:
    people = addresses(deliver=300, soft2=40, greylist=20, hard=30, block=20, full=10, slow1=10)
    installation.build(people, installation.start_sink())
    installation.start(*SERVICES)
    installation.launch()
    installation.wait_for_ends(len(people))
    ends = {address: end for address, (end,) in installation.ends().items()}
    assert Counter(ends.values()) == {
        End("deliv", ""): 370,
        End("undeliv", "hard bounce"): 30,
        End("undeliv", "blocked"): 20,
        End("undeliv", "maximum attempts reached"): 10,
    }
    delivered = {address for address, end in ends.items() if end.kind == "deliv"}
    assert installation.taken() == Counter(delivered)


def test_priority_messages_arrive_and_leave_nothing_behind(installation: Installation) -> None:
    people = addresses(deliver=30, soft1=5, hard=5)
    installation.build(people, installation.start_sink(), urgent=True)
    installation.start(*SERVICES)
    installation.launch()
    installation.wait_for_ends(len(people))
    ends = Counter(end for (end,) in installation.ends().values())
    assert ends == {End("deliv", ""): 35, End("undeliv", "hard bounce"): 5}
    assert sum(installation.taken().values()) == 35


def test_a_stop_and_a_start_of_the_engine_lose_nothing(installation: Installation) -> None:
    people = addresses(deliver=400, soft2=100)
    installation.build(people, installation.start_sink())
    installation.start(*SERVICES)
    installation.launch()
    installation.wait_until(lambda: sum(installation.taken().values()) > 50, "the first deliveries")
    assert installation.stop("mta") == 0
    installation.start("mta")
    installation.wait_for_ends(len(people))
    assert installation.taken() == Counter(people)
    assert not installation.doubtful()
