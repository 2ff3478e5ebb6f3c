"""Deliveries from RabbitMQ: each subscription on a channel of its own, so that a fault stays its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiormq.abc import AbstractChannel, DeliveredMessage

from angarium.broker.amqp.line import Line, close_quietly, ended
from angarium.broker.inbox import Inbox
from angarium.broker.topology import DEAD, DELIVERY_LIMIT
from angarium.errors import BrokerUnavailable

DEAD_QUEUE: Final[dict[str, Any]] = {"x-queue-type": "quorum"}
ORDINARY_QUEUE: Final[dict[str, Any]] = {
    "x-queue-type": "quorum",
    "x-delivery-limit": DELIVERY_LIMIT,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": DEAD,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}
"""At-least-once dead-lettering asks for `reject-publish`; without a length limit nothing is rejected."""


async def declare(channel: AbstractChannel, queue: str) -> int:
    """Makes the queue if there is none; returns how many deliveries are ready."""
    await channel.queue_declare(DEAD, durable=True, arguments=DEAD_QUEUE)
    arguments = DEAD_QUEUE if queue == DEAD else ORDINARY_QUEUE
    declared = await channel.queue_declare(queue, durable=True, arguments=arguments)
    return declared.message_count or 0


class AmqpDelivery:
    def __init__(self, consumer: AmqpConsumer, message: DeliveredMessage) -> None:
        self._consumer = consumer
        self._channel = message.channel
        self._tag = message.delivery_tag or 0
        self._settled = False
        self.queue = consumer.queue
        self.body = message.body
        self.redelivered = bool(message.redelivered)

    async def ack(self) -> None:
        await self._settle(lambda: self._channel.basic_ack(self._tag))

    async def requeue(self) -> None:
        await self._settle(lambda: self._channel.basic_nack(self._tag, requeue=True))

    async def dead_letter(self) -> None:
        await self._settle(lambda: self._channel.basic_nack(self._tag, requeue=False))

    async def _settle(self, send: Callable[[], Awaitable[None]]) -> None:
        if self._settled:
            return
        self._settled = True
        try:
            await send()
        except Exception as error:
            raise BrokerUnavailable(
                f"the channel that the delivery came on was lost, it comes again: {error!r}"
            ) from error
        await self._consumer.settled(self._channel)


class AmqpConsumer(Inbox[AmqpDelivery]):
    def __init__(self, line: Line, queue: str, prefetch: int) -> None:
        super().__init__()
        self.queue = queue
        self._prefetch = prefetch
        self._cancelled = False
        self._channel: AbstractChannel | None = None
        self._tag = ""
        self._unsettled = 0
        self._farewell: asyncio.Task[None] | None = None
        self._task = asyncio.create_task(line.keep_subscribed(self._subscribe, self._lost))

    async def cancel(self) -> None:
        if self._cancelled:
            return
        self._cancelled = True
        unseen = self.end()
        await ended(self._task)
        with contextlib.suppress(Exception):
            if self._channel is not None and self._tag:
                await self._channel.basic_cancel(self._tag)
            for delivery in unseen:
                await delivery.requeue()
        await self._close_when_settled()

    async def settled(self, channel: AbstractChannel) -> None:
        """One delivery of the channel is."""
        if channel is self._channel:
            self._unsettled -= 1
            await self._close_when_settled()

    async def close(self) -> None:
        """Ends the iteration; the connection's end gives back what is unsettled."""
        self._cancelled = True
        self.end()
        await ended(self._task)

    async def _subscribe(self, channel: AbstractChannel) -> None:
        self._channel, self._tag, self._unsettled = channel, "", 0
        await declare(channel, self.queue)
        await channel.basic_qos(prefetch_count=self._prefetch)
        channel.on_consumer_cancel_callbacks.add(self._dismissed)
        subscribed = await channel.basic_consume(self.queue, self._receive)
        self._tag = subscribed.consumer_tag or ""

    def _dismissed(self, _: object) -> None:
        """RabbitMQ ended the subscription, for one because the queue was deleted: begin again."""
        self._farewell = asyncio.create_task(close_quietly(self._channel))

    def _lost(self) -> None:
        self.empty()

    async def _receive(self, message: DeliveredMessage) -> None:
        delivery = AmqpDelivery(self, message)
        self._unsettled += 1
        if self._cancelled:
            with contextlib.suppress(BrokerUnavailable):
                await delivery.requeue()
        else:
            self.put(delivery)

    async def _close_when_settled(self) -> None:
        """A cancelled consumer's channel stays until its last delivery is settled."""
        if self._cancelled and self._unsettled == 0 and self._channel is not None:
            channel, self._channel = self._channel, None
            await close_quietly(channel)
