"""`angarium up`: every service of one machine as a child process.

The embedded broker comes first, then the database is migrated, then the rest starts. A child that
dies is started again, after a pause that doubles. SIGTERM or SIGINT stops them stage by stage
(`services.Service.stop_stage`); a second one kills them. A child of a supervisor that was killed
stops by itself. A setting that a child cannot work with stops everything, for it would fail again.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Final

import structlog

from angarium import metrics
from angarium.config import Settings
from angarium.errors import AngariumError, ConfigurationError
from angarium.services import SERVICES, Service

CONFIGURATION_EXIT: Final = 78
"""Exit code of a child whose settings cannot work (EX_CONFIG of sysexits.h)."""
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
STEADY: Final = 60.0
"""Seconds after which a child counts as having started well."""
GRACE: Final = 5.0
"""Seconds over its own limit that a child is given before it is killed."""
START_PATIENCE: Final = 60.0
LINE_OCTETS: Final = 1 << 20

log = structlog.get_logger(__name__)


class Child:
    """One service, kept running until it is told to stop."""

    def __init__(self, service: Service, environment: dict[str, str], prefix: str) -> None:
        self.service = service
        self._environment = environment
        self._prefix = prefix
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self.misconfigured = asyncio.Event()

    def start(self) -> None:
        self._keeping = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._run_once()
            if self._stopping.is_set():
                return
            if code == CONFIGURATION_EXIT:
                self.misconfigured.set()
                return
            pause = FIRST_PAUSE if time.monotonic() - began > STEADY else min(pause * 2, LONGEST_PAUSE)
            log.warning("service died and is started again", died=self.service.name, code=code, pause=pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _run_once(self) -> int:
        arguments = ("run", self.service.name, "--parent", str(os.getpid()))
        self._process = await spawn(arguments, self._environment)
        await forward(self._process, self._prefix)
        return await self._process.wait()

    async def stop(self) -> None:
        """Lets the service drain; kills it when it takes longer than it may."""
        self._stopping.set()
        if self._keeping is None:
            return
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(self._keeping), self.service.drain + GRACE)
        except TimeoutError:
            log.error("service did not stop in time and is killed", killed=self.service.name)
            self.kill()
            await self._keeping

    def kill(self) -> None:
        self._stopping.set()
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


async def spawn(arguments: tuple[str, ...], environment: dict[str, str]) -> asyncio.subprocess.Process:
    """One of our commands, away from the terminal's signals, its output in our hands."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "angarium", *arguments,
        env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT, start_new_session=True, limit=LINE_OCTETS,
    )  # fmt: skip


async def forward(process: asyncio.subprocess.Process, prefix: str) -> None:
    """Writes what the child writes, line by line, until it closes its output."""
    assert process.stdout is not None
    while True:
        try:
            line = await process.stdout.readline()
        except ValueError:  # a line longer than any of ours: its beginning was dropped
            continue
        if not line:
            return
        sys.stdout.write(prefix + line.decode(errors="replace"))
        sys.stdout.flush()


class Supervisor:
    """Starts and stops the children in order."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = asyncio.Event()
        self._environment = dict(os.environ)
        self._console = settings.log.format == "console"
        self._environment["ANGARIUM_LOG__FORMAT"] = settings.log.format
        self.children = [self._child(service) for service in SERVICES if self._wanted(service)]

    def _wanted(self, service: Service) -> bool:
        return service.name != "broker" or self._settings.embedded_broker is not None

    def _child(self, service: Service) -> Child:
        return Child(service, self._environment, self._prefix(service.name))

    def _prefix(self, name: str) -> str:
        return f"{name:<8} | " if self._console else ""

    async def run(self) -> None:
        """Until told to stop. Raises `ConfigurationError` when a service's settings cannot work."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._told_to_stop)
        try:
            await self._start()
            announcing = asyncio.create_task(self._announce())
            await self._watch()
            announcing.cancel()
        finally:
            await self._stop_all()
        log.info("everything is stopped")

    def _told_to_stop(self) -> None:
        if not self._stop.is_set():
            self._stop.set()
            return
        log.warning("told to stop a second time: killing what still runs")
        for child in self.children:
            child.kill()

    async def _start(self) -> None:
        first = [child for child in self.children if child.service.name == "broker"]
        for child in first:
            child.start()
            await self._ready(child)
        if not self._stop.is_set():
            await self._migrate()
        for child in self.children:
            if child not in first and not self._stop.is_set():
                child.start()

    async def _ready(self, child: Child) -> bool:
        """Waits until the service answers and is well."""
        deadline = time.monotonic() + START_PATIENCE
        while time.monotonic() < deadline and not self._stop.is_set() and not child.misconfigured.is_set():
            report = await metrics.ask(self._settings, child.service.name)
            if report and report["healthy"]:
                return True
            await asyncio.sleep(0.05)
        return False

    async def _migrate(self) -> None:
        process = await spawn(("migrate",), self._environment)
        await forward(process, self._prefix("migrate"))
        if code := await process.wait():
            raise AngariumError(f"the database could not be brought to this version (exit code {code})")

    async def _announce(self) -> None:
        ready = await asyncio.gather(*(self._ready(child) for child in self.children))
        if all(ready):
            web = self._settings.web
            log.info("everything runs", panel=f"http://{web.host}:{web.port}/")

    async def _watch(self) -> None:
        """Returns when told to stop; raises when a child says that its settings cannot work."""
        stop = asyncio.create_task(self._stop.wait())
        failed = {asyncio.create_task(child.misconfigured.wait()): child for child in self.children}
        await asyncio.wait((stop, *failed), return_when=asyncio.FIRST_COMPLETED)
        wrong = [child.service.name for task, child in failed.items() if task.done()]
        for task in (stop, *failed):
            task.cancel()
        if wrong:
            raise ConfigurationError(
                f"{', '.join(wrong)} cannot run with these settings; the reason is above"
            )

    async def _stop_all(self) -> None:
        by_stage = attrgetter("service.stop_stage")
        for _, stage in groupby(sorted(self.children, key=by_stage), by_stage):
            await asyncio.gather(*(child.stop() for child in stage))


@contextlib.contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Holds the data folder. Raises `ConfigurationError` when another `angarium up` does."""
    path = metrics.run_folder(settings) / "up.lock"
    lock = _open(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(lock, 20, 0).decode().strip()
        os.close(lock)
        raise ConfigurationError(
            f"`angarium up` already runs on {settings.data.absolute()} (process {owner}); "
            "stop it, or give this one another folder with ANGARIUM_DATA"
        ) from None
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{path.parent} cannot be written: {error.strerror}") from error


def up(settings: Settings) -> None:
    """Runs everything until SIGTERM or SIGINT."""
    with alone(settings):
        asyncio.run(Supervisor(settings).run())
