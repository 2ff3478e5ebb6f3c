"""One-click unsubscribes (RFC 8058), from a signed link to an event in the broker.

Guarantees: a request is answered 200 only when its event is confirmed by the broker or synced to the journal.
A repeat makes the same event batch, which the recorder stores once. A GET never unsubscribes: mail scanners
follow links.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable
from typing import Final

import structlog

from angarium import events
from angarium.broker.port import Broker
from angarium.broker.topology import EVENTS
from angarium.domain.link import LinkClaim, derived_key, verify_link
from angarium.errors import BrokerUnavailable
from angarium.listener.journal import Journal

CONFIRM_PATIENCE: Final = 2.0
"""Seconds a person waits for the broker before the journal takes the request."""
REPLAY_EVERY: Final = 5.0
"""Seconds between attempts to empty the journal."""

logger = structlog.get_logger(__name__)


class Unsubscribes:
    """Takes signed links and passes on what they ask for."""

    def __init__(
        self, broker: Broker, journal: Journal, secret: bytes, clock: Callable[[], float] = time.time
    ) -> None:
        self._broker = broker
        self._journal = journal
        self._keys = {0: derived_key(secret, "unsubscribe")}
        self._clock = clock

    def claim(self, token: str) -> LinkClaim | None:
        """What the link is about; None when it is not ours, damaged or too old."""
        return verify_link(token, self._keys, self._clock())

    async def take(self, claim: LinkClaim) -> None:
        """Raises `OSError` when neither broker nor disk takes it."""
        wire = events.encode(_batch(claim, self._clock()))
        try:
            async with asyncio.timeout(CONFIRM_PATIENCE):
                await self._broker.publish(EVENTS, wire)
        except (BrokerUnavailable, TimeoutError) as error:
            logger.warning("unsubscribe goes to the journal", launch=claim.launch, reason=str(error))
            await asyncio.to_thread(self._journal.add, wire)

    async def replay(self, stop: asyncio.Event) -> None:
        """Publishes what is in the journal, as soon as the broker takes it, until `stop`."""
        while not stop.is_set():
            try:
                await self._empty()
            except BrokerUnavailable:
                pass
            except OSError as error:
                logger.error("the journal cannot be read", reason=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), REPLAY_EVERY)

    async def _empty(self) -> None:
        if not (waiting := await asyncio.to_thread(self._journal.batches)):
            return
        for wire in waiting:
            await self._broker.publish(EVENTS, wire)
        await asyncio.to_thread(self._journal.drop, len(waiting))
        logger.info("journal is published", count=len(waiting))


def _batch(claim: LinkClaim, now: float) -> events.EventBatch:
    """The same link always makes a batch of the same id."""
    event = events.Event(
        kind=events.EventKind.UNSUBSCRIBE,
        time=now,
        account=claim.account,
        mailing=claim.mailing,
        launch=claim.launch,
        message=claim.message,
        channel="email",
        profile=claim.profile,
        subscription=claim.subscription,
        sender=claim.sender,
        address="",
    )
    return events.EventBatch(f"unsub:{hashlib.sha256(claim.message).hexdigest()[:32]}", (event,))
