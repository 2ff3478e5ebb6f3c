"""Fills an installation's database, in a process of its own: `python scene.py` with JSON on standard input.

Prints a JSON line with the ids. Everything goes through the models, as the panel's forms do.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from angarium.store import database

database.setup()

from angarium.store import launches  # noqa: E402
from angarium.web.access.models import Account  # noqa: E402
from angarium.web.directory.models import ListEntry, Profile, ProfileList, Resource, Subscription  # noqa: E402
from angarium.web.mailings.models import Mailing, Template  # noqa: E402
from angarium.web.sending.models import (  # noqa: E402
    IpAddress,
    MtaSender,
    Node,
    RetryRule,
    Route,
    Sender,
    Strategy,
)

HTML = (
    "<html><body><p>Hello {{ name }}</p><p><a href='{{ unsubscribe_url }}'>Unsubscribe</a></p></body></html>"
)


def build(wanted: dict[str, Any]) -> dict[str, int]:
    database.migrate()
    account = Account.objects.create(name="Test")
    resource = Resource.objects.create(account=account, name="News")
    audience = ProfileList.objects.create(account=account, name="Readers")
    _people(account, resource, audience, wanted["recipients"])
    sender = _sender(account, wanted)
    template = Template.objects.create(
        account=account,
        name="Hello",
        content={"subject": "Hello {{ name }}", "html": HTML, "text": "", "preheader": ""},
    )
    mailing = Mailing.objects.create(
        account=account, name="Hello", template=template, audience=audience, resource=resource, sender=sender,
        options={"from_address": "news@example.org", "from_name": "News"}, urgent=wanted.get("urgent", False),
    )  # fmt: skip
    return {"account": account.pk, "mailing": mailing.pk, "sender": sender.pk}


def _people(account: Account, resource: Resource, audience: ProfileList, addresses: list[str]) -> None:
    profiles = Profile.objects.bulk_create(
        [Profile(account=account, key=a, attributes={"name": a.partition("@")[0]}) for a in addresses],
        batch_size=500,
    )
    Subscription.objects.bulk_create(
        [
            Subscription(
                account=account, profile=profile, resource=resource, channel="email", address=profile.key,
                contact=profile.key,
            )
            for profile in profiles
        ],
        batch_size=500,
    )  # fmt: skip
    ListEntry.objects.bulk_create([ListEntry(list=audience, profile=p) for p in profiles], batch_size=500)


def _sender(account: Account, wanted: dict[str, Any]) -> Sender:
    strategy = Strategy.objects.create(name="Test", **wanted["strategy"])
    rule = RetryRule.objects.create(name="Test", **wanted["rule"])
    sender = Sender.objects.create(name="Test")
    sender.accounts.add(account)
    mta = MtaSender.objects.create(
        sender=sender, strategy=strategy, retry_rule=rule, **wanted.get("sender", {})
    )
    for name, addresses in wanted["nodes"].items():
        node = Node.objects.create(name=name)
        mta.addresses.add(
            *(IpAddress.objects.create(node=node, address=a, hostname="out.example") for a in addresses)
        )
    Route.objects.create(domain="*", host="127.0.0.1", port=wanted["port"])
    return sender


if __name__ == "__main__":
    match sys.argv[1]:
        case "build":
            print(json.dumps(build(json.load(sys.stdin))))
        case "launch":
            account, mailing = map(int, sys.argv[2:])
            print(json.dumps({"launch": launches.request(account, mailing)}))
