"""What is true of the embedded broker beyond the contract."""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from tests.support.embedded_broker import EmbeddedBrokerProcess

from angarium.broker.embedded import EmbeddedBroker, serve
from angarium.broker.embedded.storage import Batch, Storage
from angarium.broker.port import Consumer, Delivery
from angarium.errors import BrokerUnavailable, ConfigurationError

PATIENCE = 60.0
MEGABYTE = 1_000_000


@pytest.fixture
def process(tmp_path: Path) -> Iterator[EmbeddedBrokerProcess]:
    started = EmbeddedBrokerProcess(tmp_path)
    started.start()
    yield started
    started.stop()


@pytest.fixture
async def broker(process: EmbeddedBrokerProcess, tmp_path: Path) -> AsyncIterator[EmbeddedBroker]:
    opened = EmbeddedBroker(tmp_path, "test")
    yield opened
    await opened.close()


@contextlib.asynccontextmanager
async def running(folder: Path, *, reserve: int = 0) -> AsyncIterator[EmbeddedBroker]:
    """A broker of the folder and a client, both ended in order."""
    process = EmbeddedBrokerProcess(folder, reserve=reserve)
    process.start()
    opened = EmbeddedBroker(folder, "test")
    try:
        yield opened
    finally:
        await opened.close()
        process.stop()


async def take(consumer: Consumer, count: int) -> list[Delivery]:
    async with asyncio.timeout(PATIENCE):
        return [await anext(aiter(consumer)) for _ in range(count)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 – another process's state
            await asyncio.sleep(0.01)


def flags(deliveries: list[Delivery]) -> list[tuple[bytes, bool]]:
    return [(delivery.body, delivery.redelivered) for delivery in deliveries]


def peak_memory(pid: int) -> int:
    """Bytes."""
    status = Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1]
    return int(status.split()[0]) * 1024


async def test_requeued_packets_come_first_in_their_old_order(broker: EmbeddedBroker) -> None:
    consumer = await broker.consume("q", prefetch=3)
    for number in range(5):
        await broker.publish("q", str(number).encode())
    first = await take(consumer, 3)
    await consumer.cancel()
    for delivery in reversed(first):
        await delivery.requeue()
    again = await take(await broker.consume("q", prefetch=5), 5)
    assert flags(again) == [(b"0", True), (b"1", True), (b"2", True), (b"3", False), (b"4", False)]


async def test_only_what_may_have_been_handed_out_is_flagged_after_a_kill(
    process: EmbeddedBrokerProcess, broker: EmbeddedBroker
) -> None:
    consumer = await broker.consume("q", prefetch=3)
    for number in range(8):
        await broker.publish("q", str(number).encode())
    held = await take(consumer, 3)
    await held[1].ack()
    await take(consumer, 1)
    while (await broker.depth("q")).unacknowledged != 3:
        pass
    process.kill()
    process.start()
    wide = await broker.consume("q", prefetch=10)
    await consumer.cancel()
    assert flags(await take(wide, 7))[-4:] == [(str(number).encode(), False) for number in range(4, 8)]


def test_a_mark_that_comes_late_does_not_lower_a_higher_one(tmp_path: Path) -> None:
    storage = Storage(tmp_path, reserve=0)
    storage.commit(Batch(queues=[(1, "q")], marks={1: 100}))
    storage.commit(Batch(marks={1: 50}))
    assert storage.queues()[0].mark == 100
    storage.close()


async def test_an_orderly_stop_hands_back_what_was_unsettled_and_confirms_the_rest(
    process: EmbeddedBrokerProcess, broker: EmbeddedBroker, tmp_path: Path
) -> None:
    consumer = await broker.consume("q", prefetch=1)
    for number in range(3):
        await broker.publish("q", str(number).encode())
    await take(consumer, 1)
    assert process.stop() == 0
    assert not (tmp_path / "broker.sock").exists()
    process.start()
    await consumer.cancel()
    wide = await broker.consume("q", prefetch=3)
    assert flags(await take(wide, 3)) == [(b"0", True), (b"1", False), (b"2", False)]


async def test_a_second_broker_refuses_the_folder(process: EmbeddedBrokerProcess, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"already served by a broker, process {process.pid}"):
        await serve(tmp_path, asyncio.Event())
    command = [sys.executable, "-m", "angarium.broker.embedded", "--folder", str(tmp_path)]
    second = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, said = await second.communicate()
    assert second.returncode == 1
    assert said.decode().startswith(f"{tmp_path} is already served by a broker")


async def test_a_folder_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot use its folder"):
        await serve(tmp_path / "file" / "broker", asyncio.Event())


async def test_a_folder_with_a_long_path_works_like_any_other(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30) / "broker"
    async with running(folder) as broker:
        await broker.publish("q", b"packet")
        assert (await broker.depth("q")).ready == 1


