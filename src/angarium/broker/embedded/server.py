"""The embedded broker's process: the socket, its connections, an orderly stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from pathlib import Path
from typing import Final

import msgspec
import structlog

from angarium.broker.embedded import frames
from angarium.broker.embedded.connection import Body, FrameConnection
from angarium.broker.embedded.dispatcher import Dispatcher
from angarium.broker.embedded.frames import FrameError
from angarium.broker.embedded.place import SOCKET_NAME, listening_socket, locked
from angarium.broker.embedded.queues import Message, Queue, Subscriber
from angarium.broker.embedded.storage import Storage

RESERVE_BYTES: Final = 64 << 20
"""Publishes stop while the disk has less room than this, so that acknowledgements always have some."""
HANG_UP_SECONDS: Final = 2

log = structlog.get_logger(__name__)


class Sessions:
    """Who is connected, and who listens to which topic."""

    def __init__(self) -> None:
        self.open: set[Session] = set()
        self.listeners: defaultdict[str, set[Session]] = defaultdict(set)
        self._emptied = asyncio.Event()

    def remove(self, session: Session) -> None:
        self.open.discard(session)
        for listeners in self.listeners.values():
            listeners.discard(session)
        if not self.open:
            self._emptied.set()

    async def hang_up(self) -> None:
        """Closes all, what is still to be written first; one that does not read is cut off."""
        self._emptied.clear()
        for session in self.open:
            session.transport.close()
        with contextlib.suppress(TimeoutError):
            if self.open:
                await asyncio.wait_for(self._emptied.wait(), HANG_UP_SECONDS)
        for session in self.open:
            session.transport.abort()


class Session(FrameConnection):
    """One client."""

    def __init__(self, dispatcher: Dispatcher, sessions: Sessions) -> None:
        super().__init__()
        self._dispatcher = dispatcher
        self._sessions = sessions
        self._name = "unnamed"
        self._consumers: dict[int, tuple[Queue, Subscriber]] = {}
        self._unsettled: dict[int, tuple[Queue, Subscriber]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._sessions.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._sessions.remove(self)
        for queue, subscriber in self._consumers.values():
            self._dispatcher.unsubscribe(queue, subscriber)
        self._dispatcher.take_back([(*of, message) for message, of in self._unsettled.items()])
        log.info("client gone", client=self._name, unsettled=len(self._unsettled))

    def resume_writing(self) -> None:
        super().resume_writing()
        for queue, _ in self._consumers.values():
            self._dispatcher.pump(queue)

    def received(self, header: bytes, body: Body) -> None:
        try:
            frame = frames.from_client.decode(header)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise FrameError(str(error)) from error
        self._handle(frame, body)

    def _handle(self, frame: frames.FromClient, body: Body) -> None:
        match frame:
            case frames.Publish(request, queue):
                self._publish(request, queue, body)
            case frames.Ack(delivery):
                self._dispatcher.ack(*self._settle(delivery), delivery)
            case frames.Requeue(delivery):
                self._dispatcher.requeue(*self._settle(delivery), delivery)
            case frames.DeadLetter(delivery):
                self._dispatcher.dead_letter(*self._settle(delivery), delivery)
            case frames.Consume():
                self._consume(frame)
            case frames.Cancel(request, consumer):
                if consumer in self._consumers:
                    self._dispatcher.unsubscribe(*self._consumers.pop(consumer))
                self.confirm([request])
            case frames.Announce(topic):
                for listener in self._sessions.listeners[topic]:
                    listener.hear(topic, body)
            case frames.Listen(topic):
                self._sessions.listeners[topic].add(self)
            case frames.Count(request, queue):
                counted = self._dispatcher.queue(queue)
                self.send(frames.Counted(request, counted.ready, counted.unsettled))
            case frames.Ping(request):
                self._ping(request)
            case frames.Hello(name):
                self._name = name

    def _publish(self, request: int, queue: str, body: Body) -> None:
        self._dispatcher.publish(queue, body, self, request)
        if self._dispatcher.overloaded(self._read_on):
            self.transport.pause_reading()

    def _read_on(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def rest(self) -> None:
        """Reads no more."""
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def _consume(self, frame: frames.Consume) -> None:
        queue = self._dispatcher.queue(frame.queue)

        def deliver(message: Message) -> None:
            assert message.body is not None
            self._unsettled[message.id] = queue, subscriber
            self.send(frames.Deliver(frame.consumer, message.id, message.redelivered), message.body)

        subscriber = Subscriber(deliver, lambda: self.writable and not self.closed, frame.prefetch)
        self._consumers[frame.consumer] = queue, subscriber
        self.confirm([frame.request])
        self._dispatcher.subscribe(queue, subscriber)

    def _settle(self, delivery: int) -> tuple[Queue, Subscriber]:
        try:
            return self._unsettled.pop(delivery)
        except KeyError:
            raise FrameError(f"{self._name} settled a delivery that it does not have") from None

    def _ping(self, request: int) -> None:
        if self._dispatcher.full():
            self.refuse([request], "no space left on the broker's disk")
        else:
            self.confirm([request])

    def hear(self, topic: str, body: Body) -> None:
        """Passes a broadcast on; one that reads too slowly misses it, as it may."""
        if self.writable:
            self.send(frames.Broadcast(topic), body)

    def confirm(self, requests: list[int]) -> None:
        for start in range(0, len(requests), frames.REQUESTS_PER_ANSWER):
            self.send(frames.Done(requests[start : start + frames.REQUESTS_PER_ANSWER]))

    def refuse(self, requests: list[int], reason: str) -> None:
        for start in range(0, len(requests), frames.REQUESTS_PER_ANSWER):
            self.send(frames.Failed(requests[start : start + frames.REQUESTS_PER_ANSWER], reason))


async def serve(folder: Path, stop: asyncio.Event, *, reserve: int = RESERVE_BYTES) -> None:
    """Serves the folder until `stop` is set; then commits and confirms what was published by then.

    Raises `ConfigurationError` when another broker serves the folder or it cannot be written, and
    `sqlite3.Error` when the file is damaged or the disk fails: what was confirmed is as safe as the disk.
    """
    with locked(folder):
        dispatcher = Dispatcher(Storage(folder, reserve))
        try:
            await _serve(folder, stop, dispatcher)
        finally:
            dispatcher.close()


async def _serve(folder: Path, stop: asyncio.Event, dispatcher: Dispatcher) -> None:
    sessions = Sessions()
    server = await asyncio.get_running_loop().create_unix_server(
        lambda: Session(dispatcher, sessions), sock=listening_socket(folder)
    )
    log.info("broker serves", folder=str(folder))
    flushing = asyncio.create_task(dispatcher.run())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((flushing, stopping), return_when=asyncio.FIRST_COMPLETED)
        server.close()
        for session in sessions.open:
            session.rest()
        dispatcher.stop()
        await flushing
    finally:
        stopping.cancel()
        await sessions.hang_up()
        with contextlib.suppress(FileNotFoundError):
            (folder / SOCKET_NAME).unlink()
