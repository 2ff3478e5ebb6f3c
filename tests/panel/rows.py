"""Fills the panel's test database, in a process of its own. Prints the ids of what pages show, as JSON."""

from __future__ import annotations

import json
import time
from typing import Any

from angarium.store import database

PASSWORD = "a long enough password"


def main() -> None:
    database.setup()
    database.migrate()
    from tests.support.people import build

    world = build()
    for user in world.people.values():
        user.set_password(PASSWORD)
        user.save()
    print(json.dumps({name: row.pk for name, row in {**world.rows, **_more(world)}.items()}))


def _more(world: Any) -> dict[str, Any]:
    from django.utils import timezone

    from angarium.web.access.models import ApiToken
    from angarium.web.directory.models import ImportRun, SendingPolicy, StopEntry, SuppressionList
    from angarium.web.mailings.models import Launch, LogEntry
    from angarium.web.sending.dkim import new_key
    from angarium.web.sending.models import BouncePattern, DefaultRule, Isp, RetryRule, Route, Strategy

    acme, mailing = world.acme, world.rows["mailing"]
    launch = Launch.objects.create(
        account=acme, mailing=mailing, state="prepared", audience=1200,
        counts={"published": 1000, "filtered": 150, "errors": 50}, started=timezone.now(),
    )  # fmt: skip
    LogEntry.objects.create(
        account=acme, mailing=mailing, launch=launch, time=timezone.now(), level="error",
        message="Mailing error: html, line 3: undefined value", address="ann@example.com",
    )  # fmt: skip
    _happenings(world, launch)
    queued = _queued(world)
    key = new_key("acme.example", "s1", "rsa")
    key.save()
    rejections = [{"line": 7, "reason": "not an e-mail address: it has no @", "text": "nobody"}]
    return {
        "launch": launch,
        "queued": queued,
        "sendingpolicy": SendingPolicy.objects.create(account=acme, name="Gentle"),
        "suppressionlist": SuppressionList.objects.create(account=acme, name="Enough"),
        "importrun": ImportRun.objects.create(
            account=acme, filename="people.csv", state="finished", lines=10, rejected=1, rejections=rejections
        ),
        "stopentry": StopEntry.objects.create(channel="email", contact="gone@example.com"),
        "dkimkey": key,
        "route": Route.objects.create(domain="a.example", host="b.example"),
        "defaultrule": DefaultRule.objects.create(),
        "retryrule": RetryRule.objects.get(default=True),
        "strategy": Strategy.objects.get(default=True),
        "isp": Isp.objects.get(name="Gmail"),
        "bouncepattern": BouncePattern.objects.order_by("pk").first(),
        "apitoken": ApiToken.objects.first(),
        "user": world.people["bob"],
        "account": acme,
    }


def _happenings(world: Any, launch: Any) -> None:
    """Counters over half an hour, and the story of one message."""
    from angarium.domain.message import message_id
    from angarium.web.reports.models import Counter, Event

    mailing, profile, subscription = (world.rows[name] for name in ("mailing", "profile", "subscription"))
    now = time.time()
    common = {
        "account": world.acme.pk,
        "mailing": mailing.pk,
        "launch": launch.pk,
        "sender": mailing.sender_id,
        "channel": "email",
    }
    kinds = [
        ("deliv", "", 30),
        ("sbounce", "greylist", 4),
        ("undeliv", "hard bounce", 1),
        ("undeliv", "blocked", 1),
    ]
    for minute in range(30):
        for kind, reason, count in kinds:
            Counter.objects.create(
                kind=kind, reason=reason, minute=int(now // 60) - minute, count=count, isp=0, **common
            )
    story = {
        "message": message_id(launch.pk, "email", subscription.pk), "profile": profile.pk,
        "subscription": subscription.pk, "address": "ann@example.com", "source": "127.0.0.2",
        "mx": "mx.example.com",
    }  # fmt: skip
    Event.objects.create(
        slot="sbounce:1", kind="sbounce", time=now - 900, attempt=1, reason="greylist", code=451,
        enhanced="4.7.1", text="Greylisted, please come back later", next_attempt=now, **story, **common,
    )  # fmt: skip
    Event.objects.create(
        slot="end", kind="deliv", time=now, attempt=2, code=250, text="OK", **story, **common
    )
    _waiting(world, launch, story, common)


def _waiting(world: Any, launch: Any, told: dict[str, Any], common: dict[str, Any]) -> None:
    """The packet of Ann's message, and in it one to Ben that waits for a retry."""
    from angarium.domain.message import message_id
    from angarium.mailing.port import PacketRecipient
    from angarium.store import packets
    from angarium.web.mailings.models import Packet
    from angarium.web.reports.models import Event

    ben = {**told, "message": message_id(launch.pk, "email", 999), "address": "ben@example.com"}
    Event.objects.create(
        slot="sbounce:1", kind="sbounce", time=time.time(), attempt=1, reason="full", code=452,
        enhanced="4.2.2", text="The mailbox is over quota", next_attempt=time.time() + 900, **ben, **common,
    )  # fmt: skip
    people = [PacketRecipient(row["message"], row["address"], 1, 1, 0) for row in (told, ben)]
    Packet.objects.create(
        launch=launch, account=world.acme, queue=f"akmta_{common['sender']}", published=True,
        recipients=packets.encode(people), count=len(people),
    )  # fmt: skip


def _queued(world: Any) -> Any:
    """A mailing of 1000 messages: 20 delivered, 780 on a node, 200 in the broker."""
    from django.utils import timezone

    from angarium.broker.topology import mta_queue
    from angarium.store import packets
    from angarium.web.mailings.models import Launch, Mailing, Packet
    from angarium.web.reports.models import Counter, QueueFigure
    from angarium.web.sending.models import Isp

    acme, like = world.acme, world.rows["mailing"]
    mailing = Mailing.objects.create(
        account=acme, name="Black Friday", template=like.template, audience=like.audience,
        resource=like.resource, sender=like.sender, options=like.options,
    )  # fmt: skip
    launch = Launch.objects.create(
        account=acme, mailing=mailing, state="prepared", audience=1000, counts={"published": 1000},
        started=timezone.now(), finished=timezone.now(),
    )  # fmt: skip
    common = {"account": acme.pk, "mailing": mailing.pk, "sender": like.sender_id}
    parts = (("Gmail", 700, (500, 70, 10)), ("Yahoo", 300, (150, 45, 5)))
    for name, published, (new, retries, sending) in parts:
        isp = Isp.objects.get(name=name).pk
        Packet.objects.create(
            launch=launch, account=acme, queue=mta_queue(like.sender_id), isp=isp, published=True,
            recipients=packets.NOBODY, count=published,
        )  # fmt: skip
        QueueFigure.objects.create(
            node=world.rows["node"].pk, isp=isp, new=new, retries=retries, sending=sending, at=time.time(),
            **common,
        )  # fmt: skip
        Counter.objects.create(
            launch=launch.pk, channel="email", isp=isp, kind="deliv", minute=int(time.time() // 60), count=10,
            **common,
        )  # fmt: skip
    return mailing


if __name__ == "__main__":
    main()
