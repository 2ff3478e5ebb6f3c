"""The built-in mailbox providers."""

from __future__ import annotations

from angarium.domain.bounce import builtin_isps


def test_every_provider_is_told_by_something() -> None:
    assert all(isp.domains or isp.mx_suffixes for isp in builtin_isps())


def test_names_and_domains_belong_to_one_provider_each() -> None:
    names = [isp.name for isp in builtin_isps()]
    domains = [domain for isp in builtin_isps() for domain in isp.domains]
    assert len(set(names)) == len(names)
    assert len(set(domains)) == len(domains)


def test_domains_and_suffixes_are_plain_lower_case() -> None:
    for isp in builtin_isps():
        for name in (*isp.domains, *isp.mx_suffixes):
            assert name == name.lower().strip(".")
            assert "." in name
