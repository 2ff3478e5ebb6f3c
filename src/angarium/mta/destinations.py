"""What the carrier keeps in memory: scopes with permits, destinations with queues, connections."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator, Set
from typing import Final

import msgspec

from angarium.domain.permits import Window
from angarium.domain.sending import Strategy
from angarium.engine.message import LaneKey, Message
from angarium.mta.couriers import Courier
from angarium.mta.link import Host

MESSAGES_A_CONNECTION: Final = 10
"""So many waiting messages justify one more connection."""


class Connection:
    """One connection of a courier, from the order to open it until it is gone on both sides."""

    __slots__ = (
        "closing",
        "courier",
        "destination",
        "ended",
        "from_domain",
        "handed",
        "held",
        "host",
        "idle_since",
        "number",
        "opened",
        "scope",
    )  # fmt: skip

    def __init__(
        self, number: int, courier: Courier, scope: Scope, destination: Destination, from_domain: str
    ) -> None:
        self.number = number
        self.courier = courier
        self.scope = scope
        self.destination = destination
        self.from_domain = from_domain
        self.opened = False
        self.closing = False
        self.handed = 0
        self.ended = 0
        """Since messages were last chosen for it."""
        self.held: dict[int, Message] = {}
        self.host = ""
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        return self.opened and not self.closing


class Scope:
    """What a strategy counts: one sender, one source IP, one ISP."""

    def __init__(self, sender: int, source: str, isp: int, strategy: Strategy) -> None:
        self.key = f"{sender}|{source}|{isp}"
        self.sender = sender
        self.source = source
        self.isp = isp
        self.strategy = strategy
        self.transactions = Window(strategy.messages_per_interval, strategy.interval)
        self.openings = Window(strategy.connections_per_interval, strategy.interval)
        self.connections: dict[int, Connection] = {}

    def adopt(self, strategy: Strategy, now: float) -> None:
        """Another strategy holds from now on."""
        self.strategy = strategy
        self.transactions.adjust(strategy.messages_per_interval, strategy.interval, now)
        self.openings.adjust(strategy.connections_per_interval, strategy.interval, now)

    def dump(self, boot: str) -> bytes:
        """For the spool, with the grants it allowed."""
        return msgspec.msgpack.encode((boot, self.transactions.dump(), self.openings.dump()))

    def restore(self, state: bytes, boot: str, now: float) -> None:
        """Goes on counting. Times of another boot of the machine count as now."""
        before, transactions, openings = msgspec.msgpack.decode(state, type=_State)
        for window, (under_way, ended) in ((self.transactions, transactions), (self.openings, openings)):
            at_now = [(now, sum(count for _, count in ended))]
            window.restore(under_way, ended if before == boot else at_now, now)


_Dump = tuple[int, list[tuple[float, int]]]
_State = tuple[str, _Dump, _Dump]


class Track:
    """One sender and one ISP."""

    def __init__(self, sender: int, isp: int) -> None:
        self.sender = sender
        self.isp = isp
        self.scopes: dict[str, Scope] = {}
        self.destinations: dict[str, Destination] = {}
        self.wake_at = float("inf")
        self.timer: asyncio.TimerHandle | None = None
        self.timer_at = 0.0


class Destination:
    """Where messages of one sender and ISP go: one set of hosts, with a queue a lane."""

    def __init__(self, key: str, hosts: tuple[Host, ...]) -> None:
        self.key = key
        self.hosts = hosts
        self.ready = 0
        self.connections: dict[int, Connection] = {}
        self.asleep: dict[str, tuple[float, int]] = {}
        """Source IP → (until when, how many failures in a row)."""
        self._queues: OrderedDict[int, tuple[LaneKey, deque[Message]]] = OrderedDict()
        self._priority: OrderedDict[int, tuple[LaneKey, deque[Message]]] = OrderedDict()

    def asleep_until(self, source: str) -> float:
        """Monotonic seconds; 0: awake."""
        return self.asleep.get(source, (0.0, 0))[0]

    def sleeps(self, now: float) -> bool:
        """Whether a failure is fresh enough to be remembered."""
        return any(until + 600 > now for until, _ in self.asleep.values())

    def add(self, message: Message, lane: LaneKey, *, front: bool = False) -> None:
        queues = self._priority if lane.priority else self._queues
        if message.lane not in queues:
            queues[message.lane] = lane, deque()
        queue = queues[message.lane][1]
        if front:
            queue.appendleft(message)
        else:
            queue.append(message)
        self.ready += 1

    def next(self, source: str, sources: Set[str]) -> Message | None:
        """The next message that may leave from this address: lanes take turns, priority overtakes."""
        for queues in (self._priority, self._queues):
            if queues and (message := self._next_of(queues, source, sources)):
                return message
        return None

    def _next_of(
        self, queues: OrderedDict[int, tuple[LaneKey, deque[Message]]], source: str, sources: Set[str]
    ) -> Message | None:
        for number in list(queues):
            lane, queue = queues[number]
            if lane.source and lane.source != source and lane.source in sources:
                continue
            while queue:
                message = queue.popleft()
                self.ready -= 1
                if not message.gone:
                    queues.move_to_end(number)
                    return message
            del queues[number]
        return None

    def has_for(self, source: str, sources: Set[str]) -> bool:
        """Whether something here may leave from this address."""
        return any(
            queue and (not lane.source or lane.source == source or lane.source not in sources)
            for queues in (self._priority, self._queues)
            for lane, queue in queues.values()
        )

    def take_lanes(self, lanes: Set[int]) -> list[Message]:
        """Removes and returns what waits of these lanes."""
        taken: list[Message] = []
        for queues in (self._priority, self._queues):
            for number in lanes & queues.keys():
                _, queue = queues.pop(number)
                self.ready -= len(queue)
                taken += (message for message in queue if not message.gone)
        return taken

    def take_all(self) -> Iterator[Message]:
        """Empties the queues."""
        for queues in (self._priority, self._queues):
            for _, queue in queues.values():
                yield from (message for message in queue if not message.gone)
            queues.clear()
        self.ready = 0

    def take_stranded(self, sources: Set[str]) -> list[Message]:
        """Removes and returns the messages all of whose addresses failed when last tried."""
        reached = {c.scope.source for c in self.connections.values() if c.opened}
        stranded: list[Message] = []
        for queues in (self._priority, self._queues):
            for number, (lane, queue) in list(queues.items()):
                possible = {lane.source} if lane.source in sources else sources
                if not (possible & reached) and possible <= self.asleep.keys():
                    stranded += (message for message in queue if not message.gone)
                    self.ready -= len(queue)
                    del queues[number]
        return stranded

    def first(self) -> Message | None:
        """A message that waits, to know what the connection is for."""
        for queues in (self._priority, self._queues):
            for _, queue in queues.values():
                for message in queue:
                    return message
        return None
