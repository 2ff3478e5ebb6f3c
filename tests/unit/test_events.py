from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from angarium.errors import CorruptPacket
from angarium.events import FINAL, RANK, Event, EventBatch, EventKind, decode, encode, slot

EVENT = Event(EventKind.SEND, 12.5, 1, 2, 3, b"0123456789abcdef", "email", 4, 5, 6, "u@example.org")

events = st.builds(
    Event,
    kind=st.sampled_from(EventKind),
    time=st.floats(0, 1e10),
    account=st.integers(0, 2**63 - 1),
    mailing=st.integers(0, 2**63 - 1),
    launch=st.integers(0, 2**63 - 1),
    message=st.binary(min_size=16, max_size=16),
    channel=st.text(),
    profile=st.integers(0, 2**63 - 1),
    subscription=st.integers(0, 2**63 - 1),
    sender=st.integers(0, 2**63 - 1),
    address=st.text(),
    attempt=st.integers(0, 100),
    text=st.text(max_size=500),
    next_attempt=st.floats(0, 1e10),
)


def event(**changes: object) -> Event:
    return msgspec.structs.replace(EVENT, **changes)


@settings(max_examples=50)
@given(st.text(), st.lists(events, max_size=5))
def test_a_batch_comes_out_as_it_went_in(name: str, written: list[Event]) -> None:
    batch = EventBatch(name, tuple(written))
    assert decode(encode(batch)) == (batch,)


@settings(max_examples=300)
@given(st.binary(max_size=200))
@example(b"\x92\xa1\xff\x90")
@example(b"\x90")
def test_whatever_bytes_come_they_are_batches_or_corrupt(noise: bytes) -> None:
    try:
        batches = decode(noise)
    except CorruptPacket:
        return
    assert decode(encode(*batches)) == batches


@given(st.data())
def test_a_batch_cut_short_anywhere_is_corrupt(data: st.DataObject) -> None:
    wire = encode(EventBatch("node:1:a:1", (EVENT, event(kind=EventKind.DELIVERED))))
    with pytest.raises(CorruptPacket):
        decode(wire[: data.draw(st.integers(0, len(wire) - 1))])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kind": EventKind.SEND}, "send"),
        ({"kind": EventKind.SEND, "attempt": 2}, "send"),
        ({"kind": EventKind.DELIVERED}, "end"),
        ({"kind": EventKind.DELIVERED, "attempt": 3, "key": "provider-1"}, "end"),
        ({"kind": EventKind.UNDELIVERED}, "end"),
        ({"kind": EventKind.SOFT_BOUNCE, "attempt": 1}, "sbounce:1"),
        ({"kind": EventKind.SOFT_BOUNCE, "attempt": 2}, "sbounce:2"),
        ({"kind": EventKind.DOUBT, "attempt": 2}, "doubt:2"),
        ({"kind": EventKind.HARD_BOUNCE, "attempt": 2}, "hbounce"),
        ({"kind": EventKind.CLICK, "key": "k1"}, "click:k1"),
        ({"kind": EventKind.OPEN}, "open"),
    ],
)
def test_a_slot_makes_repeats_of_an_event_one(changes: dict[str, object], expected: str) -> None:
    assert slot(event(**changes)) == expected


def test_delivered_outranks_undelivered_whichever_came_first() -> None:
    assert set(RANK) == FINAL
    assert RANK[EventKind.DELIVERED] > RANK[EventKind.UNDELIVERED]


def test_events_keep_the_names_that_reports_and_hooks_use() -> None:
    names = {"send", "deliv", "undeliv", "sbounce", "hbounce", "suppress"}
    assert {str(kind) for kind in EventKind} >= names | {"complain", "open", "click", "unsub", "reply"}
