"""`python -m bench recorder`: events stored a second, on SQLite and PostgreSQL.

What is measured: the store alone; batches as an MTA publishes them, through the embedded broker and
the recorder into the database, as fast as they go; and how far behind the recorder is at a given rate.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from angarium.broker.open import open_broker
from angarium.broker.port import Broker
from angarium.broker.topology import EVENTS
from angarium.domain.message import message_id
from angarium.events import Event, EventBatch, EventKind, encode

if TYPE_CHECKING:
    from tests.support.postgres import Postgres

BATCH: Final = 50
"""Events of one group commit of an engine under load."""
RATE: Final = 10_000
"""Events a second at which the lag is measured."""
SOFT: Final = 0.05
HARD: Final = 0.01


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench recorder", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--json", metavar="FILE", help="write one line; - is standard output")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        result = measure(Path(folder), options.events)
    text = json.dumps(result)
    if options.json and options.json != "-":
        Path(options.json).write_text(text + "\n")
    print(text if options.json == "-" else json.dumps(result, indent=2))
    return 0


def measure(folder: Path, events: int) -> dict[str, Any]:
    """Kind of database → its figures."""
    from tests.support import databases
    from tests.support.postgres import Postgres

    folder.chmod(0o755)
    databases.setup(folder / "data")
    result: dict[str, Any] = {}
    with running(Postgres(folder / "pg", "-c", "listen_addresses=", "-c", "shared_buffers=256MB")) as server:
        kinds: dict[str, Callable[[], str]] = {
            "sqlite": databases.Sqlite(folder).fresh,
            "postgresql": databases.PostgresDatabases(server).fresh,
        }
        for kind, fresh in kinds.items():
            databases.use(fresh())
            result[kind] = {"store": alone(events)}
            databases.use(fresh())
            result[kind]["recorder"] = asyncio.run(through_broker(folder / f"broker-{kind}", events, None))
            databases.use(fresh())
            result[kind][f"at_{RATE}_a_second"] = asyncio.run(
                through_broker(folder / f"paced-{kind}", events, RATE)
            )
    return result


@contextmanager
def running(server: Postgres) -> Iterator[Postgres]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


def batches(events: int) -> list[EventBatch]:
    """A mailing's outcomes: mostly delivered, some deferred, a few dead addresses."""
    made = []
    for first in range(0, events, BATCH):
        numbers = range(first, min(first + BATCH, events))
        made.append(EventBatch(f"bench:{first}", tuple(event(number, events) for number in numbers)))
    return made


def event(number: int, total: int) -> Event:
    part = number * 7919 % total / total
    kind = EventKind.HARD_BOUNCE if part < HARD else EventKind.SOFT_BOUNCE if part < HARD + SOFT else None
    return Event(
        kind=kind or EventKind.DELIVERED, time=time.time(), account=1, mailing=2, launch=3,
        message=message_id(3, "email", number), channel="email", profile=number, subscription=number,
        sender=4,
        address=f"person{number}@provider{number % 50}.example", isp=number % 7, node=1, source="192.0.2.1",
        attempt=1, code=250, enhanced="2.0.0", text=f"Ok: queued as {number:X}", mx="mx1.provider.example",
        tls="TLSv1.3",
    )  # fmt: skip


def alone(events: int) -> dict[str, float]:
    """The store's own rate, in the recorder's transactions."""
    from angarium.status.recorder import EVENTS_AT_ONCE
    from angarium.store import events as store

    made = batches(events)
    group = EVENTS_AT_ONCE // BATCH
    longest = 0.0
    began, cpu = time.perf_counter(), time.process_time()
    for first in range(0, len(made), group):
        start = time.perf_counter()
        store.store(made[first : first + group], time.time())
        longest = max(longest, time.perf_counter() - start)
    seconds = time.perf_counter() - began
    return {
        "events_per_second": round(events / seconds),
        "cpu_microseconds_per_event": round((time.process_time() - cpu) / events * 1e6, 1),
        "longest_transaction_ms": round(longest * 1000, 1),
    }


async def through_broker(folder: Path, events: int, rate: int | None) -> dict[str, float]:
    """From the first publish to the last commit; the broker is a process of its own."""
    from tests.support.embedded_broker import EmbeddedBrokerProcess

    from angarium.status import recorder
    from angarium.store import events as store
    from angarium.store.database import Database

    process = EmbeddedBrokerProcess(folder)
    process.start()
    broker, database, stop = await open_broker(process.url, "bench"), Database(), asyncio.Event()
    left, lags = [events], []

    async def keep(group: Sequence[EventBatch]) -> store.Stored:
        stored = await database.call(store.store, group, time.time())
        lags.append(time.time() - min(batch.events[0].time for batch in group))
        left[0] -= stored.events
        if left[0] <= 0:
            stop.set()
        return stored

    running = asyncio.create_task(recorder.run(broker, keep, lambda _: None, stop))
    began, cpu = time.perf_counter(), os.times()
    await publish(broker, events, rate)
    await stop.wait()
    seconds = time.perf_counter() - began
    used = os.times()
    await running
    await database.close()
    await broker.close()
    process.stop()
    return {
        "events_per_second": round(events / seconds),
        "cpu_microseconds_per_event": round(
            (used.user + used.system - cpu.user - cpu.system) / events * 1e6, 1
        ),
        "longest_lag_seconds": round(max(lags), 2),
    }


async def publish(broker: Broker, events: int, rate: int | None) -> None:
    """A few at a time, as engines do; each batch is made when it is published."""
    waiting: set[asyncio.Task[None]] = set()
    began = time.perf_counter()
    for first in range(0, events, BATCH):
        if rate and (early := began + first / rate - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        made = tuple(event(number, events) for number in range(first, min(first + BATCH, events)))
        waiting.add(asyncio.create_task(broker.publish(EVENTS, encode(EventBatch(f"bench:{first}", made)))))
        if len(waiting) >= 32:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.gather(*waiting)
