"""Content transfer encodings (RFC 2045 section 6): from text to lines that survive any server."""

from __future__ import annotations

import re
from binascii import b2a_base64, b2a_qp
from typing import Final

from angarium.domain.sending import Encoding
from angarium.mta.header import LINE_LIMIT

_DOT: Final = re.compile(rb"\n\.")
_FROM_ANYWHERE: Final = re.compile(rb"From ")
_FROM: Final = re.compile(rb"^From ", re.MULTILINE)
_ASCII: Final = bytes(range(128))


def encode(text: str, encoding: Encoding, eight_bit: bool, boundary: bytes) -> tuple[bytes, bytes]:
    """The transfer encoding's name and the body, CRLF lines, not dot-stuffed.

    `eight_bit` says whether the server offers 8BITMIME; `boundary` is what must not occur in it.
    """
    data = canonical(text)
    if encoding == "base64":
        return b"base64", base64(data)
    if encoding == "quoted-printable":
        return b"quoted-printable", quoted_printable(data)
    plain = boundary not in data and not _needs_encoding(data)
    if plain and text.isascii():
        return b"7bit", data
    if plain and eight_bit and encoding == "8bit":
        return b"8bit", data
    high = len(data.translate(None, _ASCII))
    if encoding == "auto" and 6 * high > len(data):
        return b"base64", base64(data)
    return b"quoted-printable", quoted_printable(data)


def canonical(text: str) -> bytes:
    """UTF-8 with CRLF line ends, whichever the text had."""
    data = text.encode("utf-8", "replace")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data.replace(b"\n", b"\r\n")


def quoted_printable(data: bytes) -> bytes:
    """Lines of at most 76 octets; `data` has CRLF line ends."""
    # b2a_qp writes soft breaks in the style of the first line end it sees; without one it uses bare LF.
    encoded = b2a_qp(data) if b"\n" in data else b2a_qp(data + b"\r\n")[:-2]
    if b"From " in encoded:
        encoded = _FROM.sub(b"=46rom ", encoded)
    return encoded


def base64(data: bytes) -> bytes:
    """Lines of 76 octets."""
    encoded = b2a_base64(data, newline=False)
    return b"\r\n".join([encoded[start : start + 76] for start in range(0, len(encoded), 76)])


def stuff(data: bytes) -> bytes:
    """Doubles dots at line starts (RFC 5321 section 4.5.2)."""
    if _DOT.search(data) is not None:  # three times as fast as `in` for two octets
        data = data.replace(b"\n.", b"\n..")
    return b"." + data if data.startswith(b".") else data


def _needs_encoding(data: bytes) -> bool:
    # Some servers write mail to mbox files, where a line of text that begins with "From " is changed.
    begins_with_from = _FROM_ANYWHERE.search(data) is not None and _FROM.search(data) is not None
    return begins_with_from or b"\0" in data or _has_long_line(data)


def _has_long_line(data: bytes) -> bool:
    # Jumps from the last line end within reach to the next: a dozen searches for 10 KB.
    start = 0
    while len(data) - start > LINE_LIMIT:
        end = data.rfind(b"\n", start, start + LINE_LIMIT + 2)
        if end < 0:
            return True
        start = end + 1
    return False
