"""Postfix's `smtp-sink`, which takes mail and counts it: the receiver on both sides of a comparison.

The moment the last message is in is read the same way for both: `smtp-sink -c` writes its counters to a
file in memory after each final dot, and we look at the end of that file every 10 ms.
"""

from __future__ import annotations

import os
import pwd
import re
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_COUNTER: Final = re.compile(rb"mesg=(\d+)")
_CONNECTIONS: Final = 1_000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, timeout: float = 20.0) -> None:
    """Until something accepts connections. Raises `TimeoutError`."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise TimeoutError(f"nothing listens on port {port}")


class Sink:
    """A running smtp-sink. `keep` names a folder where each message becomes a file; slow, for looking."""

    def __init__(self, port: int, keep: Path | None = None) -> None:
        memory = Path("/dev/shm")
        self.folder = tempfile.TemporaryDirectory(
            prefix="angarium-sink-", dir=memory if memory.is_dir() else None
        )
        self.port = port
        self.counters = Path(self.folder.name) / "counters"
        options = ["-4", "-c", "-m", str(_CONNECTIONS), *_user()]
        if keep is not None:
            keep.chmod(0o777)
            options += ["-d", f"{keep}/%s."]
        with self.counters.open("wb") as out:
            self.process = subprocess.Popen(
                ["smtp-sink", *options, f"127.0.0.1:{port}", str(_CONNECTIONS)], stdout=out
            )
        wait_for_port(port)

    def received(self) -> int:
        """Messages whose final dot has come."""
        with self.counters.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 200))
            found = _COUNTER.findall(file.read())
        return int(found[-1]) if found else 0

    def wait(self, count: int, timeout: float) -> float:
        """The monotonic time at which `count` messages were in. Raises `TimeoutError` with how many were."""
        deadline = time.monotonic() + timeout
        while (received := self.received()) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the sink has {received} of {count} messages after {timeout:.0f} s")
            time.sleep(0.01)
        return time.monotonic()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()


def _user() -> list[str]:
    return ["-u", pwd.getpwnam("nobody").pw_name] if os.geteuid() == 0 else []
