"""Each service's `/metrics` (Prometheus) and `/health`, over HTTP.

Always on the Unix socket `<data>/run/<instance>.sock`, and on TCP where `metrics.ports` names a port.
The instance is the service's name; for the MTA the node's name is added: `mta-node-1`. Where a process
of that name runs already, the process id is added too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import prometheus_client

from angarium.config import Settings
from angarium.errors import ConfigurationError

REQUEST_SECONDS: Final = 5.0
UNANSWERED: Final = (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.CancelledError)
"""What may end a request. Cancelled: the process ends; asyncio would log a cancelled answer as a fault."""
MESSAGES = prometheus_client.Gauge("angarium_mta_messages", "Messages this node holds.", ["state"])
LOADED = prometheus_client.Gauge("angarium_mta_loaded", "Messages this node has in memory.")
SETTINGS = prometheus_client.Gauge("angarium_mta_settings_version", "Settings version this node runs.")
Check = Callable[[], Awaitable[str]]
"""Empty when all is well, otherwise what is wrong, in plain words."""


def instance(settings: Settings, service: str) -> str:
    """What one process of a service is called on this machine."""
    return f"mta-{settings.mta.node}" if service == "mta" else service


def run_folder(settings: Settings) -> Path:
    """Sockets and locks of the running services."""
    return settings.data.absolute() / "run"


class Held(Protocol):
    """Messages of one mailing at one ISP, by state."""

    @property
    def new(self) -> int: ...
    @property
    def retries(self) -> int: ...
    @property
    def sending(self) -> int: ...
    @property
    def frozen(self) -> int: ...


def show_node(figures: Iterable[Held], loaded: int, settings_version: int) -> None:
    """What an MTA said of itself, for Prometheus."""
    held = list(figures)
    for state in ("new", "retries", "sending", "frozen"):
        MESSAGES.labels(state).set(sum(getattr(figure, state) for figure in held))
    LOADED.set(loaded)
    SETTINGS.set(settings_version)


class Health:
    """What a service says of itself: the sum of its checks."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.checks: dict[str, Check] = {}

    def notice(self, name: str) -> Callable[[str], None]:
        """Where a service says what is wrong, in its own words; empty: nothing any more."""
        said = [""]

        async def check() -> str:
            return said[0]

        self.checks[name] = check
        return partial(said.__setitem__, 0)

    async def report(self) -> dict[str, Any]:
        """`{"service", "healthy", "problems": {check: text}}`."""
        answers = await asyncio.gather(*(check() for check in self.checks.values()), return_exceptions=True)
        named = zip(self.checks, answers, strict=True)
        problems = {name: str(answer) or repr(answer) for name, answer in named if answer}
        return {"service": self.service, "healthy": not problems, "problems": problems}


@contextlib.asynccontextmanager
async def serving(settings: Settings, health: Health) -> AsyncIterator[None]:
    """Answers while the context is open. Raises `ConfigurationError` when the port is taken."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(*UNANSWERED):
            async with asyncio.timeout(REQUEST_SECONDS):
                await _answer(reader, writer, health)
        writer.close()

    path = _free_path(run_folder(settings), instance(settings, health.service))
    async with contextlib.AsyncExitStack() as stack:
        with _short(path) as address:
            path.unlink(missing_ok=True)
            stack.callback(path.unlink, missing_ok=True)
            await stack.enter_async_context(await asyncio.start_unix_server(answer, address))
        if port := settings.metrics.ports.get(health.service):
            listening = listening_socket(settings.metrics.host, port, f"metrics.ports.{health.service}")
            await stack.enter_async_context(await asyncio.start_server(answer, sock=listening))
        yield


def _free_path(folder: Path, name: str) -> Path:
    """Where this process answers; another process of the service that runs here keeps its place."""
    path = folder / f"{name}.sock"
    with socket.socket(socket.AF_UNIX) as other, contextlib.suppress(OSError), _short(path) as address:
        other.connect(address)
        return folder / f"{name}-{os.getpid()}.sock"
    return path


def listening_socket(host: str, port: int, setting: str) -> socket.socket:
    """A bound socket. Raises `ConfigurationError` naming the setting when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        variable = "ANGARIUM_" + setting.upper().replace(".", "__")
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}; "
            f"choose another port with {setting} ({variable})"
        ) from error


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """An address of a Unix socket that fits into 107 octets, however long the path is."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if len(os.fsencode(path)) <= 107:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, health: Health) -> None:
    request = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)
    path = request[1] if len(request) == 3 else b""
    if path == b"/metrics":
        body, kind, status = prometheus_client.generate_latest(), "text/plain; version=0.0.4", "200 OK"
    elif path == b"/health":
        report = await health.report()
        body, kind = json.dumps(report).encode(), "application/json"
        status = "200 OK" if report["healthy"] else "503 Service Unavailable"
    else:
        body, kind, status = b"/metrics or /health\n", "text/plain", "404 Not Found"
    head = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    writer.write("\r\n".join((*head, "", "")).encode() + body)
    await writer.drain()


async def ask(settings: Settings, service: str) -> dict[str, Any] | None:
    """The health report of a service on this machine; None when it does not answer."""
    path = run_folder(settings) / f"{instance(settings, service)}.sock"
    with contextlib.suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(REQUEST_SECONDS):
            with _short(path) as address:
                reader, writer = await asyncio.open_unix_connection(address)
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = await reader.read()
            writer.close()
            report: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
            return report
    return None
