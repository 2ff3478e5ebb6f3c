"""A TCP connection that yields SMTP replies, plain or under TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Sequence
from typing import Final, Protocol, cast

from angarium.mta.reply import ProtocolError, RawReply, ReplyParser
from angarium.mta.tls import TlsLayer

_PEEK: Final = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)
_LINGER_OFF: Final = struct.pack("ii", 1, 0)


class Listener(Protocol):
    """Who hears of what happens on a stream."""

    def replies(self, replies: list[RawReply]) -> None:
        """Whole replies, in order."""

    def broken(self, error: ProtocolError | ssl.SSLError) -> None:
        """What came cannot be read; nothing more will be."""

    def writable(self) -> None:
        """All that was written has left, after a jam."""

    def lost(self) -> None:
        """The connection is gone. The last call."""


class Stream(asyncio.Protocol):
    """One connection. `jammed` is True while written bytes still wait in this process."""

    def __init__(self, listener: Listener, sock: socket.socket) -> None:
        self._listener = listener
        self._socket = sock
        self._parser = ReplyParser()
        self._tls: TlsLayer | None = None
        self._handshake: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._deaf = False
        self.jammed = False
        self.lost = False

    @property
    def tls(self) -> str:
        """The protocol version in use; empty: plain."""
        return self._tls.version if self._tls else ""

    @property
    def waiting(self) -> int:
        """Bytes written that have not left this process."""
        return self._transport.get_write_buffer_size() if self._transport and not self.lost else 0

    @property
    def puzzled(self) -> bool:
        """True when what has come is not a whole reply."""
        return self._parser.pending or self._parser.error is not None

    def quiet(self) -> bool:
        """False when something has come that was not read yet, be it the peer's end."""
        if self.lost or self.puzzled:
            return False
        try:
            self._socket.recv(1, _PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def write(self, pieces: Sequence[bytes]) -> None:
        """All of it in one system call where the kernel has room."""
        if self._transport is None or self.lost:
            return
        if self._tls:
            self._transport.write(self._tls.encrypt(pieces))
        else:
            self._transport.writelines(pieces)

    async def start_tls(self, context: ssl.SSLContext, name: str) -> None:
        """The handshake. Raises `ssl.SSLError`, `ConnectionError`.

        What the server sent in plain behind its reply to STARTTLS is an injection: `ProtocolError`.
        """
        if self._parser.pending:
            raise ProtocolError("plain text after the reply to STARTTLS")
        self._tls = TlsLayer(context, name)
        self._handshake = asyncio.get_running_loop().create_future()
        self._shake()
        await self._handshake

    def half_close(self) -> None:
        """Our end; the peer's is awaited."""
        if self._transport and not self.lost:
            self._transport.write_eof()

    def abort(self) -> None:
        """Gone at once, on the peer's side too (a reset)."""
        if self._transport and not self.lost:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
            self._transport.abort()

    # ── asyncio.Protocol ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # Written at once, and `jammed` as soon as the kernel did not take all.
        self._transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        try:
            if self._tls is not None:
                self._tls.receive(data)
                if self._handshake is not None:
                    self._shake()
                    return
                data = self._tls.read()
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._listener.replies(self._parser.feed(data))
        if self._parser.error is not None:
            self._fail(self._parser.error)
            return
        if self._tls is not None and self._tls.ended and self._transport:
            self._transport.close()

    def _fail(self, error: ProtocolError | ssl.SSLError) -> None:
        self._deaf = True
        self._listener.broken(error)

    def pause_writing(self) -> None:
        self.jammed = True

    def resume_writing(self) -> None:
        self.jammed = False
        self._listener.writable()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._handshake is not None and not self._handshake.done():
            self._handshake.set_exception(
                ConnectionResetError("the connection closed during the TLS handshake")
            )
        self._listener.lost()

    def _shake(self) -> None:
        tls, future, transport = self._tls, self._handshake, self._transport
        assert tls is not None
        assert future is not None
        assert transport is not None
        try:
            done = tls.handshake()
        except (ssl.SSLError, ssl.CertificateError) as error:
            transport.write(tls.outgoing())  # the alert
            self._handshake = None
            if not future.done():
                future.set_exception(error)
            return
        if records := tls.outgoing():
            transport.write(records)
        if done:
            self._handshake = None
            if not future.done():
                future.set_result(None)
            self.data_received(b"")
