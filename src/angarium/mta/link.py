"""What the engine and its couriers say to each other.

A courier is a process of its own, on a socket pair its engine made; each side writes frames of
(length, 4 bytes big endian) and msgpack of a *list* of messages, so that a busy moment costs one frame.
The engine decides everything – which connection, which message, when; a courier carries it out:
it opens connections, builds and signs MIME, speaks SMTP, reads replies by the bounce patterns.

Guarantees: a courier sends nothing it was not told to send; it writes the slot (`mta.slots`) before
the final dot and again when the reply is read; it ends by itself soon after its engine is gone.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from angarium.domain.email import Reply
from angarium.domain.outcome import BounceType
from angarium.domain.sending import SendingSettings, TlsPolicy


class Host(msgspec.Struct, frozen=True, array_like=True):
    """One address to connect to."""

    name: str
    """Host name as the MX record has it, for TLS names and reports."""
    ip: str
    port: int = 25


# ── engine → courier ────────────────────────────────────────────────────────────────────────────


class Configure(msgspec.Struct, frozen=True, tag="configure", array_like=True):
    """New settings; they hold for what begins from now on."""

    settings: SendingSettings


class Content(msgspec.Struct, frozen=True, tag="content", array_like=True):
    """What the messages of a packet share. Comes before the first `Send` of the packet."""

    packet: int
    """The engine's own number of the packet."""
    sender: int
    content: msgspec.Raw
    """`domain.email.MailContent`, msgpack."""
    first_frame: bytes
    blobs: dict[str, bytes]
    """Attachments by sha256 that this courier has not had yet."""


class Forget(msgspec.Struct, frozen=True, tag="forget", array_like=True):
    """Packets that will not be named again."""

    packets: tuple[int, ...]


class Open(msgspec.Struct, frozen=True, tag="open", array_like=True):
    """Open a connection: try the hosts in this order, stop at the first that greets."""

    connection: int
    sender: int
    source: str
    """Local IP address to bind; empty: the kernel's choice."""
    helo: str
    hosts: tuple[Host, ...]
    tls: TlsPolicy
    username: str = ""
    password: str = ""
    max_messages: int = 100
    """After so many transactions the courier says QUIT by itself."""


class Send(msgspec.Struct, frozen=True, tag="send", array_like=True):
    """Carry one message over a connection, after those it already has."""

    connection: int
    seq: int
    """The engine's number of the message."""
    grant: int
    """The engine's number of this handing-over."""
    packet: int
    index: int
    """Place in the packet."""
    frame: bytes
    message: bytes
    """16 bytes."""
    address: str
    isp: int
    attempt: int


class Close(msgspec.Struct, frozen=True, tag="close", array_like=True):
    """QUIT after what the connection still has."""

    connection: int


class Recall(msgspec.Struct, frozen=True, tag="recall", array_like=True):
    """Give back these messages if their transaction has not begun (`Returned`)."""

    seqs: tuple[int, ...]


class Settled(msgspec.Struct, frozen=True, tag="settled", array_like=True):
    """The outcomes in these slots are committed: the slots are free."""

    slots: tuple[int, ...]


class Drain(msgspec.Struct, frozen=True, tag="drain", array_like=True):
    """Finish what has begun, return the rest, close every connection, end."""


ToCourier = Configure | Content | Forget | Open | Send | Close | Recall | Settled | Drain

# ── courier → engine ────────────────────────────────────────────────────────────────────────────


class Ready(msgspec.Struct, frozen=True, tag="ready", array_like=True):
    """The courier runs."""

    pid: int


class Opened(msgspec.Struct, frozen=True, tag="opened", array_like=True):
    """A server greeted and took our EHLO (and STARTTLS, authentication)."""

    connection: int
    host: Host
    tls: str
    """For example `TLSv1.3`; empty: plain."""


class OpenFailed(msgspec.Struct, frozen=True, tag="open_failed", array_like=True):
    """No host could be used; messages given to the connection come back as `Returned`."""

    connection: int
    reply: Reply
    host: str
    verdict: Verdict


class Begun(msgspec.Struct, frozen=True, tag="begun", array_like=True):
    """MAIL FROM of these is on its way."""

    seqs: tuple[int, ...]


class Verdict(msgspec.Struct, frozen=True, array_like=True):
    """How the bounce patterns read a reply."""

    type: BounceType | None
    """None: delivered."""
    category: str = ""
    pattern: int = 0
    """BouncePattern id; 0: none matched, the code decided."""
    pattern_name: str = ""


class Done(msgspec.Struct, frozen=True, tag="done", array_like=True):
    """A transaction has ended."""

    connection: int
    seq: int
    grant: int
    outcome: Literal["replied", "doubtful", "unsendable"]
    """Doubtful: the final dot went out, no answer is known. Unsendable: cannot be sent as it is
    (for example SMTPUTF8 needed and not offered), nothing was sent."""
    reply: Reply
    verdict: Verdict
    host: str
    tls: str
    slot: int
    """−1: none was taken, since the dot was not reached."""


class Returned(msgspec.Struct, frozen=True, tag="returned", array_like=True):
    """Never begun: the connection is going, or they were recalled. No attempt is counted."""

    connection: int
    seqs: tuple[int, ...]
    recalled: bool = False
    """The engine asked for them; the connection stands."""


class Closed(msgspec.Struct, frozen=True, tag="closed", array_like=True):
    """The connection is gone on both sides (or its peer did not answer our FIN in time)."""

    connection: int
    reply: Reply | None = None
    """What the server said when it was it who ended the connection, for example 421."""


ToEngine = Ready | Opened | OpenFailed | Begun | Done | Returned | Closed

_encoder = msgspec.msgpack.Encoder()
_to_courier = msgspec.msgpack.Decoder(list[ToCourier])
_to_engine = msgspec.msgpack.Decoder(list[ToEngine])


def encode(messages: list[ToCourier] | list[ToEngine]) -> bytes:
    """One frame, length included."""
    body = _encoder.encode(messages)
    return len(body).to_bytes(4, "big") + body


def decode_for_courier(body: bytes) -> list[ToCourier]:
    """The messages of a frame's body."""
    return _to_courier.decode(body)


def decode_for_engine(body: bytes) -> list[ToEngine]:
    """The messages of a frame's body."""
    return _to_engine.decode(body)
