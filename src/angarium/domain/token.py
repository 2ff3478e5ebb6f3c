"""Signed message ids: what stands in Message-ID, envelope sender and links.

A token is 56 characters of lower-case base32 (RFC 4648, no padding needed), so that it may be the
whole of a local part (64 octets at most) and survives systems that change case:

    message id (16) · purpose (1) · key number (1) · expiry in hours (3) · MAC (14)

The MAC is keyed BLAKE2b (RFC 7693), 112 bits, over all that stands before it.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b32decode
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

import msgspec

LENGTH: Final = 56
_BODY: Final = 21
_MAC: Final = 14
_HOUR: Final = 3600
_DIGITS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS: Final = tuple(high + low for high in _DIGITS for low in _DIGITS)

_SHIFTS: Final = range((_BODY + _MAC) * 8 - 10, -1, -10)


class Purpose(IntEnum):
    """What a token may be used for; one made for one thing is worth nothing for another."""

    MESSAGE = 1
    """Message-ID and envelope sender: a bounce or a complaint names its message."""
    UNSUBSCRIBE = 2
    CLICK = 3
    OPEN = 4


class Claim(msgspec.Struct, frozen=True):
    """What a genuine token says."""

    message: bytes
    """16 bytes, `domain.message.message_id`."""
    purpose: Purpose
    expires: float
    """Wall clock, seconds."""


def sign(message: bytes, purpose: Purpose, key: bytes, key_number: int, expires: float) -> str:
    """The token. `key` has 16 to 64 bytes, `key_number` is 0 to 255; `expires` is rounded up to the hour."""
    hours = -int(-expires // _HOUR)
    body = message + bytes((purpose, key_number)) + hours.to_bytes(3, "big")
    return _base32(body + _mac(body, key))


def verify(token: str, keys: Mapping[int, bytes], now: float) -> Claim | None:
    """The claim, or None for what is not ours, was changed, or is over. Case does not matter."""
    data = _bytes(token)
    if data is None:
        return None
    body, mac = data[:_BODY], data[_BODY:]
    key = keys.get(body[17])
    if key is None or not hmac.compare_digest(_mac(body, key), mac):
        return None
    claim = Claim(body[:16], Purpose(body[16]), int.from_bytes(body[18:], "big") * float(_HOUR))
    return claim if now < claim.expires else None


def _mac(body: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(body, key=key, digest_size=_MAC).digest()


def _base32(data: bytes) -> str:
    # One number, ten bits at a time: faster than base64.b32encode.
    number, pairs = int.from_bytes(data, "big"), _PAIRS
    return "".join([pairs[(number >> shift) & 1023] for shift in _SHIFTS])


def _bytes(token: str) -> bytes | None:
    if len(token) != LENGTH or not token.isascii():
        return None
    try:
        return b32decode(token.upper())
    except ValueError:
        return None
