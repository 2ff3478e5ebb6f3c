"""What an e-mail message carries from the launch to the courier.

The launcher renders text; the courier builds MIME. What all messages of a launch share is a
`MailContent` in the packet's header; what differs is a `MailBody`, one frame a message.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import msgspec

from angarium.domain.message import PacketHeader


class Attachment(msgspec.Struct, frozen=True, array_like=True):
    """A file of the mailing. Its bytes travel once a launch, by hash (the database's blobs)."""

    sha256: str
    filename: str
    content_type: str
    size: int
    content_id: str = ""
    """Set for inline pictures, which the HTML names as `cid:<content_id>`."""


class MailContent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What all messages of a launch share."""

    from_address: str
    from_name: str = ""
    reply_to: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers of the mailing or sender, already checked for line breaks."""
    attachments: tuple[Attachment, ...] = ()
    has_html: bool = True
    bounce_domain: str = ""
    """Domain of the envelope sender; empty: the domain of `from_address`."""


def mail_content(header: PacketHeader) -> MailContent:
    """The e-mail content of a packet. Raises `msgspec.MsgspecError` when it is none."""
    return _decoded(bytes(header.content))


@lru_cache(maxsize=1_000)
def _decoded(content: bytes) -> MailContent:
    return msgspec.msgpack.decode(content, type=MailContent)


class MailBody(msgspec.Struct, frozen=True, array_like=True):
    """What differs from recipient to recipient; the content of a frame, msgpack."""

    subject: str
    html: str
    """Empty when the mailing has no HTML."""
    text: str
    to_name: str = ""
    unsubscribe: str = ""
    """One-click unsubscribe URL (RFC 8058), signed; empty: no List-Unsubscribe headers."""
    token: str = ""
    """Signed form of the message id (`domain.token`): left of @ in Message-ID and envelope sender."""


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """An SMTP reply, or a local failure in the same clothes (code 0 is never used; see `stage`)."""

    code: int
    """Three digits. Local failures use 451 (temporary) or 550 (permanent)."""
    enhanced: str
    """RFC 3463 code such as `5.1.1`; empty when the server gave none."""
    text: str
    """The reply's lines joined by spaces, without the codes, at most 1,000 characters."""
    stage: Literal["dns", "connect", "banner", "ehlo", "tls", "mail", "rcpt", "data", "dot", "rset", "local"]
    local: bool = False
    """True when no server said this: DNS, connect, TLS, time-out, closed connection."""
