"""Stalled queues: of which nothing has come to an end for too long, and the likely cause."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Cause(StrEnum):
    """In the order in which they are looked for: the first that fits is named."""

    FROZEN = "frozen"
    """Gates stop all of it: as somebody wanted."""
    NODE_DOWN = "node_down"
    """A node that holds some of it, or every node that could take it from the broker, is silent."""
    NODE_TROUBLE = "node_trouble"
    """A node that holds some of it says that it cannot work."""
    REFUSED = "refused"
    """It is tried, and the receiver puts it off."""
    LIMITED = "limited"
    """Nothing was tried: strategy, other mailings, an unreachable destination."""


class Standing(msgspec.Struct, frozen=True):
    """One queue as it stands, and what became of it while `patience` went by."""

    new: int = 0
    retries: int = 0
    sending: int = 0
    frozen: int = 0
    ended: int = 0
    """Delivered or given up within that time."""
    refused: int = 0
    """Soft bounces within that time."""
    waited: float = 0.0
    """Seconds since the oldest of it was launched."""
    node_down: bool = False
    node_trouble: bool = False


def cause(queue: Standing, patience: float) -> Cause | None:
    """Why the queue is stalled; None: it is not.

    Retries that wait for their time, none of which came meanwhile, are as the retry rule wants them.
    """
    moving = queue.new + queue.retries + queue.sending
    if queue.ended or queue.waited < patience or not moving + queue.frozen:
        return None
    if not moving:
        return Cause.FROZEN
    if queue.node_down:
        return Cause.NODE_DOWN
    if queue.node_trouble:
        return Cause.NODE_TROUBLE
    if queue.refused:
        return Cause.REFUSED
    return Cause.LIMITED if queue.new or queue.sending else None
