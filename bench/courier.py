"""The courier alone: messages from memory to `smtp-sink`, with and without DKIM RSA-2048.

    python -m bench courier [--messages N] [--connections K] [--couriers P]

What is measured is the couriers' CPU time a message, and their rate while driver and sink share the
machine with them. Beside it: what `openssl speed rsa2048` signs on the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from angarium.domain.message import unpack
from angarium.domain.sending import DkimKey, Sender, SendingSettings, TlsPolicy
from angarium.mta import dkim, link
from bench.corpus import Corpus, Origin, packets
from bench.process import usage
from bench.sink import Sink, free_port

ORIGIN = Origin(1, 1, 1, 1, (1, 2, 3, 4), "news@bench.example")
AHEAD = 2
"""Messages a connection has at a time."""


class Result(NamedTuple):
    per_second: float
    cpu_microseconds: float
    """Of the couriers, a message."""


class Driver:
    """One courier process and what it has on hand."""

    def __init__(self, work: deque[link.Send], folder: Path, number: int, left: asyncio.Semaphore) -> None:
        self._work = work
        self._left = left
        self._ours, self._theirs = socket.socketpair()
        self._orders: list[link.ToCourier] = []
        self._done: list[int] = []
        command = [sys.executable, "-m", "angarium.mta.courier", "--fd", str(self._theirs.fileno())]
        command += ["--slots", str(folder / f"slots{number}")]
        self.process = subprocess.Popen(command, pass_fds=[self._theirs.fileno()])
        self._theirs.close()

    async def start(self, orders: list[link.ToCourier], port: int, connections: int) -> None:
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._ours)
        await self._frame()
        self._writer.write(link.encode(orders))
        host = (link.Host("sink.example", "127.0.0.1", port),)
        for number in range(connections):
            self._orders.append(
                link.Open(number, 1, "", "bench.example", host, TlsPolicy.NEVER, max_messages=1_000_000)
            )
        self._flush()
        opened = 0
        while opened < connections:
            opened += len(await self._frame())

    async def run(self, connections: int) -> None:
        for _ in range(AHEAD):
            for number in range(connections):
                self._give(number)
        self._flush()
        while True:
            for report in await self._frame():
                if isinstance(report, link.Done):
                    assert report.verdict.type is None, report
                    self._done.append(report.slot)
                    self._give(report.connection)
                    self._left.release()
            if self._done:
                self._orders.append(link.Settled(tuple(self._done)))
                self._done.clear()
            self._flush()

    def _give(self, connection: int) -> None:
        if self._work:
            send = self._work.popleft()
            self._orders.append(
                link.Send(
                    connection, send.seq, send.grant, send.packet, send.index, send.frame,
                    send.message, send.address, send.isp, 1,
                )
            )  # fmt: skip

    def _flush(self) -> None:
        if self._orders:
            self._writer.write(link.encode(self._orders))
            self._orders = []

    async def _frame(self) -> list[link.ToEngine]:
        size = int.from_bytes(await self._reader.readexactly(4), "big")
        return link.decode_for_engine(await self._reader.readexactly(size))


def _orders(corpus: Corpus, signed: bool) -> Iterator[link.ToCourier]:
    keys = {1: DkimKey(1, "bench.example", "s1", "rsa", dkim.generate("rsa"))} if signed else {}
    sender = Sender(1, "bench", "email", "mta", dkim_keys=tuple(keys))
    yield link.Configure(SendingSettings(1, senders={1: sender}, dkim_keys=keys))
    for number, wire in enumerate(corpus.packets):
        packet = unpack(wire)
        yield link.Content(number, 1, packet.header.content, packet.frame(0), {})


def _sends(corpus: Corpus) -> Iterator[link.Send]:
    seq = 0
    for number, wire in enumerate(corpus.packets):
        packet = unpack(wire)
        for index, recipient in enumerate(packet.header.recipients):
            seq += 1
            frame = packet.frame(index)
            yield link.Send(0, seq, seq, number, index, frame, recipient.id, recipient.address, 0, 1)


async def measure(corpus: Corpus, couriers: int, connections: int, signed: bool) -> Result:
    """One run."""
    left = asyncio.Semaphore(0)
    work = deque(_sends(corpus))
    with tempfile.TemporaryDirectory(prefix="angarium-courier-") as folder, Sink(free_port()) as sink:
        drivers = [Driver(work, Path(folder), number, left) for number in range(couriers)]
        orders = list(_orders(corpus, signed))
        await asyncio.gather(*(driver.start(orders, sink.port, connections) for driver in drivers))
        before = sum(usage(driver.process.pid).cpu for driver in drivers)
        began = time.monotonic()
        tasks = [asyncio.create_task(driver.run(connections)) for driver in drivers]
        for _ in range(corpus.messages):
            await left.acquire()
        seconds = time.monotonic() - began
        cpu = sum(usage(driver.process.pid).cpu for driver in drivers) - before
        for task, driver in zip(tasks, drivers, strict=True):
            task.cancel()
            driver.process.kill()
            driver.process.wait()
    return Result(corpus.messages / seconds, cpu / corpus.messages * 1e6)


def openssl_signatures(processes: int) -> float:
    """RSA-2048 signatures a second by `openssl speed`."""
    command = ["openssl", "speed", "-seconds", "2", "-multi", str(processes), "rsa2048"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"rsa\s+2048 bits\s+\S+\s+\S+\s+([\d.]+)", out)
    return float(found[-1])


def main(argv: list[str]) -> int:
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(prog="python -m bench courier", description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=20, help="of each courier")
    parser.add_argument("--couriers", type=int, default=1, help="processes")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args(argv)
    corpus = packets(options.messages, ORIGIN)
    plain = asyncio.run(measure(corpus, options.couriers, options.connections, signed=False))
    signed = asyncio.run(measure(corpus, options.couriers, options.connections, signed=True))
    possible = openssl_signatures(cores)
    figures = {
        "messages_per_second": round(plain.per_second),
        "cpu_microseconds": round(plain.cpu_microseconds, 1),
        "signed_per_second": round(signed.per_second),
        "signed_cpu_microseconds": round(signed.cpu_microseconds, 1),
        "openssl_per_second": round(possible),
        "share_of_openssl": round(signed.per_second / possible, 3),
    }
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name.replace('_', ' '):28}{value:>12}")
    return 0
