"""Which hosts take a domain's mail (RFC 5321 section 5.1, RFC 7505), asked once and remembered.

- No MX record: the domain's own addresses. MX records, but none of use: never the domain's own.
- A single `.`: the domain takes no mail, for good (null MX).
- The name does not exist: for good. The name service has no answer: not now; what was known up to an
  hour ago is used meanwhile.
- Hosts of one preference come in another order each time.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
import dns.reversename
import msgspec
from dns.rdtypes.ANY.MX import MX

from angarium.domain.email import Reply
from angarium.errors import ConfigurationError, InvalidInput
from angarium.mta.address import wire_domain
from angarium.mta.link import Host
from angarium.mta.reply import local_reply

HOSTS: Final = 8
"""Addresses tried at most for one destination."""
ADDRESSES_PER_HOST: Final = 4
MX_READ: Final = 20
"""MX records looked up at most."""
KEPT: Final = 50_000
SHORTEST, LONGEST = 30.0, 3_600.0
"""Seconds an answer is kept, whatever its time to live says."""
NEGATIVE: Final = 300.0
SOFT: Final = 30.0
STALE: Final = 3_600.0
LIFETIME: Final = 10.0
"""Seconds for one question, all servers and repetitions together."""
AT_ONCE: Final = 200
SMTP_PORT: Final = 25

_BAD_NAMES: Final = (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel, dns.name.BadEscape)
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Destination(msgspec.Struct, frozen=True):
    """Where a domain's mail goes, or why it goes nowhere."""

    key: str
    """Domains with the same key share connections: the sorted MX names, or the domain itself."""
    hosts: tuple[Host, ...] = ()
    """In the order to try."""
    failure: Reply | None = None
    """Code 451: not now; 5xx: never."""


class _Known(msgspec.Struct, frozen=True):
    """An answer as kept: the hosts by preference, unshuffled."""

    key: str
    groups: tuple[tuple[tuple[Host, ...], ...], ...] = ()
    """preference → MX host → addresses."""
    failure: Reply | None = None
    until: float = 0.0
    """When to ask again, on the monotonic clock."""
    stale_until: float = 0.0
    """Until then it serves if there is no answer."""

    @property
    def soft(self) -> bool:
        return self.failure is not None and self.failure.code < 500


class _Addresses(msgspec.Struct, frozen=True):
    found: tuple[str, ...]
    ttl: float
    soft: bool = False
    """Nothing was found because the name service failed."""


