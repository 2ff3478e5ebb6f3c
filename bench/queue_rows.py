"""The rows of the queue's benchmark; a program of its own, as Django knows one database a process."""

from __future__ import annotations

import json
import sys
from typing import Any

from angarium.store import database


def prepare(wanted: dict[str, Any]) -> dict[str, Any]:
    """Account, senders with an address on each node, and mailings that use them in turn."""
    database.migrate()
    from angarium.web.access.models import Account
    from angarium.web.sending import models
    from angarium.web.sending.changes import bump

    account = Account.objects.create(name="Bench")
    strategy = models.Strategy.objects.create(
        name="slow", connections=4, messages_per_connection=100, attempts=100, interval=1, try_tls=False
    )
    nodes = [models.Node.objects.create(name=name) for name in wanted["nodes"]]
    senders = [_sender(account, number, nodes, strategy) for number in range(wanted["senders"])]
    models.Route.objects.create(domain="*", host="127.0.0.1", port=wanted["port"], tls="never")
    mailings = [_mailing(account, number, senders) for number in range(wanted["mailings"])]
    bump()
    return {"account": account.pk, "mailings": mailings}


def _sender(account: Any, number: int, nodes: list[Any], strategy: Any) -> Any:
    from angarium.web.sending import models

    sender = models.Sender.objects.create(name=f"Bench {number}")
    sender.accounts.set([account])
    mta = models.MtaSender.objects.create(sender=sender, strategy=strategy, tls="never")
    mta.addresses.set(
        models.IpAddress.objects.create(
            node=node, address=f"127.0.{number}.{place + 1}", hostname="relay.bench.example"
        )
        for place, node in enumerate(nodes)
    )
    return sender


def _mailing(account: Any, number: int, senders: list[Any]) -> tuple[int, int, int]:
    from angarium.web.directory.models import ProfileList, Resource
    from angarium.web.mailings.models import Launch, Mailing, Template

    own = {"account": account, "name": f"Bench {number}"}
    sender = senders[number % len(senders)]
    mailing = Mailing.objects.create(
        **own, sender=sender, template=Template.objects.create(**own),
        audience=ProfileList.objects.create(**own), resource=Resource.objects.create(**own),
    )  # fmt: skip
    launch = Launch.objects.create(account=account, mailing=mailing, state="prepared")
    return mailing.pk, launch.pk, sender.pk


if __name__ == "__main__":
    database.setup()
    print(json.dumps(prepare(json.load(sys.stdin))))
