"""Messages gathered into packets: one ISP each, full where possible.

An ISP of which a page has only a handful keeps its messages for the pages that follow, so that packets
stay full without mixing ISPs. Such an open bundle has a packet row all the same, replaced when it grows:
no recipient is ever known to memory alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from angarium.domain.message import MESSAGES_PER_PACKET
from angarium.mailing.compose import Message

BUNDLE_BYTES: Final = 2_500_000
"""Of messages before compression; a packet must stay under 4 MB even when nothing can be compressed."""
HANDFUL: Final = 20
"""A bundle with fewer messages waits for more."""


class Bundle:
    """Messages of one packet to be."""

    def __init__(self, isp: int) -> None:
        self.isp = isp
        self.messages: list[Message] = []
        self.number = 0
        """Of its committed packet row; 0: there is none."""
        self.changed = False
        """It has messages that its row does not have."""
        self._bytes = 0

    def add(self, message: Message) -> None:
        self.messages.append(message)
        self.changed = True
        self._bytes += len(message.frame)

    def has_room(self, message: Message, most: int) -> bool:
        return len(self.messages) < most and self._bytes + len(message.frame) <= BUNDLE_BYTES


class Bundler:
    """Bundles of one launch. With `single`, each message is a packet of its own."""

    def __init__(self, single: bool = False) -> None:
        self._most = 1 if single else MESSAGES_PER_PACKET
        self._growing: dict[int, Bundle] = {}

    def add(self, messages: Iterable[Message]) -> list[Bundle]:
        """Takes in a page's messages; the bundles to publish now. The others stay open."""
        ready = []
        for message in messages:
            bundle = self._growing.get(message.isp)
            if bundle is not None and not bundle.has_room(message, self._most):
                ready.append(bundle)
                bundle = None
            if bundle is None:
                bundle = self._growing[message.isp] = Bundle(message.isp)
            bundle.add(message)
        return ready + self._grown(1 if self._most == 1 else HANDFUL)

    @property
    def open(self) -> list[Bundle]:
        return list(self._growing.values())

    def close(self) -> list[Bundle]:
        """What was still open; nothing is any more."""
        return self._grown(0)

    def _grown(self, size: int) -> list[Bundle]:
        grown = [bundle for bundle in self._growing.values() if len(bundle.messages) >= size]
        for bundle in grown:
            del self._growing[bundle.isp]
        return grown
