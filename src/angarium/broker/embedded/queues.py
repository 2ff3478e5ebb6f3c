"""What the broker knows of a queue: bookkeeping without I/O.

Order: returned messages first, by age; then those held in memory; then those resting on disk.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain, islice
from operator import attrgetter

from angarium.broker.embedded.connection import Body

_age = attrgetter("id")


@dataclass(slots=True)
class Message:
    id: int
    body: Body | None
    """None: on disk only."""
    redelivered: bool


@dataclass(slots=True, eq=False)
class Subscriber:
    """One consumer of one client."""

    deliver: Callable[[Message], None]
    writable: Callable[[], bool]
    prefetch: int
    unsettled: int = 0

    @property
    def credit(self) -> int:
        return self.prefetch - self.unsettled if self.writable() else 0


@dataclass(slots=True, eq=False)
class Queue:
    id: int
    name: str
    mark: int = 0
    """On disk: the highest id that may be handed out."""
    resting: int = 0
    """Messages on disk after `edge`."""
    edge: int = 0
    """The highest id that is or was in memory."""
    suspect: int = 0
    """Messages up to this id may have been handed out before the broker last started."""
    handed_out: int = 0
    unsettled: int = 0
    loading: bool = False
    returned: list[Message] = field(default_factory=list)
    held: deque[Message] = field(default_factory=deque)
    subscribers: deque[Subscriber] = field(default_factory=deque)

    @property
    def ready(self) -> int:
        return len(self.returned) + len(self.held) + self.resting

    def credit(self) -> int:
        """How many deliveries the consumers would take now."""
        return sum(subscriber.credit for subscriber in self.subscribers)

    def heads(self, count: int) -> list[Message]:
        """The next messages in memory."""
        return list(islice(chain(self.returned, self.held), count))

    def turn(self) -> Subscriber | None:
        """The consumer whose turn it is among those that have room."""
        for _ in range(len(self.subscribers)):
            subscriber = self.subscribers[0]
            self.subscribers.rotate(-1)
            if subscriber.credit > 0:
                return subscriber
        return None

    def deliverable(self) -> Message | None:
        """The first message, if its body is here and the mark on disk covers it."""
        head = next(chain(self.returned, self.held), None)
        return head if head and head.body is not None and head.id <= self.mark else None

    def hand_out(self, subscriber: Subscriber) -> Message:
        """Takes the first message off and gives it to the consumer."""
        message = self.returned.pop(0) if self.returned else self.held.popleft()
        self.unsettled += 1
        subscriber.unsettled += 1
        self.handed_out = max(self.handed_out, message.id)
        subscriber.deliver(message)
        return message

    def settled(self, subscriber: Subscriber) -> None:
        self.unsettled -= 1
        subscriber.unsettled -= 1

    def hold(self, id_: int, body: Body) -> None:
        """A message behind all others, kept in memory."""
        self.edge = id_
        self.held.append(Message(id_, body, redelivered=id_ <= self.suspect))

    def take_back(self, id_: int) -> None:
        """A message that was handed out and not acknowledged."""
        bisect.insort(self.returned, Message(id_, None, redelivered=True), key=_age)
