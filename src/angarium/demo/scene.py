"""The rows of the demo: who sends, through what, to whom. What is there already is used again.

Like the store it speaks to Django; only `angarium demo` imports it.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from datetime import datetime
from ipaddress import ip_address
from typing import Final, NamedTuple

from angarium.demo import message
from angarium.web.access.models import Account, Role, User
from angarium.web.directory.models import ProfileList, Resource, SuppressionEntry, SuppressionList
from angarium.web.mailings.models import Mailing, Template
from angarium.web.sending import dkim
from angarium.web.sending.models import DkimKey, IpAddress, MtaSender, Node, Route, Sender, Strategy

DOMAIN: Final = "demo.example"
LOGIN: Final = "demo"
STRATEGY: Final = {"connections": 2, "messages_per_connection": 10, "attempts": 5, "interval": 5}
"""20 messages a second from one IP to one ISP."""
ADDRESSES_PER_NODE: Final = 3


class Target(NamedTuple):
    """The server all mail goes to."""

    host: str
    port: int

    @property
    def is_here(self) -> bool:
        return all(ip_address(info[4][0]).is_loopback for info in socket.getaddrinfo(self.host, self.port))


class Scene(NamedTuple):
    account: int
    resource: int
    audience: int
    """List id."""
    mailing: int
    sender: int


def build(target: Target, nodes: Sequence[str]) -> Scene:
    """An account ready to launch its mailing; the audience's list is new and empty."""
    account, _ = Account.objects.get_or_create(name="Demo")
    resource, _ = Resource.objects.get_or_create(account=account, name="News")
    sender = _sender(account, target, nodes)
    _route(sender, target)
    moment = f"{datetime.now():%Y-%m-%d %H:%M:%S}"
    audience = ProfileList.objects.create(account=account, name=f"Readers, {moment}")
    template, _ = Template.objects.update_or_create(
        account=account, name="News of the week", defaults={"content": message.content()}
    )
    mailing = Mailing.objects.create(
        account=account, name=f"News of the week, {moment}", template=template, audience=audience,
        resource=resource, sender=sender,
        options={"from_address": f"news@{DOMAIN}", "from_name": "Demo", "to_name": "{{ first_name }}"},
    )  # fmt: skip
    return Scene(account.pk, resource.pk, audience.pk, mailing.pk, sender.pk)


def person() -> str:
    """The login's new password."""
    password = secrets.token_urlsafe(12)
    user, _ = User.objects.get_or_create(
        username=LOGIN, defaults={"role": Role.ADMINISTRATOR, "is_staff": True}
    )
    user.set_password(password)
    user.save()
    return password


def suppress(account: int, contacts: Sequence[str]) -> None:
    """Puts contacts on a list that holds for every mailing of the account."""
    row, _ = SuppressionList.objects.get_or_create(
        account_id=account, name="Asked not to be written to", defaults={"general": True}
    )
    SuppressionEntry.objects.bulk_create(
        [SuppressionEntry(list=row, kind=SuppressionEntry.Kind.ADDRESS, value=value) for value in contacts],
        ignore_conflicts=True,
    )


def _sender(account: Account, target: Target, nodes: Sequence[str]) -> Sender:
    strategy, _ = Strategy.objects.get_or_create(name="Demo: 20 a second", defaults=STRATEGY)
    sender, _ = Sender.objects.get_or_create(name="Demo")
    sender.accounts.add(account)
    mta, _ = MtaSender.objects.get_or_create(sender=sender, defaults={"strategy": strategy})
    for number, name in enumerate(nodes, 1):
        mta.addresses.add(*_addresses(number, name, target))
    mta.dkim_keys.set([_key("rsa"), _key("ed25519")])
    return sender


def _addresses(number: int, name: str, target: Target) -> list[IpAddress]:
    node, _ = Node.objects.get_or_create(name=name)
    if not target.is_here:
        return [_address(node, _own_address(target))]
    return [_address(node, f"127.0.{number}.{place}") for place in range(1, ADDRESSES_PER_NODE + 1)]


def _address(node: Node, address: str) -> IpAddress:
    hostname = f"out-{address.replace('.', '-').replace(':', '-')}.{DOMAIN}"
    row, _ = IpAddress.objects.get_or_create(address=address, defaults={"node": node, "hostname": hostname})
    return row


def _own_address(target: Target) -> str:
    """The address of this machine that packets to the target leave from; nothing is sent."""
    family, kind, _, _, address = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])


def _key(algorithm: str) -> DkimKey:
    selector = f"{algorithm}-demo"
    row = DkimKey.objects.filter(domain=DOMAIN, selector=selector).first()
    if row is None:
        row = dkim.new_key(DOMAIN, selector, algorithm)
        row.save()
    return row


def _route(sender: Sender, target: Target) -> None:
    place = {"host": target.host, "port": target.port}
    Route.objects.update_or_create(domain="*", sender=sender, defaults=place)
