"""Signed message ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.domain.token import LENGTH, Claim, Purpose, sign, verify

KEYS = {3: b"k" * 32, 4: b"n" * 32}
ID = bytes(range(16))
EXPIRES = 1_700_000_000.0


@given(
    st.binary(min_size=16, max_size=16), st.sampled_from(Purpose), st.integers(1, 4 * 10**9), st.booleans()
)
def test_a_genuine_token_says_what_was_signed_in_any_case(message, purpose, expires, upper):
    token = sign(message, purpose, KEYS[3], 3, expires)
    assert len(token) == LENGTH <= 60
    assert token.isalnum()
    assert token == token.lower()
    claim = verify(token.upper() if upper else token, KEYS, expires - 1)
    assert claim is not None
    assert (claim.message, claim.purpose) == (message, purpose)
    assert expires <= claim.expires < expires + 3600


def test_a_token_ends_with_its_life():
    token = sign(ID, Purpose.MESSAGE, KEYS[3], 3, EXPIRES)
    assert verify(token, KEYS, EXPIRES) is not None
    assert verify(token, KEYS, EXPIRES + 3600) is None


def test_a_key_that_was_withdrawn_proves_nothing():
    token = sign(ID, Purpose.MESSAGE, KEYS[3], 3, EXPIRES)
    assert verify(token, {4: KEYS[4]}, 0) is None
    assert verify(token, {3: KEYS[4]}, 0) is None


def test_the_key_number_chooses_the_key():
    assert verify(sign(ID, Purpose.CLICK, KEYS[4], 4, EXPIRES), KEYS, 0) == Claim(
        ID, Purpose.CLICK, 1_700_002_800.0
    )


@given(st.integers(0, LENGTH - 1), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_any_other_digit_makes_it_worthless(place, digit):
    token = sign(ID, Purpose.UNSUBSCRIBE, KEYS[3], 3, EXPIRES)
    changed = token[:place] + digit + token[place + 1 :]
    assert changed == token or verify(changed, KEYS, 0) is None


@pytest.mark.parametrize("text", ["", "a" * LENGTH, "1" * LENGTH, "ю" * LENGTH, "a" * 55, "=" * LENGTH])
def test_what_is_no_token_is_no_claim(text):
    assert verify(text, KEYS, 0) is None


@given(st.text(max_size=80))
def test_any_text_is_read_without_an_error(text):
    assert verify(text, KEYS, 0) is None
