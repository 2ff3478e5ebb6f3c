"""Mailings that share an ISP and an address share its grants; the priority queue overtakes."""

from __future__ import annotations

import pytest

from angarium.domain.permits import Window
from angarium.engine.message import LaneKey, Message, SpooledPacket
from angarium.mta.destinations import Destination

BULK, SMALL = 100_000, 100
PACKET: SpooledPacket = SpooledPacket(1, None, 0)  # type: ignore[arg-type]


def message(seq: int, lane: int) -> Message:
    return Message(seq, lane, 0.0, PACKET, 0, 0, 0, 0, (), b"", "", "", 0, 0)


def filled(*, urgent: bool) -> Destination:
    """A bulk mailing, and a small one that came after it."""
    destination = Destination("mx", ())
    for seq in range(BULK):
        destination.add(message(seq, 1), LaneKey(1, 1, 1, 1))
    for seq in range(BULK, BULK + SMALL):
        destination.add(message(seq, 2), LaneKey(1, 1, 2, 1, priority=urgent))
    return destination


def granted_until_the_small_one_is_through(destination: Destination) -> tuple[int, float]:
    """Grants and seconds at a strategy of 60 messages a minute, with a clock of our own."""
    window, now, grants, left = Window(60, 60.0), 0.0, 0, SMALL
    while left:
        if not window.available(now):
            now = window.next_free(now) or now
            continue
        chosen = destination.next("192.0.2.1", {"192.0.2.1"})
        assert chosen is not None
        window.begin()
        window.end(now)
        grants += 1
        left -= chosen.lane == 2
    return grants, now


@pytest.mark.parametrize(("urgent", "grants"), [(False, 2 * SMALL), (True, SMALL)])
def test_a_small_mailing_behind_a_bulk_one_gets_its_half_and_an_urgent_one_all(
    urgent: bool, grants: int
) -> None:
    needed, seconds = granted_until_the_small_one_is_through(filled(urgent=urgent))
    assert needed == grants
    assert seconds <= 60.0 * 1.02 * (grants // 60)
