"""A connection that comes back, and subscriptions that live on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import aiormq
import structlog
from aiormq.abc import AbstractChannel, AbstractConnection
from yarl import URL

from angarium.broker.inbox import pauses

LONGEST_PAUSE: Final = 10.0
"""Seconds between attempts to connect."""
FAREWELL: Final = 2.0
"""Seconds that an orderly close may take."""

log = structlog.get_logger(__name__)
logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # it prints a traceback where we log a line


class Line:
    """Make it in a running event loop; it begins to connect at once."""

    def __init__(self, url: URL, name: str) -> None:
        self._url = url
        self._name = name
        self._connection: AbstractConnection | None = None
        self._changed = asyncio.Condition()
        self._task = asyncio.create_task(self._stay_connected())

    @property
    def up(self) -> bool:
        return self._connection is not None and not self._connection.is_closed

    async def connection(self) -> AbstractConnection:
        """The connection in use; waits until there is one."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.up)
        assert self._connection is not None
        return self._connection

    async def channel(self, *, confirms: bool = False) -> AbstractChannel:
        connection = await self.connection()
        return await connection.channel(publisher_confirms=confirms)

    async def keep_subscribed(
        self, subscribe: Callable[[AbstractChannel], Awaitable[None]], lost: Callable[[], None]
    ) -> None:
        """Subscribes on a channel of its own, and again whenever that is lost. Runs until cancelled."""
        waits = pauses(LONGEST_PAUSE)
        while True:
            channel = None
            try:
                channel = await self.channel()
                await subscribe(channel)
            except Exception as error:  # whatever the library raises, it is tried again
                log.warning("cannot subscribe yet", reason=repr(error))
                await close_quietly(channel)
                await asyncio.sleep(next(waits))
                continue
            waits = pauses(LONGEST_PAUSE)
            await asyncio.wait((channel.closing,))
            lost()

    async def close(self) -> None:
        await ended(self._task)
        await close_quietly(self._connection)

    async def _stay_connected(self) -> None:
        waits = pauses(LONGEST_PAUSE)
        while True:
            try:
                connection = await aiormq.connect(
                    self._url, client_properties={"connection_name": self._name}
                )
            except Exception as error:  # whatever the library raises, it is tried again
                log.warning("RabbitMQ not reached", host=self._url.host, reason=repr(error))
                await asyncio.sleep(next(waits))
                continue
            waits = pauses(LONGEST_PAUSE)
            async with self._changed:
                self._connection = connection
                self._changed.notify_all()
            await asyncio.wait((connection.closing,))
            log.warning("connection to RabbitMQ lost", host=self._url.host)


async def close_quietly(closing: AbstractChannel | AbstractConnection | None) -> None:
    """Closes what may be closed or broken already."""
    if closing is not None and not closing.is_closed:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(closing.close(), FAREWELL)


async def ended(task: asyncio.Task[None]) -> None:
    """Cancels the task and waits for its end."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
