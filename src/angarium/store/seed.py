"""What every installation has: the default strategy and retry rule, known ISPs, built-in bounce patterns.

Harmless to repeat. After an upgrade it adds what is new, brings unedited built-ins up to date and
removes those the product no longer ships; what a person edited stays as it is.
"""

from __future__ import annotations

from typing import Any, Final

from django.db import transaction

from angarium.domain import bounce
from angarium.domain.sending import Isp as IspRecord
from angarium.domain.sending import RetryMode, RetryType
from angarium.web.sending import models
from angarium.web.sending.changes import bump

DEFAULT_STRATEGY: Final = {
    # A connection for each message: domains that no ISP lists share one allowance, and each
    # needs connections of its own.
    "name": "60:60", "connections": 6, "messages_per_connection": 1, "attempts": 10, "interval": 60,
}  # fmt: skip
DEFAULT_RETRY_RULE: Final = {
    "name": "Default: same IP, 5 retries, 15 min doubling", "mode": RetryMode.SAME_IP, "retries": 5,
    "interval": 15.0, "type": RetryType.GEOMETRIC, "exponent": 2.0,
}  # fmt: skip


@transaction.atomic
def seed() -> None:
    """Adds and updates what the product ships."""
    models.SettingsVersion.objects.get_or_create(pk=1)
    changed = _default(models.Strategy, DEFAULT_STRATEGY) | _default(models.RetryRule, DEFAULT_RETRY_RULE)
    changed |= _isps() | _patterns()
    if changed:
        bump()


def _default(model: type[models.Strategy] | type[models.RetryRule], fields: dict[str, Any]) -> bool:
    manager: Any = model._default_manager
    if manager.filter(default=True).exists():
        return False
    _, created = manager.update_or_create(
        name=fields["name"], defaults={"default": True}, create_defaults={**fields, "default": True}
    )
    return bool(created)


def _isps() -> bool:
    shipped = {isp.name: isp for isp in bounce.builtin_isps()}
    stored = {row.name: row for row in models.Isp.objects.prefetch_related("domains")}
    gone = [row.pk for row in stored.values() if row.builtin and not row.edited and row.name not in shipped]
    models.Isp.objects.filter(pk__in=gone).delete()
    changed = [_isp(isp, stored.get(name)) for name, isp in shipped.items()]
    return bool(gone) or any(changed)


def _isp(shipped: IspRecord, row: models.Isp | None) -> bool:
    """Adds or updates one; a row of a person's own by the same name is theirs."""
    if row is None:
        row = models.Isp(name=shipped.name, builtin=True, mx_suffixes=list(shipped.mx_suffixes))
        models.Isp.objects.bulk_create([row])
        _domains(row, shipped.domains)
        return True
    same = set(shipped.domains) == {domain.domain for domain in row.domains.all()}
    if not row.builtin or row.edited or (same and row.mx_suffixes == list(shipped.mx_suffixes)):
        return False
    models.Isp.objects.filter(pk=row.pk).update(mx_suffixes=list(shipped.mx_suffixes))
    row.domains.exclude(domain__in=shipped.domains).delete()
    _domains(row, shipped.domains)
    return True


def _domains(isp: models.Isp, domains: tuple[str, ...]) -> None:
    """A domain that already belongs to another ISP stays there."""
    rows = [models.IspDomain(isp=isp, domain=domain) for domain in domains]
    models.IspDomain.objects.bulk_create(rows, ignore_conflicts=True)


def _patterns() -> bool:
    isps = dict(models.Isp.objects.values_list("name", "pk"))
    shipped = {pattern.slug: pattern_fields(pattern, isps) for pattern in bounce.builtin_patterns()}
    stored = {row.slug: row for row in models.BouncePattern.objects.filter(builtin=True)}
    gone = [row.pk for slug, row in stored.items() if slug not in shipped and not row.edited]
    models.BouncePattern.objects.filter(pk__in=gone).delete()
    new = [models.BouncePattern(builtin=True, **shipped[slug]) for slug in shipped.keys() - stored.keys()]
    new.sort(key=lambda row: row.position)
    models.BouncePattern.objects.bulk_create(new)
    changed = [_update(row, shipped[slug]) for slug, row in stored.items() if slug in shipped]
    return bool(gone or new) or any(changed)


def _update(row: models.BouncePattern, fields: dict[str, Any]) -> bool:
    if row.edited or all(getattr(row, name) == value for name, value in fields.items()):
        return False
    models.BouncePattern.objects.filter(pk=row.pk).update(**fields)
    return True


def pattern_fields(shipped: bounce.BuiltinPattern, isps: dict[str, int]) -> dict[str, Any]:
    """A shipped pattern as the fields of its row. `isps`: name → row id."""
    return {
        "slug": shipped.slug,
        "name": shipped.name,
        "type": str(shipped.type),
        "isp_id": isps.get(shipped.isp),
        "pattern": shipped.pattern,
        "category": shipped.category,
        "message": shipped.message,
        "position": shipped.position,
    }


def reset_pattern(row: models.BouncePattern) -> None:
    """Undoes what a person changed in a built-in pattern."""
    shipped = next(pattern for pattern in bounce.builtin_patterns() if pattern.slug == row.slug)
    isps = dict(models.Isp.objects.values_list("name", "pk"))
    fields = pattern_fields(shipped, isps) | {"edited": False, "active": True}
    models.BouncePattern.objects.filter(pk=row.pk).update(**fields)
    bump()
