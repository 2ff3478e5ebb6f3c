"""What a broker promises, whichever it is.

- A publish that returned is on the broker's disk and survives kill -9 of every process.
- A publish that raised `BrokerUnavailable` may or may not have happened: repeat it marked as such.
- A delivery that was not acknowledged comes again, flagged `redelivered`, after its consumer's death.
- Queues come into being when first named; they are durable.
- A broadcast reaches those who listen at that moment, at most once, and promises nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec


class Depth(msgspec.Struct, frozen=True):
    """How many deliveries a queue holds."""

    ready: int
    unacknowledged: int | None
    """None where the protocol does not tell (AMQP)."""


class Delivery(Protocol):
    """One packet handed to a consumer, until it is acknowledged or given back."""

    @property
    def queue(self) -> str: ...
    @property
    def body(self) -> bytes: ...
    @property
    def redelivered(self) -> bool: ...
    async def ack(self) -> None:
        """Done: never again. Raises `BrokerUnavailable` when the connection it came on is gone."""

    async def requeue(self) -> None:
        """Back to the queue, to be delivered again (flagged)."""

    async def dead_letter(self) -> None:
        """To `angarium_dead`, for a person to look at."""


class Consumer(Protocol):
    """An open subscription; iterate it for deliveries.

    The iteration outlives reconnects and ends after `cancel`.
    """

    def __aiter__(self) -> AsyncIterator[Delivery]: ...
    async def cancel(self) -> None:
        """Stops deliveries. What was delivered stays the consumer's until settled or it disconnects."""


class Broker(Protocol):
    async def publish(self, queue: str, body: bytes) -> None:
        """Returns once the packet is safe. Many may be under way at once; they share a flush.

        Waits for a connection if there is none. Raises `BrokerUnavailable` without a confirm in time,
        `ValueError` for a body over 4 MB. What the broker may have taken is not sent again by itself.
        """

    async def consume(self, queue: str, *, prefetch: int) -> Consumer:
        """At most `prefetch` unsettled deliveries at a time. Returns without waiting for a connection."""

    async def depth(self, queue: str) -> Depth: ...

    async def announce(self, topic: str, body: bytes = b"") -> None:
        """A broadcast to all who listen to the topic now. Nothing happens when the broker is away."""

    def listen(self, topic: str) -> AsyncIterator[bytes]:
        """Broadcasts from about now on.

        An empty message says that some may have been missed: look again. One comes after each
        reconnect, and may come first.
        """

    async def healthy(self) -> bool: ...

    async def close(self) -> None: ...
