"""kill -9 of the launcher at random instants: everybody in exactly one packet, and repeats say so."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.support.installation import Installation
from tests.support.launching import packets

from angarium.broker.open import open_broker
from angarium.domain.message import Packet
from angarium.mailing.port import PacketRecipient

PEOPLE_A_KILL = 400
"""So many are prepared between two kills, about."""
KILLS = 20
SOAK_KILLS = 200
DESCRIPTIONS = msgspec.msgpack.Decoder(tuple[PacketRecipient, ...])


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path, LAUNCHER__PAGE="20", LAUNCHER__PACKETS_IN_FLIGHT="4")
    yield made
    made.close()


def people(kills: int) -> list[str]:
    return [f"deliver+{number}@domain{number % 3}.example" for number in range(kills * PEOPLE_A_KILL)]


def packet_rows(installation: Installation) -> dict[int, list[str]]:
    rows = installation.rows("SELECT id, recipients FROM packet")
    return {number: [one.address for one in DESCRIPTIONS.decode(found)] for number, found in rows}


def state(installation: Installation) -> str:
    return str(installation.rows("SELECT state FROM launch")[0][0])


def published(installation: Installation) -> list[Packet]:
    [(sender,)] = installation.rows("SELECT sender_id FROM mailing")

    async def read() -> list[Packet]:
        broker = await open_broker(f"embedded://{installation.folder}/data/broker", "test")
        try:
            return await packets(broker, f"akmta_{sender}")
        finally:
            await broker.close()

    return asyncio.run(read())


def kill_while_it_prepares(installation: Installation, kills: int, chance: random.Random) -> int:
    """How many kills fell on a launch that was being prepared."""
    hits = 0
    for _ in range(kills):
        if state(installation) == "prepared":
            break
        done = len(installation.rows("SELECT id FROM packet"))
        installation.wait_until(
            lambda done=done: (
                len(installation.rows("SELECT id FROM packet")) > done  # type: ignore[misc]
                or state(installation) == "prepared"
            ),
            "progress of the launch",
        )
        time.sleep(chance.uniform(0.0, 0.15))  # the instant is meant to be any
        hits += state(installation) == "preparing"
        installation.kill("launcher")
        installation.start("launcher")
    return hits


def check_launch(installation: Installation, kills: int) -> None:
    chance = random.Random()
    seed = chance.randrange(1 << 32)
    print(f"seed {seed}")
    everyone = people(kills)
    installation.build(everyone, port=9)
    installation.start("broker")
    installation.launch()
    installation.start("launcher")
    hits = kill_while_it_prepares(installation, kills, random.Random(seed))
    installation.wait_until(lambda: state(installation) == "prepared", "the end of the launch")
    rows = packet_rows(installation)
    everybody = Counter(address for row in rows.values() for address in row)
    assert everybody == Counter(everyone), "somebody is in no packet, or in two"
    found = published(installation)
    assert {packet.header.number for packet in found} == set(rows), "published is what has a row"
    for packet in found:
        assert [one.address for one in packet.header.recipients] == rows[packet.header.number]
    originals = Counter(packet.header.number for packet in found if not packet.header.repeat)
    assert set(originals.values()) <= {1}, "a second copy does not say that it is one"
    repeats = sum(packet.header.repeat for packet in found)
    print(f"{hits} kills met the launch, {len(found)} packets published, {repeats} of them repeats")
    assert hits >= kills // 4, "the launch was over too soon for the kills to mean something"


def test_a_launcher_killed_again_and_again_reaches_everybody_once(installation: Installation) -> None:
    check_launch(installation, KILLS)


@pytest.mark.soak
@pytest.mark.timeout(3_000)
def test_a_launcher_killed_two_hundred_times_reaches_everybody_once(installation: Installation) -> None:
    check_launch(installation, SOAK_KILLS)


def test_a_launcher_told_to_stop_leaves_nothing_to_repeat(installation: Installation) -> None:
    installation.build(people(KILLS), port=9)
    installation.start("broker")
    installation.launch()
    installation.start("launcher")
    installation.wait_until(lambda: len(packet_rows(installation)) > 3, "progress of the launch")
    assert installation.stop("launcher") == 0
    installation.start("launcher")
    installation.wait_until(lambda: state(installation) == "prepared", "the end of the launch")
    found = published(installation)
    assert Counter(one.address for packet in found for one in packet.header.recipients) == Counter(
        people(KILLS)
    )
    assert not any(packet.header.repeat for packet in found if len(packet.header.recipients) > 20)
