"""The commands of one SMTP connection of the sink.

RFC 5321 with PIPELINING, SIZE, 8BITMIME, SMTPUTF8, ENHANCEDSTATUSCODES, STARTTLS and AUTH PLAIN.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from angarium.sandbox.behaviour import Behaviour
from angarium.sandbox.smtp_wire import SmtpWire

if TYPE_CHECKING:
    from angarium.sandbox.smtp_sink import SmtpSink

LONGEST_COMMAND: Final = 8_192
_PATH: Final = re.compile(r"(?:FROM|TO):\s*<([^>]*)>(.*)", re.IGNORECASE)
_SIZE: Final = re.compile(r"\bSIZE=(\d+)", re.IGNORECASE)
_MESSAGE_ID: Final = re.compile(rb"^message-id:\s*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


class Taken(msgspec.Struct, frozen=True):
    """A recipient's attempt, and what it gets."""

    address: str
    attempt: int
    behaviour: Behaviour


class SmtpSession(SmtpWire):
    """Answers as the sink's options and the recipients' fates say, and records it."""

    def __init__(self, sink: SmtpSink, number: int) -> None:
        super().__init__(sink, number)
        self._scanned = 0
        self._in_data = False
        self._messages = 0
        self._helo = ""
        self._tls = False
        self._authenticated = False
        self._reset()

    def _reset(self) -> None:
        self._mail_from: str | None = None
        self._began = 0.0
        self._recipients: list[Taken] = []

    def next_step(self) -> bool:
        return self._end_of_data() if self._in_data else self._next_command()

    def _next_command(self) -> bool:
        end = self.buffer.find(b"\n")
        if end < 0:
            if len(self.buffer) > LONGEST_COMMAND:
                self.buffer.clear()
                self.reply("ehlo", "500 5.5.6 Line too long")
            return False
        line = self.buffer[:end].decode("utf-8", "surrogateescape").strip()
        del self.buffer[: end + 1]
        verb, _, rest = line.partition(" ")
        handler = _COMMANDS.get(verb.upper())
        if handler:
            handler(self, rest)
        else:
            self.reply("ehlo", "500 5.5.2 Command not recognized")
        return True

    def _ehlo(self, rest: str) -> None:
        self._hello_from(rest)
        options = self.sink.options
        lines = [options.hostname, "PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
        lines.append(f"SIZE {options.size}")
        if self.sink.tls and not self._tls:
            lines.append("STARTTLS")
        if options.auth:
            lines.append("AUTH PLAIN")
        self.reply("ehlo", "\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"]))

    def _hello(self, rest: str) -> None:
        self._hello_from(rest)
        self.reply("ehlo", f"250 {self.sink.options.hostname}")

    def _hello_from(self, name: str) -> None:
        self._reset()
        self._helo = name.strip()

    def _starttls(self, rest: str) -> None:
        if self.sink.tls and not self._tls:
            self.after(0, self.start_tls, "220 2.0.0 Ready to start TLS", self._encrypted)
        else:
            self.reply("starttls", "502 5.5.1 STARTTLS is not offered")

    def _encrypted(self) -> None:
        self._reset()
        self._tls, self._helo = True, ""

    def _auth(self, rest: str) -> None:
        method, _, response = rest.partition(" ")
        if method.upper() != "PLAIN" or not self.sink.options.auth:
            self.reply("auth", "504 5.5.4 Mechanism not supported")
            return
        try:
            _, user, password = base64.b64decode(response).decode().split("\0")
        except (binascii.Error, ValueError):
            self.reply("auth", "501 5.5.2 Cannot decode response")
            return
        self._authenticated = (user, password) == self.sink.options.auth
        good, bad = "235 2.7.0 Authentication successful", "535 5.7.8 Authentication credentials invalid"
        self.reply("auth", good if self._authenticated else bad)

    def _mail(self, rest: str) -> None:
        path = _PATH.match(rest)
        if refusal := self._refusal_of_mail(path):
            self.reply("mail", refusal)
            return
        assert path
        self._mail_from, self._began = path[1], time.monotonic()
        self.reply("mail", "250 2.1.0 Ok")

    def _refusal_of_mail(self, path: re.Match[str] | None) -> str:
        options = self.sink.options
        if not self._helo:
            return "503 5.5.1 EHLO first"
        if options.auth and not self._authenticated:
            return "530 5.7.0 Authentication required"
        if self._mail_from is not None:
            return "503 5.5.1 Nested MAIL command"
        if not path:
            return "501 5.5.4 Syntax: MAIL FROM:<address>"
        if (size := _SIZE.search(path[2])) and int(size[1]) > options.size:
            return "552 5.3.4 Message size exceeds fixed limit"
        return ""

    def _rcpt(self, rest: str) -> None:
        path = _PATH.match(rest)
        if self._mail_from is None:
            self.reply("rcpt", "503 5.5.1 Need MAIL command")
        elif not path or not path[1]:
            self.reply("rcpt", "501 5.1.3 Bad recipient address syntax")
        else:
            taken = Taken(path[1], *self.sink.next_attempt(path[1]))
            if taken.behaviour.stage == "dot":
                self._recipients.append(taken)
                self.reply("rcpt", "250 2.1.5 Ok")
            else:
                self.after(taken.behaviour.delay, self._refuse, taken)

    def _refuse(self, taken: Taken) -> None:
        behaviour = taken.behaviour
        self._note_answer(taken, behaviour)
        self.answer("rcpt", _reply_line(behaviour), behaviour.close)

    def _data(self, rest: str) -> None:
        if self._mail_from is None:
            self.reply("data", "503 5.5.1 Need MAIL command")
        elif not self._recipients:
            self.reply("data", "554 5.5.1 No valid recipients")
        else:
            self._in_data, self._scanned = True, 0
            self.reply("data", "354 End data with <CR><LF>.<CR><LF>")

    def _end_of_data(self) -> bool:
        """Takes the message when its final dot has arrived."""
        buffer = self.buffer
        if buffer.startswith(b".\r\n"):
            end, rest = 0, 3
        else:
            found = buffer.find(b"\r\n.\r\n", max(0, self._scanned - 4))
            self._scanned = len(buffer)
            if found < 0:
                return False
            end, rest = found + 2, found + 5
        message = bytes(buffer[:end])
        del buffer[:rest]
        self._in_data = False
        self._finish(_unstuffed(message))
        return True

    def _finish(self, message: bytes) -> None:
        """One answer for all recipients: the first refusal, else the acceptance."""
        options = self.sink.options
        taken = self._recipients
        behaviour = next((t.behaviour for t in taken if t.behaviour.code != 250), taken[0].behaviour)
        if len(message) > options.size:
            behaviour = Behaviour(behaviour.fate, "dot", 552, "5.3.4", "Message size exceeds fixed limit")
        delay = options.final_delay + max(t.behaviour.delay for t in taken)
        self.after(delay, self._end, message, behaviour)

    def _end(self, message: bytes, behaviour: Behaviour) -> None:
        self._messages += 1
        header = message[: message.find(b"\r\n\r\n") + 2]
        found = _MESSAGE_ID.search(header)
        name = found[1].decode("latin-1").strip() if found else ""
        file = self._keep(message)
        if self.fault("dot") in ("drop", "silent"):
            behaviour = Behaviour(behaviour.fate, "dot", 0, "", "")
        for taken in self._recipients:
            self._note_answer(taken, behaviour, message_id=name, octets=len(message), file=file)
        self._reset()
        self.answer("dot", _reply_line(behaviour), behaviour.close)

    def _note_answer(self, taken: Taken, behaviour: Behaviour, **more: Any) -> None:
        self.note(
            "answer",
            began=self._began,
            mail_from=self._mail_from or "",
            recipient=taken.address,
            attempt=taken.attempt,
            code=behaviour.code,
            text=behaviour.text,
            fate=str(taken.behaviour.fate),
            tls=self._tls,
            helo=self._helo,
            **more,
        )

    def _keep(self, message: bytes) -> str:
        if not self.sink.options.keep:
            return ""
        path = self.sink.options.keep / f"{self.number}-{self._messages}.eml"
        path.write_bytes(message)
        return str(path)

    def _rset(self, rest: str) -> None:
        self._reset()
        self.reply("rset", "250 2.0.0 Ok")

    def _noop(self, rest: str) -> None:
        self.reply("rset", "250 2.0.0 Ok")

    def _quit(self, rest: str) -> None:
        self.reply("quit", "221 2.0.0 Bye", close=True)


_COMMANDS: Final = {
    "EHLO": SmtpSession._ehlo,
    "HELO": SmtpSession._hello,
    "STARTTLS": SmtpSession._starttls,
    "AUTH": SmtpSession._auth,
    "MAIL": SmtpSession._mail,
    "RCPT": SmtpSession._rcpt,
    "DATA": SmtpSession._data,
    "RSET": SmtpSession._rset,
    "NOOP": SmtpSession._noop,
    "QUIT": SmtpSession._quit,
}


def _unstuffed(message: bytes) -> bytes:
    message = message.replace(b"\r\n..", b"\r\n.")
    return message[1:] if message.startswith(b"..") else message


def _reply_line(behaviour: Behaviour) -> str:
    """Empty when the connection is closed instead of an answer."""
    if not behaviour.code:
        return ""
    return " ".join(part for part in (str(behaviour.code), behaviour.enhanced, behaviour.text) if part)
