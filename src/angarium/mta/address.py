"""E-mail addresses as they go over the wire (RFC 5321, 6531; domains as A-labels, RFC 5891)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import idna
import msgspec

from angarium.domain.email import MailBody, MailContent
from angarium.errors import InvalidInput

_ATOM: Final = r"[^\s<>()\[\]\\,;:\"@\x00-\x1f\x7f]+"
_QUOTED: Final = r"\"(?:[^\"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*\""
_LOCAL: Final = re.compile(f"(?:{_ATOM}|{_QUOTED})")
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253}[A-Za-z0-9_])?")
_LITERAL: Final = re.compile(r"\[[A-Za-z0-9:.]{2,60}\]")
LOCAL_LIMIT: Final = 64
"""Octets of a local part, RFC 5321 section 4.5.3.1.1."""


class WireAddress(msgspec.Struct, frozen=True, gc=False):
    """An address whose domain is ASCII."""

    text: str
    domain: str
    """Lower case."""
    utf8: bool
    """True when the local part needs SMTPUTF8."""


def wire_address(address: str) -> WireAddress:
    """The form for MAIL, RCPT and header fields. Raises `InvalidInput` when there is none."""
    local, _, domain = address.rpartition("@")
    if not _LOCAL.fullmatch(local) or len(local.encode()) > LOCAL_LIMIT:
        raise InvalidInput(f"the address {address[:100]!r} has no valid part before the @")
    ascii_domain = wire_domain(domain)
    return WireAddress(f"{local}@{ascii_domain}", ascii_domain, not local.isascii())


@lru_cache(maxsize=4096)
def wire_domain(domain: str) -> str:
    """The lower-case A-label form. Raises `InvalidInput`."""
    if domain.isascii():
        if _HOST.fullmatch(domain) or _LITERAL.fullmatch(domain):
            return domain.lower()
        raise InvalidInput(f"{domain[:100]!r} is not a domain name")
    try:
        return idna.encode(domain, uts46=True).decode("ascii").lower()
    except idna.IDNAError as error:
        raise InvalidInput(f"{domain[:100]!r} is not a domain name: {error}") from error


def return_path(content: MailContent, token: str) -> str:
    """The envelope sender: the token alone left of the @ (VERP), so that a bounce names its message."""
    return f"{token}@{_own_domain(content)}"


def message_id(content: MailContent, token: str) -> str:
    """The Message-ID field's value."""
    return f"<{token}@{_own_domain(content)}>"


def _own_domain(content: MailContent) -> str:
    return wire_domain(content.bounce_domain or content.from_address.rpartition("@")[2])


def token_of(body: MailBody, message: bytes) -> str:
    """The signed token, or the bare message id where the launcher gave none."""
    return body.token or message.hex()
