"""The composition root: opens what a service needs, wires it, runs it, closes in reverse order.

SIGTERM and SIGINT ask the service to drain. One that is not done in its time (`services.Service.drain`)
is ended as by kill -9, which loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

import structlog
import uvloop

from angarium import config, logs, metrics
from angarium.broker.open import open_broker
from angarium.broker.port import Broker
from angarium.config import Settings
from angarium.errors import ConfigurationError
from angarium.events import EventBatch
from angarium.services import BY_NAME, Service

if TYPE_CHECKING:  # Django takes long to import, and not every service needs it
    from angarium.store.database import Database

STOPPED: Final = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG: Final = 1

log = structlog.get_logger(__name__)


def run(name: str, settings: Settings, parent: int | None = None) -> None:
    """Runs one service until it is told to stop. `parent`: stop when the process of this id dies."""
    service = BY_NAME[name]
    config.use(settings)
    logs.configure(settings.log, metrics.instance(settings, name))
    if parent is not None:
        stop_with(parent)
    uvloop.run(_run(service, settings))


def stop_with(parent: int) -> None:
    """Asks the kernel to send SIGTERM when the parent dies, and looks whether it has died already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit(0)


class Process:
    """What the service of this process has opened so far."""

    def __init__(self, service: Service, settings: Settings, stack: contextlib.AsyncExitStack) -> None:
        self.service = service
        self.settings = settings
        self.stack = stack
        self.stop = asyncio.Event()
        self.health = metrics.Health(service.name)
        self._starting = self.health.notice("start")
        self._starting("still starting")

    def ready(self) -> None:
        """From now on the service does its work."""
        # What is imported stays. What comes is mostly freed by reference counts: looking for cycles in it
        # again and again took a tenth of the time.
        gc.freeze()
        gc.set_threshold(20_000, 20, 100)
        self._starting("")

    async def database(self) -> Database:
        """The control database, its schema checked."""
        from angarium.store import database

        database.setup(self.settings)
        opened = database.Database()
        self.stack.push_async_callback(opened.close)
        await opened.call(database.require_migrated)
        self.health.checks["database"] = _told(opened.healthy, "the database does not answer")
        return opened

    async def broker(self) -> Broker:
        name = f"{metrics.instance(self.settings, self.service.name)}:{os.getpid()}"
        opened = await open_broker(self.settings.broker, name)
        self.stack.push_async_callback(opened.close)
        self.health.checks["broker"] = _told(opened.healthy, "the broker does not answer")
        return opened


def _told(healthy: Callable[[], Awaitable[bool]], problem: str) -> metrics.Check:
    async def check() -> str:
        return "" if await healthy() else problem

    return check


async def _run(service: Service, settings: Settings) -> None:
    async with contextlib.AsyncExitStack() as stack:
        process = Process(service, settings, stack)
        for number in STOPPED:
            asyncio.get_running_loop().add_signal_handler(number, _told_to_stop, process)
        await stack.enter_async_context(metrics.serving(settings, process.health))
        log.info("service starts", pid=os.getpid())
        await WIRING[service.name](process)
    log.info("service stopped")


def _told_to_stop(process: Process) -> None:
    if process.stop.is_set():
        return
    log.info("service is told to stop", drain=process.service.drain)
    process.stop.set()
    limit = threading.Timer(process.service.drain, _end, [process.service])
    limit.daemon = True
    limit.start()


def _end(service: Service) -> None:
    log.error("service did not stop in time and is ended", drain=service.drain)
    os._exit(1)


async def _broker(process: Process) -> None:
    from angarium.broker.embedded import serve

    folder = process.settings.embedded_broker
    if folder is None:
        raise ConfigurationError(
            "broker_url names another broker than the embedded one: there is none to run"
        )
    process.ready()
    await serve(folder, process.stop)


