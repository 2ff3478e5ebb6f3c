"""The launcher alone: from the audience in the database to packets the broker has confirmed.

SQLite and the embedded broker; personalised messages of 10 KB, the text version derived from the HTML. The
launcher, its database thread included, is held to one core; the broker is a process of its own. Counted from
the request of the launch to its end, starting what is slow to start once not included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import uvloop

RECIPIENTS: Final = 40_000
WARM_UP: Final = 1_000
DOMAINS: Final = (
    "gmail.com",
    "yahoo.com",
    "mail.ru",
    "yandex.ru",
    "outlook.com",
    "corp.example",
    "shop.example",
)
PARAGRAPHS: Final = 18
WORDS: Final = [
    "spring",
    "brings",
    "new",
    "books",
    "maps",
    "lamps",
    "chairs",
    "gardens",
    "rivers",
    "letters",
    "morning",
    "trains",
    "music",
    "bread",
]
TIMEOUT: Final = 540


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench launch", description=__doc__)
    parser.add_argument("--recipients", type=int, default=RECIPIENTS)
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - is standard output")
    options = parser.parse_args(argv)
    figures = measure(options.recipients)
    if options.json == "-":
        print(json.dumps(figures))
        return 0
    if options.json:
        Path(options.json).write_text(json.dumps(figures) + "\n")
    print(
        f"launcher: {figures['launch_per_second']:,.0f} messages/s "
        f"({figures['launch_per_cpu_second']:,.0f} a CPU second; {figures['message_bytes']:,.0f} bytes each)"
    )
    return 0


def measure(recipients: int = RECIPIENTS) -> dict[str, float]:
    """`launch_per_second`, `launch_per_cpu_second`, `seconds`; bytes each: `message_`, `packet_bytes`."""
    with tempfile.TemporaryDirectory(prefix="bench-launch-") as folder:
        place = Path(folder)
        broker = _started(place / "broker")
        try:
            command = [sys.executable, "-m", "bench.launch", str(place), str(recipients)]
            environment = os.environ | {"ANGARIUM_DATA": folder, "ANGARIUM_LOG__LEVEL": "warning"}
            done = subprocess.run(
                command, env=environment, check=True, stdout=subprocess.PIPE, timeout=TIMEOUT, text=True
            )
        finally:
            broker.terminate()
            broker.wait()
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _started(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "angarium.broker.embedded", "--folder", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (folder / "broker.sock").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the embedded broker did not start")
        time.sleep(0.02)
    return process


def _measured(folder: Path, recipients: int) -> dict[str, float]:
    """In a process of its own."""
    from angarium.store import database

    database.setup()
    database.migrate()
    account, warm, mailing = _rows(recipients)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    return uvloop.run(_launches(folder, account, warm, mailing, recipients))


async def _launches(folder: Path, account: int, warm: int, mailing: int, recipients: int) -> dict[str, float]:
    from angarium import config
    from angarium.broker.open import open_broker
    from angarium.mailing import service
    from angarium.store.database import Database
    from angarium.store.launching import LaunchDatabase

    database = Database()
    broker = await open_broker(f"embedded://{folder}/broker", "bench")
    stop = asyncio.Event()
    running = asyncio.create_task(
        service.run(
            config.current().launcher, LaunchDatabase(database), broker, b"s" * 32, "https://u.example", stop
        )
    )
    await _launch(database, account, warm)
    cpu, began = time.process_time(), time.perf_counter()
    ended = await _launch(database, account, mailing)
    cpu, seconds = time.process_time() - cpu, ended - began
    bytes_each = await _packet_bytes(broker, account)
    stop.set()
    await running
    await broker.close()
    await database.close()
    return {
        "launch_per_second": recipients / seconds,
        "launch_per_cpu_second": recipients / cpu,
        "seconds": seconds,
        **bytes_each,
    }


async def _launch(database: Any, account: int, mailing: int) -> float:
    from angarium.store import launches

    launch = await database.call(launches.request, account, mailing)
    while not (progress := await database.call(launches.progress, account, launch)).is_over:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    if progress.state != "prepared":
        raise RuntimeError(f"the launch ended {progress.state}")
    return time.perf_counter()


async def _packet_bytes(broker: Any, account: int) -> dict[str, float]:
    from angarium.domain.message import FrameReader, unpack
    from angarium.web.sending.models import Sender

    sender = await asyncio.to_thread(lambda: Sender.objects.get(accounts=account).pk)
    consumer = await broker.consume(f"akmta_{sender}", prefetch=1)
    async for delivery in consumer:
        packet = unpack(delivery.body)
        count = len(packet.header.recipients)
        reader = FrameReader(packet.frame(0))
        size = sum(len(reader.read(index, packet.frame(index))) for index in range(count))
        return {"message_bytes": size / count, "packet_bytes": len(delivery.body) / count}
    raise AssertionError("unreachable")


def _rows(recipients: int) -> tuple[int, int, int]:
    """Account, a small mailing to warm up with, and the mailing."""
    from angarium.web.access.models import Account
    from angarium.web.directory.models import ProfileList, Resource
    from angarium.web.mailings.models import Mailing, Template
    from angarium.web.sending.models import IpAddress, MtaSender, Node, Sender

    account = Account.objects.create(name="Bench")
    resource = Resource.objects.create(account=account, name="News")
    address = IpAddress.objects.create(node=Node.objects.create(name="bench"), address="127.0.0.1")
    sender = Sender.objects.create(name="Bench")
    sender.accounts.add(account)
    MtaSender.objects.create(sender=sender).addresses.add(address)
    content = {"subject": "News for {{ first_name }}", "html": html()}
    template = Template.objects.create(account=account, name="News", content=content)
    mailings = []
    for name, size in (("warm-up", WARM_UP), ("launch", recipients)):
        audience = ProfileList.objects.create(account=account, name=name)
        _people(account.pk, resource.pk, audience.pk, name, size)
        mailings.append(
            Mailing.objects.create(
                account=account, name=name, template=template, audience=audience, resource=resource,
                sender=sender, options={"from_address": "news@shop.example"},
            ).pk
        )  # fmt: skip
    return account.pk, mailings[0], mailings[1]


def _people(account: int, resource: int, audience: int, name: str, count: int) -> None:
    import io

    from angarium.store import imports

    lines = ["email,first_name,last_name,city,points"]
    lines += [
        f"{name}{number}@{DOMAINS[number % len(DOMAINS)]},Анна{number},O'Neil,Йошкар-Ола,{number % 1000}"
        for number in range(count)
    ]
    imports.run(account, io.BytesIO("\n".join(lines).encode()), resource=resource, into=audience)


def html() -> str:
    """A template whose messages have 10 KB, HTML and text together, a field in every paragraph."""
    chance = random.Random(7)
    paragraphs = (
        f'<p style="margin: 0 0 {number}px">Dear {{{{ first_name }}}}, news {number} for {{{{ city }}}}: '
        f"{' '.join(chance.choices(WORDS, k=30))}.</p>\n"
        for number in range(PARAGRAPHS)
    )
    return (
        "<html><head><title>News</title></head><body><h1>Hello {{ first_name }} {{ last_name }}</h1>\n"
        f"{''.join(paragraphs)}<p>You have {{{{ points }}}} points.</p>\n"
        '<p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p></body></html>\n'
    )


if __name__ == "__main__":
    print(json.dumps(_measured(Path(sys.argv[1]), int(sys.argv[2]))))
