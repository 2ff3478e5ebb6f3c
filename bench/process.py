"""What processes use: CPU seconds and peak memory, read from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_TICK: Final = os.sysconf("SC_CLK_TCK")
_PROC: Final = Path("/proc")


class Usage(NamedTuple):
    cpu: float
    """Seconds, of the process, and of the children it has already buried."""
    peak: int
    """Octets: the highest resident size; of several processes the sum."""

    def plus(self, other: Usage) -> Usage:
        return Usage(self.cpu + other.cpu, self.peak + other.peak)


def usage(pid: int) -> Usage:
    """Of one living process. Raises `OSError` when it is gone."""
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    ticks = sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime
    return Usage(ticks / _TICK, _peak(pid))


def tree(pid: int) -> Usage:
    """Of a process and all its living descendants."""
    total = Usage(0.0, 0)
    for member in family(pid):
        try:
            total = total.plus(usage(member))
        except OSError:
            continue  # it has just ended: its parent's figure has it from now on
    return total


def family(pid: int) -> Iterator[int]:
    """The process and its descendants."""
    yield pid
    for child in children(pid):
        yield from family(child)


def children(pid: int) -> list[int]:
    """Whichever thread started them."""
    try:
        lists = [(task / "children").read_text() for task in (_PROC / str(pid) / "task").iterdir()]
    except OSError:
        return []
    return [int(child) for text in lists for child in text.split()]


def command(pid: int) -> list[str]:
    """The command line; empty when the process is gone."""
    try:
        return (_PROC / str(pid) / "cmdline").read_text().split("\0")
    except OSError:
        return []


def _peak(pid: int) -> int:
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
