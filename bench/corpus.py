"""Messages of about 10 KB, unlike each other: slices of a long random text, as packets of a launch.

Half of each message's octets is entropy that no dictionary can remove: the words are random letters.
"""

from __future__ import annotations

import random
import string
import time
from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

import msgspec

from angarium.broker.topology import mta_queue
from angarium.domain.email import MailBody, MailContent
from angarium.domain.message import MESSAGES_PER_PACKET, PacketHeader, Recipient, message_id, pack

DOMAINS: Final = ("alpha.example", "beta.example", "gamma.example", "delta.example")
"""Each is an ISP of its own."""
HTML, TEXT = 7_200, 2_200
"""Characters of the two parts; with header fields and MIME some 10,240 octets on the wire."""
_POOL: Final = 4_000_000
"""Characters."""


class Corpus(NamedTuple):
    """Packets in wire form, and how many messages they hold."""

    packets: list[bytes]
    messages: int


class Origin(NamedTuple):
    """Rows the packets belong to."""

    account: int
    mailing: int
    launch: int
    sender: int
    isps: tuple[int, ...]
    """Aligned with `DOMAINS`."""
    from_address: str


def packets(count: int, origin: Origin, seed: int = 1) -> Corpus:
    """`count` messages, one recipient each, in packets of one ISP."""
    texts = _Texts(seed)
    wires = []
    for number, (place, first, size) in enumerate(_shares(count), start=1):
        recipients = [_recipient(origin.launch, first + offset, DOMAINS[place]) for offset in range(size)]
        bodies = [msgspec.msgpack.encode(texts.mail(first + offset)) for offset in range(size)]
        wires.append(pack(_header(number, origin, origin.isps[place], tuple(recipients)), bodies))
    return Corpus(wires, count)


def _shares(count: int) -> Iterator[tuple[int, int, int]]:
    """Domain, first message and size of each packet, the domains in turn."""
    for number, first in enumerate(range(0, count, MESSAGES_PER_PACKET)):
        yield number % len(DOMAINS), first, min(MESSAGES_PER_PACKET, count - first)


def _recipient(launch: int, number: int, domain: str) -> Recipient:
    identity = message_id(launch, "email", number + 1)
    return Recipient(identity, f"reader{number}@{domain}", domain, number + 1, number + 1)


def _header(number: int, origin: Origin, isp: int, recipients: tuple[Recipient, ...]) -> PacketHeader:
    now = time.time()
    content = MailContent(from_address=origin.from_address, from_name="Bench")
    return PacketHeader(
        number=number, queue=mta_queue(origin.sender), account=origin.account, mailing=origin.mailing,
        launch=origin.launch, sender=origin.sender, channel="email", isp=isp, published=now,
        expires=now + 86_400, recipients=recipients, content=msgspec.Raw(msgspec.msgpack.encode(content)),
    )  # fmt: skip


class _Texts:
    """Cuts messages out of a pool of random words."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._pool = _pool(seed)

    def mail(self, number: int) -> MailBody:
        return MailBody(
            subject=f"News {number}: {self._slice(30).replace(chr(10), ' ')}",
            html=f"<html><body><p>{self._slice(HTML)}</p></body></html>",
            text=self._slice(TEXT),
            unsubscribe=f"https://{DOMAINS[0]}/u/{number:052d}",
            token=f"{number:052d}",
        )

    def _slice(self, size: int) -> str:
        start = self._chance.randrange(_POOL - size)
        return self._pool[start : start + size]


@cache
def _pool(seed: int) -> str:
    """Random letters; a space after some six of them, a line's end after some seventy characters."""
    weights = [*(1 for _ in string.ascii_lowercase), 4, 0.4]
    return "".join(random.Random(seed).choices([*string.ascii_lowercase, " ", "\n"], weights, k=_POOL))
