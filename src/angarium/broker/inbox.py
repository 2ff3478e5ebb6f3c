"""What both brokers' clients stand on: iterations fed by callbacks, pauses before connecting again."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Generic, Self, TypeVar

T = TypeVar("T")

BROADCASTS_KEPT: Final = 1000
"""A listener that falls further behind misses the oldest."""


class Inbox(Generic[T]):
    """An asynchronous iteration over what is put into it, until it is ended."""

    def __init__(self, limit: int | None = None) -> None:
        self._items: deque[T] = deque(maxlen=limit)
        self._arrived = asyncio.Event()
        self._ended = False

    def put(self, item: T) -> None:
        self._items.append(item)
        self._arrived.set()

    def empty(self) -> list[T]:
        """Takes out what nobody has iterated over yet."""
        items = list(self._items)
        self._items.clear()
        return items

    def end(self) -> list[T]:
        """Ends the iteration at once; returns what it had not come to."""
        self._ended = True
        self._arrived.set()
        return self.empty()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._ended:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._items.popleft()


class Listening(Inbox[bytes]):
    """The broadcasts of one topic. `aclose` ends it."""

    def __init__(self, closed: Callable[[Listening], object]) -> None:
        super().__init__(BROADCASTS_KEPT)
        self._closed = closed

    async def aclose(self) -> None:
        self.end()
        self._closed(self)


def pauses(longest: float) -> Iterator[float]:
    """Seconds between attempts to connect: from 0.05, doubling up to `longest`, each shortened by chance."""
    pause = 0.05
    while True:
        yield pause * random.uniform(0.5, 1)
        pause = min(longest, 2 * pause)
