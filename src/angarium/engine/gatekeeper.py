"""The gatekeeper: which lanes may be sent from, and the end of what was cleared.

A lane is shut while a gate covers it, or while messages of it that a clear has made dead are being removed.
Shutting empties the lane's memory and takes back what has not begun; the rows on the disk stay as they are,
so opening reads exactly what was there.

Guarantees: from `use` on, nothing of a shut lane begins; a dead message is never begun, whenever and from
wherever it comes. After a kill the next start learns all gates and clears before anything is begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from angarium.domain.gates import Clear, Gates, Scope
from angarium.domain.message import PacketHeader
from angarium.engine.message import LaneKey, Message
from angarium.engine.schedule import Schedule
from angarium.engine.spool import Spool

CHUNK: Final = 500
"""Messages removed in one turn of the loop."""


class Gatekeeper:
    """See the module's head."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._sweeping: set[int] = set()
        self._to_sweep: set[int] = set()
        """Of those, the ones a clear has come for since their sweep began."""
        self._shut: dict[int, bool] = {}
        self._known_clears: set[int] = set()
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self.gates = Gates()
        self.schedule: Schedule
        self.take_back: Callable[[set[int]], None]
        """Empties these lanes' queues in memory and recalls what has not begun."""
        self.remove: Callable[[Message, Clear], None]
        """Ends a message that is not in memory."""

    # ── questions ───────────────────────────────────────────────────────────────────────────────

    def gated(self, lane: int) -> bool:
        """Whether a closed gate covers the lane."""
        if (known := self._shut.get(lane)) is None:
            known = self._shut[lane] = self.gates.closed(scope_of(self._spool.lanes[lane]))
        return known

    def sweeping(self, lane: int) -> bool:
        """Whether dead messages of the lane are still on the disk."""
        return lane in self._sweeping

    def shut(self, lane: int) -> bool:
        """Whether nothing of the lane may begin now."""
        return lane in self._sweeping or self.gated(lane)

    def cleared_by(self, message: Message) -> Clear | None:
        """The clear the message is dead by."""
        if not self.gates.clears:
            return None
        return self.gates.cleared_by(scope_of(self._spool.lanes[message.lane]), message.header.number)

    def stops(self, header: PacketHeader) -> bool:
        """Whether a packet that arrives must not be sent now."""
        about = Scope(header.account, header.sender, header.mailing, header.isp)
        return self.gates.closed(about) or self.gates.cleared_by(about, header.number) is not None

    def rest(self, message: Message, now: float) -> float:
        """Seconds of the message's life that gates were closed."""
        if not self.gates.gates:
            return 0.0
        return self.gates.rest(scope_of(self._spool.lanes[message.lane]), message.header.published, now)

    # ── changes ─────────────────────────────────────────────────────────────────────────────────

    def use(self, gates: Gates) -> None:
        """From now on these hold."""
        if gates == self.gates:
            return
        before = {lane for lane in self._spool.lanes if self.shut(lane)}
        self.gates = gates
        self._shut.clear()
        self._to_sweep |= self._covered_by_new_clears()
        self._sweeping |= self._to_sweep
        now = {lane for lane in self._spool.lanes if self.shut(lane)}
        if shut := now - before:
            self.take_back(shut)
            self.schedule.shut(shut)
        for lane in before - now:
            self.schedule.open(lane)
        self._wake.set()

    def _covered_by_new_clears(self) -> set[int]:
        new = [clear for clear in self.gates.clears if clear.id not in self._known_clears]
        self._known_clears = {clear.id for clear in self.gates.clears}
        return {
            lane
            for lane, key in self._spool.lanes.items()
            if not key.rests  # what moves to another node ends there
            and any(clear.scope.covers(scope_of(key)) for clear in new)
            and any(self._spool.lane_counts[lane])
        }

    # ── the sweep ───────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        self._task = asyncio.create_task(self._sweep_as_asked(), name="gatekeeper")

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What must go on while the engine runs."""
        return [self._task] if self._task else []

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _sweep_as_asked(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._to_sweep:
                lane = self._to_sweep.pop()
                await self._sweep(lane)
                if lane not in self._to_sweep:
                    self._sweeping.discard(lane)
                    if not self.gated(lane):
                        self.schedule.open(lane)

    async def _sweep(self, lane: int) -> None:
        """Removes what is dead of the lane; what a courier has in hand ends by its own answer."""
        place = (0.0, 0)
        while messages := self._spool.ready(lane, place, float("inf"), CHUNK):
            place = (messages[-1].due, messages[-1].seq)
            for message in messages:
                if not self.schedule.holds(message) and (clear := self.cleared_by(message)):
                    self.remove(message, clear)
            await self._spool.flushed()


def scope_of(key: LaneKey) -> Scope:
    """What a lane is about."""
    return Scope(key.account, key.sender, key.mailing, key.isp)
