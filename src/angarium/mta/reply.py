"""Reading SMTP replies (RFC 5321 section 4.2) from a stream that may hold anything.

Memory is bounded whatever the server sends: of a line 2,000 octets are kept, of a reply 64 KB.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from angarium.domain.email import Reply

LINE_LIMIT: Final = 2_000
"""Octets kept of a line; the rest is dropped, the line still counts."""
REPLY_LIMIT: Final = 65_536
"""Octets of one reply; more is a protocol error."""
LINE_PATIENCE: Final = 262_144
"""Octets of one line without an end; more is a protocol error."""
TEXT_LIMIT: Final = 1_000

Stage = Literal["dns", "connect", "banner", "ehlo", "tls", "mail", "rcpt", "data", "dot", "rset", "local"]

_SINGLE: Final = {b"%d " % code: code for code in range(200, 600)}
_ENHANCED: Final = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})(?=[\s:,;)]|$)")


class ProtocolError(Exception):
    """What came is not SMTP; the connection cannot be trusted any longer."""


class RawReply(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One whole reply, not yet decoded: most replies of a good day are only looked at for their code."""

    code: int
    lines: tuple[bytes, ...]
    """What follows the code in each line."""

    def reply(self, stage: Stage) -> Reply:
        """Decoded for reports."""
        texts = [line.decode("utf-8", "replace") for line in self.lines]
        first = _ENHANCED.match(texts[0])
        enhanced = first.group(1) if first and first.group(1)[0] == str(self.code)[0] else ""
        if enhanced:
            texts = [text.strip().removeprefix(enhanced) for text in texts]
        text = " ".join(filter(None, map(str.strip, texts)))
        return Reply(self.code, enhanced, _printable(text[:TEXT_LIMIT]), stage)


def local_reply(code: int, enhanced: str, text: str, stage: Stage) -> Reply:
    """A failure of ours or of the way there, in a reply's clothes."""
    return Reply(code, enhanced, text[:TEXT_LIMIT], stage, local=True)


class ReplyParser:
    """Cuts a byte stream into replies, however it was chunked."""

    __slots__ = ("_code", "_dropped", "_lines", "_partial", "_size", "error")

    def __init__(self) -> None:
        self._partial = b""
        self._dropped = 0
        self._code = b""
        self._lines: list[bytes] = []
        self._size = 0
        self.error: ProtocolError | None = None
        """Set once something came that cannot be a reply: there is nothing to read behind it."""

    @property
    def pending(self) -> bool:
        """True when something has come that is not a whole reply yet."""
        return bool(self._partial or self._lines)

    def feed(self, data: bytes) -> list[RawReply]:
        """The replies that are whole now, up to what cannot be a reply (`error`)."""
        replies: list[RawReply] = []
        if self.error is None:
            try:
                self._feed(data, replies)
            except ProtocolError as error:
                self.error = error
        return replies

    def _feed(self, data: bytes, replies: list[RawReply]) -> None:
        lines = (self._partial + data).split(b"\n") if self._partial else data.split(b"\n")
        rest = lines.pop()
        for line in lines:
            self._dropped = 0
            self._line(line, replies)
        self._keep_partial(rest)

    def _keep_partial(self, rest: bytes) -> None:
        if len(rest) > LINE_LIMIT:
            self._dropped += len(rest) - LINE_LIMIT
            rest = rest[:LINE_LIMIT]
            if self._dropped > LINE_PATIENCE:
                raise ProtocolError("a reply line has no end")
        self._partial = rest

    def _line(self, line: bytes, replies: list[RawReply]) -> None:
        line = line[:LINE_LIMIT].rstrip(b"\r")
        if not self._lines and (number := _SINGLE.get(line[:4])):
            replies.append(RawReply(number, (line[4:],)))
            return
        code = line[:3]
        mark = line[3:4]
        if not _is_code(code) or mark not in (b" ", b"-", b"") or (self._lines and code != self._code):
            raise ProtocolError(f"not an SMTP reply: {_printable(line[:80].decode('ascii', 'replace'))}")
        self._code = code
        self._lines.append(line[4:])
        self._size += len(line)
        if mark != b"-":
            replies.append(RawReply(int(code), tuple(self._lines)))
            self._lines.clear()
            self._size = 0
        elif self._size > REPLY_LIMIT:
            raise ProtocolError("a reply has no end")


def _is_code(code: bytes) -> bool:
    return len(code) == 3 and code.isdigit() and b"200" <= code <= b"599"


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in text)
