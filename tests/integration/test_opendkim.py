"""DKIM signatures, checked by OpenDKIM."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.opendkim import verify
from tests.unit.test_dkim import ED25519, RSA, signed

from angarium.domain.email import MailBody
from angarium.mta import dkim

BODIES = {
    "plain": MailBody("Hello", "", "Hello."),
    "cyrillic and emoji": MailBody("Привет 🐎", "<p>Здравствуйте, Анна 🐎</p>", "Здравствуйте, Анна 🐎"),
    "long lines": MailBody("Long", "<p>" + "x" * 3_000 + "</p>", "y" * 998),
    "leading dots and blank ends": MailBody("Dots", "", ".\n..\n. dot  \t\n\n\n"),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_opendkim_accepts_both_key_types(body: MailBody, tmp_path: Path) -> None:
    records = dict(dkim.dns_record(key) for key in (RSA, ED25519))
    assert verify(signed(body, RSA, ED25519), records, tmp_path) == {"r1": "pass", "e1": "pass"}


def test_opendkim_refuses_a_changed_message(tmp_path: Path) -> None:
    records = dict(dkim.dns_record(key) for key in (RSA, ED25519))
    changed = signed(BODIES["plain"], RSA, ED25519).replace(b"Hello.", b"Hallo.")
    assert verify(changed, records, tmp_path) == {"r1": "fail", "e1": "fail"}
