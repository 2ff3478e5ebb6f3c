"""Whose a launch is: names of launchers that tell whether they are alive, and how fresh a claim is."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

from angarium.mailing.port import TAKEOVER


class Lease:
    """The heartbeat's memory: whether the launches are still this launcher's beyond doubt."""

    def __init__(self) -> None:
        self.owner = f"{process_name(os.getpid())}/{uuid.uuid4().hex[:8]}"
        self._renewed = time.monotonic()

    def renewed(self, asked: float) -> None:
        """A heartbeat sent at `asked`, monotonic, has been committed."""
        self._renewed = asked

    @property
    def fresh(self) -> bool:
        return time.monotonic() - self._renewed < TAKEOVER / 2


def process_name(pid: int) -> str:
    """Names a process of this machine for good: boot, process space, number, moment of its start.

    Empty when there is no such process, or where the system does not say.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        space = os.stat("/proc/self/ns/pid").st_ino
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
    return f"{boot}-{space}:{pid}:{started}"


def is_dead(owner: str) -> bool:
    """Whether the owner was a process of this machine that is no more. False where it cannot be known."""
    place, _, rest = owner.partition("/")[0].partition(":")
    here = process_name(os.getpid())
    if not place or place != here.partition(":")[0]:
        return False
    pid = rest.partition(":")[0]
    return not pid.isdigit() or process_name(int(pid)) != f"{place}:{rest}"
