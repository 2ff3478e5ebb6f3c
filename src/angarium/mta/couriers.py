"""The engine's couriers: their processes, what is said to them, and what their slots say after a death."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from angarium.domain.email import mail_content
from angarium.domain.message import PacketHeader
from angarium.engine.message import Message
from angarium.engine.spool import Spool
from angarium.mta import link, slots

PACKETS_KNOWN: Final = 1_000
RESPAWN_PAUSE: Final = 0.5
GONE_PATIENCE: Final = 15.0
"""Seconds an old courier may take to end: it waits for replies to what is past the dot."""
_log = structlog.get_logger()


class Courier:
    """One process, from its start to its death."""

    def __init__(
        self, number: int, slot_file: Path, on_messages: Callable[[Courier, list[link.ToEngine]], None]
    ):
        self.number = number
        self.slot_file = slot_file
        self.connections = 0
        self._on_messages = on_messages
        self._outgoing: list[link.ToCourier] = []
        self._packets: OrderedDict[int, None] = OrderedDict()
        self._blobs: set[str] = set()
        self._flushed: asyncio.Future[None] | None = None
        self._settling: list[int] = []
        """Slots to free once `_flushed` is done."""
        self._flush_planned = False
        self._writer: asyncio.StreamWriter | None = None
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, timeout_scale: float) -> None:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        arguments = [sys.executable, "-m", "angarium.mta.courier", "--fd", str(theirs.fileno())]
        arguments += ["--slots", str(self.slot_file), "--time-scale", str(timeout_scale)]
        self.process = await asyncio.create_subprocess_exec(*arguments, pass_fds=(theirs.fileno(),))
        theirs.close()
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=1 << 22)
        self.ended = asyncio.create_task(self._read(reader), name=f"courier-{self.number}")

    @property
    def alive(self) -> bool:
        return self._writer is not None and not self._writer.is_closing()

    def say(self, message: link.ToCourier) -> None:
        """Goes out with everything else said in this turn of the loop."""
        self._outgoing.append(message)
        if not self._flush_planned:
            self._flush_planned = True
            asyncio.get_running_loop().call_soon(self._flush)

    def send(self, spool: Spool, message: Message, connection: int, isp: int) -> None:
        """One message, with what its packet shares if the courier does not know it yet."""
        packet = message.packet
        if packet.id in self._packets:
            self._packets.move_to_end(packet.id)
        else:
            self._introduce(spool, message)
        self.say(
            link.Send(
                connection, message.seq, message.grant, packet.id, message.place, spool.frame(message),
                message.id, message.address, isp, message.attempts + 1,
            )
        )  # fmt: skip

    def settle(self, slot: int, spool: Spool) -> None:
        """Frees the slot once what gathers in the spool is on the disk, and not with the flush before it."""
        flushed = spool.flushed()
        if flushed is not self._flushed:
            self._flushed, self._settling = flushed, []
            flushed.add_done_callback(partial(self._settled, self._settling))
        self._settling.append(slot)

    def _settled(self, slots: list[int], flushed: asyncio.Future[None]) -> None:
        if not flushed.exception():
            self.say(link.Settled(tuple(slots)))

    def slots(self) -> dict[tuple[int, int], slots.Slot]:
        """What it had on the wire, after its death."""
        return {(slot.seq, slot.grant): slot for slot in slots.read(self.slot_file) or []}

    def _introduce(self, spool: Spool, message: Message) -> None:
        packet = message.packet
        new = [sha256 for sha256 in blobs_of(packet.header) if sha256 not in self._blobs]
        self._blobs.update(new)
        found = {
            sha256: bytes(spool.select("SELECT content FROM blob WHERE sha256=?", (sha256,))[0][0])
            for sha256 in new
        }
        first = spool.first_frame(packet)
        self.say(link.Content(packet.id, packet.header.sender, packet.header.content, first, found))
        self._packets[packet.id] = None
        if len(self._packets) > PACKETS_KNOWN:
            self.say(link.Forget((self._packets.popitem(last=False)[0],)))

    def _flush(self) -> None:
        self._flush_planned = False
        outgoing, self._outgoing = self._outgoing, []
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(link.encode(outgoing))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(4), "big")
                self._on_messages(self, link.decode_for_engine(await reader.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            if self._writer is not None:
                self._writer.close()
            if self.process is not None:
                await self.process.wait()


class Couriers:
    """Keeps a number of couriers running."""

    def __init__(
        self,
        folder: Path,
        count: int,
        timeout_scale: float,
        on_messages: Callable[[Courier, list[link.ToEngine]], None],
        on_death: Callable[[Courier], None],
    ) -> None:
        self._folder = folder
        self._count = count
        self._timeout_scale = timeout_scale
        self._on_messages = on_messages
        self._on_death = on_death
        self.configure: link.Configure | None = None
        self.running: list[Courier] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    async def start(self) -> None:
        """Old couriers must be gone (`old_slots` waits for them)."""
        self._tasks = [asyncio.create_task(self._keep(number), name=f"keep-courier-{number}")
                       for number in range(self._count)]  # fmt: skip

    def tell_all(self, message: link.ToCourier) -> None:
        for courier in self.running:
            courier.say(message)

    def reconfigure(self, message: link.Configure) -> None:
        self.configure = message
        self.tell_all(message)

    def least_busy(self) -> Courier | None:
        return min(self.running, key=lambda courier: courier.connections, default=None)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What must go on while the engine runs."""
        return self._tasks

    async def stop(self, patience: float) -> None:
        """Drains: what has begun is finished, the rest comes back."""
        self._stopping = True
        self.tell_all(link.Drain())
        endings = [courier.ended for courier in self.running]
        if endings:
            await asyncio.wait(endings, timeout=patience)
        for courier in self.running:
            if courier.process and courier.process.returncode is None:
                courier.process.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, number: int) -> None:
        while not self._stopping:
            courier = Courier(number, self._folder / f"courier-{number}.slots", self._on_messages)
            await courier.start(self._timeout_scale)
            if self.configure:
                courier.say(self.configure)
            self.running.append(courier)
            await asyncio.shield(courier.ended)
            self.running.remove(courier)
            if not self._stopping:
                _log.error(
                    "courier_died", courier=number, code=courier.process and courier.process.returncode
                )
            self._on_death(courier)
            await asyncio.sleep(RESPAWN_PAUSE)


def blobs_of(header: PacketHeader) -> tuple[str, ...]:
    """Hashes of the attachments a packet's messages carry."""
    return tuple(attachment.sha256 for attachment in mail_content(header).attachments)


async def old_slots(folder: Path) -> dict[tuple[int, int], slots.Slot] | None:
    """What couriers of an engine that died had on the wire, by (seq, grant), once they are gone.

    None: the machine has booted since, or the files are not there: nothing is known.
    """
    found: dict[tuple[int, int], slots.Slot] = {}
    files = sorted(folder.glob("courier-*.slots"))
    for file in files:
        await _wait_until_gone(file)
        read = slots.read(file)
        if read is None:
            return None
        found.update({(slot.seq, slot.grant): slot for slot in read})
    return found if files else None


async def _wait_until_gone(file: Path) -> None:
    handle = os.open(file, os.O_RDWR)
    deadline = time.monotonic() + GONE_PATIENCE
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    _log.error("old_courier_still_runs", slots=str(file))
                    raise
                await asyncio.sleep(0.05)
            else:
                return
    finally:
        os.close(handle)
