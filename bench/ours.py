"""Our relay as it runs in earnest: embedded broker, MTA engine with its couriers, recorder – real processes.

Database, broker and spool are in one folder on the same disk as Postfix's queue, flushed as always. The
strategy is wide open: five connections for each of four ISPs, twenty in all, as many as Postfix may use.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bench.corpus import DOMAINS, Origin
from bench.process import Usage, children, command, tree, usage

NODE: Final = "bench"
SERVICES: Final = ("broker", "recorder", "mta")
IN_FLIGHT: Final = 16
"""Packets published and not confirmed, as the launcher's default."""
CONNECTIONS: Final = 5
FROM_DOMAIN: Final = "bench.example"
READY: Final = """
SELECT count(*) FROM node, settings_version
WHERE node.version >= settings_version.version AND node.seen IS NOT NULL
"""
"""Whether the node runs the settings in force."""


class Angarium:
    """A running installation that relays everything to a port of this machine."""

    name = "Angarium"

    def __init__(self, folder: Path, relay_to: int, dkim_key: Path | None = None) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANGARIUM_")},
            "ANGARIUM_DATA": str(folder),
            "ANGARIUM_MTA__NODE": NODE,
            "ANGARIUM_MTA__ALLOW_LOOPBACK": "true",
            "ANGARIUM_LOG__LEVEL": "warning",
        }
        self.origin = self._prepare(relay_to, dkim_key)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for service in SERVICES:
            self.processes[service] = self._start(service)
        self._wait_until_ready()

    def offer(self, packets: Sequence[bytes]) -> None:
        """Publishes all packets, confirmed, some at a time; as the launcher does."""
        asyncio.run(_publish(f"embedded://{self.folder}/broker", self.origin.sender, packets))

    def usage(self) -> dict[str, Usage]:
        """Of broker, engine, couriers and recorder; the couriers are the engine's children."""
        parts = {name: tree(self.processes[name].pid) for name in ("broker", "recorder")}
        engine = self.processes["mta"].pid
        parts["engine"] = usage(engine)
        couriers = [tree(child) for child in children(engine)]
        parts["couriers"] = Usage(sum(one.cpu for one in couriers), sum(one.peak for one in couriers))
        return parts

    def pids(self) -> dict[str, int]:
        """For a profiler: each process by name."""
        found = {name: process.pid for name, process in self.processes.items()}
        for number, child in enumerate(children(found["mta"]), start=1):
            if any("courier" in word for word in command(child)):
                found[f"courier-{number}"] = child
        return found

    def wait_until_recorded(self, count: int, timeout: float) -> float:
        """The monotonic time at which the recorder had that many deliveries. Raises `TimeoutError`."""
        deadline = time.monotonic() + timeout
        while (recorded := self._select("SELECT count(*) FROM event WHERE kind = 'deliv'")) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the recorder has {recorded} of {count} deliveries")
            time.sleep(0.1)
        return time.monotonic()

    def close(self) -> None:
        for service in ("mta", "recorder", "broker"):
            self.processes[service].terminate()
            self.processes[service].wait()

    def _start(self, service: str) -> subprocess.Popen[bytes]:
        """It ends with us, however we end."""
        command = [sys.executable, "-m", "angarium", "run", service, "--parent", str(os.getpid())]
        return subprocess.Popen(command, env=self.environment, cwd=self.folder)

    def _select(self, question: str) -> int:
        with closing(sqlite3.connect(self.folder / "angarium.db", timeout=30)) as database:
            return int(database.execute(question).fetchone()[0])

    def _prepare(self, relay_to: int, dkim_key: Path | None) -> Origin:
        """Rows are Django's; a process of its own for each database."""
        arguments = [str(relay_to), *([str(dkim_key)] if dkim_key else [])]
        told = subprocess.run(
            [sys.executable, "-m", "bench.rows", *arguments],
            env=self.environment | {"PYTHONPATH": str(Path(__file__).parents[1])},
            cwd=self.folder, stdout=subprocess.PIPE, text=True, check=True,
        ).stdout  # fmt: skip
        account, mailing, launch, sender, *isps = (int(word) for word in told.split())
        return Origin(account, mailing, launch, sender, tuple(isps), f"news@{FROM_DOMAIN}")

    def _wait_until_ready(self, timeout: float = 30.0) -> None:
        deadline = time.monotonic() + timeout
        while not self._select(READY):
            dead = [name for name, process in self.processes.items() if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                raise RuntimeError(
                    f"services did not start: {', '.join(dead) or 'the node gave no sign of life'}"
                )
            time.sleep(0.2)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()


async def _publish(url: str, sender: int, packets: Sequence[bytes]) -> None:
    from angarium.broker.open import open_broker
    from angarium.broker.topology import mta_queue

    broker = await open_broker(url, "bench")
    waiting, queue = deque(packets), mta_queue(sender)

    async def publish() -> None:
        while waiting:
            await broker.publish(queue, waiting.popleft())

    await asyncio.gather(*(publish() for _ in range(IN_FLIGHT)))
    await broker.close()


def isp_names() -> list[str]:
    return [f"ISP of {domain}" for domain in DOMAINS]
