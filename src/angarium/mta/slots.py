"""The slot file: what a courier had on the wire, readable after any death.

A memory-mapped file of fixed slots, shared through the page cache, so that it survives kill -9 of
courier and engine. A slot is taken before the final dot of a message is written, gets the reply when
it is read, and is free again once the engine has committed the outcome. After a kill:

    slot with a reply     → that outcome
    slot without a reply  → the dot may have gone out: doubtful
    no slot               → not sent

The file remembers the kernel's boot id: after a power cut its pages may never have reached the disk,
so every open grant is doubtful then.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Final

import msgspec

from angarium.domain.email import Reply

SLOTS: Final = 2048
_HEADER: Final = 64
_SLOT: Final = 640
_FREE, _DOT, _REPLY = 0, 1, 2
_LAYOUT: Final = struct.Struct(">BQQH")  # state, seq, grant, length of what follows
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Slot(msgspec.Struct, frozen=True):
    """One slot in use, as read after a death."""

    seq: int
    grant: int
    reply: Reply | None
    """None: the dot may have gone out, no answer is known."""


def boot_id() -> bytes:
    """36 bytes that change with every boot of the machine."""
    return _BOOT_ID.read_text().strip().encode() if _BOOT_ID.exists() else b"?" * 36


class SlotFile:
    """The courier's side."""

    def __init__(self, path: Path) -> None:
        size = _HEADER + SLOTS * _SLOT
        with path.open("a+b") as file:
            file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)
        self._map[:36] = boot_id()
        self._map[_HEADER:] = bytes(size - _HEADER)
        self._free = list(range(SLOTS - 1, -1, -1))

    def take(self, seq: int, grant: int) -> int:
        """Marks that the final dot is about to be written. Raises `IndexError` when all are taken."""
        slot = self._free.pop()
        start = _HEADER + slot * _SLOT
        self._map[start + 1 : start + _LAYOUT.size] = _LAYOUT.pack(_DOT, seq, grant, 0)[1:]
        self._map[start] = _DOT
        return slot

    def reply(self, slot: int, reply: Reply) -> None:
        """Keeps the answer, before anybody is told."""
        short = msgspec.structs.replace(reply, text=reply.text[:120])
        body = msgspec.msgpack.encode(short)[: _SLOT - _LAYOUT.size]
        start = _HEADER + slot * _SLOT
        self._map[start + _LAYOUT.size : start + _LAYOUT.size + len(body)] = body
        self._map[start + 17 : start + 19] = len(body).to_bytes(2, "big")
        self._map[start] = _REPLY

    def free(self, slot: int) -> None:
        """The outcome is committed elsewhere, or the dot was never written."""
        self._map[_HEADER + slot * _SLOT] = _FREE
        self._free.append(slot)

    def close(self) -> None:
        self._map.close()


def read(path: Path) -> list[Slot] | None:
    """The slots in use; None when the machine has booted since, or there is no file."""
    if not path.exists():
        return None
    data = path.read_bytes()
    if data[:36] != boot_id():
        return None
    return [
        slot
        for start in range(_HEADER, len(data), _SLOT)
        if (slot := _read_slot(data[start : start + _SLOT])) is not None
    ]


def _read_slot(data: bytes) -> Slot | None:
    state, seq, grant, length = _LAYOUT.unpack_from(data)
    if state == _FREE:
        return None
    body = data[_LAYOUT.size : _LAYOUT.size + length]
    return Slot(seq, grant, msgspec.msgpack.decode(body, type=Reply) if state == _REPLY else None)
