"""Header fields: encoding (RFC 2047), folding (RFC 5322), and no way to inject one.

Whatever the value, a field is one field: control characters become spaces, no line passes 998
octets, and lines stay within 78 wherever a space allows it.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from typing import Final

from angarium.mta.address import WireAddress

WIDTH: Final = 78
LINE_LIMIT: Final = 998
_NAME: Final = re.compile(r"[!-9;-~]{1,70}")
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f\x80-\x9f\u2028\u2029\ud800-\udfff]+")
_ATOMS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_PIECE: Final = re.compile(r" *[^ ]+")


def is_name(name: str) -> bool:
    """True when `name` can name a header field."""
    return _NAME.fullmatch(name) is not None


def clean(text: str) -> str:
    """Without line breaks and other control characters."""
    if text.isprintable():
        return text
    return _UNSAFE.sub(" ", text).strip()


def unstructured(name: str, value: str) -> bytes:
    """A field of free text, for example Subject."""
    value = clean(value).strip()
    if value.isascii() and "=?" not in value:
        if len(name) + 2 + len(value) <= WIDTH and value:
            return f"{name}: {value}\r\n".encode()
        if max(map(len, value.split(" "))) <= LINE_LIMIT - WIDTH:
            return fold(name, value)
    return f"{name}: {encoded_words(value, len(name) + 2)}\r\n".encode()


def fold(name: str, value: str) -> bytes:
    """An ASCII field, broken before spaces only. Single words are never broken."""
    lines, line = [], f"{name}:"
    for piece in _PIECE.findall(f" {value.strip()}"):
        if len(line) + len(piece) > WIDTH and len(line) > len(name) + 1:
            lines.append(line)
            line = piece
        else:
            line += piece
    return "\r\n".join((*lines, line, "")).encode()


def encoded_words(text: str, offset: int) -> str:
    """RFC 2047 words in UTF-8 and base64, folded; `offset` octets already stand on the first line."""
    data = text.encode("utf-8", "replace")
    words, start, room = [], 0, max(3, (WIDTH - 2 - offset - 12) // 4 * 3)
    while start < len(data):
        end = start + room
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        words.append(f"=?utf-8?b?{b2a_base64(data[start:end], newline=False).decode()}?=")
        start, room = end, 45
    return "\r\n ".join(words)


def mailbox(name: str, display: str, address: WireAddress) -> bytes:
    """A field with one mailbox, for example From."""
    display = clean(display).strip()
    if not display:
        return f"{name}: {address.text}\r\n".encode()
    phrase = _phrase(display, len(name) + 2)
    last = len(phrase) - phrase.rfind("\n") - 1 if "\n" in phrase else len(name) + 2 + len(phrase)
    gap = " " if last + len(address.text) + 3 <= WIDTH else "\r\n "
    return f"{name}: {phrase}{gap}<{address.text}>\r\n".encode()


def _phrase(display: str, offset: int) -> str:
    if not display.isascii() or "=?" in display or offset + len(display) > WIDTH - 8:
        return encoded_words(display, offset)
    if _ATOMS.fullmatch(display):
        return display
    escaped = display.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
