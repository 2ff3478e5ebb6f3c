"""Publishing, counting and broadcasting over RabbitMQ.

Publishers and consumers use a connection each, because RabbitMQ stops reading from a connection that
publishes when its disk or memory run out, and acknowledgements must go on then.

A refusal (`basic.nack`) of a quorum queue is certain: the packet is not in it. It comes from a queue whose
leader is not elected yet, or from a length limit that an operator set. So it is tried again for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog
from aiormq.abc import AbstractChannel, DeliveredMessage
from aiormq.exceptions import DeliveryError, PublishError
from pamqp.commands import Basic
from yarl import URL

from angarium.broker.amqp.consumer import AmqpConsumer, declare
from angarium.broker.amqp.line import Line, close_quietly, ended
from angarium.broker.inbox import Listening, pauses
from angarium.broker.port import Depth
from angarium.domain.message import PACKET_BYTES
from angarium.errors import BrokerUnavailable

PATIENCE: Final = 30.0
"""Seconds a publish waits for connection and confirm together."""
HEALTH_PATIENCE: Final = 2.0
HEARTBEAT: Final = "10"
"""Seconds; a connection that hangs is given up after three."""
PERSISTENT: Final = 2
LONGEST_REFUSAL: Final = 1.0
"""Seconds between attempts at a queue that refuses."""

log = structlog.get_logger(__name__)

T = TypeVar("T")


def exchange_name(topic: str) -> str:
    return f"angarium_{topic}"


class AmqpBroker:
    """Make it in a running event loop; it begins to connect at once."""

    def __init__(self, url: str, name: str, *, patience: float = PATIENCE) -> None:
        address = URL(url)
        address = address.update_query({"heartbeat": HEARTBEAT, **address.query})
        self._patience = patience
        self._out = Line(address, f"{name} publishes")
        self._in = Line(address, f"{name} consumes")
        self._channel: AbstractChannel | None = None
        self._opening = asyncio.Lock()
        self._declared: set[str] = set()
        self._consumers: list[AmqpConsumer] = []
        self._listening: dict[Listening, asyncio.Task[None]] = {}

    async def publish(self, queue: str, body: bytes) -> None:
        if len(body) > PACKET_BYTES:
            raise ValueError(f"a packet of {len(body)} bytes: the limit is {PACKET_BYTES}")
        await self._in_time(self._publish(queue, body))

    async def consume(self, queue: str, *, prefetch: int) -> AmqpConsumer:
        consumer = AmqpConsumer(self._in, queue, prefetch)
        self._consumers.append(consumer)
        return consumer

    async def depth(self, queue: str) -> Depth:
        return Depth(await self._in_time(self._count(queue)), None)

    async def announce(self, topic: str, body: bytes = b"") -> None:
        if self._out.up:
            await self._in_time(self._announce(topic, body))

    def listen(self, topic: str) -> Listening:
        listening = Listening(lambda ended: self._listening.pop(ended).cancel())
        self._listening[listening] = asyncio.create_task(
            self._in.keep_subscribed(lambda channel: _subscribe(channel, topic, listening), lambda: None)
        )
        return listening

    async def healthy(self) -> bool:
        if not (self._out.up and self._in.up):
            return False
        try:
            async with asyncio.timeout(HEALTH_PATIENCE):
                connection = await self._out.connection()
                await connection.ready()
                await close_quietly(await connection.channel(publisher_confirms=False))
        except Exception:  # whatever the library raises
            return False
        return True

    async def close(self) -> None:
        for consumer in self._consumers:
            await consumer.close()
        for listening, task in self._listening.items():
            listening.end()
            await ended(task)
        await asyncio.gather(self._out.close(), self._in.close())

    async def _publish(self, queue: str, body: bytes) -> None:
        for pause in pauses(LONGEST_REFUSAL):
            try:
                await self._send(queue, body)
                return
            except PublishError:  # returned: somebody deleted the queue
                self._declared.discard(queue)
                raise
            except DeliveryError:
                log.warning("RabbitMQ refused a publish, it is tried again", queue=queue)
                await asyncio.sleep(pause)

    async def _send(self, queue: str, body: bytes) -> None:
        channel = await self._publishing(queue)
        properties = Basic.Properties(delivery_mode=PERSISTENT)
        await channel.basic_publish(body, routing_key=queue, properties=properties, mandatory=True)

    async def _publishing(self, queue: str) -> AbstractChannel:
        """The channel to publish on, the queue declared."""
        if self._channel is None or self._channel.is_closed or queue not in self._declared:
            async with self._opening:
                if self._channel is None or self._channel.is_closed:
                    self._channel = await self._out.channel(confirms=True)
                    self._declared.clear()
                if queue not in self._declared:
                    await self._on_a_channel(lambda channel: declare(channel, queue))
                    self._declared.add(queue)
        return self._channel

    async def _count(self, queue: str) -> int:
        return await self._on_a_channel(lambda channel: declare(channel, queue))

    async def _announce(self, topic: str, body: bytes) -> None:
        async def send(channel: AbstractChannel) -> None:
            await channel.exchange_declare(
                exchange=exchange_name(topic), exchange_type="fanout", durable=True
            )
            await channel.basic_publish(body, exchange=exchange_name(topic), routing_key="")

        await self._on_a_channel(send)

    async def _on_a_channel(self, work: Callable[[AbstractChannel], Awaitable[T]]) -> T:
        """On a channel of its own, because a refusal closes the channel."""
        channel = await self._out.channel()
        try:
            return await work(channel)
        finally:
            await close_quietly(channel)

    async def _in_time(self, work: Awaitable[T]) -> T:
        """Turns whatever the library raises, late confirms too, into `BrokerUnavailable`."""
        try:
            async with asyncio.timeout(self._patience):
                return await work
        except TimeoutError:
            raise BrokerUnavailable(f"RabbitMQ did not answer within {self._patience:g} s") from None
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise BrokerUnavailable("the connection to RabbitMQ was lost") from error
        except Exception as error:
            raise BrokerUnavailable(f"RabbitMQ did not confirm: {error!r}") from error


async def _subscribe(channel: AbstractChannel, topic: str, listening: Listening) -> None:
    async def hear(message: DeliveredMessage) -> None:
        listening.put(message.body)

    await channel.exchange_declare(exchange=exchange_name(topic), exchange_type="fanout", durable=True)
    declared = await channel.queue_declare("", exclusive=True, auto_delete=True)
    await channel.queue_bind(declared.queue or "", exchange_name(topic))
    await channel.basic_consume(declared.queue or "", hear, no_ack=True)
    listening.put(b"")
