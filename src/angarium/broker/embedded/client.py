"""`Broker` for the processes around the embedded broker.

Connects, and connects again, by itself. A publish waits for a connection; once sent it is never
sent again from here: without its confirm it raises `BrokerUnavailable`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from angarium.broker.embedded import frames
from angarium.broker.embedded.connection import Body, FrameConnection
from angarium.broker.embedded.frames import FromBroker, Header
from angarium.broker.embedded.place import socket_address
from angarium.broker.inbox import Inbox, Listening, pauses
from angarium.broker.port import Depth
from angarium.errors import BrokerUnavailable

PATIENCE: Final = 30.0
"""Seconds a publish waits for connection and confirm together."""
SHORT_PATIENCE: Final = 2.0
"""Seconds for a health check, and for a last farewell."""
LONGEST_PAUSE: Final = 1.0

log = structlog.get_logger(__name__)


class Link(FrameConnection):
    """One connection to the broker; what was asked on it fails with it."""

    def __init__(self, owner: EmbeddedBroker) -> None:
        super().__init__()
        self._owner = owner
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[FromBroker]] = {}
        self._may_write = asyncio.Event()
        self._may_write.set()
        self.lost = asyncio.Event()

    async def ask(self, make: Callable[[int], Header], body: Body = b"") -> FromBroker:
        """The answer to a frame. Raises `BrokerUnavailable` when refused or the connection is lost."""
        while not self.writable and not self.closed:
            self._may_write.clear()
            await self._may_write.wait()
        if self.closed:
            raise BrokerUnavailable("the connection to the broker was lost")
        number = next(self._numbers)
        answer: asyncio.Future[FromBroker] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self.send(make(number), body)
            return await answer
        finally:
            self._asked.pop(number, None)

    async def hang_up(self) -> None:
        """Closes the connection, what is still to be written first."""
        self.transport.close()
        try:
            await asyncio.wait_for(self.lost.wait(), SHORT_PATIENCE)
        except TimeoutError:
            self.transport.abort()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._may_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._may_write.set()
        self.lost.set()
        self._owner.detach(self)
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(BrokerUnavailable("the connection to the broker was lost"))

    def received(self, header: bytes, body: Body) -> None:
        frame = frames.from_broker.decode(header)
        match frame:
            case frames.Deliver():
                self._owner.deliver(self, frame, bytes(body))
            case frames.Done(requests):
                for number in requests:
                    self._answer(number, frame)
            case frames.Failed(requests, reason):
                for number in requests:
                    self._answer(number, BrokerUnavailable(reason))
            case frames.Counted(request):
                self._answer(request, frame)
            case frames.Broadcast(topic):
                self._owner.hear(topic, bytes(body))

    def _answer(self, number: int, answer: FromBroker | BrokerUnavailable) -> None:
        asked = self._asked.get(number)
        if asked is None or asked.done():
            return
        if isinstance(answer, BrokerUnavailable):
            asked.set_exception(answer)
        else:
            asked.set_result(answer)


class EmbeddedDelivery:
    def __init__(self, link: Link, queue: str, number: int, body: bytes, redelivered: bool) -> None:
        self._link = link
        self._number = number
        self._settled = False
        self.queue = queue
        self.body = body
        self.redelivered = redelivered

    async def ack(self) -> None:
        self._settle(frames.Ack(self._number))

    async def requeue(self) -> None:
        self._settle(frames.Requeue(self._number))

    async def dead_letter(self) -> None:
        self._settle(frames.DeadLetter(self._number))

    def _settle(self, frame: Header) -> None:
        if self._link.closed:
            raise BrokerUnavailable("the connection that the delivery came on was lost: it comes again")
        if not self._settled:
            self._settled = True
            self._link.send(frame)


class EmbeddedConsumer(Inbox[EmbeddedDelivery]):
    def __init__(self, broker: EmbeddedBroker, number: int, queue: str, prefetch: int) -> None:
        super().__init__()
        self._broker = broker
        self.number = number
        self.queue = queue
        self.prefetch = prefetch

    async def cancel(self) -> None:
        await self._broker.cancelled(self)


class EmbeddedBroker:
    """Make it in a running event loop; it begins to connect at once."""

    def __init__(self, folder: Path, name: str, *, patience: float = PATIENCE) -> None:
        self._folder = folder
        self._name = name
        self._patience = patience
        self._link: Link | None = None
        self._connected = asyncio.Event()
        self._closed = False
        self._consumers: dict[int, EmbeddedConsumer] = {}
        self._numbers = itertools.count(1)
        self._listening: defaultdict[str, list[Listening]] = defaultdict(list)
        self._connecting = asyncio.create_task(self._stay_connected())

    async def publish(self, queue: str, body: bytes) -> None:
        if len(body) > frames.BODY_BYTES:
            raise ValueError(f"a packet of {len(body)} bytes: the limit is {frames.BODY_BYTES}")
        await self._ask(lambda request: frames.Publish(request, queue), body)

    async def consume(self, queue: str, *, prefetch: int) -> EmbeddedConsumer:
        consumer = EmbeddedConsumer(self, next(self._numbers), queue, prefetch)
        self._consumers[consumer.number] = consumer
        if self._link is not None:
            self._subscribe(self._link, consumer)
        return consumer

    async def depth(self, queue: str) -> Depth:
        counted = await self._ask(lambda request: frames.Count(request, queue))
        assert isinstance(counted, frames.Counted)
        return Depth(counted.ready, counted.unacknowledged)

    async def announce(self, topic: str, body: bytes = b"") -> None:
        if self._link is not None:
            self._link.send(frames.Announce(topic), body)

    def listen(self, topic: str) -> Listening:
        listening = Listening(lambda ended: self._listening[topic].remove(ended))
        self._listening[topic].append(listening)
        if self._link is not None:
            self._link.send(frames.Listen(topic))
        return listening

    async def healthy(self) -> bool:
        if self._link is None:
            return False
        try:
            async with asyncio.timeout(SHORT_PATIENCE):
                await self._link.ask(frames.Ping)
        except (BrokerUnavailable, TimeoutError):
            return False
        return True

    async def close(self) -> None:
        self._closed = True
        self._connected.set()
        self._connecting.cancel()
        if self._link is not None:
            await self._link.hang_up()
        with contextlib.suppress(asyncio.CancelledError):
            await self._connecting
        for consumer in self._consumers.values():
            consumer.end()
        for listening in itertools.chain(*self._listening.values()):
            listening.end()

    async def cancelled(self, consumer: EmbeddedConsumer) -> None:
        """Ends a consumer; what it was sent and has not looked at goes back."""
        unseen = consumer.end()
        if self._consumers.pop(consumer.number, None) is None or self._link is None:
            return
        with contextlib.suppress(BrokerUnavailable):
            for delivery in unseen:
                await delivery.requeue()
            await self._link.ask(lambda request: frames.Cancel(request, consumer.number))

    async def _ask(self, make: Callable[[int], Header], body: Body = b"") -> FromBroker:
        try:
            async with asyncio.timeout(self._patience):
                await self._connected.wait()
                if self._link is None:
                    raise BrokerUnavailable("this connection to the broker was closed")
                return await self._link.ask(make, body)
        except TimeoutError:
            where = self._folder
            raise BrokerUnavailable(
                f"the broker in {where} did not answer within {self._patience:g} s"
            ) from None

    async def _stay_connected(self) -> None:
        waits = pauses(LONGEST_PAUSE)
        while True:
            try:
                link = await self._dial()
            except OSError as error:
                log.debug("broker not reached", folder=str(self._folder), reason=str(error))
                await asyncio.sleep(next(waits))
                continue
            waits = pauses(LONGEST_PAUSE)
            self._attach(link)
            await link.lost.wait()

    async def _dial(self) -> Link:
        loop = asyncio.get_running_loop()
        with socket_address(self._folder) as address:
            _, link = await loop.create_unix_connection(lambda: Link(self), address)
        return link

    def _attach(self, link: Link) -> None:
        link.send(frames.Hello(self._name))
        for consumer in self._consumers.values():
            self._subscribe(link, consumer)
        for topic, listeners in self._listening.items():
            link.send(frames.Listen(topic))
            for listening in listeners:
                listening.put(b"")
        self._link = link
        self._connected.set()

    def detach(self, link: Link) -> None:
        """The link is lost: what came on it and nobody has seen comes again on the next."""
        if self._link is not link:
            return
        self._link = None
        if not self._closed:
            self._connected.clear()
            log.warning("connection to the broker lost", folder=str(self._folder))
        for consumer in self._consumers.values():
            consumer.empty()

    def _subscribe(self, link: Link, consumer: EmbeddedConsumer) -> None:
        link.send(frames.Consume(0, consumer.number, consumer.queue, consumer.prefetch))

    def deliver(self, link: Link, frame: frames.Deliver, body: bytes) -> None:
        consumer = self._consumers.get(frame.consumer)
        if consumer is None:
            link.send(frames.Requeue(frame.delivery))
            return
        consumer.put(EmbeddedDelivery(link, consumer.queue, frame.delivery, body, frame.redelivered))

    def hear(self, topic: str, body: bytes) -> None:
        for listening in self._listening[topic]:
            listening.put(body)
