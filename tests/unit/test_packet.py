from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angarium.domain.message import (
    ID_LENGTH,
    Attempted,
    FrameReader,
    PacketHeader,
    Recipient,
    launch_of,
    message_id,
    pack,
    unpack,
)
from angarium.errors import CorruptPacket

MAXIMUM = 2**63 - 1
NAMES = st.text(max_size=20)


def header(recipients: int, **changes: object) -> PacketHeader:
    plain = PacketHeader(
        number=7,
        queue="akmta_3",
        account=1,
        mailing=2,
        launch=5,
        sender=3,
        channel="email",
        isp=4,
        published=1_000.5,
        expires=87_400.5,
        recipients=tuple(
            Recipient(message_id(5, "email", number), f"u{number}@example.org", "example.org", number, number)
            for number in range(recipients)
        ),
    )
    return msgspec.structs.replace(plain, **changes)


def messages_of(wire: bytes) -> list[bytes]:
    packet = unpack(wire)
    if not packet.header.recipients:
        return []
    reader = FrameReader(packet.frame(0))
    return [reader.read(index, packet.frame(index)) for index in range(len(packet.header.recipients))]


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=2_000), max_size=8))
def test_messages_come_out_of_a_packet_as_they_went_in(messages: list[bytes]) -> None:
    assert messages_of(pack(header(len(messages)), messages)) == messages


@settings(max_examples=50)
@given(
    st.builds(
        PacketHeader,
        number=st.integers(0, MAXIMUM),
        queue=NAMES,
        account=st.integers(0, MAXIMUM),
        mailing=st.integers(0, MAXIMUM),
        launch=st.integers(0, MAXIMUM),
        sender=st.integers(0, MAXIMUM),
        channel=NAMES,
        isp=st.integers(0, MAXIMUM),
        published=st.floats(0, 1e10),
        expires=st.floats(0, 1e10),
        recipients=st.just(()),
        not_after=st.none() | st.floats(0, 1e10),
        repeat=st.booleans(),
        move=NAMES,
        attempts=st.lists(
            st.builds(
                Attempted,
                count=st.integers(0, 100),
                due=st.floats(0, 1e10),
                addresses=st.lists(st.ip_addresses(v=4).map(str), max_size=3).map(tuple),
            )
        ).map(tuple),
    )
)
def test_a_header_comes_out_as_it_went_in(written: PacketHeader) -> None:
    assert unpack(pack(written, [])).header == written


def test_each_message_is_read_without_the_others() -> None:
    messages = [f"Dear {number}, ".encode() + b"the same for everybody " * 400 for number in range(50)]
    packet = unpack(pack(header(50), messages))
    reader = FrameReader(packet.frame(0))
    assert reader.read(37, packet.frame(37)) == messages[37]
    assert reader.first == messages[0]


def test_messages_that_are_alike_cost_little() -> None:
    shared = bytes(range(256)) * 40
    wire = pack(header(100), [shared + f"{number}".encode() for number in range(100)])
    assert len(wire) < len(shared) * 3


def test_a_packet_needs_as_many_messages_as_recipients() -> None:
    with pytest.raises(ValueError, match="shorter"):
        pack(header(3), [b"one", b"two"])


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_bytes_that_are_no_packet_are_corrupt(noise: bytes) -> None:
    for wire in (noise, b"ANG1" + noise):
        with pytest.raises(CorruptPacket):
            unpack(wire)


@settings(max_examples=200)
@given(st.data())
def test_a_packet_cut_short_anywhere_is_corrupt(data: st.DataObject) -> None:
    wire = pack(header(3), [b"first message", b"second message", b"third message"])
    with pytest.raises(CorruptPacket):
        unpack(wire[: data.draw(st.integers(0, len(wire) - 1))])


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_octet_is_either_harmless_to_the_form_or_corrupt(data: st.DataObject) -> None:
    """Damage never raises anything but `CorruptPacket`."""
    wire = bytearray(pack(header(3), [b"a" * 50, b"b" * 50, b"c" * 50]))
    place = data.draw(st.integers(0, len(wire) - 1))
    wire[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(CorruptPacket):
        messages_of(bytes(wire))


@given(st.integers(0, 2**64 - 1), st.integers(0, MAXIMUM))
def test_a_message_id_begins_with_its_launch(launch: int, subscription: int) -> None:
    message = message_id(launch, "email", subscription)
    assert len(message) == ID_LENGTH
    assert launch_of(message) == launch


def test_a_message_id_is_the_same_again_and_differs_for_everything_else() -> None:
    variants = [
        message_id(1, "email", 2),
        message_id(2, "email", 2),
        message_id(1, "sms", 2),
        message_id(1, "email", 3),
        message_id(1, "email", 2, "birthday"),
        message_id(1, "email", 22),
        message_id(1, "email", 2, "2"),
    ]
    assert len(set(variants)) == len(variants)
    assert message_id(1, "email", 2, "birthday") == variants[4]


@pytest.mark.parametrize(
    ("changes", "key"),
    [({}, "p7"), ({"repeat": True}, "p7"), ({"move": "3-12"}, "m3-12")],
)
def test_tombstones_know_a_packet_by_its_number_and_a_move_by_its_name(
    changes: dict[str, object], key: str
) -> None:
    assert header(0, **changes).key == key


def test_a_frame_that_claims_to_hold_a_terabyte_is_corrupt() -> None:
    frame = b"(\xb5/\xfd\xf02=\x00\x00\x08c\x01\x00F@\x08"
    with pytest.raises(CorruptPacket, match="more than a message may"):
        FrameReader(frame)
