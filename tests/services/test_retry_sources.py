"""Where retries leave from, as the receiving server sees it: same IP, another of the node, another node's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.support.installation import Installation

NODES = {"node-1": ["127.0.0.11", "127.0.0.12", "127.0.0.13"], "node-2": ["127.0.0.21", "127.0.0.22"]}
PEOPLE = [f"soft2+{n}@domain{n % 3}.example" for n in range(40)]


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    yield made
    made.close()


def sources(installation: Installation, mode: str) -> dict[str, list[str]]:
    """Recipient → the IPs its three attempts came from, in order."""
    rule = {"mode": mode, "retries": 3, "interval": 15, "type": "fixed"}
    installation.build(PEOPLE, installation.start_sink(), nodes=NODES, rule=rule)
    installation.start("broker", "mta:node-1", "mta:node-2", "recorder", "launcher")
    installation.wait_until(lambda: len(seen(installation)) == 2, "both nodes")
    then = max(seen(installation))
    installation.wait_until(
        lambda: min(seen(installation)) > then + timedelta(seconds=2), "nodes that know each other"
    )
    installation.launch()
    installation.wait_for_ends(len(PEOPLE))
    found: defaultdict[str, list[str]] = defaultdict(list)
    for event in installation.seen():
        if event.event == "answer":
            found[event.recipient].append(event.source)
    assert {len(attempts) for attempts in found.values()} == {3}
    return found


def seen(installation: Installation) -> list[datetime]:
    """When the nodes last gave a sign of life."""
    return [
        datetime.fromisoformat(at)
        for (at,) in installation.rows("SELECT seen FROM node WHERE seen IS NOT NULL")
    ]


def node_of(address: str) -> str:
    return next(node for node, addresses in NODES.items() if address in addresses)


def test_the_same_ip_of_the_same_node(installation: Installation) -> None:
    for attempts in sources(installation, "same_ip").values():
        assert len(set(attempts)) == 1


def test_any_other_ip_of_the_same_node(installation: Installation) -> None:
    for attempts in sources(installation, "other_ip").values():
        assert all(before != after for before, after in zip(attempts, attempts[1:], strict=False))
        assert len({node_of(address) for address in attempts}) == 1


def test_any_other_ip_of_any_node(installation: Installation) -> None:
    found = sources(installation, "other_node")
    for attempts in found.values():
        assert all(before != after for before, after in zip(attempts, attempts[1:], strict=False))
    assert any(len({node_of(address) for address in attempts}) == 2 for attempts in found.values())
