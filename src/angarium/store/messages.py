"""Messages one by one: who they go to, how they stand, what the receiver said last.

A launch's packets say exactly who is written to, and the events of a message are found by its id, so a page
is read packet by packet from indexes: so many of them a call at most, however many messages there are and
however rare what is looked for. Where that was not enough to fill the page, `next` says where to go on.

A state is what the control database knows: a message on the wire is still New or Retries here, and one that
waits in the broker cannot be told from one that waits on a node.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from enum import StrEnum
from typing import Final

import msgspec

from angarium.domain.contact import email_address
from angarium.domain.gates import Scope
from angarium.errors import InvalidInput
from angarium.events import EventKind
from angarium.mailing.port import PacketRecipient
from angarium.store import packets, queue_books
from angarium.store.settings import known_gates
from angarium.web.mailings.models import Launch, Packet
from angarium.web.reports.models import Event

PACKETS: Final = 50
"""Read in one call at most: 10,000 messages with their events."""
PACKETS_BY_RECIPIENT: Final = 1_000
"""The same where a recipient is named: only the events of those who fit are read."""
AT_ONCE: Final = 50
"""Packet rows in memory."""


class State(StrEnum):
    """How a message stands."""

    NEW = "new"
    RETRIES = "retries"
    FROZEN = "frozen"
    DELETED = "deleted"
    """Cleared, and not recorded as ended yet."""
    DELIVERED = "delivered"
    HARD_BOUNCE = "hard_bounce"
    UNDELIVERED = "undelivered"
    """For another reason than a hard bounce."""


class Search(msgspec.Struct, frozen=True):
    """What is looked for; empty: any. Texts are parts, in any case."""

    scope: Scope = Scope()
    state: State | None = None
    recipient: str = ""
    answer: str = ""
    """Of the last answer: a part of its code, enhanced code and text."""
    doubtful: bool = False
    """Only those that may have been delivered without an answer."""


class Place(msgspec.Struct, frozen=True):
    """Where a page begins: with this message of this packet, or what comes next. Newer launches first."""

    launch: int
    packet: int
    index: int

    def __str__(self) -> str:
        return f"{self.launch}-{self.packet}-{self.index}"

    @classmethod
    def read(cls, text: str) -> Place:
        """Raises `InvalidInput`."""
        parts = text.split("-")
        if len(parts) != 3 or not all(part.isdecimal() and len(part) < 19 for part in parts):
            raise InvalidInput("`after` is the `next` of the page before")
        return cls(*map(int, parts))


class Found(msgspec.Struct, frozen=True):
    """One message. Times are the wall clock's seconds; 0: none."""

    message: bytes
    address: str
    state: State
    scope: Scope
    launch: int
    published: float
    attempts: int = 0
    at: float = 0.0
    """When the last thing happened to it."""
    reason: str = ""
    answer: str = ""
    next_attempt: float = 0.0
    """Of one that waits for it, frozen or not."""
    doubtful: bool = False
    """It may have been delivered: an attempt ended without an answer."""


class Page(msgspec.Struct, frozen=True):
    messages: list[Found]
    next: Place | None
    """Where to go on; None: everything has been looked through. A page with a next may hold nothing."""


def search(wanted: Search, accounts: Collection[int] | None, after: Place | None, limit: int) -> Page:
    """The next messages of these accounts; None: of all."""
    reader = _Reader(wanted)
    found: list[Found] = []
    place = after
    left = PACKETS_BY_RECIPIENT if wanted.recipient else PACKETS
    for launch in _launches(wanted, accounts, after):
        start = after if after is not None and after.launch == launch.pk else Place(launch.pk, 0, 0)
        numbers = _packets(launch.pk, wanted.scope, start, left + 1)
        for row in Packet.objects.filter(pk__in=numbers[:left]).order_by("pk").iterator(AT_ONCE):
            for index, message in reader.messages(launch, row, start):
                if len(found) == limit:
                    return Page(found, place)
                found.append(message)
                place = Place(launch.pk, row.pk, index + 1)
            place = Place(launch.pk, row.pk + 1, 0)
        if len(numbers) > left:
            return Page(found, place)
        place = Place(launch.pk - 1, 0, 0)
        left -= max(1, len(numbers))  # launches without a fitting packet take their time too
        if left <= 0:
            return Page(found, place)
    return Page(found, None)


