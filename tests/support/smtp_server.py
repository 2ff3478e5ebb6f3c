"""An SMTP server on the loopback that answers as a test tells it to, and notes all it hears."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum


class Silence(Enum):
    """Instead of an answer. An enumeration, so that tests have the same names in every process."""

    DROP = "drop"
    HANG = "hang"


DROP = Silence.DROP
"""Instead of a reply: the connection is closed."""
HANG = Silence.HANG
"""Instead of a reply: nothing, ever."""

Answer = object
"""Text (CRLF is added), bytes as they stand, DROP or HANG."""

DEFAULTS: dict[str, Answer] = {
    "banner": "220 mx.example ESMTP",
    "ehlo": "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 10000000\r\n250-8BITMIME\r\n250 SMTPUTF8",
    "helo": "250 mx.example",
    "mail": "250 2.1.0 ok",
    "rcpt": "250 2.1.5 ok",
    "data": "354 go ahead",
    "dot": "250 2.0.0 queued",
    "rset": "250 2.0.0 flushed",
    "starttls": "220 2.0.0 go on",
    "auth": "235 2.7.0 welcome",
    "quit": "221 2.0.0 bye",
}


@dataclass
class Visit:
    """One connection as the server saw it."""

    peer: tuple[str, int]
    writer: asyncio.StreamWriter
    transport: asyncio.WriteTransport
    """The bare one, which a failed handshake would leave open."""
    task: asyncio.Task[None] | None
    commands: list[str] = field(default_factory=list)
    """In order; `<message>` stands for a message, `<dot>` for an empty one."""
    messages: list[bytes] = field(default_factory=list)
    """Without dot-stuffing."""


class HangUpError(Exception):
    pass


class SmtpServer:
    """`answers` maps a step to one answer, or to a list used up one by one (the last stays)."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        **answers: Answer | list[Answer],
    ) -> None:
        merged = {**DEFAULTS, **answers}
        self._answers = {
            step: list(answer) if isinstance(answer, list) else [answer] for step, answer in merged.items()
        }
        self._host = host
        self._tls = tls
        self.visits: list[Visit] = []
        self.port = 0

    @property
    def messages(self) -> list[bytes]:
        return [message for visit in self.visits for message in visit.messages]

    @property
    def commands(self) -> list[str]:
        return [command for visit in self.visits for command in visit.commands]

    async def __aenter__(self) -> SmtpServer:
        self._server = await asyncio.start_server(self._serve, self._host, 0, limit=1 << 24)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for visit in self.visits:
            assert visit.task is not None
            visit.task.cancel()
            visit.writer.transport.abort()
            visit.transport.abort()
            with contextlib.suppress(OSError):
                await visit.writer.wait_closed()
        await asyncio.gather(*(visit.task for visit in self.visits if visit.task), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = Visit(writer.get_extra_info("peername"), writer, writer.transport, asyncio.current_task())
        self.visits.append(visit)
        try:
            await self._answer("banner", writer)
            while line := await reader.readline():
                await self._command(line, visit, reader, writer)
        except (HangUpError, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _command(
        self, line: bytes, visit: Visit, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        text = line.decode().rstrip("\r\n")
        visit.commands.append(text)
        verb = text.split(" ")[0].lower()
        if verb == "auth" and text.lower().startswith("auth login"):
            await self._login(visit, reader, writer)
            return
        said = await self._answer(verb, writer) if verb in self._answers else "500 what?"
        if verb not in self._answers:
            writer.write(b"500 5.5.1 what?\r\n")
        if verb == "starttls" and str(said).startswith("220"):
            assert self._tls is not None
            await writer.start_tls(self._tls)
        if verb == "data" and isinstance(said, str) and said.startswith("354"):
            visit.commands.append(await self._message(visit, reader))
            await self._answer("dot", writer)
        if verb == "quit" and said != b"":
            raise HangUpError

    async def _login(self, visit: Visit, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for prompt in (b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n"):
            writer.write(prompt)
            visit.commands.append((await reader.readline()).decode().strip())
        await self._answer("auth", writer)

    async def _message(self, visit: Visit, reader: asyncio.StreamReader) -> str:
        lines = []
        while (line := await reader.readline()) != b".\r\n":
            if not line:
                raise HangUpError
            lines.append(line[1:] if line.startswith(b".") else line)
        if not lines:
            return "<dot>"
        visit.messages.append(b"".join(lines))
        return "<message>"

    async def _answer(self, step: str, writer: asyncio.StreamWriter) -> Answer:
        answers = self._answers[step]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is DROP:
            raise HangUpError
        if answer is HANG:
            await asyncio.Event().wait()
        if isinstance(answer, bytes):
            writer.write(answer)
        else:
            writer.write(f"{answer}\r\n".encode())
        await writer.drain()
        return answer


def heard(commands: Sequence[str]) -> list[str]:
    """The verbs alone."""
    return [command.split(" ")[0] for command in commands]
