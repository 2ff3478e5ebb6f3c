"""A whole Angarium on one temporary folder: real processes, started, killed and looked at one by one."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from angarium.sandbox.sink_record import SinkEvent, read_record

STRATEGY = {"connections": 10, "messages_per_connection": 50, "attempts": 1000, "interval": 1}
RULE = {"mode": "same_ip", "retries": 6, "interval": 15, "type": "fixed"}
NODES = {"node-1": ["127.0.0.11", "127.0.0.12"]}
SCENE = Path(__file__).with_name("scene.py")
ENDED = ("deliv", "undeliv")


class End(NamedTuple):
    """How a message ended, as the recorder has it."""

    kind: str
    reason: str


class Installation:
    """See the module's head. `settings` are environment variables without the prefix."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.record = folder / "sink.jsonl"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANGARIUM_")},
            "ANGARIUM_DATA": str(folder / "data"),
            "ANGARIUM_MTA__RULES_SPEED": "1800",
            "ANGARIUM_MTA__MIN_FREE_DISK": "1 MB",
            **{f"ANGARIUM_{name}": value for name, value in settings.items()},
        }
        self.database_url = settings.get("DATABASE_URL", f"sqlite://{folder}/data/angarium.db")
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._ids: dict[str, int] = {}

    # ── processes ──

    def start_sink(self, *options: str) -> int:
        """The port of a sandbox mail server whose books are `record`."""
        command = [sys.executable, "-m", "angarium.sandbox.smtp_sink", "--record", str(self.record), *options]
        sink = subprocess.Popen(command, stdout=subprocess.PIPE)
        self._running["sink"] = sink
        assert sink.stdout is not None
        return int(json.loads(sink.stdout.readline())["port"])

    def start(self, *services: str) -> None:
        """Services by name; `mta:node-2` is the mta of that node."""
        for service in services:
            name, _, node = service.partition(":")
            environment = {**self._environment, **({"ANGARIUM_MTA__NODE": node} if node else {})}
            with (self.folder / "log").open("ab") as log:
                self._running[service] = subprocess.Popen(
                    [sys.executable, "-m", "angarium", "run", name], env=environment, stdout=log, stderr=log
                )

    def kill(self, service: str) -> None:
        """SIGKILL; to the process only, so that its children are left to themselves."""
        process = self._running.pop(service)
        process.kill()
        process.wait()

    def kill_courier(self, service: str) -> bool:
        """SIGKILL to one courier of an mta; whether there was one."""
        mta = self._running[service].pid
        found = subprocess.run(
            ["pgrep", "-P", str(mta)], capture_output=True, text=True, check=False
        ).stdout.split()
        if found:
            os.kill(int(found[-1]), signal.SIGKILL)
        return bool(found)

    def stop(self, service: str, patience: float = 60) -> int:
        """SIGTERM; the exit status."""
        process = self._running.pop(service)
        process.terminate()
        return process.wait(patience)

    def allow_any_disk(self) -> None:
        """As if somebody had made room."""
        self._environment["ANGARIUM_MTA__MIN_FREE_DISK"] = "1 MB"

    def running(self, service: str) -> bool:
        return service in self._running and self._running[service].poll() is None

    def close(self) -> None:
        order = ("launcher", "mta", "recorder", "broker", "sink")
        for service in sorted(self._running, key=lambda s: order.index(s.partition(":")[0])):
            process = self._running.pop(service)
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # ── what people do ──

    def build(
        self, recipients: list[str], port: int, nodes: Mapping[str, list[str]] = NODES, **more: Any
    ) -> None:
        wanted = {
            "recipients": recipients, "port": port, "nodes": dict(nodes), "strategy": STRATEGY, "rule": RULE,
            **more,
        }  # fmt: skip
        self._ids = self._scene("build", given=json.dumps(wanted))

    def launch(self) -> None:
        self._ids |= self._scene("launch", str(self._ids["account"]), str(self._ids["mailing"]))

    def command(self, *arguments: str, done: tuple[int, ...] = (0,)) -> str:
        """What an `angarium` command prints. `done`: the exit statuses that are well."""
        ended = subprocess.run(
            [sys.executable, "-m", "angarium", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode in done, ended.stderr
        return ended.stdout

    def _scene(self, *arguments: str, given: str = "") -> dict[str, int]:
        done = subprocess.run(
            [sys.executable, str(SCENE), *arguments], env=self._environment, input=given, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout.splitlines()[-1]))

    # ── what is seen ──

    @contextmanager
    def _database(self) -> Iterator[Any]:
        if self.database_url.startswith("sqlite://"):
            connection: Any = sqlite3.connect(self.database_url.removeprefix("sqlite://"), timeout=60)
        else:
            connection = psycopg.connect(self.database_url)
        try:
            yield connection
        finally:
            connection.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self._database() as connection:
            return list(connection.execute(query).fetchall())

    def ends(self) -> dict[str, list[End]]:
        """Recipient → the ends recorded for it."""
        found: dict[str, list[End]] = {}
        for address, kind, reason in self.rows("SELECT address, kind, reason FROM event WHERE slot='end'"):
            found.setdefault(address, []).append(End(kind, reason))
        return found

    def doubtful(self) -> set[str]:
        return {row[0] for row in self.rows("SELECT DISTINCT address FROM event WHERE kind='doubt'")}

    def taken(self) -> Counter[str]:
        """Recipient → how often the sink took a message for it."""
        return Counter(event.recipient for event in self.seen() if event.accepted)

    def seen(self) -> list[SinkEvent]:
        return read_record(self.record) if self.record.exists() else []

    def wait_for_ends(self, count: int, patience: float = 90) -> None:
        self.wait_until(lambda: len(self.ends()) >= count, f"{count} ends", patience)

    def wait_until(self, true: Callable[[], bool], what: str, patience: float = 120) -> None:
        """Looks until it is so. Fails with the last lines of the log when it takes too long."""
        deadline = time.monotonic() + patience
        while not true():
            if time.monotonic() > deadline:
                log = (self.folder / "log").read_text(errors="replace").splitlines()[-30:]
                raise AssertionError(
                    f"waited {patience} s in vain for {what}; the log's end:\n" + "\n".join(log)
                )
            time.sleep(0.1)
