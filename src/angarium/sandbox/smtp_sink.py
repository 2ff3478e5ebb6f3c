"""A receiving mail server that delivers nowhere: for the demo, for dry runs and for tests.

It takes, defers, refuses and dawdles by recipient (`sandbox.behaviour`), and keeps a record of what it
saw and said (`sandbox.sink_record`). A record line is in its file before the answer leaves. Attempts are
counted in memory: a sink started again begins anew.

    python -m angarium.sandbox.smtp_sink --mix realistic --record sink.jsonl
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import signal
import ssl
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec

from angarium.sandbox.behaviour import MIXES, Behaviour, Mix, decide
from angarium.sandbox.certificate import self_signed
from angarium.sandbox.sink_record import SinkRecord
from angarium.sandbox.smtp_session import SmtpSession
from angarium.sandbox.smtp_wire import Fault, SmtpWire, Stage


class SinkOptions(msgspec.Struct, frozen=True):
    """How a sink behaves. A running sink takes others at once: `sink.options = ...`."""

    host: str = "127.0.0.1"
    port: int = 0
    """0: any free one."""
    mix: Mix = MIXES["accept"]
    seed: int = 0
    hostname: str = "sink.sandbox.test"
    record: Path | None = None
    keep: Path | None = None
    """A folder for the whole messages."""
    size: int = 50_000_000
    """Octets a message may have."""
    tarpit: float = 0.0
    """Seconds before every reply."""
    final_delay: float = 0.0
    """Seconds between the final dot and its answer."""
    faults: tuple[Fault, ...] = ()
    starttls: bool = False
    certificate: tuple[Path, Path] | None = None
    """Certificate and key, PEM; None: made for the occasion."""
    auth: tuple[str, str] | None = None
    """User and password that MAIL demands."""


class SmtpSink:
    """The server. `start` and `close` belong to one event loop."""

    def __init__(self, options: SinkOptions | None = None) -> None:
        self.options = options or SinkOptions()
        self.record = SinkRecord(self.options.record)
        self.tls = _context(self.options)
        self.port = 0
        self._attempts: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self._sessions: set[SmtpWire] = set()
        self._gone = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listens. Raises `OSError` when the port is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SmtpSession(self, next(self._numbers)), self.options.host, self.options.port, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stops listening and cuts the connections that are open."""
        if self._server:
            self._server.close()
        for session in list(self._sessions):
            session.abort()
        if self._sessions:
            await self._gone.wait()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self.record.close()

    def next_attempt(self, address: str) -> tuple[int, Behaviour]:
        """The number of this attempt for a recipient, and the answer it gets."""
        key = address.lower()
        before = self._attempts.get(key, 0)
        self._attempts[key] = before + 1
        return before + 1, decide(address, before, self.options.mix, self.options.seed)

    def opened(self, session: SmtpWire) -> None:
        self._sessions.add(session)
        self._gone.clear()

    def closed(self, session: SmtpWire) -> None:
        self._sessions.discard(session)
        if not self._sessions:
            self._gone.set()

    def keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _context(options: SinkOptions) -> ssl.SSLContext | None:
    if not options.starttls and not options.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if options.certificate:
        context.load_cert_chain(*options.certificate)
        return context
    with tempfile.TemporaryDirectory() as folder:
        context.load_cert_chain(*self_signed(options.hostname, Path(folder)))
    return context


@contextlib.contextmanager
def serving(options: SinkOptions | None = None) -> Iterator[SmtpSink]:
    """A sink in a thread of its own, for callers without an event loop."""
    sink = SmtpSink(options)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="smtp-sink", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(sink.start(), loop).result()
        yield sink
    finally:
        asyncio.run_coroutine_threadsafe(sink.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def run(options: SinkOptions) -> None:
    """Serves until SIGTERM or SIGINT; says the port as a JSON line on standard output."""
    sink = SmtpSink(options)
    await sink.start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print(json.dumps({"port": sink.port}), flush=True)
    await stop.wait()
    await sink.close()


def parse(arguments: Sequence[str]) -> SinkOptions:
    parser = argparse.ArgumentParser("smtp_sink", description="A mail server that delivers nowhere.")
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=0, help="0: any free one")
    add("--mix", choices=MIXES, default="accept", help="how recipients are treated")
    add("--seed", type=int, default=0, help="of the mix")
    add("--record", type=Path, help="file of JSON lines, appended to")
    add("--keep", type=Path, help="folder for the messages as .eml files")
    add("--size", type=int, default=50_000_000, help="largest message, octets")
    add("--tarpit", type=float, default=0.0, help="seconds before every reply")
    add("--final-delay", type=float, default=0.0, help="seconds before the answer to a message")
    add(
        "--fault",
        type=_fault,
        action="append",
        default=[],
        help="KIND:STAGE, such as garbage:rcpt or drop:dot",
    )
    add("--starttls", action="store_true", help="offer STARTTLS with a certificate made for the occasion")
    add("--certificate", type=Path, nargs=2, metavar=("CERT", "KEY"), help="offer STARTTLS with this one")
    add("--auth", nargs=2, metavar=("USER", "PASSWORD"), help="demand AUTH PLAIN")
    given: dict[str, Any] = vars(parser.parse_args(arguments))
    if given["keep"]:
        given["keep"].mkdir(parents=True, exist_ok=True)
    given["mix"] = MIXES[given["mix"]]
    given["faults"] = tuple(given.pop("fault"))
    for name in ("certificate", "auth"):
        given[name] = tuple(given[name]) if given[name] else None
    return SinkOptions(**given)


def _fault(text: str) -> Fault:
    kind, _, stage = text.partition(":")
    if kind not in ("garbage", "long", "drop", "silent") or stage not in get_args(Stage):
        raise argparse.ArgumentTypeError(f"{text!r} is not KIND:STAGE")
    return Fault(kind, stage)  # type: ignore[arg-type]


def main() -> None:
    asyncio.run(run(parse(sys.argv[1:])))


if __name__ == "__main__":
    main()
