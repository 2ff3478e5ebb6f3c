"""What is true of RabbitMQ beyond the contract."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import aiormq
import pytest
from aiormq.exceptions import ChannelNotFoundEntity
from tests.support.rabbitmq import RabbitMQ

from angarium.broker.amqp import AmqpBroker
from angarium.errors import BrokerUnavailable

PATIENCE = 60.0


@pytest.fixture
def queue() -> str:
    return f"q_{uuid.uuid4().hex[:12]}"


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110 – another process's state
            await asyncio.sleep(0.05)


async def delete(rabbitmq: RabbitMQ, queue: str) -> None:
    """As an operator would."""
    connection = await aiormq.connect(rabbitmq.url)
    await (await connection.channel()).queue_delete(queue)
    await connection.close()


async def exists(rabbitmq: RabbitMQ, queue: str) -> bool:
    async with aiormq.connect(rabbitmq.url) as connection:
        try:
            await (await connection.channel()).queue_declare(queue, passive=True)
        except ChannelNotFoundEntity:
            return False
        return True


async def test_a_deleted_queue_fails_one_publish_and_comes_back(rabbitmq: RabbitMQ, queue: str) -> None:
    broker = AmqpBroker(rabbitmq.url, "test")
    await broker.publish(queue, b"1")
    await delete(rabbitmq, queue)
    with pytest.raises(BrokerUnavailable, match="NO_ROUTE"):
        await broker.publish(queue, b"2")
    await broker.publish(queue, b"3")
    async with asyncio.timeout(PATIENCE):
        assert (await anext(await broker.consume(queue, prefetch=1))).body == b"3"
    await broker.close()


async def test_a_consumer_of_a_deleted_queue_begins_again(rabbitmq: RabbitMQ, queue: str) -> None:
    broker, later = AmqpBroker(rabbitmq.url, "test"), AmqpBroker(rabbitmq.url, "later")
    consumer = await broker.consume(queue, prefetch=1)
    await broker.publish(queue, b"1")
    async with asyncio.timeout(PATIENCE):
        await anext(consumer)
        await delete(rabbitmq, queue)
        await until(lambda: exists(rabbitmq, queue))
        await later.publish(queue, b"2")
        assert (await anext(consumer)).body == b"2"
    await broker.close()
    await later.close()


async def test_a_queue_made_otherwise_is_a_clear_error_for_its_users_only(
    rabbitmq: RabbitMQ, queue: str
) -> None:
    broker = AmqpBroker(rabbitmq.url, "test")
    connection = await aiormq.connect(rabbitmq.url)
    await (await connection.channel()).queue_declare(queue, durable=True)
    consumer = await broker.consume(queue, prefetch=1)
    with pytest.raises(BrokerUnavailable, match="inequivalent arg"):
        await broker.publish(queue, b"1")
    await broker.publish(f"{queue}_2", b"2")
    async with asyncio.timeout(PATIENCE):
        assert (await anext(await broker.consume(f"{queue}_2", prefetch=1))).body == b"2"
        await (await connection.channel()).queue_delete(queue)
        await broker.publish(queue, b"3")
        assert (await anext(consumer)).body == b"3"
    await connection.close()
    await broker.close()


async def test_while_it_takes_nothing_consumers_still_drain(mortal_rabbitmq: RabbitMQ, queue: str) -> None:
    broker = AmqpBroker(mortal_rabbitmq.url, "test", patience=3)
    await broker.publish(queue, b"1")
    await broker.publish(queue, b"2")
    await asyncio.to_thread(mortal_rabbitmq.control, "set_vm_memory_high_watermark", "absolute", "1")
    with pytest.raises(BrokerUnavailable, match="within 3 s"):
        await broker.publish(queue, b"3")
    assert not await broker.healthy()
    async with asyncio.timeout(PATIENCE):
        consumer = await broker.consume(queue, prefetch=1)
        for body in (b"1", b"2"):
            delivery = await anext(consumer)
            assert delivery.body == body
            await delivery.ack()
    await asyncio.to_thread(mortal_rabbitmq.control, "set_vm_memory_high_watermark", "0.4")
    await until(broker.healthy)
    await broker.publish(queue, b"4")
    await broker.close()


async def test_a_refused_publish_is_tried_again_while_its_time_lasts(
    mortal_rabbitmq: RabbitMQ, queue: str
) -> None:
    broker = AmqpBroker(mortal_rabbitmq.url, "test", patience=3)
    limit = ("set_policy", "limit", f"^{queue}$", '{"max-length": 2}', "--apply-to", "queues")
    await asyncio.to_thread(mortal_rabbitmq.control, *limit)

    async def fill() -> None:
        while True:
            await broker.publish(queue, b"filling")

    with pytest.raises(BrokerUnavailable, match="within 3 s"):
        await fill()
    patient = AmqpBroker(mortal_rabbitmq.url, "patient")
    waiting = asyncio.create_task(patient.publish(queue, b"last"))
    consumer = await broker.consume(queue, prefetch=1)
    async with asyncio.timeout(PATIENCE):
        async for delivery in consumer:
            await delivery.ack()
            if delivery.body == b"last":
                break
        await waiting
    await broker.close()
    await patient.close()
