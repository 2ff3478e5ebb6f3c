"""DKIM signatures, checked by an implementation that is not ours."""

from __future__ import annotations

import dkim as checker
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angarium.domain.email import MailBody, MailContent
from angarium.domain.sending import DkimKey, Sender, SendingSettings
from angarium.errors import InvalidInput
from angarium.mta import dkim
from angarium.mta.address import wire_address
from angarium.mta.mime import Template

RSA = DkimKey(1, "example.com", "r1", "rsa", dkim.generate("rsa"))
ED25519 = DkimKey(2, "example.com", "e1", "ed25519", dkim.generate("ed25519"))
NEWER = DkimKey(3, "example.com", "r2", "rsa", dkim.generate("rsa"))
DEEPER = DkimKey(4, "news.example.com", "d1", "ed25519", dkim.generate("ed25519"))


def keyring(*keys: DkimKey) -> dkim.Keyring:
    sender = Sender(1, "s", "email", "mta", dkim_keys=tuple(key.id for key in keys))
    return dkim.Keyring(SendingSettings(1, senders={1: sender}, dkim_keys={key.id: key for key in keys}))


def signed(body: MailBody, *keys: DkimKey, sender: str = "news@example.com") -> bytes:
    message = Template(MailContent(sender, "Новости"), None, {}).build(
        body, wire_address("reader@example.org"), "token", b"Mon, 01 Jan 2024 00:00:00 +0000", True
    )
    chosen = keyring(*keys).keys(1, sender.rpartition("@")[2])
    fields = [
        unsigned.signed() for unsigned in dkim.prepare(message.headers, message.body, chosen, 1_700_000_000)
    ]
    return b"".join([*fields, *message.headers, b"\r\n", *message.body])


def verified(wire: bytes, *keys: DkimKey) -> list[bool]:
    """For each DKIM-Signature, from the top."""
    records = dict(dkim.dns_record(key) for key in keys)

    def txt(name: bytes, timeout: int = 5) -> bytes | None:
        value = records.get(name.decode().rstrip("."))
        return "".join(value.strip('"').split('" "')).encode() if value else None

    count = wire.split(b"\r\n\r\n")[0].count(b"DKIM-Signature:")
    return [checker.DKIM(wire).verify(idx=index, dnsfunc=txt) for index in range(count)]


BODY = MailBody(
    "Тема 😀",
    "<p>  two  spaces\t</p> \n\n.\n\n\n",
    "text \t here\n" + "x" * 1_200 + "\n\n\n",
    "Иван",
    "https://x.example/u",
    "t",
)


@pytest.mark.parametrize("keys", [(RSA,), (ED25519,), (RSA, ED25519)])
def test_signatures_of_every_kind_verify(keys):
    wire = signed(BODY, *keys)
    assert verified(wire, *keys) == [True] * len(keys)


texts = st.text(st.sampled_from("ab .\t\n\rя😀"), max_size=200)


@given(texts, texts, texts)
@settings(max_examples=60, deadline=None)
def test_whatever_the_text_the_signature_verifies(subject, html, text):
    wire = signed(MailBody(subject, html, text), ED25519)
    assert verified(wire, ED25519) == [True]


def test_a_changed_body_and_an_added_from_are_noticed():
    wire = signed(BODY, ED25519)
    assert verified(wire.replace(b"Subject:", b"From: evil@example.net\r\nSubject:"), ED25519) == [False]
    with pytest.raises(checker.ValidationError):
        verified(wire[:-2] + b"more\r\n", ED25519)


def test_the_domains_own_key_goes_before_its_parents():
    ring = keyring(RSA, DEEPER)
    assert [key.selector for key in ring.keys(1, "news.example.com")] == ["d1"]
    assert [key.selector for key in ring.keys(1, "a.news.example.com")] == ["d1"]
    assert [key.selector for key in ring.keys(1, "other.example.com")] == ["r1"]
    assert ring.keys(1, "example.net") == ()
    assert ring.keys(2, "example.com") == ()


def test_the_newest_key_of_each_algorithm_signs_rsa_first():
    assert [key.selector for key in keyring(RSA, ED25519, NEWER).keys(1, "example.com")] == ["r2", "e1"]


def test_a_key_that_cannot_be_read_is_left_out():
    broken = DkimKey(9, "example.com", "x", "rsa", "no key")
    assert [key.selector for key in keyring(broken, ED25519).keys(1, "example.com")] == ["e1"]
    with pytest.raises(InvalidInput):
        dkim.load("no key")


@pytest.mark.parametrize("key", [RSA, ED25519])
def test_the_dns_record_is_one_that_fits(key):
    name, value = dkim.dns_record(key)
    assert name == f"{key.selector}._domainkey.example.com"
    assert value.startswith(f'"v=DKIM1; k={key.algorithm}; p=')
    assert all(len(chunk) <= 255 for chunk in value.strip('"').split('" "'))


def test_no_line_of_a_signature_is_too_long():
    fields = signed(BODY, RSA, ED25519).split(b"\r\n\r\n")[0].split(b"\r\n")
    assert max(map(len, fields)) <= 78
