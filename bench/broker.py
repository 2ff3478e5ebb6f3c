"""The brokers alone: packets published by one process, taken and acknowledged by another.

    python -m bench broker [--rabbitmq] [--messages N] [--per-packet N] [--octets N]

Messages do not compress, so a packet is as large as it gets; packets of a mailing are a good deal smaller.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import uvloop
from tests.support.embedded_broker import EmbeddedBrokerProcess
from tests.support.rabbitmq import RabbitMQ

from angarium.broker.open import open_broker
from bench.process import tree

QUEUE = "akmta_1"
UNDER_WAY = 8
PREFETCH = 10
BODIES = 20


def publish(url: str, packets: int, size: int) -> float:
    """Publishes them all, `UNDER_WAY` at a time; the CPU seconds it took."""
    chance = random.Random(1)
    bodies = [chance.randbytes(size) for _ in range(BODIES)]
    before = time.process_time()
    uvloop.run(_publish(url, packets, bodies))
    return time.process_time() - before


async def _publish(url: str, packets: int, bodies: list[bytes]) -> None:
    broker = await open_broker(url, "bench publisher")
    gate = asyncio.Semaphore(UNDER_WAY)

    async def one(number: int) -> None:
        async with gate:
            await broker.publish(QUEUE, bodies[number % BODIES])

    await asyncio.gather(*(one(number) for number in range(packets)))
    await broker.close()


async def _consume(url: str, packets: int) -> float:
    """Takes and acknowledges them all; seconds from the first to the last."""
    broker = await open_broker(url, "bench consumer")
    consumer = await broker.consume(QUEUE, prefetch=PREFETCH)
    began = 0.0
    for _ in range(packets):
        delivery = await anext(aiter(consumer))
        began = began or time.perf_counter()
        await delivery.ack()
    seconds = time.perf_counter() - began
    await broker.close()
    return seconds


@contextmanager
def running(rabbitmq: bool) -> Iterator[EmbeddedBrokerProcess | RabbitMQ]:
    with tempfile.TemporaryDirectory(prefix="ang-bench-") as folder:
        server = RabbitMQ(Path(folder)) if rabbitmq else EmbeddedBrokerProcess(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def measure(rabbitmq: bool, messages: int, per_packet: int, octets: int) -> dict[str, float | str]:
    packets = messages // per_packet
    with running(rabbitmq) as server, ProcessPoolExecutor(1, mp_context=get_context("spawn")) as publishers:
        before, own = tree(server.pid), time.process_time()
        publishing = publishers.submit(publish, server.url, packets, per_packet * octets)
        seconds = uvloop.run(_consume(server.url, packets))
        after = tree(server.pid)
        return {
            "broker": "rabbitmq" if rabbitmq else "embedded",
            "messages_per_second": round(packets * per_packet / seconds),
            "megabytes_per_second": round(packets * per_packet * octets / seconds / 1e6, 1),
            "broker_cpu_seconds": round(after.cpu - before.cpu, 2),
            "broker_cpu_microseconds_per_message": round(1e6 * (after.cpu - before.cpu) / messages, 1),
            "broker_peak_megabytes": round(after.peak / 1e6),
            "publisher_cpu_seconds": round(publishing.result(), 2),
            "consumer_cpu_seconds": round(time.process_time() - own, 2),
        }


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench broker", description=__doc__)
    parser.add_argument(
        "--rabbitmq", action="store_true", help="measure RabbitMQ instead of the embedded one"
    )
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--per-packet", type=int, default=200)
    parser.add_argument("--octets", type=int, default=10_000, help="of a message")
    asked = parser.parse_args(argv)
    print(json.dumps(measure(asked.rabbitmq, asked.messages, asked.per_packet, asked.octets), indent=2))
    return 0
