"""Signed links to the listener: what a link is about travels in it, so that the listener needs no database.

Form: base64url of key number (1 octet) · expiry (4, seconds since 1970) · sender, account, mailing, profile,
subscription (8 each) · message id (16) · MAC. The MAC is keyed BLAKE2b (RFC 7693), 128 bits, under a key
derived for this purpose alone.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Mapping
from typing import Final

import msgspec

from angarium.domain.message import launch_of

UNSUBSCRIBE_LIFE: Final = 2 * 365 * 86_400.0
"""Seconds an unsubscribe link works: people unsubscribe from old mail."""
_FIELDS: Final = struct.Struct(">BIqqqqq16s")
_MAC: Final = 16
LENGTH: Final = (_FIELDS.size + _MAC + 2) // 3 * 4


class LinkClaim(msgspec.Struct, frozen=True):
    """The message a link was in."""

    sender: int
    account: int
    mailing: int
    profile: int
    subscription: int
    message: bytes

    @property
    def launch(self) -> int:
        return launch_of(self.message)


def derived_key(secret: bytes, purpose: str) -> bytes:
    """The key for one purpose, such as `unsubscribe`, out of the installation's secret."""
    return hmac.digest(secret, f"angarium {purpose}".encode(), hashlib.sha256)


def sign_link(claim: LinkClaim, key: bytes, expires: float, key_number: int = 0) -> str:
    fields = _FIELDS.pack(
        key_number, int(expires), claim.sender, claim.account, claim.mailing, claim.profile,
        claim.subscription, claim.message,
    )  # fmt: skip
    return base64.urlsafe_b64encode(fields + _mac(fields, key)).decode().rstrip("=")


def verify_link(token: str, keys: Mapping[int, bytes], now: float) -> LinkClaim | None:
    """The claim; None for a token that is forged, damaged, expired or of an unknown key."""
    raw = _decoded(token)
    if len(raw) != _FIELDS.size + _MAC:
        return None
    fields, mac = raw[:-_MAC], raw[-_MAC:]
    number, expires, *ids = _FIELDS.unpack(fields)
    key = keys.get(number)
    if key is None or not hmac.compare_digest(_mac(fields, key), mac):
        return None
    return LinkClaim(*ids) if now <= expires else None


def _mac(fields: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(fields, key=key, digest_size=_MAC).digest()


def _decoded(token: str) -> bytes:
    if len(token) > LENGTH:
        return b""
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
