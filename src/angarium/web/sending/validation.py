"""What is wrong with a row of a sending table, field by field: for whoever writes one without a form."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any, Final

import idna
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.forms.models import model_to_dict

from angarium.domain import retry, strategy
from angarium.domain.bounce import CATEGORIES, pattern_problem
from angarium.web.sending import models

_HEADER_NAME: Final = re.compile(r"[!-9;-~]{1,76}")
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")


def check(row: Model) -> None:
    """Raises Django's `ValidationError`, field → messages: our rules' own first, then the table's."""
    found = _RULES.get(type(row), _nothing)(row)
    try:
        row.full_clean(exclude=set(found))
    except ValidationError as error:
        raise ValidationError({**error.message_dict, **found}) from None
    if found:
        raise ValidationError(found)


def domain_name(value: str) -> str:
    """The lower-case A-label form. Raises `ValueError` when it is not a domain name."""
    text = value.strip().rstrip(".").lower()
    try:
        encoded = text if text.isascii() else idna.encode(text, uts46=True).decode()
    except idna.IDNAError as error:
        raise ValueError(f"{value!r} is not a domain name.") from error
    labels = encoded.split(".")
    if len(encoded) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{value!r} is not a domain name.")
    return encoded


def host_name(value: str) -> str:
    """A domain name or an IP address, brackets left out. Raises `ValueError`."""
    bare = value.strip().removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return domain_name(bare)


def _nothing(row: Any) -> dict[str, str]:
    return {}


def _retry_rule(row: models.RetryRule) -> dict[str, str]:
    return retry.problems(model_to_dict(row))


def _strategy(row: models.Strategy) -> dict[str, str]:
    return strategy.problems(model_to_dict(row))


def _pattern(row: models.BouncePattern) -> dict[str, str]:
    found = {}
    if problem := pattern_problem(row.pattern):
        found["pattern"] = problem
    if row.category not in CATEGORIES:
        found["category"] = f"Choose one of: {', '.join(CATEGORIES)}."
    return found


def _isp(row: models.Isp) -> dict[str, str]:
    found = {}
    names = [*(pair[0] for pair in row.add_headers), *row.remove_headers]
    if not all(_HEADER_NAME.fullmatch(name) for name in names):
        found["add_headers"] = "Give names of header fields: ASCII letters, digits and hyphens, no colon."
    if any("\r" in value or "\n" in value for _, value in row.add_headers):
        found["add_headers"] = "A header's value is one line."
    return found


def _route(row: models.Route) -> dict[str, str]:
    found: dict[str, str] = {}
    if row.domain != "*":
        found |= _normalised(row, "domain", domain_name)
    found |= _normalised(row, "host", host_name)
    if not 1 <= row.port <= 65_535:
        found["port"] = "Give a port from 1 to 65535."
    return found


def _isp_domain(row: models.IspDomain) -> dict[str, str]:
    return _normalised(row, "domain", domain_name)


def _ip_address(row: models.IpAddress) -> dict[str, str]:
    return _normalised(row, "hostname", domain_name) if row.hostname else {}


def _mta_sender(row: models.MtaSender) -> dict[str, str]:
    found = _normalised(row, "bounce_domain", domain_name) if row.bounce_domain else {}
    if not 60 <= row.life <= 30 * 86_400:
        found["life"] = "Give seconds, from 60 to 2592000 (30 days)."
    return found


def _normalised(row: Any, field: str, form: Callable[[str], str]) -> dict[str, str]:
    try:
        setattr(row, field, form(getattr(row, field)))
    except ValueError as error:
        return {field: str(error)}
    return {}


_RULES: Final[dict[type, Callable[[Any], dict[str, str]]]] = {
    models.RetryRule: _retry_rule,
    models.Strategy: _strategy,
    models.BouncePattern: _pattern,
    models.Isp: _isp,
    models.Route: _route,
    models.IspDomain: _isp_domain,
    models.IpAddress: _ip_address,
    models.MtaSender: _mta_sender,
}
