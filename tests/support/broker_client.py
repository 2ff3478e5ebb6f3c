"""A process beside the test that uses a broker, to be killed: `python -m tests.support.broker_client`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from angarium.broker.open import open_broker

ROOT = Path(__file__).resolve().parents[2]


def take(url: str, queue: str, count: int) -> subprocess.Popen[str]:
    """Takes `count` deliveries, prints a line for each (flag, body), and keeps them until killed."""
    return _start("take", url, queue, str(count))


def die(url: str, queue: str, times: int) -> subprocess.Popen[str]:
    """Lets one process after another take a delivery, print its line, and be killed holding it."""
    return _start("die", url, queue, str(times))


def publish(url: str, queue: str, prefix: str, count: int) -> subprocess.Popen[str]:
    """Publishes `count` small packets, all under way at once; ends with status 0 when all are confirmed."""
    return _start("publish", url, queue, prefix, str(count))


def _start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.broker_client", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


async def _take(url: str, queue: str, count: str) -> None:
    broker = await open_broker(url, "taker")
    consumer = await broker.consume(queue, prefetch=int(count))
    for _ in range(int(count)):
        delivery = await anext(aiter(consumer))
        print(int(delivery.redelivered), delivery.body.decode(), flush=True)
    await asyncio.Event().wait()


def _die(url: str, queue: str, times: str) -> None:
    for _ in range(int(times)):
        reading, writing = os.pipe()
        victim = os.fork()
        if victim == 0:
            os.dup2(writing, sys.stdout.fileno())
            asyncio.run(_take(url, queue, "1"))
        os.close(writing)
        with open(reading) as output:
            print(output.readline(), end="", flush=True)
            os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)


async def _publish(url: str, queue: str, prefix: str, count: str) -> None:
    broker = await open_broker(url, "publisher")
    await asyncio.gather(*(broker.publish(queue, f"{prefix}{i}".encode()) for i in range(int(count))))
    await broker.close()


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "die":
        _die(*arguments)
    else:
        asyncio.run({"take": _take, "publish": _publish}[command](*arguments))
