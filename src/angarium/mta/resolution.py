"""Where a domain's mail goes: routes before MX, an ISP recognised by its hosts, names to greet with."""

from __future__ import annotations

import socket
import time
from typing import Final, NamedTuple, Protocol

from angarium.domain.email import Reply
from angarium.domain.sending import Isp, Route, Sender, SendingSettings
from angarium.mta.link import Host

REMEMBERED: Final = 60.0
"""Seconds. The resolver below keeps answers for their time to live; this only spares asking it."""
MOST: Final = 50_000


class Destination(Protocol):
    """What the resolver says of a domain."""

    @property
    def key(self) -> str: ...
    @property
    def hosts(self) -> tuple[Host, ...]: ...
    @property
    def failure(self) -> Reply | None: ...


class Resolver(Protocol):
    """What this module asks of `mta.mx.Resolver`."""

    async def destination(self, domain: str) -> Destination: ...
    async def route(self, host: str, port: int) -> Destination: ...
    async def ptr(self, ip: str) -> str | None: ...


class Found(NamedTuple):
    """A domain's destination, or why it has none."""

    key: str
    hosts: tuple[Host, ...]
    isp: int
    """The ISP whose hosts these are; 0: none of those known."""
    failure: Reply | None


class Resolution:
    """Remembers what was found a short while, by sender and domain."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._known: dict[tuple[int, str], tuple[float, Found]] = {}
        self._names: dict[str, str] = {}
        self.own_name = socket.getfqdn()

    def forget(self) -> None:
        """Settings changed: routes and ISPs may have."""
        self._known.clear()

    def known(self, sender: int, domain: str) -> Found | None:
        """What is known without waiting."""
        kept = self._known.get((sender, domain))
        return kept[1] if kept and kept[0] > time.monotonic() else None

    async def find(self, settings: SendingSettings, sender: Sender, domain: str) -> Found:
        """Asks. Failures are not remembered here."""
        route = self.route(settings, sender, domain)
        if route is not None:
            there = await self._resolver.route(route.host, route.port)
            found = Found(f"route:{route.host}:{route.port}", there.hosts, 0, there.failure)
        else:
            there = await self._resolver.destination(domain)
            found = Found(there.key, there.hosts, isp_of(settings, there.hosts), there.failure)
        if found.failure is None:
            if len(self._known) > MOST:
                self._known.clear()
            self._known[sender.id, domain] = time.monotonic() + REMEMBERED, found
        return found

    def route(self, settings: SendingSettings, sender: Sender, domain: str) -> Route | None:
        """The override for a domain: its own before `*`, the sender's before everybody's."""
        fitting = [r for r in settings.routes if r.domain in (domain, "*") and r.sender in (0, sender.id)]
        return min(fitting, key=lambda r: (r.domain == "*", r.sender == 0), default=None)

    async def learn_names(self, settings: SendingSettings, node: int) -> None:
        """Reverse names of this node's addresses, where the settings give none."""
        for address in settings.addresses.values():
            if address.node == node and not address.hostname and address.address not in self._names:
                self._names[address.address] = await self._resolver.ptr(address.address) or ""

    def name_of(self, settings: SendingSettings, source: str) -> str:
        """The name to greet with from a source address."""
        given = next((a.hostname for a in settings.addresses.values() if a.address == source), "")
        return given or self._names.get(source) or self.own_name


def isp_of(settings: SendingSettings, hosts: tuple[Host, ...]) -> int:
    """The ISP one of whose MX suffixes the first host's name ends with; 0: none."""
    if not hosts:
        return 0
    name = hosts[0].name.rstrip(".").lower()
    return next((isp.id for isp in settings.isps.values() if _serves(isp, name)), 0)


def _serves(isp: Isp, host: str) -> bool:
    return any(
        host.endswith(suffix.lower()) or host == suffix.lstrip(".").lower() for suffix in isp.mx_suffixes
    )