async def _web(process: Process) -> None:
    import uvicorn

    web = process.settings.web
    listening = metrics.listening_socket(web.host, web.port, "web.port")
    await process.database()
    from angarium.web.asgi import application

    server = uvicorn.Server(
        uvicorn.Config(
            application,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=web.https,
            timeout_graceful_shutdown=10,
        )
    )
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment]
    stopping = asyncio.create_task(_stop_server(process.stop, server))
    process.ready()
    log.info("web serves", url=f"http://{web.host}:{listening.getsockname()[1]}/")
    await server.serve(sockets=[listening])
    stopping.cancel()


async def _stop_server(stop: asyncio.Event, server: object) -> None:
    await stop.wait()
    server.should_exit = True  # type: ignore[attr-defined]


async def _launcher(process: Process) -> None:
    database, broker = await process.database(), await process.broker()
    from angarium.mailing.service import run as run_launcher
    from angarium.store.launching import LaunchDatabase

    settings = process.settings
    process.ready()
    await run_launcher(
        settings.launcher,
        LaunchDatabase(database),
        broker,
        settings.secret(),
        settings.listener.public_url,
        process.stop,
    )


async def _listener(process: Process) -> None:
    settings = process.settings
    listening = metrics.listening_socket(settings.listener.host, settings.listener.port, "listener.port")
    broker = await process.broker()
    from angarium.listener.service import run as run_listener

    journal = settings.data / "listener" / "journal"
    log.info("listener serves", port=listening.getsockname()[1], public_url=settings.listener.public_url)
    process.ready()
    await run_listener(settings.listener, broker, settings.secret(), journal, process.stop, listening)


async def _mta(process: Process) -> None:
    database, broker = await process.database(), await process.broker()
    from angarium.mta.service import Report
    from angarium.mta.service import run as run_mta
    from angarium.store import blobs, nodes
    from angarium.store import settings as stored

    notice = process.health.notice("mta")

    async def report(said: Report) -> None:
        process.ready()
        notice(said.notice)
        metrics.show_node(said.figures, said.loaded, said.settings_version)
        # In this order: who says to have read a clear has told figures without what it removed.
        await database.call(nodes.figures, said.node, said.figures, said.at)
        await database.call(nodes.heartbeat, said.node, said.settings_version, said.notice, said.at)

    node = await database.call(nodes.register, process.settings.mta.node)
    await run_mta(
        process.settings,
        node,
        broker,
        lambda: database.call(stored.load),
        lambda: database.call(stored.version),
        lambda: database.call(nodes.everyone),
        report,
        lambda sha256: database.call(blobs.read, sha256),
        process.stop,
    )


async def _recorder(process: Process) -> None:
    database, broker = await process.database(), await process.broker()
    from angarium.domain.gates import Scope
    from angarium.status import recorder, retention, stall_watch
    from angarium.store import events, queue_books, stalls
    from angarium.store import retention as old

    async def store(batches: Sequence[EventBatch]) -> events.Stored:
        return await database.call(events.store, batches, time.time())

    async def delete_old() -> int:
        return await database.call(old.step, process.settings.recorder.event_retention, time.time())

    async def settle() -> int:
        await database.call(queue_books.settle)
        return 0

    async def look() -> list[stalls.Stall]:
        patience = process.settings.recorder.stall_after
        return await database.call(stalls.stalls, Scope(), patience, time.time())

    process.ready()
    tidying = [asyncio.create_task(retention.run(step)) for step in (delete_old, settle)]
    tidying.append(asyncio.create_task(stall_watch.run(look)))
    await recorder.run(broker, store, process.health.notice("recorder"), process.stop)
    for task in tidying:
        task.cancel()


WIRING: Final[dict[str, Callable[[Process], Awaitable[None]]]] = {
    "broker": _broker,
    "web": _web,
    "launcher": _launcher,
    "listener": _listener,
    "mta": _mta,
    "recorder": _recorder,
}
"""Service → how it is put together."""
