"""The embedded broker as a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path


class EmbeddedBrokerProcess:
    """Start it with `start`; `kill` and `start` again keep its data. `stop` when done."""

    def __init__(self, folder: Path, *, reserve: int = 0) -> None:
        self._folder = folder
        self._reserve = reserve
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"embedded://{self._folder.absolute()}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, timeout: float = 60) -> None:
        """Returns when it listens."""
        sock = self._folder / "broker.sock"
        sock.unlink(missing_ok=True)
        command = [sys.executable, "-m", "angarium.broker.embedded", "--folder", str(self._folder)]
        self._process = subprocess.Popen(
            [*command, "--reserve", str(self._reserve)], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + timeout
        while not sock.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the embedded broker did not start")
            time.sleep(0.01)

    def wait_until_registered(self, queue: str) -> None:
        """A queue's first confirm is enough."""

    def kill(self) -> None:
        """SIGKILL, without a farewell."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        if self._process is None:
            return 0
        self._process.terminate()
        return self._process.wait(timeout=60)
