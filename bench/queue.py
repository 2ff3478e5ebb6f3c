"""The sender queue at a million messages: how quickly it stops, goes on, is emptied, and starts again.

Twenty mailings, three senders, two nodes with a spool each, real processes, and a sink that takes a second
for each message. One mailing is frozen, unfrozen and cleared; then a node is killed and started.

    freeze_s    from the command to the last moment a message of the mailing began
    unfreeze_s  from the command to the first that began again
    clear_s     from the command to figures without it
    start_s     from the start of a killed node to its first delivery
    rss_mb      peak memory of the larger engine
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console

from angarium.domain.email import MailBody, MailContent
from angarium.domain.message import MESSAGES_PER_PACKET, PacketHeader, Recipient, message_id, pack
from bench.process import usage
from bench.sink import free_port

NODES: Final = ("one", "two")
PATIENCE: Final = 900.0
IN_FLIGHT: Final = 16
_SEEN: Final = re.compile(rb"@m(\d+)\.example")


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    console = Console(stderr=options.json == "-")
    with tempfile.TemporaryDirectory(prefix="angarium-bench-", dir=options.folder) as folder:
        figures = measure(options, Path(folder), console)
    for name, value in figures.items():
        console.print(f"{name}: {value}")
    if options.json == "-":
        print(json.dumps(figures), flush=True)
    elif options.json:
        Path(options.json).write_text(json.dumps(figures) + "\n")
    return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench queue", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--mailings", type=int, default=20)
    parser.add_argument("--senders", type=int, default=3)
    parser.add_argument("--json", help="file for the figures, or - for one line on standard output")
    parser.add_argument("--folder", default="/var/tmp", help="on the disk to measure (default: %(default)s)")
    return parser.parse_args(argv)


def measure(options: argparse.Namespace, folder: Path, console: Console) -> dict[str, Any]:
    with ExitStack() as stack:
        sink = SlowSink(folder, stack)
        one = Installation(folder, stack)
        rows = one.prepare(sink.port, options)
        one.start("broker", "recorder", *(f"mta:{node}" for node in NODES))
        until(one.ready, "signs of life of both nodes")
        began = time.monotonic()
        with console.status("filling the queue"):
            asyncio.run(_publish(one.broker, _packets(rows, options.messages)))
            until(lambda: one.held() + sink.answers() >= options.messages, "everything in the spools")
        filled = time.monotonic() - began
        figures = _operate(one, sink, rows["mailings"][0][0])
        one.kill("mta:one")
        restarted = time.monotonic()
        one.start("mta:one")
        until(lambda: sink.began_from(0, restarted), "the first delivery")
        figures["start_s"] = round(time.monotonic() - restarted, 2)
        figures["rss_mb"] = round(max(one.peaks()) / 1e6)
        figures["taken_per_second"] = round(options.messages / filled)
        return {"messages": options.messages, **figures}


def _operate(one: Installation, sink: SlowSink, mailing: int) -> dict[str, Any]:
    """Freezes, unfreezes and clears one mailing, as the panel does."""
    from angarium.domain.gates import Scope
    from angarium.store import queues

    scope = Scope(mailing=mailing)
    until(lambda: sink.begun(mailing) > 0, "the mailing's first messages")
    given = time.monotonic()
    command = queues.close(scope, "bench")
    behind = queues.confirm(command.version)
    answered = time.monotonic()
    last = sink.last_begun(mailing, quiet=3.0)
    held = queues.queue(scope)
    given_again = time.monotonic()
    queues.open_again(scope, "bench")
    until(lambda: sink.latest(mailing) > given_again, "the mailing's next message")
    again = sink.first_after(mailing, given_again) - given_again
    cleared = time.monotonic()
    queues.clear(scope, "bench")
    until(lambda: queues.queue(scope).total - queues.queue(scope).sending <= 0, "an empty queue")
    return {
        "freeze_s": round(max(0.0, last - given), 2),
        "freeze_answered_s": round(answered - given, 2),
        "nodes_behind": behind,
        "frozen": held.frozen,
        "unfreeze_s": round(again, 2),
        "clear_s": round(time.monotonic() - cleared, 2),
    }


class Installation:
    """Real processes on one folder."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder / "data"
        self.folder.mkdir()
        self._stack = stack
        os.environ |= {
            "ANGARIUM_DATA": str(self.folder),
            "ANGARIUM_MTA__ALLOW_LOOPBACK": "true",
            "ANGARIUM_MTA__COURIERS": "1",
            "ANGARIUM_LOG__LEVEL": "warning",
        }
        self.broker = f"embedded://{self.folder}/broker"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def prepare(self, port: int, options: argparse.Namespace) -> dict[str, Any]:
        wanted = {
            "port": port, "nodes": NODES, "senders": options.senders, "mailings": options.mailings,
        }  # fmt: skip
        told = subprocess.run(
            [sys.executable, "-m", "bench.queue_rows"], input=json.dumps(wanted), text=True,
            stdout=subprocess.PIPE, check=True,
        ).stdout  # fmt: skip
        from angarium.store import database

        database.setup()
        return dict(json.loads(told.splitlines()[-1]))

    def start(self, *services: str) -> None:
        for service in services:
            name, _, node = service.partition(":")
            process = subprocess.Popen(
                [sys.executable, "-m", "angarium", "run", name, "--parent", str(os.getpid())],
                env=os.environ | ({"ANGARIUM_MTA__NODE": node} if node else {}),
            )
            self._processes[service] = process
            self._stack.callback(_end, process)

    def kill(self, service: str) -> None:
        self._processes[service].kill()
        self._processes[service].wait()

    def ready(self) -> bool:
        from angarium.web.sending.models import Node

        return Node.objects.exclude(seen=None).count() == len(NODES)

    def held(self) -> int:
        """Messages in the spools, as the nodes last said."""
        from django.db.models import F, Sum

        from angarium.web.reports.models import QueueFigure

        total = QueueFigure.objects.aggregate(n=Sum(F("new") + F("retries") + F("sending") + F("frozen")))
        return int(total["n"] or 0)

    def peaks(self) -> Iterator[int]:
        """Octets, the highest each engine had."""
        for name, process in self._processes.items():
            if name.startswith("mta") and process.poll() is None:
                yield usage(process.pid).peak


