"""DKIM keys: making one, and the DNS record to publish (RFC 6376 section 3.6.1, RFC 8463)."""

from __future__ import annotations

import base64
import re
from typing import Final, NamedTuple

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from angarium.web.sending.models import DkimKey
from angarium.web.sending.validation import domain_name

RSA_BITS: Final = 2_048
STRING_LIMIT: Final = 255
"""Octets of one character string of a TXT record, RFC 1035 section 3.3."""
_SELECTOR: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")


class DnsRecord(NamedTuple):
    """A TXT record."""

    name: str
    value: str
    zone: str
    """The record as a line of a zone file, the value cut into strings of at most 255 octets."""


def new_key(domain: str, selector: str, algorithm: str) -> DkimKey:
    """An unsaved row with a fresh private key. Raises `ValueError` naming what is not valid."""
    selector = selector.strip().lower()
    if len(selector) > 63 or not _SELECTOR.fullmatch(selector):
        raise ValueError(f"{selector!r} is not a selector: use letters, digits and hyphens.")
    return DkimKey(
        domain=domain_name(domain), selector=selector, algorithm=algorithm, private_key=_generate(algorithm)
    )


def dns_record(key: DkimKey) -> DnsRecord:
    """What receivers look up."""
    name = f"{key.selector}._domainkey.{key.domain}"
    value = f"v=DKIM1; k={key.algorithm}; p={_public_part(key.private_key)}"
    strings = [value[at : at + STRING_LIMIT] for at in range(0, len(value), STRING_LIMIT)]
    quoted = " ".join(f'"{string}"' for string in strings)
    return DnsRecord(name, value, f"{name}. IN TXT ( {quoted} )")


def _generate(algorithm: str) -> str:
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    if algorithm == DkimKey.Algorithm.ED25519:
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        key = rsa.generate_private_key(public_exponent=65_537, key_size=RSA_BITS)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _public_part(private_key: str) -> str:
    """Base64: for RSA the DER of the public key, for Ed25519 its 32 octets (RFC 8463 section 4)."""
    public = serialization.load_pem_private_key(private_key.encode(), None).public_key()
    if isinstance(public, ed25519.Ed25519PublicKey):
        raw = public.public_bytes_raw()
    else:
        raw = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(raw).decode()