class Resolver:
    """Destinations, kept for their time to live; one question at a time for each domain."""

    def __init__(
        self,
        nameservers: Sequence[str] = (),
        *,
        allow_loopback: bool = False,
        chance: random.Random | None = None,
        port: int = SMTP_PORT,
    ) -> None:
        """`nameservers` as `address` or `address:port`; empty: the system's. Raises `ConfigurationError`."""
        self._dns = dns.asyncresolver.Resolver(configure=not nameservers)
        if nameservers:
            self._dns.nameservers = [_nameserver(text) for text in nameservers]
        self._dns.lifetime = LIFETIME
        self._dns.timeout = LIFETIME / 4
        self._allow_loopback = allow_loopback
        self._chance = chance or random.Random()
        self._port = port
        self._kept: OrderedDict[str, _Known] = OrderedDict()
        self._asking: dict[str, asyncio.Task[_Known]] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def destination(self, domain: str) -> Destination:
        """Never raises: what goes wrong is the destination's `failure`."""
        known = self._kept.get(domain)
        if known is None or known.until <= time.monotonic():
            known = await self._ask_once(domain)
        return Destination(known.key, self._shuffled(known), known.failure)

    async def route(self, host: str, port: int) -> Destination:
        """A smart host: an address, or a name whose addresses count and not its MX. Loopback is meant."""
        key = f"route:{host}:{port}"
        if address := _literal(host):
            return Destination(key, (Host(host, str(address), port),))
        addresses = await self._addresses(host)
        found = addresses.found or await _system_addresses(host)
        if found:
            return Destination(key, tuple(Host(host, ip, port) for ip in found[:HOSTS]))
        text = f"the smart host {host} has no address"
        return Destination(key, (), local_reply(451, "4.4.3" if addresses.soft else "4.4.4", text, "dns"))

    async def ptr(self, ip: str) -> str | None:
        """The address's reverse name without the final dot; None when there is none, or no answer."""
        try:
            answer = await self._dns.resolve(dns.reversename.from_address(ip), "PTR")
        except (dns.exception.DNSException, OSError, ValueError):
            return None
        return min(str(record.target).rstrip(".") for record in answer).lower()

    # ── asking ──

    async def _ask_once(self, domain: str) -> _Known:
        task = self._asking.get(domain)
        if task is None:
            task = self._asking[domain] = asyncio.create_task(self._ask_and_keep(domain))
            task.add_done_callback(lambda _: self._asking.pop(domain, None))
        return await asyncio.shield(task)

    async def _ask_and_keep(self, domain: str) -> _Known:
        async with self._turn:
            new = await self._ask(domain)
        old, now = self._kept.get(domain), time.monotonic()
        if new.soft and old is not None and not old.soft and now < old.stale_until:
            new = msgspec.structs.replace(old, until=now + SOFT)
        self._kept[domain] = new
        self._kept.move_to_end(domain)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return new

    async def _ask(self, domain: str) -> _Known:
        if domain.startswith("["):
            return self._address_literal(domain)
        try:
            name = wire_domain(domain)
            answer = await self._dns.resolve(f"{name}.", "MX", raise_on_no_answer=False)
        except (InvalidInput, *_BAD_NAMES) as error:
            return _failed(domain, 550, "5.1.2", str(error))
        except (dns.resolver.NXDOMAIN, dns.resolver.YXDOMAIN):
            return _failed(domain, 550, "5.1.2", f"the domain {domain} does not exist")
        except (dns.exception.DNSException, OSError) as error:
            return _failed(domain, 451, "4.4.3", f"no answer about {domain}: {_brief(error)}")
        records = [record for record in answer if isinstance(record, MX)] if answer.rrset else []
        if not records:
            return await self._implicit(name)
        ttl = float(answer.rrset.ttl) if answer.rrset else SHORTEST
        return await self._explicit(name, records, ttl)

    async def _implicit(self, name: str) -> _Known:
        addresses = await self._addresses(name)
        if addresses.soft:
            return _failed(name, 451, "4.4.3", f"no answer about the addresses of {name}")
        if not addresses.found:
            return _failed(name, 550, "5.1.2", f"the domain {name} has neither MX nor address records")
        hosts = self._hosts(name, addresses.found)
        if not hosts:
            return _failed(name, 451, "4.4.4", f"the addresses of {name} are not ones to send to")
        return _found(name, ((hosts,),), addresses.ttl)

    async def _explicit(self, name: str, records: Sequence[MX], ttl: float) -> _Known:
        named = [(record.preference, str(record.exchange).rstrip(".").lower()) for record in records]
        if named == [(0, "")] or {exchange for _, exchange in named} == {""}:
            return _failed(name, 556, "5.1.10", f"the domain {name} takes no mail (null MX)")
        chosen = sorted({pair for pair in named if pair[1]})[:MX_READ]
        answers = await asyncio.gather(*(self._addresses(exchange) for _, exchange in chosen))
        groups: dict[int, list[tuple[Host, ...]]] = {}
        for (preference, exchange), addresses in zip(chosen, answers, strict=True):
            if hosts := self._hosts(exchange, addresses.found):
                groups.setdefault(preference, []).append(hosts)
        if not groups:
            soft = any(addresses.soft for addresses in answers)
            text = f"none of the mail hosts of {name} has an address to send to"
            return _failed(name, 451, "4.4.3" if soft else "4.4.4", text)
        key = ",".join(sorted(exchange for _, exchange in chosen))
        shortest = min([ttl, *(addresses.ttl for addresses in answers if addresses.found)])
        return _found(key, tuple(tuple(groups[preference]) for preference in sorted(groups)), shortest)

    async def _addresses(self, name: str) -> _Addresses:
        four, six = await asyncio.gather(self._records(name, "A"), self._records(name, "AAAA"))
        found = four.found + six.found
        ttl = min((part.ttl for part in (four, six) if part.found), default=NEGATIVE)
        return _Addresses(found, ttl, not found and (four.soft or six.soft))

    async def _records(self, name: str, kind: str) -> _Addresses:
        try:
            answer = await self._dns.resolve(f"{name}.", kind, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return _Addresses((), NEGATIVE)
        except (dns.exception.DNSException, OSError, ValueError):
            return _Addresses((), SOFT, soft=True)
        if answer.rrset is None:
            return _Addresses((), NEGATIVE)
        return _Addresses(tuple(str(record.address) for record in answer), float(answer.rrset.ttl))

    def _address_literal(self, domain: str) -> _Known:
        address = _literal(domain.strip("[]").removeprefix("IPv6:"))
        if address is None or not self._allow_loopback:
            return _failed(domain, 550, "5.1.2", f"mail to the address literal {domain} is not sent")
        return _found(domain, (((Host(domain, str(address), self._port),),),), LONGEST)

    # ── order ──

    def _hosts(self, name: str, addresses: Iterable[str]) -> tuple[Host, ...]:
        usable = [ip for ip in addresses if self._allow_loopback or _is_elsewhere(ipaddress.ip_address(ip))]
        return tuple(Host(name, ip, self._port) for ip in usable[:ADDRESSES_PER_HOST])

    def _shuffled(self, known: _Known) -> tuple[Host, ...]:
        hosts: list[Host] = []
        for group in known.groups:
            for addresses in self._chance.sample(group, len(group)):
                hosts += addresses
        return tuple(hosts[:HOSTS])


def _failed(domain: str, code: int, enhanced: str, text: str) -> _Known:
    until = time.monotonic() + (SOFT if code < 500 else NEGATIVE)
    return _Known(domain, failure=local_reply(code, enhanced, text, "dns"), until=until)


def _found(key: str, groups: tuple[tuple[tuple[Host, ...], ...], ...], ttl: float) -> _Known:
    until = time.monotonic() + min(max(ttl, SHORTEST), LONGEST)
    return _Known(key, groups, None, until, until + STALE)


def _is_elsewhere(address: IpAddress) -> bool:
    return not (
        address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local
    )


def _literal(text: str) -> IpAddress | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def _nameserver(text: str) -> dns.nameserver.Nameserver:
    host, _, port = text.rpartition(":") if text.count(":") == 1 or text.startswith("[") else (text, "", "53")
    address = _literal(host)
    if address is None or not port.isdigit():
        raise ConfigurationError(f"mta.nameservers: {text!r} is not an IP address or address:port")
    return dns.nameserver.Do53Nameserver(str(address), int(port))


async def _system_addresses(host: str) -> tuple[str, ...]:
    """From the machine's own tables, such as /etc/hosts."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


def _brief(error: Exception) -> str:
    if isinstance(error, dns.exception.Timeout):
        return "timed out"
    if isinstance(error, dns.resolver.NoNameservers):
        return "the name servers failed"
    return str(error) or type(error).__name__
