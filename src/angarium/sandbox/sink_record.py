"""What a sink saw: connections, and one line for each recipient of each transaction.

Lines are in the file before the answer they speak of leaves, so whoever got the answer finds the line.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Literal

import msgspec


class SinkEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the record."""

    event: Literal["open", "close", "answer"]
    """`answer`: what a recipient's attempt got, at RCPT or after the final dot."""
    time: float
    """Monotonic, seconds."""
    wall: float
    """Seconds."""
    connection: int
    """Counts from 1."""
    source: str
    """The client's IP address."""
    began: float = 0.0
    """Monotonic: when MAIL arrived."""
    mail_from: str = ""
    recipient: str = ""
    attempt: int = 0
    """Of this recipient, counted from 1."""
    message_id: str = ""
    """The header's value."""
    octets: int = 0
    """Of the message, dots unstuffed."""
    code: int = 0
    """0: the connection was closed instead of an answer."""
    text: str = ""
    fate: str = ""
    tls: bool = False
    helo: str = ""
    file: str = ""
    """The kept message."""

    @property
    def accepted(self) -> bool:
        return self.event == "answer" and self.code == 250


class SinkRecord:
    """The events, in memory and in an append-only file of JSON lines."""

    def __init__(self, path: Path | None = None) -> None:
        self.events: list[SinkEvent] = []
        self._fresh: list[SinkEvent] = []
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if path else None
        self._encoder = msgspec.json.Encoder()

    def add(self, event: SinkEvent) -> None:
        self.events.append(event)
        if self._file is not None:
            self._fresh.append(event)

    def flush(self) -> None:
        if self._fresh and self._file is not None:
            _write(self._file, self._encoder.encode_lines(self._fresh))
            self._fresh.clear()

    def close(self) -> None:
        self.flush()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def answers(self) -> list[SinkEvent]:
        return [event for event in self.events if event.event == "answer"]

    def accepted(self) -> list[SinkEvent]:
        return [event for event in self.events if event.accepted]

    def most_in_window(self, seconds: float, source: str = "") -> int:
        """The most transactions begun in any window of this length, from one source IP or from all."""
        of_source = (e for e in self.answers() if not source or e.source == source)
        times = [began for began, _ in sorted({(e.began, e.connection) for e in of_source})]
        most = start = 0
        for end, moment in enumerate(times):
            while moment - times[start] >= seconds:
                start += 1
            most = max(most, end - start + 1)
        return most

    def most_connections(self, source: str = "") -> int:
        """The most connections open at once, from one source IP or from all."""
        now = most = 0
        for event in self.events:
            if event.event != "answer" and (not source or event.source == source):
                now += 1 if event.event == "open" else -1
                most = max(most, now)
        return most


def read_record(path: Path) -> list[SinkEvent]:
    """The events of a record file; a line being written is left out."""
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return [msgspec.json.decode(line, type=SinkEvent) for line in whole.splitlines()]


def moment() -> tuple[float, float]:
    return time.monotonic(), time.time()


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
