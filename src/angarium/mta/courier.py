"""The courier: a process that carries messages over SMTP connections, as its engine says.

    python -m angarium.mta.courier --fd N --slots PATH

Fd N is one end of a socket pair (`mta.link`). The courier holds a lock (flock) on the slot file for
its whole life, so that a later engine can wait for its end before it reads the slots.

Guarantees: nothing is sent that was not ordered; a slot is taken before a final dot is written, and
holds the reply before anybody is told; when the engine is gone nothing more is begun, replies to final
dots are awaited for a few seconds and kept in the slots, and then the process ends. SIGTERM and
SIGINT are the engine's business: it says `Drain`.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import gc
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
import uvloop
from structlog.typing import Processor

from angarium.domain.email import Reply
from angarium.domain.sending import Isp, SendingSettings
from angarium.errors import CorruptPacket, InvalidInput
from angarium.mta import dkim, link, tls
from angarium.mta.connection import Connection
from angarium.mta.content import Dates, PacketContent, Templates
from angarium.mta.engine_link import EngineLink
from angarium.mta.job import Job
from angarium.mta.judge import Judge
from angarium.mta.mime import Message
from angarium.mta.reply import local_reply
from angarium.mta.slots import SlotFile
from angarium.mta.smtp import Session
from angarium.mta.timeouts import Timeouts

_SWEEP: Final = 0.5
"""Seconds between looks at the time-outs; less when they are scaled down."""
DEFECT: Final = 70
"""Exit status after a defect (EX_SOFTWARE of sysexits)."""
_log = structlog.get_logger()


class Courier:
    """Takes orders, owns connections, reports."""

    def __init__(
        self, engine: EngineLink, slots: SlotFile, timeouts: Timeouts, contexts: tls.Contexts
    ) -> None:
        self.timeouts = timeouts
        self.broken_tls = tls.BrokenHosts()
        self.tls_contexts = contexts
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._engine = engine
        self._slots = slots
        self._slot_queue: deque[Session] = deque()
        self._settings = SendingSettings(0)
        self._judge = Judge(self._settings)
        self._keyring = dkim.Keyring(self._settings)
        self._signing = dkim.SigningTurns()
        self._blobs: dict[str, bytes] = {}
        self._templates = Templates(self._blobs)
        self._packets: dict[int, PacketContent] = {}
        self._connections: dict[int, Connection] = {}
        self._dates = Dates()
        self._draining = False
        self._orphaned = False
        self._orders = {
            link.Configure: self._configure,
            link.Content: self._content,
            link.Forget: self._forget,
            link.Open: self._open,
            link.Send: self._send,
            link.Close: self._close,
            link.Recall: self._recall,
            link.Settled: self._settled,
            link.Drain: self._drain,
        }

    def obey(self, orders: Sequence[link.ToCourier]) -> None:
        """Carries out one frame of orders."""
        for order in orders:
            self._orders[type(order)](order)  # type: ignore[operator]

    def orphan(self) -> None:
        """The engine is gone."""
        if not self._orphaned:
            self._orphaned = True
            for connection in list(self._connections.values()):
                connection.orphaned()
            asyncio.get_running_loop().call_later(self.timeouts.orphan, self._end)
            self._end_when_done()

    def sweep(self) -> None:
        """Ends what has waited too long."""
        now = asyncio.get_running_loop().time()
        for connection in list(self._connections.values()):
            connection.check(now)
        self._end_when_done()

    # ── orders ──

    def _configure(self, order: link.Configure) -> None:
        self._settings = order.settings
        self._judge = Judge(order.settings)
        self._keyring = dkim.Keyring(order.settings)
        for packet in self._packets.values():
            packet.forget_settings()

    def _content(self, order: link.Content) -> None:
        self._blobs.update(order.blobs)
        self._packets[order.packet] = PacketContent(order, self._templates)

    def _forget(self, order: link.Forget) -> None:
        for packet in order.packets:
            self._packets.pop(packet, None)

    def _open(self, order: link.Open) -> None:
        if self._draining:
            self.report(link.Closed(order.connection))
        else:
            self._connections[order.connection] = Connection(self, order)

    def _send(self, order: link.Send) -> None:
        connection = self._connections.get(order.connection)
        if connection is None or self._draining:
            self.report(link.Returned(order.connection, (order.seq,)))
        else:
            connection.send(order)

    def _close(self, order: link.Close) -> None:
        if connection := self._connections.get(order.connection):
            connection.close()

    def _recall(self, order: link.Recall) -> None:
        seqs = set(order.seqs)
        for connection in self._connections.values():
            connection.recall(seqs)

    def _settled(self, order: link.Settled) -> None:
        for slot in order.slots:
            self._slots.free(slot)
        for _ in range(min(len(self._slot_queue), len(order.slots))):
            self._slot_queue.popleft().resume()

    def _drain(self, _: link.Drain) -> None:
        self._draining = True
        for connection in list(self._connections.values()):
            connection.drain()
        self._end_when_done()

    # ── connection.Desk ──

    def report(self, message: link.ToEngine) -> None:
        self._engine.report(message)

    def verdict(self, reply: Reply, isp: int) -> link.Verdict:
        return self._judge.verdict(reply, isp)

    def prepare(self, job: Job, connection: Connection, extensions: Mapping[str, str]) -> Reply | None:
        packet = self._packets.get(job.send.packet)
        if packet is None:
            return local_reply(451, "4.3.0", f"the courier was not given packet {job.send.packet}", "local")
        try:
            message = packet.build(job, self._isp, self._dates.at(time.time()), "8BITMIME" in extensions)
        except (InvalidInput, CorruptPacket, msgspec.MsgspecError) as error:
            return local_reply(550, "5.6.0", f"the message cannot be built: {error}", "local")
        except Exception as error:
            _log.exception("message_cannot_be_built", message=job.send.message.hex())
            return local_reply(550, "5.6.0", f"the message cannot be built: {error!r}", "local")
        obstacle = _obstacle(message, extensions)
        if obstacle is None:
            self._sign(job, message, packet.sender, connection)
        return obstacle

    def _sign(self, job: Job, message: Message, sender: int, connection: Connection) -> None:
        keys = self._keyring.keys(sender, job.from_domain)
        if not keys:
            job.message = message
            return

        def signed(fields: list[bytes]) -> None:
            message.headers[:0] = fields
            job.message = message
            connection.wake()

        job.preparing = True
        unsigned = dkim.prepare(message.headers, message.body, keys, int(time.time()))
        self._signing.sign(unsigned, signed)

    def take_slot(self, job: Job, session: Session) -> bool:
        try:
            job.slot = self._slots.take(job.send.seq, job.send.grant)
        except IndexError:
            self._slot_queue.append(session)
            return False
        return True

    def keep_reply(self, job: Job, reply: Reply) -> None:
        self._slots.reply(job.slot, reply)

    def forget(self, connection: Connection) -> None:
        self._connections.pop(connection.order.connection, None)
        self._end_when_done()

    def _isp(self, number: int) -> Isp | None:
        return self._settings.isps.get(number)

    # ── the end ──

    def _end_when_done(self) -> None:
        waiting = any(connection.has_dot for connection in self._connections.values())
        if (self._orphaned and not waiting) or (self._draining and not self._connections):
            self._end()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


def _obstacle(message: Message, extensions: Mapping[str, str]) -> Reply | None:
    """Why this server cannot take this message; nothing is sent then."""
    limit = extensions.get("SIZE", "")
    if limit.isdigit() and 0 < int(limit) < message.size:
        return local_reply(552, "5.3.4", f"{message.size} octets are more than the server's {limit}", "local")
    if message.utf8 and "SMTPUTF8" not in extensions:
        return local_reply(
            550, "5.6.7", "the address needs SMTPUTF8, which the server does not offer", "local"
        )
    return None


async def serve(fd: int, slots: Path, timeouts: Timeouts, contexts: tls.Contexts) -> None:
    """Runs until the engine says `Drain` or is gone."""
    # What is here now stays; what comes is freed by reference counts. Full collections would only stall.
    gc.freeze()
    gc.set_threshold(50_000, 50, 1_000)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_fail)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: None)
    with slots.open("a+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        slot_file = SlotFile(slots)
        engine = EngineLink()
        engine.courier = Courier(engine, slot_file, timeouts, contexts)
        await loop.create_unix_connection(lambda: engine, sock=socket.socket(fileno=fd))
        engine.report(link.Ready(os.getpid()))
        sweeper = loop.create_task(_sweep(engine.courier, min(_SWEEP, timeouts.shortest / 4)))
        await engine.courier.ended
        sweeper.cancel()
        await engine.drained()


def _fail(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """After a defect the process ends: its slots say what had gone out, and the engine starts another."""
    error = context.get("exception")
    if isinstance(error, OSError):
        _log.warning("connection_trouble", what=context.get("message"), error=str(error))
        return
    _log.critical("courier_ends_after_a_defect", what=context.get("message"), exc_info=error)
    os._exit(DEFECT)


async def _sweep(courier: Courier, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        courier.sweep()


def _log_to_standard_error() -> None:
    """JSON lines, as the engine's are."""
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
    structlog.configure(processors=processors, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    structlog.contextvars.bind_contextvars(service="courier")


def main(argv: Sequence[str] | None = None) -> int:
    """The process; 0 after `Drain` or the engine's end."""
    parser = argparse.ArgumentParser(prog="python -m angarium.mta.courier")
    parser.add_argument("--fd", type=int, required=True, help="the inherited end of the socket pair")
    parser.add_argument("--slots", type=Path, required=True, help="the slot file; made if it is not there")
    parser.add_argument(
        "--timeouts", type=Timeouts.parse, default=Timeouts(), help="for example mail=60,dot=300"
    )
    parser.add_argument("--time-scale", type=float, default=1.0, help="all time-outs times this")
    parser.add_argument("--authorities", type=Path, help="PEM file of authorities to trust for verified TLS")
    options = parser.parse_args(argv)
    _log_to_standard_error()
    timeouts = options.timeouts.scaled(options.time_scale)
    contexts = tls.Contexts(options.authorities)
    uvloop.run(serve(options.fd, options.slots, timeouts, contexts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
