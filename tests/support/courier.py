"""A real courier process, spoken to as the engine does."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from angarium.domain.email import MailBody, MailContent
from angarium.domain.message import compress
from angarium.domain.sending import SendingSettings, TlsPolicy
from angarium.mta import link

T = TypeVar("T")
PATIENCE = 60.0


async def until(condition: Callable[[], object]) -> None:
    """Waits for what no report tells of."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class CourierProcess:
    """Starts one; collects its reports in `reports`."""

    def __init__(self, slots: Path, *options: str) -> None:
        self.slots = slots
        self.reports: list[link.ToEngine] = []
        self._options = options
        self._news = asyncio.Event()
        self._seq = 0

    async def __aenter__(self) -> CourierProcess:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "angarium.mta.courier", "--fd", str(theirs.fileno())]
        self.process = subprocess.Popen(  # noqa: ASYNC220
            [*command, "--slots", str(self.slots), *self._options], pass_fds=[theirs.fileno()]
        )
        theirs.close()
        self._reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        self._task = asyncio.create_task(self._read())
        await self.wait_for(link.Ready)
        self.send(link.Configure(SendingSettings(1)))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        await asyncio.gather(self._task, return_exceptions=True)

    def leave(self) -> None:
        """The engine dies: the link ends."""
        self._writer.close()

    def send(self, *orders: link.ToCourier) -> None:
        self._writer.write(link.encode(list(orders)))

    def content(
        self,
        bodies: Sequence[MailBody],
        content: MailContent,
        packet: int = 1,
        blobs: dict[str, bytes] | None = None,
    ) -> list[bytes]:
        """Gives the courier a packet; returns the frames."""
        frames = compress([msgspec.msgpack.encode(body) for body in bodies])
        raw = msgspec.Raw(msgspec.msgpack.encode(content))
        self.send(link.Content(packet, 1, raw, frames[0], blobs or {}))
        return frames

    def open(self, connection: int, *ports: int, **options: object) -> None:
        """Opens to 127.0.0.1 on these ports, as different hosts."""
        settings: dict[str, object] = {
            "source": "",
            "helo": "client.example",
            "tls": TlsPolicy.NEVER,
            **options,
        }
        hosts = tuple(link.Host(f"mx{index}.example", "127.0.0.1", port) for index, port in enumerate(ports))
        self.send(link.Open(connection=connection, sender=1, hosts=hosts, **settings))  # type: ignore[arg-type]

    def message(
        self, connection: int, frame: bytes, address: str, index: int = 0, packet: int = 1, isp: int = 0
    ) -> int:
        """Sends one; returns its seq."""
        self._seq += 1
        seq = self._seq
        self.send(
            link.Send(connection, seq, seq + 1000, packet, index, frame, os.urandom(16), address, isp, 1)
        )
        return seq

    async def done(self, seq: int) -> link.Done:
        return await self.wait_for(link.Done, lambda report: report.seq == seq)

    async def wait_for(self, kind: type[T], condition: Callable[[T], bool] = lambda _: True) -> T:
        """The first report of this kind for which the condition holds, past or to come."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for report in self.reports:
                    if isinstance(report, kind) and condition(report):
                        return report
                self._news.clear()
                await self._news.wait()

    async def exit_code(self) -> int:
        return await asyncio.wait_for(asyncio.to_thread(self.process.wait), PATIENCE)

    def of(self, kind: type[T]) -> list[T]:
        return [report for report in self.reports if isinstance(report, kind)]

    async def _read(self) -> None:
        try:
            while True:
                size = int.from_bytes(await self._reader.readexactly(4), "big")
                self.reports += link.decode_for_engine(await self._reader.readexactly(size))
                self._news.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            self._news.set()
