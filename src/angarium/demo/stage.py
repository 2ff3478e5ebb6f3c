"""The demo's processes: everything `angarium up` starts, further nodes, and the sandbox's mail server.

They stop with the demo, also when it is killed: the kernel tells each of them that its parent died.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from angarium import metrics
from angarium.config import Settings
from angarium.errors import AngariumError

START_PATIENCE: Final = 90.0
STOP_PATIENCE: Final = 90.0
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)


class Stage:
    """Processes that end with this one. Their output is in `<folder>/demo.log`."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "demo.log"
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        with self.log.open("ab") as log:
            self._spawn(module, arguments, environment, log.fileno())

    def start_sandbox(self, record: Path, mix: str = "realistic") -> int:
        """A mail server that delivers nowhere; its port."""
        arguments = ("--mix", mix, "--record", str(record))
        sandbox = self._spawn("angarium.sandbox.smtp_sink", arguments, None, subprocess.PIPE)
        assert sandbox.stdout is not None
        return int(json.loads(sandbox.stdout.readline())["port"])

    def _spawn(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str] | None, output: int
    ) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we stop them in order
                preexec_fn=_end_with_parent,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def wait_for(self, settings: Settings, services: Sequence[str]) -> None:
        """Until these services are well. Raises `AngariumError` when a process ends, or it takes too long."""
        deadline = time.monotonic() + START_PATIENCE
        waiting = list(services)
        while waiting:
            report = asyncio.run(metrics.ask(settings, waiting[0]))
            if report and report["healthy"]:
                waiting.pop(0)
                continue
            self.check()
            if time.monotonic() > deadline:
                raise AngariumError(f"{waiting[0]} did not start; see {self.log}")
            time.sleep(0.1)

    def check(self) -> None:
        """Raises `AngariumError`, with the last lines of the log, when a process has ended."""
        if any(process.poll() is not None for process in self._processes):
            last = self.log.read_text(errors="replace").splitlines()[-5:]
            raise AngariumError("a process of the demo has ended:\n" + "\n".join(last))

    def close(self) -> None:
        """Stops everything, what was started last first, so that the sandbox outlives the senders."""
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _end_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def port(wanted: int) -> int:
    """The port, or a free one when it is taken."""
    for candidate in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise AngariumError("this machine has no free port")
