"""Which hosts take a domain's mail, asked of a real DNS server."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from tests.support.dns_server import SERVFAIL, SILENT, DnsServer, Zone

from angarium.errors import ConfigurationError
from angarium.mta import mx
from angarium.mta.link import Host
from angarium.mta.mx import Resolver

ZONE: Zone = {
    "plain.example": {"MX": ["20 b.example.", "10 a.example."]},
    "a.example": {"A": ["192.0.2.1"]},
    "b.example": {"A": ["192.0.2.2"], "AAAA": ["2001:db8::2"]},
    "twin.example": {"MX": ["5 a.example.", "10 b.example."]},
    "no-mx.example": {"A": ["192.0.2.9"], "AAAA": ["2001:db8::9"]},
    "empty.example": {"TXT": ['"nothing"']},
    "null.example": {"MX": ["0 ."], "A": ["192.0.2.9"]},
    "dot-and-more.example": {"MX": ["0 .", "10 a.example."]},
    "gone.example": {"MX": ["10 nowhere.example."], "A": ["192.0.2.9"]},
    "broken.example": SERVFAIL,
    "broken-host.example": {"MX": ["10 broken.example."], "A": ["192.0.2.9"]},
    "half.example": {"MX": ["10 broken.example.", "20 a.example."]},
    "loop.example": {"MX": ["10 here.example."]},
    "here.example": {"A": ["127.0.0.1", "0.0.0.0", "169.254.1.1"], "AAAA": ["::1"]},
    "equal.example": {"MX": [f"10 e{n}.example." for n in range(4)] + ["20 b.example."]},
    **{f"e{n}.example": {"A": [f"192.0.2.{20 + n}"]} for n in range(4)},
    "many.example": {"MX": [f"{n} m{n}.example." for n in range(10)]},
    **{f"m{n}.example": {"A": [f"198.51.100.{n * 10 + k}" for k in range(6)]} for n in range(10)},
    "xn--e1afmkfd.xn--p1ai": {"MX": ["10 a.example."]},
    "1.2.0.192.in-addr.arpa": {"PTR": ["Mail.Example.COM."]},
}


@pytest.fixture
async def dns():
    async with DnsServer(dict(ZONE)) as server:
        yield server


@pytest.fixture
def resolver(dns):
    return Resolver([dns.address], chance=random.Random(1))


async def hosts(resolver: Resolver, domain: str) -> list[str]:
    return [host.ip for host in (await resolver.destination(domain)).hosts]


FOUND = [
    ("plain.example", ["192.0.2.1", "192.0.2.2", "2001:db8::2"]),
    ("PLAIN.example", ["192.0.2.1", "192.0.2.2", "2001:db8::2"]),
    ("no-mx.example", ["192.0.2.9", "2001:db8::9"]),
    ("dot-and-more.example", ["192.0.2.1"]),
    ("half.example", ["192.0.2.1"]),
    ("пример.рф", ["192.0.2.1"]),
]


@pytest.mark.parametrize(("domain", "expected"), FOUND)
async def test_hosts_come_by_preference(resolver, domain, expected):
    assert await hosts(resolver, domain) == expected


FAILURES = [
    ("missing.example", 550, "5.1.2"),
    ("empty.example", 550, "5.1.2"),
    ("null.example", 556, "5.1.10"),
    ("gone.example", 451, "4.4.4"),
    ("broken.example", 451, "4.4.3"),
    ("broken-host.example", 451, "4.4.3"),
    ("loop.example", 451, "4.4.4"),
    ("here.example", 451, "4.4.4"),
    ("[192.0.2.1]", 550, "5.1.2"),
    ("not a domain", 550, "5.1.2"),
    ("", 550, "5.1.2"),
    ("x" * 64 + ".example", 550, "5.1.2"),
]


@pytest.mark.parametrize(("domain", "code", "enhanced"), FAILURES)
async def test_a_domain_without_a_host_fails_for_good_or_for_now(resolver, domain, code, enhanced):
    found = await resolver.destination(domain)
    assert found.hosts == ()
    assert found.failure is not None
    assert (found.failure.code, found.failure.enhanced) == (code, enhanced)
    assert (found.failure.stage, found.failure.local) == ("dns", True)


async def test_a_name_server_that_is_silent_is_a_failure_for_now(dns, monkeypatch):
    monkeypatch.setattr(mx, "LIFETIME", 0.3)
    dns.zone["mute.example"] = SILENT
    found = await Resolver([dns.address]).destination("mute.example")
    assert found.failure is not None
    assert (found.failure.code, found.failure.enhanced) == (451, "4.4.3")


async def test_hosts_of_one_preference_come_in_another_order_each_time(resolver):
    orders = {tuple(await hosts(resolver, "equal.example")) for _ in range(30)}
    assert len(orders) > 5
    assert {order[4:] for order in orders} == {("192.0.2.2", "2001:db8::2")}


async def test_hosts_are_limited_and_no_host_takes_all_places(resolver):
    found = (await resolver.destination("many.example")).hosts
    assert len(found) == mx.HOSTS
    assert [host.name for host in found] == ["m0.example"] * 4 + ["m1.example"] * 4


async def test_domains_with_the_same_hosts_share_a_key(resolver):
    keys = [
        (await resolver.destination(domain)).key
        for domain in ("plain.example", "twin.example", "equal.example")
    ]
    assert keys[0] == keys[1] == "a.example,b.example"
    assert keys[2] != keys[0]


async def test_loopback_hosts_count_where_they_are_allowed(dns):
    allowing = Resolver([dns.address], allow_loopback=True)
    assert "127.0.0.1" in await hosts(allowing, "loop.example")
    assert await hosts(allowing, "[127.0.0.1]") == ["127.0.0.1"]


async def test_an_answer_is_asked_for_once(dns, resolver):
    await asyncio.gather(*(resolver.destination("plain.example") for _ in range(20)))
    await resolver.destination("plain.example")
    assert dns.queries["plain.example", "MX"] == 1


async def test_a_failure_is_kept_too(dns, resolver):
    for _ in range(3):
        await resolver.destination("missing.example")
    assert dns.queries["missing.example", "MX"] == 1


async def test_what_was_known_serves_while_the_name_service_fails(dns, resolver, monkeypatch):
    before = await hosts(resolver, "plain.example")
    dns.zone["plain.example"] = SERVFAIL
    later = time.monotonic() + 1_000
    monkeypatch.setattr(mx.time, "monotonic", lambda: later)
    assert await hosts(resolver, "plain.example") == before


async def test_a_route_is_an_address_or_a_name_without_mx(resolver):
    assert (await resolver.route("127.0.0.1", 2525)).hosts == (Host("127.0.0.1", "127.0.0.1", 2525),)
    assert (await resolver.route("a.example", 587)).hosts == (Host("a.example", "192.0.2.1", 587),)
    assert (await resolver.route("localhost", 25)).hosts[0].ip in ("127.0.0.1", "::1")
    failure = (await resolver.route("plain.example", 25)).failure
    assert failure is not None
    assert failure.code == 451


async def test_reverse_names(resolver):
    assert await resolver.ptr("192.0.2.1") == "mail.example.com"
    assert await resolver.ptr("192.0.2.77") is None
    assert await resolver.ptr("no address") is None


@pytest.mark.parametrize("text", ["ns.example.com", "127.0.0.1:dns", ""])
def test_a_name_server_must_be_an_address(text):
    with pytest.raises(ConfigurationError):
        Resolver([text])
