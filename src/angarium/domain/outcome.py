"""What became of an attempt. A decision is a value: carriers return it, one place applies it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class BounceType(StrEnum):
    """Hard: the address is dead. Soft: try again. Block: refused for good, the address stays good."""

    HARD = "hard"
    SOFT = "soft"
    BLOCK = "block"


class Reason(StrEnum):
    """Why a message ended undelivered; the words the reports use."""

    HARD_BOUNCE = "hard bounce"
    BLOCKED = "blocked"
    MAX_ATTEMPTS = "maximum attempts reached"
    LIFETIME = "end of the message's life"
    REMOVED = "removed from the queue by user"
    REJECTED_LOCALLY = "cannot be sent as it is"
    DROPPED = "dropped by the strategy"
    UNKNOWN_OUTCOME = "outcome unknown"


class Delivered(msgspec.Struct, frozen=True):
    """The receiver took it."""


class Defer(msgspec.Struct, frozen=True):
    """Not now. `counted` says whether it was an attempt that failed (soft bounce) or no attempt at all."""

    until: float
    """Wall clock, seconds."""
    reason: str
    counted: bool = True
    address: str | None = None
    """The source IP the next attempt must use; None: any of the sender's on this node."""
    node: int | None = None
    """The node the message must move to; None: it stays."""


class Bounce(msgspec.Struct, frozen=True):
    """A final refusal: hard or block."""

    kind: BounceType
    reason: str


class Undelivered(msgspec.Struct, frozen=True):
    """Final without a refusal: attempts or life used up, removed, or impossible to send."""

    reason: Reason
    detail: str = ""


Decision = Delivered | Defer | Bounce | Undelivered