class SlowSink:
    """A sandbox server of ours that answers slowly, and its books."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.record = folder / "sink.jsonl"
        self.port = free_port()
        process = subprocess.Popen(
            [
                sys.executable, "-m", "angarium.sandbox.smtp_sink", "--record", str(self.record),
                "--port", str(self.port),
            ],
            stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        stack.callback(_end, process)

    def answers(self) -> int:
        return self._text().count(b'"event":"answer"')

    def begun(self, mailing: int) -> int:
        """Messages of a mailing the sink has seen begin and end."""
        return sum(int(found) == mailing for found in _SEEN.findall(self._text()))

    def last_begun(self, mailing: int, quiet: float) -> float:
        """The monotonic moment the last message of a mailing began, once none came for a while."""
        last, since = self.latest(mailing), time.monotonic()
        while time.monotonic() - since < quiet:
            time.sleep(0.1)
            if (now := self.latest(mailing)) != last:
                last, since = now, time.monotonic()
        return last

    def latest(self, mailing: int) -> float:
        return max(self._began(mailing), default=0.0)

    def first_after(self, mailing: int, moment: float) -> float:
        return min(began for began in self._began(mailing) if began > moment)

    def _began(self, mailing: int) -> Iterator[float]:
        """When each message of the mailing began that has its answer; monotonic seconds."""
        marked = f"@m{mailing}.example".encode()
        return (json.loads(line)["began"] for line in self._text().splitlines() if marked in line)

    def began_from(self, node: int, since: float) -> bool:
        """Whether a message that began after this moment left from the node and has its answer."""
        marks = tuple(f'"127.0.{sender}.{node + 1}"'.encode() for sender in range(10))
        lines = (line for line in reversed(self._text().splitlines()) if b'"answer"' in line)
        return any(
            json.loads(line)["began"] > since for line in islice(lines, 200) if any(m in line for m in marks)
        )

    def _text(self) -> bytes:
        return self.record.read_bytes() if self.record.exists() else b""


def _packets(rows: dict[str, Any], messages: int) -> Iterator[tuple[int, bytes]]:
    """Sender and packet, the mailings in turn."""
    content = msgspec.Raw(msgspec.msgpack.encode(MailContent("news@bench.example", "Bench")))
    for number, first in enumerate(range(0, messages, MESSAGES_PER_PACKET), start=1):
        mailing, launch, sender = rows["mailings"][number % len(rows["mailings"])]
        people = range(first, min(first + MESSAGES_PER_PACKET, messages))
        domain = f"m{mailing}.example"
        now = time.time()
        header = PacketHeader(
            number=number, queue=_queue(sender), account=rows["account"], mailing=mailing, launch=launch,
            sender=sender, channel="email", isp=0, published=now, expires=now + 86_400, content=content,
            recipients=tuple(
                Recipient(message_id(launch, "email", n + 1), f"slow1+{n}@{domain}", domain, n + 1, n + 1)
                for n in people
            ),
        )  # fmt: skip
        bodies = [msgspec.msgpack.encode(MailBody(f"News {n}", "", f"Dear {n}")) for n in people]
        yield sender, pack(header, bodies)


def _queue(sender: int) -> str:
    from angarium.broker.topology import mta_queue

    return mta_queue(sender)


async def _publish(url: str, packets: Iterator[tuple[int, bytes]]) -> None:
    from angarium.broker.open import open_broker

    broker = await open_broker(url, "bench")
    waiting = deque[asyncio.Task[None]]()
    for sender, packet in packets:
        waiting.append(asyncio.create_task(broker.publish(_queue(sender), packet)))
        if len(waiting) >= IN_FLIGHT:
            await waiting.popleft()
    await asyncio.gather(*waiting)
    await broker.close()


def until(true: Callable[[], bool], what: str) -> None:
    """Raises `TimeoutError`."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE:.0f} s in vain for {what}")
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()