def _launches(wanted: Search, accounts: Collection[int] | None, after: Place | None) -> Iterator[Launch]:
    rows = Launch.objects.order_by("-pk")
    if accounts is not None:
        rows = rows.filter(account__in=accounts)
    if wanted.scope.account:
        rows = rows.filter(account=wanted.scope.account)
    if wanted.scope.mailing:
        rows = rows.filter(mailing=wanted.scope.mailing)
    if after is not None:
        rows = rows.filter(pk__lte=after.launch)
    if waits(wanted.state):
        rows = rows.filter(settled=False)
    return rows.iterator(chunk_size=100)


def waits(state: State | None) -> bool:
    """Whether messages in this state have not ended."""
    return state in (State.NEW, State.RETRIES, State.FROZEN, State.DELETED)


def _packets(launch: int, scope: Scope, start: Place, limit: int) -> list[int]:
    """Numbers of published packets that may hold some of the scope, from the index alone."""
    rows = Packet.objects.filter(launch=launch, published=True, pk__gte=start.packet)
    if scope.isp:
        rows = rows.filter(isp__in=(0, scope.isp))  # 0: the MTA may have found the ISP by the MX
    if scope.sender:
        rows = rows.filter(queue__in=queue_books.queues_of(scope.sender))
    return list(rows.order_by("pk").values_list("pk", flat=True)[:limit])


class _Reader:
    """Messages of packets that fit the search, with what says how they stand."""

    def __init__(self, wanted: Search) -> None:
        self._wanted = wanted
        self._recipient = _folded(wanted.recipient)
        self._answer = wanted.answer.casefold()
        self._gates = known_gates(time.time() - queue_books.MEMORY)

    def messages(self, launch: Launch, packet: Packet, start: Place) -> Iterator[tuple[int, Found]]:
        """Those from `start` on, in order, each with its place in the packet."""
        people = [
            (index, person)
            for index, person in enumerate(packets.decode(packet.recipients))
            if (packet.pk, index) >= (start.packet, start.index)
            and self._recipient in person.address.casefold()
        ]
        told = _events(person.id for _, person in people)
        for index, person in people:
            message = self._found(launch, packet, person, told.get(person.id, []))
            if self._fits(message):
                yield index, message

    def _fits(self, message: Found) -> bool:
        wanted = self._wanted
        return (
            wanted.state in (None, message.state)
            and wanted.scope.isp in (0, message.scope.isp)
            and self._answer in message.answer.casefold()
            and (message.doubtful or not wanted.doubtful)
        )

    def _found(self, launch: Launch, packet: Packet, person: PacketRecipient, events: list[Event]) -> Found:
        last = events[-1] if events else None
        isp = next((event.isp for event in reversed(events) if event.isp), packet.isp)
        scope = Scope(launch.account_id, queue_books.sender_of(packet.queue), launch.mailing_id, isp)
        state = self._state(packet.pk, scope, events)
        said = next((event for event in reversed(events) if event.code or event.text), None)
        return Found(
            message=person.id,
            address=person.address,
            state=state,
            scope=scope,
            launch=launch.pk,
            published=packet.created.timestamp(),
            attempts=max((event.attempt for event in events), default=0),
            at=last.time if last else 0.0,
            reason=next((event.reason for event in reversed(events) if event.reason), ""),
            answer=_line(said) if said else "",
            next_attempt=last.next_attempt if last and waits(state) else 0.0,
            doubtful=any(event.kind == EventKind.DOUBT for event in events),
        )

    def _state(self, packet: int, scope: Scope, events: list[Event]) -> State:
        kinds = {event.kind for event in events}
        if EventKind.DELIVERED in kinds:
            return State.DELIVERED
        if EventKind.HARD_BOUNCE in kinds:
            return State.HARD_BOUNCE
        if EventKind.UNDELIVERED in kinds:
            return State.UNDELIVERED
        if self._gates.cleared_by(scope, packet):
            return State.DELETED
        if self._gates.closed(scope):
            return State.FROZEN
        return State.RETRIES if kinds & {EventKind.SOFT_BOUNCE, EventKind.DOUBT} else State.NEW


def _folded(recipient: str) -> str:
    """As messages are addressed, in any case."""
    try:
        return email_address(recipient).address.casefold()
    except InvalidInput:
        return recipient.casefold()


def _events(messages: Iterable[bytes]) -> dict[bytes, list[Event]]:
    """Of each message, the oldest first."""
    told: dict[bytes, list[Event]] = {}
    for event in Event.objects.filter(message__in=list(messages)).order_by("time", "pk"):
        told.setdefault(bytes(event.message), []).append(event)
    return told


def _line(event: Event) -> str:
    parts = (str(event.code or ""), event.enhanced, event.text)
    return " ".join(part for part in parts if part)
