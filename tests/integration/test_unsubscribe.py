"""One-click unsubscribe over real HTTP, with the embedded broker behind it."""

from __future__ import annotations

import asyncio
import http.client
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.support.embedded_broker import EmbeddedBrokerProcess

from angarium import events
from angarium.broker.open import open_broker
from angarium.broker.port import Broker
from angarium.broker.topology import EVENTS
from angarium.config import ListenerSettings
from angarium.domain.link import LinkClaim, derived_key, sign_link
from angarium.domain.message import message_id
from angarium.listener import service
from angarium.listener.journal import Journal

SECRET = b"s" * 32
CLAIM = LinkClaim(
    sender=1, account=2, mailing=3, profile=4, subscription=5, message=message_id(6, "email", 5)
)
LINK = "/u/" + sign_link(CLAIM, derived_key(SECRET, "unsubscribe"), 4e9)
PATIENCE = 20.0


@pytest.fixture
def broker_process(tmp_path: Path) -> Iterator[EmbeddedBrokerProcess]:
    process = EmbeddedBrokerProcess(tmp_path / "b")
    process.start()
    yield process
    process.stop()


class Listener:
    def __init__(self, port: int, broker: Broker) -> None:
        self.port = port
        self.broker = broker

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, str, dict[str, str]]:
        return await asyncio.to_thread(self._ask, method, path, body)

    def _ask(self, method: str, path: str, body: bytes) -> tuple[int, str, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request(method, path, body=body or None, headers=headers)
        response = connection.getresponse()
        answer = response.status, response.read().decode(), dict(response.getheaders())
        connection.close()
        return answer

    async def click(self) -> int:
        return (await self.ask("POST", LINK, b"List-Unsubscribe=One-Click"))[0]

    async def events(self, count: int) -> list[events.EventBatch]:
        consumer = await self.broker.consume(EVENTS, prefetch=100)
        found: list[events.EventBatch] = []
        async with asyncio.timeout(PATIENCE):
            async for delivery in consumer:
                found.extend(events.decode(delivery.body))
                await delivery.ack()
                if len(found) == count:
                    break
        await consumer.cancel()
        return found


@pytest_asyncio.fixture
async def listener(tmp_path: Path, broker_process: EmbeddedBrokerProcess) -> AsyncIterator[Listener]:
    listening = socket.create_server(("127.0.0.1", 0))
    broker = await open_broker(broker_process.url, "test")
    stop = asyncio.Event()
    running = asyncio.create_task(
        service.run(ListenerSettings(), broker, SECRET, tmp_path / "journal", stop, listening)
    )
    yield Listener(listening.getsockname()[1], broker)
    stop.set()
    await running
    await broker.close()


async def test_one_click_makes_one_event_with_all_that_the_recorder_needs(listener: Listener) -> None:
    assert await listener.click() == 200
    [batch] = await listener.events(1)
    [event] = batch.events
    assert (event.kind, event.account, event.mailing, event.launch) == ("unsub", 2, 3, 6)
    assert (event.profile, event.subscription, event.sender, event.message) == (4, 5, 1, CLAIM.message)


async def test_a_repeat_is_the_same_batch(listener: Listener) -> None:
    assert [await listener.click(), await listener.click()] == [200, 200]
    first, second = await listener.events(2)
    assert first.id == second.id


async def test_a_get_asks_and_changes_nothing(listener: Listener) -> None:
    status, page, headers = await listener.ask("GET", LINK)
    assert status == 200
    assert '<form method="post">' in page
    assert "http" not in page.replace("http-equiv", ""), "no asset from elsewhere"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert (await listener.broker.depth(EVENTS)).ready == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path",
    [
        "/u/x",
        "/u/" + "A" * 103,
        LINK[:-5] + "AAAAA",
        LINK + "A",
        "/",
        "/u/" + "%00" * 50,
        "/u/" + "z" * 5_000,
    ],
)
async def test_forged_and_damaged_links_get_a_page_in_plain_words(
    listener: Listener, method: str, path: str
) -> None:
    status, page, _ = await listener.ask(method, path)
    assert status == 404
    assert "does not work" in page


async def test_expired_links_and_links_of_other_secrets_do_not_work(listener: Listener) -> None:
    for key, expires in (
        (derived_key(SECRET, "unsubscribe"), 1.0),
        (derived_key(b"o" * 32, "unsubscribe"), 4e9),
    ):
        assert (await listener.ask("POST", "/u/" + sign_link(CLAIM, key, expires)))[0] == 404


async def test_a_large_body_is_refused(listener: Listener) -> None:
    assert (await listener.ask("POST", LINK, b"x" * 100_000))[0] == 413


async def test_without_a_broker_the_journal_takes_it_and_it_is_published_later(
    listener: Listener, broker_process: EmbeddedBrokerProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broker_process.kill()
    assert await listener.click() == 200
    assert len(Journal(tmp_path / "journal").batches()) == 1
    broker_process.start()
    [batch] = await listener.events(1)
    assert batch.events[0].subscription == 5
    async with asyncio.timeout(PATIENCE):
        while Journal(tmp_path / "journal").batches():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def test_a_half_written_journal_keeps_what_is_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.add(b"first")
    journal.add(b"second")
    journal.close()
    path = tmp_path / "journal"
    path.write_bytes(path.read_bytes()[:-3])
    mended = Journal(path)
    mended.add(b"third")
    assert mended.batches() == [b"first", b"third"]
    mended.drop(1)
    assert mended.batches() == [b"third"]
