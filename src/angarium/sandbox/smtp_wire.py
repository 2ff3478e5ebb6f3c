"""How a sink's connection takes in bytes and gives out replies: late, broken or not at all, if told so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from angarium.sandbox.sink_record import SinkEvent, moment

if TYPE_CHECKING:
    from angarium.sandbox.smtp_sink import SmtpSink

LONG_REPLY: Final = 100_000
Stage = Literal["banner", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "dot", "rset", "quit"]


class Fault(msgspec.Struct, frozen=True):
    """Something a broken server does instead of its reply at a stage."""

    kind: Literal["garbage", "long", "drop", "silent"]
    stage: Stage


class SmtpWire(asyncio.Protocol):
    """Replies of what has arrived together leave together, after the record of them is written."""

    def __init__(self, sink: SmtpSink, number: int) -> None:
        self.sink = sink
        self.number = number
        self.buffer = bytearray()
        self.waiting = False
        self._replies: list[bytes] = []
        self._source = ""
        self._transport: Any = None
        self._timer: asyncio.TimerHandle | None = None

    def next_step(self) -> bool:
        """Handles one thing from the buffer; False when more bytes are needed."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._source = peer[0] if peer else ""
        self.sink.opened(self)
        self.note("open")
        self.reply("banner", f"220 {self.sink.options.hostname} ESMTP sandbox")
        self.go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
        self.note("close")
        self.sink.record.flush()
        self.sink.closed(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.go_on()

    def abort(self) -> None:
        self._transport.abort()

    def go_on(self) -> None:
        """Handles what has arrived, then records and answers it in one go."""
        while not self.waiting and self.next_step():
            pass
        self.send()

    def send(self) -> None:
        self.sink.record.flush()
        if self._replies and not self._transport.is_closing():
            self._transport.write(b"".join(self._replies))
        self._replies.clear()

    def after(self, delay: float, action: Callable[..., None], *arguments: Any) -> None:
        """Acts after the delay and the tarpit's; nothing else is handled until then."""
        delay += self.sink.options.tarpit
        if delay <= 0:
            action(*arguments)
            return
        self.waiting = True
        self._timer = asyncio.get_running_loop().call_later(delay, self._late, action, arguments)

    def _late(self, action: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.waiting = False
        action(*arguments)
        self.go_on()

    def reply(self, stage: Stage, text: str, delay: float = 0.0, close: bool = False) -> None:
        self.after(delay, self.answer, stage, text, close)

    def answer(self, stage: Stage, text: str, close: bool = False) -> None:
        """Answers now; an empty text closes the connection instead."""
        fault = self.fault(stage)
        if fault == "silent":
            self.waiting = True
        elif fault == "drop" or not text:
            self._hang_up(self._transport.abort)
        else:
            self._replies.append(_disturbed(text, fault))
            if close:
                self._hang_up(self._transport.close)

    def fault(self, stage: Stage) -> str:
        return next((fault.kind for fault in self.sink.options.faults if fault.stage == stage), "")

    def _hang_up(self, how: Callable[[], None]) -> None:
        self.waiting = True
        self.send()
        how()

    def note(self, event: Literal["open", "close", "answer"], **more: Any) -> None:
        now, wall = moment()
        self.sink.record.add(SinkEvent(event, now, wall, self.number, self._source, **more))

    def start_tls(self, ready: str, begun: Callable[[], None]) -> None:
        """Says it is ready and shakes hands; `begun` is called when the connection is encrypted."""
        self.buffer.clear()  # what came in the clear after STARTTLS is not to be believed (RFC 3207)
        self.answer("starttls", ready)
        if self.waiting:
            return
        self.waiting = True
        self.send()
        self.sink.keep(asyncio.get_running_loop().create_task(self._shake_hands(begun)))

    async def _shake_hands(self, begun: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        assert self.sink.tls
        try:
            transport = await loop.start_tls(self._transport, self, self.sink.tls, server_side=True)
        except OSError:
            self._transport.abort()
            return
        if transport is None:
            return
        self._transport = transport
        begun()
        self.waiting = False
        self.go_on()


def _disturbed(text: str, fault: str) -> bytes:
    if fault == "garbage":
        return b"\x00\xff\xfe what? \x80\x81 not a reply\r\n"
    if fault == "long":
        return text[:4].encode() + b"x" * LONG_REPLY + b"\r\n"
    return text.encode("utf-8", "surrogateescape") + b"\r\n"
