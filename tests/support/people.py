"""Alice edits the account Acme, Bob looks at it, Charlie belongs to another; Paul is a postmaster, Ada
administers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from django.test import Client

from angarium.web.access import tokens
from angarium.web.access.models import Account, Membership, Role, User
from angarium.web.directory.models import ListEntry, Profile, ProfileList, Resource, Subscription
from angarium.web.mailings.models import Mailing, Template
from angarium.web.sending.models import IpAddress, MtaSender, Node, Sender

PEOPLE = ("alice", "bob", "charlie", "paul", "ada")
CONTENT = {"subject": "Hello {{ name }}", "html": "<p>Hello {{ name }}</p>", "text": "", "preheader": ""}


@dataclass
class Answer:
    status: int
    json: Any
    headers: Any


@dataclass
class World:
    acme: Account
    other: Account
    people: dict[str, User]
    tokens: dict[str, str]
    client: Client = field(default_factory=lambda: Client(SERVER_NAME="localhost"))
    rows: dict[str, Any] = field(default_factory=dict)

    def ask(self, who: str | None, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """`who`: a person, a token of one's own, or None for nobody."""
        if who is not None:
            headers["Authorization"] = f"Bearer {self.tokens.get(who, who)}"
        data = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        response = self.client.generic(method, f"/api/v1/{path}", headers=headers, **data)
        is_json = response.content and response["Content-Type"].startswith("application/json")
        return Answer(response.status_code, json.loads(response.content) if is_json else None, response)


def build() -> World:
    acme, other = Account.objects.create(name="Acme"), Account.objects.create(name="Other")
    roles = {"paul": Role.POSTMASTER, "ada": Role.ADMINISTRATOR}
    people = {name: User.objects.create(username=name, role=roles.get(name, Role.MEMBER)) for name in PEOPLE}
    rights = Membership.Right
    Membership.objects.create(user=people["alice"], account=acme, right=rights.EDIT)
    Membership.objects.create(user=people["bob"], account=acme, right=rights.VIEW)
    Membership.objects.create(user=people["charlie"], account=other, right=rights.EDIT)
    secrets = {name: tokens.create(user, f"{name}'s token")[1] for name, user in people.items()}
    world = World(acme, other, people, secrets)
    world.rows = _rows(acme)
    return world


def _rows(acme: Account) -> dict[str, Any]:
    node = Node.objects.create(name="node-1")
    address = IpAddress.objects.create(node=node, address="127.0.0.2")
    sender = Sender.objects.create(name="News")
    sender.accounts.add(acme)
    MtaSender.objects.create(sender=sender).addresses.add(address)
    resource = Resource.objects.create(account=acme, name="Site")
    audience = ProfileList.objects.create(account=acme, name="Everybody")
    profile = Profile.objects.create(account=acme, key="ann@example.com", attributes={"name": "Ann"})
    subscription = Subscription.objects.create(
        account=acme, profile=profile, resource=resource, channel="email",
        address="ann@example.com", contact="ann@example.com",
    )  # fmt: skip
    ListEntry.objects.create(list=audience, profile=profile)
    template = Template.objects.create(account=acme, name="Welcome", content=CONTENT)
    mailing = Mailing.objects.create(
        account=acme, name="Monday", template=template, audience=audience, resource=resource,
        sender=sender, options={"from_address": "news@acme.example", "from_name": "Acme"},
    )  # fmt: skip
    return {
        "node": node, "address": address, "sender": sender, "resource": resource, "list": audience,
        "profile": profile, "subscription": subscription, "template": template, "mailing": mailing,
    }  # fmt: skip
