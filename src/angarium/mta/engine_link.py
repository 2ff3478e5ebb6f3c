"""The courier's end of the socket pair: frames of orders in, frames of reports out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol, cast

from angarium.mta import link

REPORTS_GATHER: Final = 0.004
"""Seconds; the engine commits at a slower pace, so reports that come one by one would only wake it."""


class Servant(Protocol):
    """Who carries out the orders."""

    def obey(self, orders: Sequence[link.ToCourier]) -> None:
        """One frame of orders."""

    def orphan(self) -> None:
        """The engine is gone."""


class EngineLink(asyncio.Protocol):
    """The socket pair's end: frames in, one frame out for all reports of a few milliseconds."""

    def __init__(self) -> None:
        self.courier: Servant
        """Set before the link is connected."""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._reports: list[link.ToEngine] = []

    def report(self, message: link.ToEngine) -> None:
        """Leaves soon, with everything else that is reported meanwhile, in order."""
        if not self._reports:
            self._loop.call_later(REPORTS_GATHER, self._flush)
        self._reports.append(message)

    def _flush(self) -> None:
        reports, self._reports = self._reports, []
        if reports and self._transport is not None and not self._transport.is_closing():
            self._transport.write(link.encode(reports))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= 4:
            end = start + 4 + int.from_bytes(buffer[start : start + 4], "big")
            if len(buffer) < end:
                break
            body = bytes(memoryview(buffer)[start + 4 : end])
            start = end
            self.courier.obey(link.decode_for_courier(body))
        del buffer[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        self.courier.orphan()

    async def drained(self) -> None:
        """Returns when all reports have left, or the engine is gone."""
        self._flush()
        while self._transport is not None and not self._transport.is_closing():
            if self._transport.get_write_buffer_size() == 0:
                return
            await asyncio.sleep(0.01)
