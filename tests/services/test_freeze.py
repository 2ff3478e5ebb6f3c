"""Freeze, unfreeze and clear with real processes: nothing leaves that was stopped, everything comes back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.installation import End, Installation

SERVICES = ("broker", "mta", "recorder", "launcher")
STRATEGY = {"connections": 4, "messages_per_connection": 10, "attempts": 8, "interval": 1}
"""Some hundred messages a second: the queue lasts while it is frozen."""
REMOVED = "removed from the queue by user"
PEOPLE = [
    f"{fate}+{n}@domain{n % 3}.example"
    for fate, count in {"deliver": 900, "soft2": 200, "slow1": 20, "hard": 30}.items()
    for n in range(count)
]


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    made.build(PEOPLE, made.start_sink(), strategy=STRATEGY)
    yield made
    made.close()


def queue(installation: Installation, command: str = "show", *more: str) -> dict[str, Any]:
    """What `angarium queue …` says of the mailing."""
    [(mailing,)] = installation.rows("SELECT id FROM mailing")
    shown = installation.command("queue", command, "--mailing", str(mailing), "--json", *more)
    return dict(json.loads(shown))


def attempts(installation: Installation) -> int:
    return sum(event.event == "answer" for event in installation.seen())


def launch_until_some_have_left(installation: Installation) -> None:
    installation.launch()
    installation.wait_until(lambda: sum(installation.taken().values()) > 60, "the first deliveries")


def wait_until_nothing_is_sent(installation: Installation) -> int:
    """Until what was on the wire has its answer; how many attempts the sink has seen by then."""
    installation.wait_until(lambda: queue(installation)["sending"] == 0, "the last answers")
    return attempts(installation)


def everybody_ended_as_the_sink_decided(installation: Installation) -> None:
    installation.wait_for_ends(len(PEOPLE))
    ends = Counter(end for (end,) in installation.ends().values())
    assert ends == {End("deliv", ""): len(PEOPLE) - 30, End("undeliv", "hard bounce"): 30}
    assert set(installation.taken().values()) == {1}, "somebody got it twice"


def test_what_is_frozen_stays_where_it_was_and_goes_on_when_it_is_unfrozen(
    installation: Installation,
) -> None:
    installation.start(*SERVICES)
    launch_until_some_have_left(installation)
    queue(installation, "freeze")
    seen = wait_until_nothing_is_sent(installation)
    held = installation.rows("SELECT sum(new), sum(retries), sum(frozen) FROM queue_figure")
    assert held[0][:2] == (0, 0)
    shown = queue(installation)
    assert shown["total"] == shown["frozen"] > 0
    installation.kill("mta")
    installation.start("mta")
    installation.wait_until(lambda: queue(installation)["frozen"] == shown["frozen"], "the engine's figures")
    assert attempts(installation) == seen, "something left while the mailing was frozen"
    queue(installation, "unfreeze")
    everybody_ended_as_the_sink_decided(installation)


def test_mail_still_in_the_broker_and_on_a_node_that_is_down_is_frozen_too(
    installation: Installation,
) -> None:
    installation.start("broker", "recorder", "launcher")
    installation.launch()
    installation.wait_until(
        lambda: installation.rows("SELECT state FROM launch") == [("prepared",)], "the end of the launch"
    )
    queue(installation, "freeze")
    shown = queue(installation)
    assert (shown["total"], shown["frozen"]) == (len(PEOPLE), len(PEOPLE))
    installation.start("mta")
    installation.wait_until(
        lambda: installation.rows("SELECT sum(frozen) FROM queue_figure") == [(len(PEOPLE),)],
        "everything in the spool",
    )
    assert queue(installation)["frozen"] == len(PEOPLE)
    assert not installation.seen()
    queue(installation, "unfreeze")
    everybody_ended_as_the_sink_decided(installation)


def test_what_is_cleared_is_never_sent_and_ends_as_removed(installation: Installation) -> None:
    installation.start(*SERVICES)
    launch_until_some_have_left(installation)
    queue(installation, "clear", "--yes")
    installation.kill("mta")
    installation.start("mta")
    installation.wait_for_ends(len(PEOPLE))
    installation.wait_until(lambda: queue(installation)["total"] == 0, "the engine's figures")
    ends = installation.ends()
    assert all(len(ended) == 1 for ended in ends.values())
    removed = {address for address, (end,) in ends.items() if end == End("undeliv", REMOVED)}
    taken = installation.taken()
    assert removed
    doubtful = installation.doubtful()
    assert not (removed & taken.keys()) - doubtful, "a cleared message was sent"
    delivered = {address for address, (end,) in ends.items() if end.kind == "deliv"}
    assert set(taken) - doubtful == delivered - doubtful
