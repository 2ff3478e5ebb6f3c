"""The listener service: public HTTP. It has no database; what a link is about is in the link."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import uvicorn

from angarium.broker.port import Broker
from angarium.config import ListenerSettings
from angarium.listener.app import application
from angarium.listener.journal import Journal
from angarium.listener.unsubscribes import Unsubscribes


async def run(
    settings: ListenerSettings,
    broker: Broker,
    secret: bytes,
    journal: Path,
    stop: asyncio.Event,
    listening: socket.socket | None = None,
) -> None:
    """Serves until `stop`. `journal`: a file for what the broker could not take."""
    kept = Journal(journal)
    unsubscribes = Unsubscribes(broker, kept, secret)
    server = uvicorn.Server(
        uvicorn.Config(
            application(unsubscribes),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=5,
            limit_concurrency=1_000,
            h11_max_incomplete_event_size=16_384,
        )
    )
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    replaying = asyncio.create_task(unsubscribes.replay(stop))
    stopping = asyncio.create_task(_stop(server, stop))
    try:
        await server.serve(sockets=[listening] if listening else None)
    finally:
        stop.set()
        stopping.cancel()
        await replaying
        kept.close()


async def _stop(server: uvicorn.Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True
