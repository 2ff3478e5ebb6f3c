"""How long each step may take (RFC 5321 section 4.5.3.2), in seconds."""

from __future__ import annotations

from typing import get_args

import msgspec

from angarium.mta.reply import Stage


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds of the monotonic clock."""

    connect: float = 45.0
    banner: float = 300.0
    ehlo: float = 300.0
    tls: float = 60.0
    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    block: float = 180.0
    """Without any progress in writing the message."""
    dot: float = 600.0
    """Giving up earlier makes duplicates."""
    rset: float = 300.0
    quit: float = 30.0
    """For the answer to QUIT, and then for the peer's end of the connection."""
    dns: float = 30.0
    local: float = 30.0
    orphan: float = 5.0
    """For replies to final dots after our engine has gone."""

    def by_step(self) -> dict[str, float]:
        """How long the reply at each stage may take, the `void` one to a dot nobody wanted included."""
        return {**{stage: float(getattr(self, stage)) for stage in get_args(Stage)}, "void": self.dot}

    @property
    def shortest(self) -> float:
        """Seconds of the shortest of them."""
        return float(min(msgspec.structs.astuple(self)))

    def scaled(self, factor: float) -> Timeouts:
        """All of them, times `factor`."""
        return Timeouts(**{name: value * factor for name, value in msgspec.structs.asdict(self).items()})

    @classmethod
    def parse(cls, text: str) -> Timeouts:
        """`mail=2,dot=3.5`: the defaults with these changed. Raises `ValueError` for an unknown name."""
        changes: dict[str, float] = {}
        for item in filter(None, text.split(",")):
            name, _, value = item.partition("=")
            if name not in cls.__struct_fields__:
                raise ValueError(f"no time-out is called {name!r}")
            changes[name] = float(value)
        return cls(**changes)
