"""The same mailing on PostgreSQL, RabbitMQ and two MTA nodes, with deaths on the way."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.installation import End, Installation
from tests.support.postgres import Postgres
from tests.support.rabbitmq import RabbitMQ

NODES = {"node-1": ["127.0.0.11", "127.0.0.12"], "node-2": ["127.0.0.21", "127.0.0.22"]}
FATES = {"deliver": 700, "soft2": 100, "greylist": 40, "hard": 80, "block": 50, "full": 30}
SLOW = {"connections": 2, "messages_per_connection": 20, "attempts": 1, "interval": 1}


class Large(Installation):
    """With its servers."""

    def __init__(self, folder: Path) -> None:
        self.postgres = Postgres(folder / "pg")
        self.rabbitmq = RabbitMQ(folder / "mq")
        self.postgres.start()
        self.rabbitmq.start()
        super().__init__(
            folder, DATABASE_URL=self.postgres.url(), BROKER_URL=self.rabbitmq.url, LAUNCHER__PAGE="100"
        )

    def close(self) -> None:
        super().close()
        self.rabbitmq.stop()
        self.postgres.stop()


@pytest.fixture
def installation() -> Iterator[Large]:
    folder = Path(tempfile.mkdtemp(prefix="ang-"))
    folder.chmod(0o755)
    made = Large(folder)
    yield made
    made.close()
    shutil.rmtree(folder, ignore_errors=True)


def people() -> list[str]:
    return [f"{fate}+{n}@domain{n % 7}.example" for fate, count in FATES.items() for n in range(count)]


def both_run(installation: Installation) -> bool:
    return installation.rows("SELECT count(*) FROM node WHERE seen IS NOT NULL") == [(2,)]


def check_counts(installation: Installation) -> None:
    ends = installation.ends()
    assert {address: found for address, found in ends.items() if len(found) != 1} == {}
    assert Counter(end for (end,) in ends.values()) == {
        End("deliv", ""): 840,
        End("undeliv", "hard bounce"): 80,
        End("undeliv", "blocked"): 50,
        End("undeliv", "maximum attempts reached"): 30,
    }
    taken = installation.taken()
    assert set(taken) == {address for address, (end,) in ends.items() if end.kind == "deliv"}
    assert {address for address, count in taken.items() if count > 1} <= installation.doubtful()


def test_the_counts_are_those_of_the_sink(installation: Large) -> None:
    installation.build(people(), installation.start_sink(), nodes=NODES)
    installation.start("mta:node-1", "mta:node-2", "recorder")
    installation.wait_until(lambda: both_run(installation), "both nodes")
    installation.launch()
    installation.start("launcher")
    installation.wait_for_ends(len(people()), patience=200)
    check_counts(installation)
    assert not installation.doubtful()
    sources = {event.source for event in installation.seen() if event.event == "answer"}
    assert {"1", "2"} == {source.removeprefix("127.0.0.")[0] for source in sources}, "both nodes took part"


def test_a_broker_restart_in_the_middle_loses_nothing(installation: Large) -> None:
    installation.build(people(), installation.start_sink(), nodes=NODES, strategy=SLOW)
    installation.start("mta:node-1", "mta:node-2", "recorder")
    installation.wait_until(lambda: both_run(installation), "both nodes")
    installation.launch()
    installation.start("launcher")
    installation.wait_until(lambda: len(installation.taken()) > 50, "the first deliveries")
    installation.rabbitmq.kill()
    time.sleep(1)  # deliveries go on meanwhile: what they report waits
    installation.rabbitmq.start()
    installation.wait_for_ends(len(people()), patience=250)
    check_counts(installation)


def sent_so_far(installation: Large) -> int:
    """Attempts the sink has seen, once both nodes have said that nothing is on the wire."""

    def quiet() -> bool:
        [(mailing,)] = installation.rows("SELECT id FROM mailing")
        shown = json.loads(installation.command("queue", "show", "--mailing", str(mailing), "--json"))
        return bool(shown["sending"] == 0 and not shown["silent"])

    installation.wait_until(quiet, "both nodes to be quiet")
    return sum(event.event == "answer" for event in installation.seen())


def test_a_freeze_holds_in_the_broker_on_a_node_that_is_down_and_on_the_way_between_nodes(
    installation: Large,
) -> None:
    rule = {"mode": "other_node", "retries": 6, "interval": 15, "type": "fixed"}
    installation.build(people(), installation.start_sink(), nodes=NODES, strategy=SLOW, rule=rule)
    installation.start("mta:node-1", "mta:node-2", "recorder")
    installation.wait_until(lambda: both_run(installation), "both nodes")
    installation.launch()
    installation.start("launcher")
    installation.wait_until(lambda: len(installation.taken()) > 50, "the first deliveries")
    installation.kill("mta:node-2")  # with moves on their way to it
    [(mailing,)] = installation.rows("SELECT id FROM mailing")
    installation.command("queue", "freeze", "--mailing", str(mailing), done=(0, 1))
    installation.start("mta:node-2")
    before = sent_so_far(installation)
    installation.rabbitmq.kill()
    installation.rabbitmq.start()
    installation.kill("mta:node-1")
    installation.start("mta:node-1")
    assert sent_so_far(installation) == before, "something left while the mailing was frozen"
    installation.command("queue", "unfreeze", "--mailing", str(mailing))
    installation.wait_for_ends(len(people()), patience=250)
    check_counts(installation)


def test_a_node_killed_thirty_times_while_it_takes_packets_loses_and_doubles_nothing(
    installation: Large,
) -> None:
    installation.build(people(), installation.start_sink(), nodes=NODES, strategy=SLOW)
    installation.start("mta:node-2", "recorder")
    installation.launch()
    installation.start("launcher")
    for _ in range(30):
        installation.start("mta:node-1")
        time.sleep(0.9)  # any instant of its start
        installation.kill("mta:node-1")
    installation.start("mta:node-1")
    installation.wait_for_ends(len(people()), patience=250)
    check_counts(installation)