async def test_a_backlog_stays_on_disk_and_comes_back_whole(
    process: EmbeddedBrokerProcess, broker: EmbeddedBroker, tmp_path: Path
) -> None:
    body = random.Random(1).randbytes(MEGABYTE)
    gate = asyncio.Semaphore(4)

    async def publish(number: int) -> None:
        async with gate:
            await broker.publish("q", number.to_bytes(4, "big") + body)

    idle = await broker.consume("q", prefetch=1)
    await asyncio.gather(*(publish(number) for number in range(300)))
    (held,) = await take(idle, 1)
    consumer = await broker.consume("q", prefetch=20)
    seen = {held.body[:4]}
    while len(seen) < 300:
        (delivery,) = await take(consumer, 1)
        seen.add(delivery.body[:4])
        assert delivery.body[4:] == body
        await delivery.ack()
    await held.ack()
    assert peak_memory(process.pid) < 250 * MEGABYTE
    process.stop()
    assert (tmp_path / "broker.sqlite").stat().st_size < 100 * MEGABYTE


async def test_below_the_reserve_publishes_are_refused_and_consumers_drain(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        for number in range(3):
            await broker.publish("q", str(number).encode())
    async with running(tmp_path, reserve=1 << 60) as broker:
        with pytest.raises(BrokerUnavailable, match="no space left"):
            await broker.publish("q", b"3")
        assert not await broker.healthy()
        consumer = await broker.consume("q", prefetch=2)
        for delivery in await take(consumer, 2):
            await delivery.ack()
        await take(consumer, 1)
    async with running(tmp_path) as broker:
        await broker.publish("q", b"3")
        assert await broker.healthy()
        left = await take(await broker.consume("q", prefetch=5), 2)
        assert flags(left) == [(b"2", True), (b"3", False)]


async def test_a_refused_write_fails_its_publish_and_nothing_else(
    process: EmbeddedBrokerProcess, broker: EmbeddedBroker, tmp_path: Path
) -> None:
    consumer = await broker.consume("q", prefetch=1)
    await broker.publish("q", b"before")
    await broker.publish("q", b"behind")
    written = max(file.stat().st_size for file in tmp_path.iterdir())
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (written + MEGABYTE, resource.RLIM_INFINITY))
    with pytest.raises(BrokerUnavailable, match="no space left"):
        await broker.publish("q", bytes(3 * MEGABYTE))
    await broker.publish("q", b"small")
    for body in (b"before", b"behind", b"small"):
        (delivery,) = await take(consumer, 1)
        assert delivery.body == body
        await delivery.ack()
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await broker.publish("q", bytes(3 * MEGABYTE))
    assert len((await take(consumer, 1))[0].body) == 3 * MEGABYTE


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.0\r\n\r\n", bytes(100), b"\xff" * 70_000])
async def test_a_stranger_on_the_socket_is_hung_up_on(
    process: EmbeddedBrokerProcess, broker: EmbeddedBroker, tmp_path: Path, noise: bytes
) -> None:
    reader, writer = await asyncio.open_unix_connection(tmp_path / "broker.sock")
    writer.write(noise)
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()
    assert await broker.healthy()


@pytest.mark.parametrize(
    ("seed", "kills"), [(7, 10), pytest.param(8, 200, marks=(pytest.mark.soak, pytest.mark.timeout(1800)))]
)
async def test_random_kills_under_load_lose_nothing_and_flag_what_comes_twice(
    process: EmbeddedBrokerProcess, broker: EmbeddedBroker, seed: int, kills: int
) -> None:
    chance = random.Random(seed)
    confirmed: set[bytes] = set()
    seen: set[bytes] = set()
    publishing = True

    async def publish(worker: int) -> None:
        number = 0
        while publishing:
            body = f"{worker}-{number}-".encode() + bytes(chance.choice((10, 5_000, 200_000)))
            number += 1
            try:
                await broker.publish("q", body)
            except BrokerUnavailable:
                continue
            confirmed.add(body)

    async def consume() -> None:
        async for delivery in await broker.consume("q", prefetch=chance.randrange(1, 20)):
            assert delivery.redelivered or delivery.body not in seen
            seen.add(delivery.body)
            try:
                if chance.random() < 0.1:
                    await delivery.requeue()
                else:
                    await delivery.ack()
            except BrokerUnavailable:
                continue

    publishers = [asyncio.create_task(publish(worker)) for worker in range(4)]
    consumers = [asyncio.create_task(consume()) for _ in range(2)]
    for _ in range(kills):
        goal = len(confirmed) + chance.randrange(100)
        await until(lambda goal=goal: len(confirmed) >= goal)
        process.kill()
        process.start()
    publishing = False
    await asyncio.gather(*publishers)
    await until(lambda: confirmed <= seen or any(task.done() for task in consumers))
    assert confirmed <= seen
    await broker.close()
    await asyncio.gather(*consumers)
