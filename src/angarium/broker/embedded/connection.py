"""One side of a connection: bytes to frames and frames to bytes.

Small frames are cut out of a scratch buffer; a large body is received straight into its own memory.
"""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from typing import Any, Final, cast

from angarium.broker.embedded.frames import BODY_BYTES, HEADER_BYTES, PREFIX, FrameError, Header, head

SCRATCH_BYTES: Final = 64 * 1024
SOCKET_BUFFER_BYTES: Final = 1 << 20
WRITE_HIGH_WATER: Final = 1 << 20

Body = bytes | bytearray


class FrameConnection(asyncio.BufferedProtocol, ABC):
    """Calls `received` for every frame, in order."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._filled = 0
        self._header = b""
        self._body: bytearray | None = None
        self._target = self._scratch
        self.closed = False
        self.writable = True

    @abstractmethod
    def received(self, header: bytes, body: Body) -> None:
        """One whole frame; `header` is still encoded. Raises `FrameError` to hang up."""

    def send(self, header: Header, body: Body = b"") -> None:
        """Writes a frame; it is the caller's to stop while `writable` is false."""
        if self.closed:
            return
        if body:
            self.transport.writelines((head(header, len(body)), body))
        else:
            self.transport.write(head(header))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        connected: Any = transport.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._target[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        try:
            if self._body is None:
                self._cut()
            elif self._filled == len(self._body):
                self._finish(self._body)
        except FrameError:
            self.transport.abort()

    def _finish(self, body: bytearray) -> None:
        """A large body is complete; what follows goes to the scratch buffer again."""
        self._body, self._target, self._filled = None, self._scratch, 0
        self.received(self._header, body)

    def _cut(self) -> None:
        """Takes whole frames out of the scratch buffer and moves the rest to its beginning."""
        start = 0
        while self._filled - start >= PREFIX.size:
            header_length, body_length = PREFIX.unpack_from(self._scratch, start)
            if header_length > HEADER_BYTES or body_length > BODY_BYTES:
                raise FrameError("a frame longer than any of ours")
            body_start = start + PREFIX.size + header_length
            if body_start > self._filled:
                break
            header = bytes(self._scratch[start + PREFIX.size : body_start])
            if body_start + body_length > SCRATCH_BYTES:
                self._receive_large(header, body_start, body_length)
                return
            if body_start + body_length > self._filled:
                break
            start = body_start + body_length
            self.received(header, bytes(self._scratch[body_start:start]))
        rest = self._filled - start
        if start and rest:
            self._scratch[:rest] = bytes(self._scratch[start : self._filled])
        self._filled = rest

    def _receive_large(self, header: bytes, start: int, length: int) -> None:
        """Goes on reading into a buffer of the body's own size, beginning with what came already."""
        came = min(self._filled - start, length)
        body = bytearray(length)
        body[:came] = self._scratch[start : start + came]
        self._header, self._body, self._target, self._filled = header, body, memoryview(body), came
