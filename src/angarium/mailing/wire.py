"""Bundles in the form that travels."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from angarium.domain.message import PacketHeader, Recipient, pack
from angarium.mailing.bundles import Bundle
from angarium.mailing.port import Plan


class PacketWriter:
    """Writes the packets of one launch to one queue."""

    def __init__(self, plan: Plan, queue: str, clock: Callable[[], float]) -> None:
        self._plan = plan
        self._queue = queue
        self._clock = clock
        self._content = msgspec.Raw(msgspec.msgpack.encode(plan.content))

    def write(self, bundle: Bundle, repeat: bool) -> bytes:
        """The packet of a bundle whose row is committed; its messages' life counts from now."""
        plan, now = self._plan, self._clock()
        header = PacketHeader(
            number=bundle.number,
            queue=self._queue,
            account=plan.account,
            mailing=plan.mailing,
            launch=plan.launch,
            sender=plan.sender,
            channel=plan.channel,
            isp=bundle.isp,
            published=now,
            expires=now + plan.life,
            not_after=plan.not_after,
            recipients=tuple(
                Recipient(to.id, to.address, message.domain, to.profile, to.subscription)
                for message in bundle.messages
                for to in (message.recipient,)
            ),
            content=self._content,
            repeat=repeat,
        )
        return pack(header, [message.frame for message in bundle.messages])
