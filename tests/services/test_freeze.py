"""Freeze, unfreeze and clear with real processes: nothing leaves that was stopped, everything comes back."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest
from tests.support.installation import End, Installation

SERVICES = ("broker", "mta", "recorder", "launcher")
STRATEGY = {"connections": 4, "messages_per_connection": 10, "attempts": 2, "interval": 1}
"""160 messages a second from two addresses: the queue lasts until a command has been given."""
REMOVED = "removed from the queue by user"
PEOPLE = [
    f"{fate}+{n}@domain{n % 3}.example"
    for fate, count in {"deliver": 900, "soft2": 200, "slow1": 20, "hard": 30}.items()
    for n in range(count)
]
WIRE = [f"soft1+{n}@domain{n % 3}.example" for n in range(60)]
"""Whatever of them is on the wire when a command comes soft-bounces after it."""
UNCONFIRMED: Final = 1
"""Exit status: the command holds, and a node has not said so yet."""
Spooled = dict[bytes, tuple[float, int, str]]
"""Message id → due, attempts, lane: all that decides when and from where it is tried next."""


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Installation]:
    """A receiver that thinks before every reply."""
    made = Installation(tmp_path)
    made.build(WIRE, made.start_sink("--tarpit", "0.4"), strategy=STRATEGY)
    yield made
    made.close()


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


def spooled(installation: Installation) -> Spooled:
    """What the one node has on its disk."""
    [index] = (installation.folder / "data").rglob("index.db")
    with sqlite3.connect(f"file:{index}?mode=ro", uri=True, timeout=30) as database:
        rows = database.execute("SELECT id, due, attempts, lane FROM message").fetchall()
    return {bytes(message): (due, attempts, lane) for message, due, attempts, lane in rows}


def launch_until_some_are_on_the_wire(wire: Installation) -> None:
    wire.start(*SERVICES)
    wire.launch()
    wire.wait_until(lambda: queue(wire)["sending"] > 0, "messages on the wire")


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


def test_unfreezing_finds_every_message_with_its_attempts_and_its_due_time(
    installation: Installation,
) -> None:
    installation.start(*SERVICES)
    launch_until_some_have_left(installation)
    installation.wait_until(lambda: queue(installation)["retries"] > 0, "the first soft bounces")
    queue(installation, "freeze")
    wait_until_nothing_is_sent(installation)
    before = spooled(installation)
    made = {attempts for _, attempts, _ in before.values()}
    assert 0 in made, "nothing was new"
    assert made != {0}, "nothing waited for a retry"
    installation.kill("mta")
    installation.start("mta")
    installation.wait_until(
        lambda: queue(installation)["frozen"] == len(before) == len(spooled(installation)), "the engine"
    )
    assert spooled(installation) == before
    queue(installation, "unfreeze")
    everybody_ended_as_the_sink_decided(installation)
    ends = installation.rows("SELECT message, attempt FROM event WHERE kind='deliv'")
    for message, attempt in ends:
        assert attempt > before.get(bytes(message), (0.0, 0, ""))[1], "an attempt was counted twice or lost"


def test_what_soft_bounces_after_a_freeze_waits_frozen_as_a_retry(wire: Installation) -> None:
    launch_until_some_are_on_the_wire(wire)
    queue(wire, "freeze")
    wait_until_nothing_is_sent(wire)
    bounced = {
        bytes(message)
        for (message,) in wire.rows(
            "SELECT message FROM event WHERE kind='sbounce' AND time > (SELECT max(since) FROM gate)"
        )
    }
    assert bounced, "nothing was on the wire"
    held = spooled(wire)
    assert {held[message][1] for message in bounced} == {1}
    shown = queue(wire)
    left = len(WIRE) - len(wire.ends())
    assert (shown["total"], shown["frozen"]) == (left, left)
    queue(wire, "unfreeze")
    wire.wait_for_ends(len(WIRE))
    assert {end for (end,) in wire.ends().values()} == {End("deliv", "")}


def test_what_soft_bounces_after_a_clear_is_deleted(wire: Installation) -> None:
    launch_until_some_are_on_the_wire(wire)
    queue(wire, "clear", "--yes")
    wire.wait_for_ends(len(WIRE))
    late = wire.rows("SELECT address FROM event WHERE kind='sbounce' AND time > (SELECT max(at) FROM clear)")
    assert late, "nothing was on the wire"
    ends = wire.ends()
    assert {ends[address][0] for (address,) in late} == {End("undeliv", REMOVED)}
    assert all(len(ended) == 1 for ended in ends.values())
    wire.wait_until(lambda: queue(wire)["total"] == 0, "the engine's figures")


def test_a_launch_that_goes_on_while_its_mailing_is_frozen_waits_frozen(installation: Installation) -> None:
    installation.start("broker", "mta", "recorder")
    installation.launch()
    queue(installation, "freeze")
    installation.start("launcher")
    installation.wait_until(
        lambda: installation.rows("SELECT sum(frozen) FROM queue_figure") == [(len(PEOPLE),)],
        "everything in the spool",
    )
    shown = queue(installation)
    assert (shown["total"], shown["frozen"]) == (len(PEOPLE), len(PEOPLE))
    assert not installation.seen(), "something left while the mailing was frozen"
    queue(installation, "unfreeze")
    everybody_ended_as_the_sink_decided(installation)


@pytest.mark.parametrize("victim", ["mta", "courier", "recorder", "broker", "launcher"])
def test_a_kill_during_a_command_takes_nothing_of_it_back(tmp_path: Path, victim: str) -> None:
    installation = Installation(tmp_path)
    try:
        installation.build(PEOPLE, installation.start_sink(), strategy={**STRATEGY, "attempts": 1})
        kill_during_each_command(installation, victim)
    finally:
        installation.close()


def kill_during_each_command(installation: Installation, victim: str) -> None:
    installation.start(*SERVICES)
    launch_until_some_have_left(installation)
    command_while_one_dies(installation, "freeze", victim)
    seen = wait_until_nothing_is_sent(installation)
    shown = queue(installation)
    assert shown["total"] == shown["frozen"] > 0
    command_while_one_dies(installation, "unfreeze", victim)
    installation.wait_until(lambda: attempts(installation) > seen, "attempts after unfreezing")
    command_while_one_dies(installation, "clear", victim, "--yes")
    installation.wait_for_ends(len(PEOPLE))
    ends, taken, doubtful = installation.ends(), installation.taken(), installation.doubtful()
    assert all(len(ended) == 1 for ended in ends.values())
    removed = {address for address, (end,) in ends.items() if end == End("undeliv", REMOVED)}
    assert removed, "everything had left before the clear"
    assert not (removed & taken.keys()) - doubtful, "a cleared message was sent"
    assert {address for address, count in taken.items() if count > 1} <= doubtful
    installation.wait_until(lambda: queue(installation)["total"] == 0, "the engine's figures")


def command_while_one_dies(installation: Installation, command: str, victim: str, *more: str) -> None:
    """A service is killed at any instant of the command, and started again."""
    [(mailing,)] = installation.rows("SELECT id FROM mailing")
    arguments = ("queue", command, "--mailing", str(mailing), *more)
    giving = Thread(target=installation.command, args=arguments, kwargs={"done": (0, UNCONFIRMED)})
    giving.start()
    time.sleep(random.uniform(0.5, 2.0))  # the instant is meant to be any: a command takes that long to start
    if victim == "courier":
        installation.kill_courier("mta")
    else:
        installation.kill(victim)
        installation.start(victim)
    giving.join()
