"""TLS over a byte stream (RFC 3207), and what is known of servers whose TLS is broken."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from angarium.domain.sending import TlsPolicy

BROKEN_FOR: Final = 3 * 86_400.0
"""Seconds that a host whose STARTTLS failed is spoken to in plain, where that is allowed."""
BROKEN_LIMIT: Final = 10_000
_READ: Final = 65_536


class TlsLayer:
    """One client session between plain text above and records below; does no I/O of its own."""

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name or None)
        self.ended = False
        """The peer has said it will send no more."""

    @property
    def version(self) -> str:
        """For example `TLSv1.3`."""
        return self._session.version() or ""

    def receive(self, records: bytes) -> None:
        """Takes what came from the network."""
        self._incoming.write(records)

    def outgoing(self) -> bytes:
        """What must go to the network now."""
        return self._outgoing.read()

    def handshake(self) -> bool:
        """Goes as far as it can; True when done. Raises `ssl.SSLError`."""
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def read(self) -> bytes:
        """The plain text that has come. Raises `ssl.SSLError`."""
        pieces = []
        try:
            while piece := self._session.read(_READ):
                pieces.append(piece)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return b"".join(pieces)

    def encrypt(self, pieces: Sequence[bytes]) -> bytes:
        """Records that carry the pieces."""
        self._session.write(b"".join(pieces))
        return self._outgoing.read()


class BrokenHosts:
    """Hosts whose STARTTLS failed lately; bounded, in memory only."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def add(self, ip: str, now: float) -> None:
        if len(self._until) >= BROKEN_LIMIT:
            del self._until[next(iter(self._until))]
        self._until[ip] = now + BROKEN_FOR

    def known(self, ip: str, now: float) -> bool:
        return self._until.get(ip, 0.0) > now


class Contexts:
    """The two ways to encrypt; `authorities` is a PEM file to trust instead of the system's."""

    def __init__(self, authorities: Path | None = None) -> None:
        self._authorities = authorities

    def of(self, policy: TlsPolicy) -> ssl.SSLContext:
        """Checks chain and name where the policy says so; otherwise encrypts, whoever the peer is."""
        return self._checked if policy is TlsPolicy.REQUIRED_VERIFIED else self._unchecked

    @cached_property
    def _checked(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self._authorities) if self._authorities else None)

    @cached_property
    def _unchecked(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
