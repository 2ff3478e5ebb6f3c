"""Messages, their ids, and the packet they travel in.

A packet is the unit that travels through the broker: up to 200 messages of one launch for one
queue and, above a handful, one ISP. Its header can be read alone; each message is a zstd frame of
its own, so that one message is read without the others. The first message is the dictionary of
the rest: messages of a launch are alike, and a frame of its own costs little then.

Wire form: ``ANG1`` · header length (4 bytes, big endian) · header (msgpack) · frames, one after another.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Final

import msgspec
import zstandard

from angarium.errors import CorruptPacket

MAGIC: Final = b"ANG1"
MESSAGES_PER_PACKET: Final = 200
PACKET_BYTES: Final = 4_000_000
COMPRESSION: Final = zstandard.ZstdCompressionParameters(
    strategy=zstandard.STRATEGY_FAST, window_log=22, hash_log=14, chain_log=14, search_log=1, min_match=7,
    target_length=0, write_content_size=True,
)  # fmt: skip
"""Long matches only: messages of a launch are alike. Smaller and faster than level 1."""
MESSAGE_OCTETS: Final = 64_000_000
"""What a frame may hold: a damaged one must not ask for all memory."""
ID_LENGTH: Final = 16


def message_id(launch: int, channel: str, subscription: int, trigger: str = "") -> bytes:
    """16 bytes: the launch's number (8, big endian), then a hash of what makes the message one.

    The same launch step repeated gives the same id, which is what makes repeats harmless.
    """
    key = f"{channel}\0{subscription}\0{trigger}".encode()
    return struct.pack(">Q", launch) + hashlib.blake2b(key, digest_size=8).digest()


def launch_of(message: bytes) -> int:
    """The launch number a message id begins with."""
    return int(struct.unpack(">Q", message[:8])[0])


class Recipient(msgspec.Struct, frozen=True, array_like=True):
    """One message's addressee, as the header lists them."""

    id: bytes
    address: str
    """E-mail address, phone, token or chat id."""
    domain: str
    """Lower-case A-label domain of an e-mail address; empty for other channels."""
    profile: int
    subscription: int
    size: int = 0
    """Octets of the message's frame in the packet; set by `pack`."""


class PacketHeader(msgspec.Struct, frozen=True, omit_defaults=True):
    """What all messages of a packet share."""

    number: int
    """The packet row's number, unique over the installation."""
    queue: str
    account: int
    mailing: int
    launch: int
    sender: int
    channel: str
    isp: int
    """ISP row id; 0 for domains no ISP lists."""
    published: float
    """Wall clock, seconds: a message's life counts from here."""
    expires: float
    """Wall clock, seconds: the end of the messages' life."""
    recipients: tuple[Recipient, ...]
    content: msgspec.Raw = msgspec.Raw(b"\x80")
    """msgpack of the channel's launch-wide content, for e-mail `domain.email.MailContent`."""
    not_after: float | None = None
    """Wall clock, seconds: an explicit end that no freeze stretches."""
    repeat: bool = False
    """Published again by a resumed launch: a copy may already be somewhere."""
    move: str = ""
    """`<node>-<number>` when a node moves the messages to another; then `attempts` is set."""
    attempts: tuple[Attempted, ...] = ()
    """For moved messages, aligned with `recipients`."""

    @property
    def key(self) -> str:
        """The name tombstones know the packet by."""
        return f"m{self.move}" if self.move else f"p{self.number}"


class Attempted(msgspec.Struct, frozen=True, array_like=True):
    """What has happened to a message before it moved."""

    count: int
    due: float
    """Wall clock, seconds."""
    addresses: tuple[str, ...] = ()
    """Source IP addresses tried, the latest last."""
    source: str = ""
    """The address the next attempt must leave from; empty: any."""


_encoder = msgspec.msgpack.Encoder()
_header_decoder = msgspec.msgpack.Decoder(PacketHeader)


class Packet(msgspec.Struct, frozen=True):
    """A header and the bytes of its frames, as received."""

    header: PacketHeader
    frames: bytes

    def frame(self, index: int) -> bytes:
        """The compressed frame of one message."""
        start = sum(recipient.size for recipient in self.header.recipients[:index])
        return self.frames[start : start + self.header.recipients[index].size]


def pack(header: PacketHeader, messages: Sequence[bytes]) -> bytes:
    """The packet's wire form. `messages` are aligned with the header's recipients."""
    frames = compress(messages)
    recipients = tuple(
        msgspec.structs.replace(recipient, size=len(frame))
        for recipient, frame in zip(header.recipients, frames, strict=True)
    )
    head = _encoder.encode(msgspec.structs.replace(header, recipients=recipients))
    return b"".join((MAGIC, struct.pack(">I", len(head)), head, *frames))


def unpack(wire: bytes) -> Packet:
    """Reads a packet. Raises `CorruptPacket` when the bytes are not one, or not a whole one."""
    if wire[:4] != MAGIC or len(wire) < 8:
        raise CorruptPacket("not a packet: it does not begin with ANG1")
    end = 8 + struct.unpack(">I", wire[4:8])[0]
    try:
        header = _header_decoder.decode(wire[8:end])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptPacket(f"the packet's header cannot be read: {error}") from error
    if sum(recipient.size for recipient in header.recipients) != len(wire) - end:
        raise CorruptPacket("the packet is cut short")
    return Packet(header, wire[end:])


def compress(messages: Sequence[bytes]) -> list[bytes]:
    """One frame a message; the first, uncompressed, is the dictionary of the others."""
    if not messages:
        return []
    first = zstandard.ZstdCompressor(level=1).compress(messages[0])
    if len(messages) == 1:
        return [first]
    rest = zstandard.ZstdCompressor(compression_params=COMPRESSION, dict_data=dictionary(messages[0]))
    return [first, *(rest.compress(message) for message in messages[1:])]


def dictionary(first_message: bytes) -> zstandard.ZstdCompressionDict:
    """The shared dictionary: the first message as it was before compression."""
    shared = zstandard.ZstdCompressionDict(first_message, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    shared.precompute_compress(compression_params=COMPRESSION)
    return shared


class FrameReader:
    """Reads single messages of one packet. Raises `CorruptPacket` for a damaged frame."""

    def __init__(self, first_frame: bytes) -> None:
        self.first = _decompress(zstandard.ZstdDecompressor(), first_frame)
        self._others = zstandard.ZstdDecompressor(
            dict_data=zstandard.ZstdCompressionDict(self.first, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        )

    def read(self, index: int, frame: bytes) -> bytes:
        """The message at `index` of the packet."""
        return self.first if index == 0 else _decompress(self._others, frame)


def _decompress(decompressor: zstandard.ZstdDecompressor, frame: bytes) -> bytes:
    try:
        if zstandard.frame_content_size(frame) > MESSAGE_OCTETS:
            raise CorruptPacket("a message's frame says that it holds more than a message may")
        return decompressor.decompress(frame, max_output_size=MESSAGE_OCTETS)
    except zstandard.ZstdError as error:
        raise CorruptPacket(f"a message's frame is damaged: {error}") from error
