"""Requests that were answered before the broker could take them.

Guarantees: what `add` returned for is on the disk and survives kill -9 and a power cut; it leaves the
journal only after the broker confirmed it. After a crash it may be published twice, under the same batch
id, which the recorder stores once.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

_HEAD: Final = struct.Struct(">II")
"""Length and CRC-32 of the event batch that follows."""


class Journal:
    """A file of event batches, appended to, shortened by what is published. Any thread may call it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        self._mend()
        _sync(path.parent)

    def add(self, batch: bytes) -> None:
        """Blocks for the disk. Raises `OSError` when it cannot be written."""
        with self._lock:
            start = self._file.seek(0, os.SEEK_END)
            try:
                _write(self._file, [batch])
            except OSError:
                self._file.truncate(start)
                raise

    def batches(self) -> list[bytes]:
        """What waits, the oldest first."""
        with self._lock:
            return list(self._read())

    def drop(self, count: int) -> None:
        """The oldest `count` are published."""
        with self._lock:
            rest = list(self._read())[count:]
            other = self._path.with_suffix(".new")
            with other.open("wb") as file:
                _write(file, rest)
            os.replace(other, self._path)
            _sync(self._path.parent)
            self._file.close()
            self._file = self._path.open("a+b")

    def close(self) -> None:
        self._file.close()

    def _read(self) -> Iterator[bytes]:
        self._file.seek(0)
        while len(head := self._file.read(_HEAD.size)) == _HEAD.size:
            length, checksum = _HEAD.unpack(head)
            batch = self._file.read(length)
            if len(batch) < length or zlib.crc32(batch) != checksum:
                return
            yield batch

    def _mend(self) -> None:
        """Cuts off what a crash left half written: nobody was told it was taken."""
        whole = sum(_HEAD.size + len(batch) for batch in self._read())
        self._file.truncate(whole)


def _write(file: BinaryIO, batches: Iterable[bytes]) -> None:
    for batch in batches:
        file.write(_HEAD.pack(len(batch), zlib.crc32(batch)) + batch)
    file.flush()
    os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Makes the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
