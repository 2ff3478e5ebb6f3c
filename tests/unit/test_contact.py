"""What is a good e-mail address, and when two are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.domain import contact
from angarium.domain.contact import contact_hash, domain_of, email_address
from angarium.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "address", "compared"),
    [
        ("John.Doe@Example.COM", "John.Doe@example.com", "john.doe@example.com"),
        ("  a@b.example ", "a@b.example", "a@b.example"),
        ("o'neil+news@example.com", "o'neil+news@example.com", "o'neil+news@example.com"),
        ("иван@почта.рф", "иван@почта.рф", "иван@xn--80a1acny.xn--p1ai"),
        ("info@XN--80A1ACNY.xn--p1ai", "info@почта.рф", "info@xn--80a1acny.xn--p1ai"),
        ("jörg@müller.de", "jörg@müller.de", "jörg@xn--mller-kva.de"),
        ("root@mail.internal", "root@mail.internal", "root@mail.internal"),
    ],
)
def test_good_addresses_keep_their_form_and_compare_alike(text: str, address: str, compared: str) -> None:
    found = email_address(text)
    assert (found.address, found.contact) == (address, compared)


@pytest.mark.parametrize(
    "text",
    ["", "a", "@b.example", "a@", "a@b", "a b@c.example", "a..b@c.example", ".a@c.example", "a@c..example",
     "a@-c.example", "a@c-.example", "a@1.2.3.4", "a@[127.0.0.1]", "a@b.example, c@d.example",
     "a@b@c.example", "a\n@b.example", "a@b.example\nBcc: x@y.example", f"{'a' * 65}@b.example",
     f"a@{'b' * 64}.example", f"a@{'b.' * 130}example", "a@b_c.example", "Anna <a@b.example>"],
)  # fmt: skip
def test_bad_addresses_are_refused_with_a_reason(text: str) -> None:
    with pytest.raises(InvalidInput, match="not an e-mail address"):
        email_address(text)


@given(st.from_regex(r"[A-Za-z0-9.!#+_-]{1,70}@[A-Za-z0-9.-]{1,80}", fullmatch=True))
def test_the_fast_way_takes_nothing_that_the_library_would_refuse(text: str) -> None:
    try:
        fast = email_address(text)
    except InvalidInput:
        with pytest.raises(InvalidInput):
            contact._checked(text)
        return
    assert fast.contact == contact._checked(text).contact


@given(st.emails())
def test_comparing_an_address_with_itself_is_stable(text: str) -> None:
    try:
        once = email_address(text)
    except InvalidInput:
        return
    assert email_address(once.address).contact == once.contact
    assert email_address(once.contact).contact == once.contact
    assert once.domain == domain_of(once.contact)


def test_contact_hashes_are_signed_64_bits_and_differ_by_channel() -> None:
    assert contact_hash("email", "a@b.example") != contact_hash("sms", "a@b.example")
    assert all(-(2**63) <= contact_hash("email", str(number)) < 2**63 for number in range(1_000))
