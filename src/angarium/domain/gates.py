"""Gates and clears: what an operator has stopped, and what an operator has removed.

A gate covers a scope – any combination of account, sender, mailing and ISP – and says that nothing of it is
sent while it is closed. It rewrites no message, so opening it restores exactly what was there. Gates add up:
a message may go when no closed gate covers it. A clear covers the packets of a scope whose number is smaller
than its own: they are dead wherever they are.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Scope(msgspec.Struct, frozen=True):
    """What a command is about. 0: any."""

    account: int = 0
    sender: int = 0
    mailing: int = 0
    isp: int = 0

    def covers(self, one: Scope) -> bool:
        """Whether `one`, which names all four, is within."""
        return (
            self.account in (0, one.account)
            and self.sender in (0, one.sender)
            and self.mailing in (0, one.mailing)
            and self.isp in (0, one.isp)
        )


class Gate(msgspec.Struct, frozen=True):
    """Nothing of its scope is sent from `since` to `until`. Times are the wall clock's seconds."""

    id: int
    scope: Scope
    since: float
    until: float | None = None
    """None: it is closed."""


class Clear(msgspec.Struct, frozen=True):
    """Everything of its scope in packets with a number below `before` is dead."""

    id: int
    scope: Scope
    before: int
    user: str = ""
    """Who removed them."""


class Gates(msgspec.Struct, frozen=True):
    """All gates that a living message may have met, and all clears."""

    gates: tuple[Gate, ...] = ()
    clears: tuple[Clear, ...] = ()

    def closed(self, one: Scope) -> bool:
        """Whether nothing of this may be sent now."""
        return any(gate.until is None and gate.scope.covers(one) for gate in self.gates)

    def cleared_by(self, one: Scope, packet: int) -> Clear | None:
        """The clear that a message of this packet is dead by."""
        return next((c for c in self.clears if packet < c.before and c.scope.covers(one)), None)

    def rest(self, one: Scope, since: float, now: float) -> float:
        """Seconds between `since` and `now` that gates were closed: they do not count against a life."""
        spans = (
            (max(gate.since, since), now if gate.until is None else min(gate.until, now))
            for gate in self.gates
            if gate.scope.covers(one)
        )
        return _covered(spans)


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """The length of what the spans cover together."""
    total, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total
