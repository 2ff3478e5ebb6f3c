"""What `broker.port` promises, of both brokers."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from tests.support import broker_client
from tests.support.embedded_broker import EmbeddedBrokerProcess
from tests.support.rabbitmq import RabbitMQ, free_port

from angarium.broker.amqp import AmqpBroker
from angarium.broker.embedded import EmbeddedBroker
from angarium.broker.open import open_broker
from angarium.broker.port import Broker, Consumer, Delivery
from angarium.broker.topology import DEAD
from angarium.domain.message import PACKET_BYTES
from angarium.errors import BrokerUnavailable, ConfigurationError

PATIENCE = 60.0

MortalBroker = EmbeddedBrokerProcess | RabbitMQ


@pytest.fixture
async def broker(broker_url: str) -> AsyncIterator[Broker]:
    opened = await open_broker(broker_url, "test")
    yield opened
    await opened.close()


@pytest.fixture
def queue() -> str:
    return f"q_{uuid.uuid4().hex[:12]}"


async def take(consumer: Consumer, count: int) -> list[Delivery]:
    async with asyncio.timeout(PATIENCE):
        return [await anext(aiter(consumer)) for _ in range(count)]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110 – another process's state
            await asyncio.sleep(0.02)


async def ready(broker: Broker, queue: str, count: int) -> None:
    async def holds() -> bool:
        return (await broker.depth(queue)).ready == count

    await until(holds)


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 400_000, PACKET_BYTES])
async def test_what_is_published_comes_out_octet_by_octet(broker: Broker, queue: str, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    consumer = await broker.consume(queue, prefetch=1)
    await broker.publish(queue, body)
    (delivery,) = await take(consumer, 1)
    assert (delivery.queue, delivery.redelivered) == (queue, False)
    assert delivery.body == body


async def test_packets_come_in_the_order_of_their_publishing(broker: Broker, queue: str) -> None:
    await asyncio.gather(*(broker.publish(queue, str(number).encode()) for number in range(100)))
    consumer = await broker.consume(queue, prefetch=7)
    for number in range(100):
        (delivery,) = await take(consumer, 1)
        assert delivery.body == str(number).encode()
        await delivery.ack()


async def test_a_body_over_four_megabytes_is_refused_and_nothing_is_queued(
    broker: Broker, queue: str
) -> None:
    with pytest.raises(ValueError, match="4000000"):
        await broker.publish(queue, bytes(PACKET_BYTES + 1))
    assert (await broker.depth(queue)).ready == 0


async def test_a_consumer_gets_no_more_than_its_prefetch_before_it_settles(
    broker: Broker, queue: str
) -> None:
    slow = await broker.consume(queue, prefetch=3)
    for number in range(3):
        await broker.publish(queue, str(number).encode())
    held = await take(slow, 3)
    for number in range(3, 10):
        await broker.publish(queue, str(number).encode())
    quick = await broker.consume(queue, prefetch=10)
    rest = await take(quick, 7)
    assert [delivery.body for delivery in rest] == [str(number).encode() for number in range(3, 10)]
    await quick.cancel()
    await broker.publish(queue, b"next")
    await held[0].ack()
    (delivery,) = await take(slow, 1)
    assert delivery.body == b"next"


async def test_consumers_of_one_queue_share_its_packets(broker: Broker, queue: str) -> None:
    consumers = [await broker.consume(queue, prefetch=2) for _ in range(3)]
    for number in range(6):
        await broker.publish(queue, str(number).encode())
    taken = [delivery for consumer in consumers for delivery in await take(consumer, 2)]
    assert sorted(delivery.body for delivery in taken) == [b"0", b"1", b"2", b"3", b"4", b"5"]


async def test_an_acknowledged_packet_is_gone_after_its_consumer(broker_url: str, queue: str) -> None:
    first, second = await open_broker(broker_url, "first"), await open_broker(broker_url, "second")
    consumer = await first.consume(queue, prefetch=2)
    await first.publish(queue, b"done")
    await first.publish(queue, b"not done")
    done, _ = await take(consumer, 2)
    await done.ack()
    await first.close()
    (delivery,) = await take(await second.consume(queue, prefetch=5), 1)
    assert (delivery.body, delivery.redelivered) == (b"not done", True)
    await delivery.ack()
    await second.close()


async def test_a_requeued_packet_comes_again_flagged(broker: Broker, queue: str) -> None:
    consumer = await broker.consume(queue, prefetch=1)
    await broker.publish(queue, b"again")
    (first,) = await take(consumer, 1)
    await first.requeue()
    (second,) = await take(consumer, 1)
    assert (first.redelivered, second.redelivered, second.body) == (False, True, b"again")


async def test_settling_twice_does_nothing_more(broker: Broker, queue: str) -> None:
    consumer = await broker.consume(queue, prefetch=1)
    await broker.publish(queue, b"1")
    (first,) = await take(consumer, 1)
    await first.ack()
    await first.ack()
    await first.requeue()
    await broker.publish(queue, b"2")
    (second,) = await take(consumer, 1)
    assert (second.body, second.redelivered) == (b"2", False)


async def test_a_dead_letter_goes_to_the_dead_queue(broker: Broker, queue: str) -> None:
    dead = await broker.consume(DEAD, prefetch=1)
    consumer = await broker.consume(queue, prefetch=1)
    await broker.publish(queue, b"spoilt")
    (spoilt,) = await take(consumer, 1)
    await spoilt.dead_letter()
    (found,) = await take(dead, 1)
    assert (found.queue, found.body) == (DEAD, b"spoilt")
    await found.ack()
    await ready(broker, queue, 0)


async def test_depth_counts_what_waits(broker: Broker, queue: str) -> None:
    assert (await broker.depth(queue)).ready == 0
    for _ in range(3):
        await broker.publish(queue, b"packet")
    await ready(broker, queue, 3)
    await take(await broker.consume(queue, prefetch=2), 2)
    await ready(broker, queue, 1)
    assert (await broker.depth(queue)).unacknowledged in (2, None)


async def test_cancel_ends_the_iteration_and_leaves_what_was_delivered(broker: Broker, queue: str) -> None:
    consumer = await broker.consume(queue, prefetch=5)
    for number in range(3):
        await broker.publish(queue, str(number).encode())
    (held,) = await take(consumer, 1)
    await consumer.cancel()
    assert [delivery async for delivery in consumer] == []
    await broker.publish(queue, b"3")
    others = await take(await broker.consume(queue, prefetch=5), 3)
    assert sorted(delivery.body for delivery in others) == [b"1", b"2", b"3"]
    await held.ack()
    for delivery in others:
        await delivery.ack()
    await ready(broker, queue, 0)


async def test_a_broadcast_reaches_every_listener_of_its_topic(broker_url: str, queue: str) -> None:
    speaker, *hearers = [await open_broker(broker_url, f"node {number}") for number in range(4)]
    heard = [aiter(hearer.listen(queue)) for hearer in hearers]
    other = aiter(hearers[0].listen("another_topic"))
    for hearer in (speaker, *hearers):
        await until(hearer.healthy)

    async def hear(listening: AsyncIterator[bytes]) -> None:
        async for message in listening:
            if message == b"gates":
                return

    waiting = [asyncio.create_task(hear(listening)) for listening in heard]
    deaf = asyncio.create_task(hear(other))

    async def all_heard() -> bool:
        await speaker.announce(queue, b"gates")
        return all(task.done() for task in waiting)

    await until(all_heard)
    assert not deaf.done()
    for opened in (speaker, *hearers):
        await opened.close()
    await deaf


async def test_publishers_of_several_processes_share_a_queue(
    broker: Broker, broker_url: str, queue: str
) -> None:
    publishers = [broker_client.publish(broker_url, queue, f"{number}-", 200) for number in range(3)]
    consumer = await broker.consume(queue, prefetch=50)
    bodies = set()
    for _ in range(600):
        (delivery,) = await take(consumer, 1)
        bodies.add(delivery.body)
        await delivery.ack()
    assert len(bodies) == 600
    for publisher in publishers:
        assert await asyncio.to_thread(publisher.wait, PATIENCE) == 0


async def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return (await asyncio.to_thread(process.stdout.readline)).strip()


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


async def test_thirty_deaths_on_one_packet_do_not_drop_it(
    broker: Broker, broker_url: str, queue: str
) -> None:
    await broker.publish(queue, b"deadly")
    victims = broker_client.die(broker_url, queue, 30)
    assert [await _line(victims) for _ in range(30)] == ["0 deadly", *["1 deadly"] * 29]
    assert await asyncio.to_thread(victims.wait, PATIENCE) == 0
    consumer = await broker.consume(queue, prefetch=1)
    (delivery,) = await take(consumer, 1)
    assert (delivery.body, delivery.redelivered) == (b"deadly", True)
    assert (await broker.depth(DEAD)).ready == 0
    await delivery.ack()


async def test_packets_of_a_killed_consumer_go_to_the_others(
    broker: Broker, broker_url: str, queue: str
) -> None:
    for number in range(5):
        await broker.publish(queue, str(number).encode())
    victim = broker_client.take(broker_url, queue, 3)
    assert [await _line(victim) for _ in range(3)] == ["0 0", "0 1", "0 2"]
    consumer = await broker.consume(queue, prefetch=5)
    fresh = await take(consumer, 2)
    _kill(victim)
    lost = await take(consumer, 3)
    assert [(delivery.body, delivery.redelivered) for delivery in fresh] == [(b"3", False), (b"4", False)]
    assert sorted((delivery.body, delivery.redelivered) for delivery in lost) == [
        (b"0", True), (b"1", True), (b"2", True),
    ]  # fmt: skip


async def test_a_killed_broker_keeps_every_confirmed_packet(mortal_broker: MortalBroker, queue: str) -> None:
    broker = await open_broker(mortal_broker.url, "test")
    await broker.publish(queue, b"first")
    await asyncio.to_thread(mortal_broker.wait_until_registered, queue)
    confirmed = {b"first"}
    enough = asyncio.Event()

    async def publish(worker: int) -> None:
        for number in range(10_000):
            body = f"{worker}-{number}".encode()
            try:
                await broker.publish(queue, body)
            except BrokerUnavailable:
                return
            confirmed.add(body)
            if len(confirmed) > 300:
                enough.set()

    workers = [asyncio.create_task(publish(worker)) for worker in range(10)]
    await enough.wait()
    mortal_broker.kill()
    await asyncio.gather(*workers)
    await asyncio.to_thread(mortal_broker.start)

    consumer = await broker.consume(queue, prefetch=100)
    while confirmed:
        (delivery,) = await take(consumer, 1)
        assert not delivery.redelivered
        confirmed.discard(delivery.body)
        await delivery.ack()
    await broker.close()


async def test_consumers_and_waiting_publishers_outlive_the_broker(
    mortal_broker: MortalBroker, queue: str
) -> None:
    broker = await open_broker(mortal_broker.url, "test")
    consumer = await broker.consume(queue, prefetch=1)
    listening = aiter(broker.listen("settings"))
    await broker.publish(queue, b"1")
    (held,) = await take(consumer, 1)
    assert not held.redelivered
    await asyncio.to_thread(mortal_broker.wait_until_registered, queue)
    mortal_broker.kill()

    async def unhealthy() -> bool:
        return not await broker.healthy()

    await until(unhealthy)
    with pytest.raises(BrokerUnavailable):
        await held.ack()
    waiting = asyncio.create_task(broker.publish(queue, b"2"))
    await asyncio.to_thread(mortal_broker.start)

    for body, redelivered in ((b"1", True), (b"2", False)):
        (delivery,) = await take(consumer, 1)
        assert (delivery.body, delivery.redelivered) == (body, redelivered)
        await delivery.ack()
    await waiting
    async with asyncio.timeout(PATIENCE):
        assert await anext(listening) == b""
    await until(broker.healthy)
    await broker.close()


@pytest.mark.parametrize("kind", ["embedded", "rabbitmq"])
async def test_a_publish_gives_up_when_no_broker_comes(kind: str, tmp_path: Path) -> None:
    broker: Broker
    if kind == "embedded":
        broker = EmbeddedBroker(tmp_path / "nobody", "test", patience=0.2)
    else:
        broker = AmqpBroker(f"amqp://127.0.0.1:{free_port()}/", "test", patience=0.2)
    with pytest.raises(BrokerUnavailable, match=r"within 0\.2 s"):
        await broker.publish("q", b"packet")
    await broker.announce("settings")
    assert not await broker.healthy()
    await broker.close()


@pytest.mark.parametrize("url", ["", "redis://localhost/", "embedded://relative/path", "amqp://"])
async def test_a_url_of_no_broker_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="write embedded:///path/to/folder"):
        await open_broker(url, "test")
