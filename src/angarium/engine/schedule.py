"""The schedule: which messages of the spool are in memory, ready to be sent.

A lane is read from the disk in order of (due, seq), up to a mark; everything up to the mark is in memory
or gone. What becomes ready while its lane is caught up goes straight to memory and is never read back.
Memory is bounded: lanes share the window; what does not fit waits on the disk at no cost.

Guarantees: a committed message that is due reaches memory, in this run or the next. Never done: nothing is
decided about a message here, and nothing is held that is not committed.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from typing import Final

from angarium.engine.message import Message
from angarium.engine.spool import Spool

CHUNK: Final = 1_000
_NEVER: Final = float("inf")
_BEGINNING: Final = (0.0, 0)


class _Lane:
    __slots__ = ("loaded", "mark", "next_due")

    def __init__(self) -> None:
        self.mark: tuple[float, int] = _BEGINNING
        self.next_due = _NEVER
        """Of the first message beyond the mark."""
        self.loaded = 0


class Schedule:
    """See the module's head. `ready` is called with each message whose time has come; `is_shut` says that a
    lane may not be read now; `dead` ends a message that was cleared, and says so."""

    def __init__(
        self,
        spool: Spool,
        window: int,
        ready: Callable[[Message], None],
        is_shut: Callable[[int], bool],
        dead: Callable[[Message], bool],
    ) -> None:
        self._spool = spool
        self._window = window
        self._ready = ready
        self._is_shut = is_shut
        self._dead = dead
        self._lanes: dict[int, _Lane] = {}
        self._loaded = 0
        self._due: list[tuple[float, int]] = []
        self._full: set[int] = set()
        self._held: set[int] = set()
        """Numbers of the messages in memory: what is told and read twice is loaded once."""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Finds what every lane has on the disk and begins to load it."""
        for lane in self._spool.lanes:
            if not self._rests(lane) and (due := self._spool.next_due(lane, _BEGINNING)) is not None:
                self._expect(lane, due)
        self._task = asyncio.create_task(self._load_as_it_comes_due(), name="schedule")

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What must go on while the engine runs."""
        return [self._task] if self._task else []

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def loaded(self) -> int:
        """Messages in memory."""
        return self._loaded

    def arrived(self, messages: list[Message]) -> None:
        """These are committed: new, or put off. In memory at once if they are due and there is room."""
        if not self._task:
            return  # the start will find them on the disk
        now = time.time()
        for message in messages:
            if message.seq in self._held or self._dead(message) or self._rests(message.lane):
                continue
            lane = self._lane(message.lane)
            place = (message.due, message.seq)
            if place <= lane.mark:
                self._load(lane, message)  # committed after its lane was read past it
            elif message.due <= now and lane.next_due > message.due and self._room(lane):
                lane.mark = place
                self._load(lane, message)
            else:
                self._expect(message.lane, message.due)

    def shut(self, lanes: set[int]) -> None:
        """Nothing of these lanes is in memory any longer but what couriers have in hand."""
        for number in lanes:
            lane = self._lane(number)
            lane.mark, lane.next_due = _BEGINNING, _NEVER
            self._full.discard(number)

    def open(self, number: int) -> None:
        """The lane may be read again, from its beginning."""
        if self._task and (due := self._spool.next_due(number, _BEGINNING)) is not None:
            self._expect(number, due)

    def changed_lane(self, message: Message, before: int) -> None:
        """A message in memory belongs to another lane from now on."""
        self._lane(before).loaded -= 1
        self._lane(message.lane).loaded += 1

    def holds(self, message: Message) -> bool:
        """Whether the message is in memory."""
        return message.seq in self._held

    def released(self, message: Message, lane: int) -> None:
        """The message has left memory; `lane` is where it was."""
        if message.seq not in self._held:
            return
        self._held.discard(message.seq)
        self._loaded -= 1
        self._lane(lane).loaded -= 1
        if lane in self._full and self._lane(lane).loaded <= self._share() // 2:
            self._full.discard(lane)
            self._wake_for(lane)

    def _rests(self, lane: int) -> bool:
        return self._spool.lanes[lane].rests or self._is_shut(lane)

    def _lane(self, number: int) -> _Lane:
        if (lane := self._lanes.get(number)) is None:
            lane = self._lanes[number] = _Lane()
        return lane

    def _share(self) -> int:
        return max(CHUNK, self._window // max(1, len(self._lanes)))

    def _room(self, lane: _Lane) -> bool:
        return lane.loaded < self._share() and self._loaded < self._window

    def _load(self, lane: _Lane, message: Message) -> None:
        if message.seq in self._held:
            return
        self._held.add(message.seq)
        lane.loaded += 1
        self._loaded += 1
        self._ready(message)

    def _expect(self, number: int, due: float) -> None:
        lane = self._lane(number)
        if due < lane.next_due:
            lane.next_due = due
            self._wake_for(number)

    def _wake_for(self, number: int) -> None:
        if (due := self._lane(number).next_due) < _NEVER:
            heapq.heappush(self._due, (due, number))
            self._wake.set()

    async def _load_as_it_comes_due(self) -> None:
        while True:
            now = time.time()
            while self._due and self._due[0][0] <= now:
                self._read(heapq.heappop(self._due)[1], now)
                await asyncio.sleep(0)
            self._wake.clear()
            wait = self._due[0][0] - time.time() if self._due else None
            try:
                await asyncio.wait_for(self._wake.wait(), None if wait is None else max(0.0, min(wait, 60.0)))
            except TimeoutError:
                continue

    def _read(self, number: int, now: float) -> None:
        lane = self._lane(number)
        if lane.next_due > now or self._rests(number):
            return
        if not self._room(lane):
            self._full.add(number)
            return
        messages = self._spool.ready(number, lane.mark, now, CHUNK)
        for message in messages:
            lane.mark = (message.due, message.seq)
            self._load(lane, message)
        following = self._spool.next_due(number, lane.mark)
        lane.next_due = _NEVER if following is None else following
        self._wake_for(number)
