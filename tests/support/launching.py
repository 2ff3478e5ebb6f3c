"""An account ready to launch a mailing, and what came of the launch in broker and database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from angarium.broker.port import Broker
from angarium.config import LauncherSettings
from angarium.domain.email import MailBody
from angarium.domain.message import FrameReader, Packet, unpack
from angarium.mailing import service
from angarium.mailing.port import LaunchStore

SECRET = b"s" * 32
PATIENCE = 60.0
HTML = "<body><p>Dear {{ first_name }} of {{ city }}</p><a href='{{ unsubscribe_url }}'>stop</a></body>"
DOMAINS = ("gmail.com", "mail.ru", "example.com", "corp.example")


class Scene:
    """Rows, made through Django; use it on the thread whose connection they belong to."""

    def __init__(self, people: int = 0, **mailing: Any) -> None:
        from angarium.web.access.models import Account
        from angarium.web.directory.models import ProfileList, Resource
        from angarium.web.mailings.models import Template
        from angarium.web.sending.models import IpAddress, MtaSender, Node, Sender

        self.account = Account.objects.create(name="Alice's shop")
        self.resource = Resource.objects.create(account=self.account, name="News")
        self.list = ProfileList.objects.create(account=self.account, name="Everybody")
        address = IpAddress.objects.create(node=Node.objects.create(name="n"), address="127.0.0.1")
        self.sender = Sender.objects.create(name="Post")
        self.sender.accounts.add(self.account)
        MtaSender.objects.create(sender=self.sender).addresses.add(address)
        self.template = Template.objects.create(
            account=self.account, name="T", content={"subject": "Hi {{ first_name }}", "html": HTML}
        )
        self.mailing = self.new_mailing("M", **mailing)
        self.add_people(people)

    def new_mailing(self, name: str, **fields: Any) -> Any:
        from angarium.web.mailings.models import Mailing

        defaults = {
            "template": self.template, "audience": self.list, "resource": self.resource,
            "sender": self.sender, "options": {"from_address": "news@shop.example"},
        }  # fmt: skip
        return Mailing.objects.create(account=self.account, name=name, **{**defaults, **fields})

    def add_people(self, count: int) -> None:
        for number in range(count):
            self.add(
                f"u{number}@{DOMAINS[number % len(DOMAINS)]}", {"first_name": f"N{number}", "city": "Рига"}
            )

    def add(
        self, address: str, attributes: dict[str, Any] | None = None, key: str = "", **subscription: Any
    ) -> Any:
        from angarium.web.directory.models import ListEntry, Profile, Subscription

        fields = {"first_name": "Anna", "city": "Riga"} if attributes is None else attributes
        profile = Profile.objects.create(account=self.account, key=key or address, attributes=fields)
        ListEntry.objects.create(list=self.list, profile=profile)
        Subscription.objects.create(
            account=self.account, profile=profile, resource=self.resource, channel="email", address=address,
            contact=address.lower(), **subscription,
        )  # fmt: skip
        return profile

    @property
    def queue(self) -> str:
        return f"akmta_{self.sender.pk}"

    @property
    def priority_queue(self) -> str:
        return f"akmta_prior_{self.sender.pk}"


async def launched(
    store: LaunchStore,
    broker: Broker,
    over: Callable[[], Awaitable[bool]],
    settings: LauncherSettings | None = None,
) -> None:
    """Runs a launcher until the condition holds."""
    stop = asyncio.Event()
    running = asyncio.create_task(
        service.run(settings or LauncherSettings(), store, broker, SECRET, "http://u.example", stop)
    )
    try:
        async with asyncio.timeout(PATIENCE):
            while not await over():
                if running.done():
                    running.result()
                await asyncio.sleep(0.02)
    finally:
        stop.set()
        await asyncio.wait({running}, timeout=PATIENCE)


async def packets(broker: Broker, queue: str) -> list[Packet]:
    """All that a queue holds; they are acknowledged."""
    count = (await broker.depth(queue)).ready
    found: list[Packet] = []
    if not count:
        return found
    consumer = await broker.consume(queue, prefetch=500)
    async with asyncio.timeout(PATIENCE):
        async for delivery in consumer:
            found.append(unpack(delivery.body))
            await delivery.ack()
            if len(found) == count:
                break
    await consumer.cancel()
    return found


def bodies(packet: Packet) -> dict[str, MailBody]:
    """Address → message."""
    reader = FrameReader(packet.frame(0))
    return {
        recipient.address: msgspec.msgpack.decode(reader.read(index, packet.frame(index)), type=MailBody)
        for index, recipient in enumerate(packet.header.recipients)
    }
