"""What the services are steered by: the postmaster's tables as one `SendingSettings`."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any, cast

from django.db.models import Q

from angarium.domain import gates, sending
from angarium.domain.outcome import BounceType
from angarium.store.queue_books import MEMORY
from angarium.web.queues.models import Clear, Gate
from angarium.web.sending import models


def version() -> int:
    """Grows with every change of what `load` returns, except for the nodes' last sign of life."""
    found = models.SettingsVersion.objects.values_list("version", flat=True).filter(pk=1).first()
    return found or 0


def load() -> sending.SendingSettings:
    """All settings as of one moment: read again if a change came in between."""
    before = version()
    while True:
        settings = _read(before)
        if (after := version()) == before:
            return settings
        before = after


def _read(as_of: int) -> sending.SendingSettings:
    return sending.SendingSettings(
        version=as_of,
        senders=_senders(),
        addresses={row.pk: _address(row) for row in models.IpAddress.objects.order_by("pk")},
        nodes={row.pk: _node(row) for row in models.Node.objects.order_by("pk")},
        isps=_isps(),
        strategies={row.pk: _strategy(row) for row in models.Strategy.objects.order_by("pk")},
        default_strategy=_default(models.Strategy),
        retry_rules={row.pk: _retry_rule(row) for row in models.RetryRule.objects.order_by("pk")},
        default_retry_rule=_default(models.RetryRule),
        patterns=patterns(),
        default_rules=tuple(_default_rule(row) for row in models.DefaultRule.objects.all()),
        dkim_keys={row.pk: _dkim_key(row) for row in models.DkimKey.objects.order_by("pk")},
        routes=tuple(_route(row) for row in models.Route.objects.order_by("pk")),
        gates=known_gates(time.time() - MEMORY),
    )


def _default(model: type[models.Strategy] | type[models.RetryRule]) -> int:
    row: Any = model._default_manager.filter(default=True).order_by("pk").first()
    return row.pk if row else 0


def _senders() -> dict[int, sending.Sender]:
    rows = models.MtaSender.objects.select_related("sender").prefetch_related(
        "addresses", "dkim_keys", "overrides"
    )
    return {row.pk: _sender(row) for row in rows.order_by("pk")}


def _sender(row: models.MtaSender) -> sending.Sender:
    return sending.Sender(
        id=row.pk,
        name=row.sender.name,
        channel=row.sender.channel,
        kind=row.sender.kind,
        active=row.sender.active,
        addresses=tuple(sorted(address.pk for address in row.addresses.all())),
        strategy=row.strategy_id or 0,
        overrides=tuple(_override(override) for override in row.overrides.all()),
        retry_rule=row.retry_rule_id or 0,
        dkim_keys=tuple(sorted(key.pk for key in row.dkim_keys.all())),
        doubt=sending.DoubtPolicy(row.doubt),
        life=float(row.life),
        bounce_domain=row.bounce_domain,
        tls=sending.TlsPolicy(row.tls),
    )


def _override(row: models.StrategyOverride) -> sending.StrategyOverride:
    return sending.StrategyOverride(row.strategy_id, row.address_id or 0, row.isp_id or 0)


def _address(row: models.IpAddress) -> sending.SourceAddress:
    return sending.SourceAddress(row.pk, row.address, row.node_id, row.hostname)


def _node(row: models.Node) -> sending.Node:
    return sending.Node(row.pk, row.name, row.active, row.seen.timestamp() if row.seen else 0.0)


def _isps() -> dict[int, sending.Isp]:
    domains: dict[int, list[str]] = defaultdict(list)
    for isp, domain in models.IspDomain.objects.order_by("domain").values_list("isp", "domain"):
        domains[isp].append(domain)
    return {row.pk: _isp(row, domains[row.pk]) for row in models.Isp.objects.order_by("pk")}


def _isp(row: models.Isp, domains: list[str]) -> sending.Isp:
    return sending.Isp(
        id=row.pk,
        name=row.name,
        domains=tuple(domains),
        mx_suffixes=tuple(row.mx_suffixes),
        html_encoding=cast(sending.Encoding, row.html_encoding),
        text_encoding=cast(sending.Encoding, row.text_encoding),
        add_headers=tuple((name, value) for name, value in row.add_headers),
        remove_headers=tuple(row.remove_headers),
    )


def _strategy(row: models.Strategy) -> sending.Strategy:
    return sending.Strategy(
        id=row.pk,
        name=row.name,
        connections=row.connections,
        messages_per_connection=row.messages_per_connection,
        attempts=row.attempts,
        interval=float(row.interval),
        helo=sending.HeloType(row.helo),
        try_tls=row.try_tls,
        drop=row.drop,
    )


def _retry_rule(row: models.RetryRule) -> sending.RetryRule:
    return sending.RetryRule(
        id=row.pk,
        name=row.name,
        mode=sending.RetryMode(row.mode),
        retries=row.retries,
        interval=row.interval,
        type=sending.RetryType(row.type),
        exponent=row.exponent,
        modifier=row.modifier,
    )


def patterns() -> tuple[sending.BouncePattern, ...]:
    """In the order they are tried: of an ISP before general, own before built-in, then by position."""
    rows = [_pattern(row) for row in models.BouncePattern.objects.filter(active=True)]
    return tuple(sorted(rows, key=lambda row: (row.isp == 0, row.builtin, row.position, row.id)))


def _pattern(row: models.BouncePattern) -> sending.BouncePattern:
    return sending.BouncePattern(
        id=row.pk,
        name=row.name,
        type=BounceType(row.type),
        isp=row.isp_id or 0,
        pattern=row.pattern,
        message=row.message,
        category=row.category,
        builtin=row.builtin,
        position=row.position,
    )


def _default_rule(row: models.DefaultRule) -> sending.DefaultRule:
    return sending.DefaultRule(
        position=row.position,
        isp=row.isp_id or 0,
        bounce_type=BounceType(row.bounce_type) if row.bounce_type else None,
        pattern=row.pattern_id or 0,
        retry_rule=row.retry_rule_id or 0,
    )


def _dkim_key(row: models.DkimKey) -> sending.DkimKey:
    algorithm = cast(Any, row.algorithm)
    return sending.DkimKey(row.pk, row.domain, row.selector, algorithm, row.private_key)


def _route(row: models.Route) -> sending.Route:
    return sending.Route(
        domain=row.domain,
        host=row.host,
        port=row.port,
        tls=sending.TlsPolicy(row.tls),
        username=row.username,
        password=row.password,
        sender=row.sender_id or 0,
    )


def known_gates(since: float) -> gates.Gates:
    """All closed gates, and the gates opened and clears given since then: messages may have met them."""
    shut = Gate.objects.filter(Q(until=None) | Q(until__gte=since)).order_by("pk")
    clears = Clear.objects.filter(at__gte=since).order_by("pk")
    return gates.Gates(
        tuple(gates.Gate(row.pk, row.scope, row.since, row.until) for row in shut),
        tuple(gates.Clear(row.pk, row.scope, row.before, row.user) for row in clears),
    )
