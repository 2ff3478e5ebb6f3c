"""What the sandbox does to a recipient is a rule of the address."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.domain.bounce import default_classifier
from angarium.domain.email import Reply
from angarium.domain.outcome import BounceType
from angarium.sandbox.behaviour import MIXES, Fate, answers, decide, plan

ACCEPT, REALISTIC = MIXES["accept"], MIXES["realistic"]


@pytest.mark.parametrize(
    ("address", "codes"),
    [
        ("deliver@x.test", [250]),
        ("deliver+7@x.test", [250]),
        ("anything@x.test", [250]),
        ("soft@x.test", [4, 250]),
        ("soft2+x@x.test", [4, 4, 250]),
        ("SOFT3@x.test", [4, 4, 4, 250]),
        ("soft0@x.test", [250]),
        ("greylist@x.test", [4, 250]),
        ("421@x.test", [421, 250]),
        ("4212@x.test", [421, 421, 250]),
        ("drop@x.test", [0, 250]),
        ("drop2+x@x.test", [0, 0, 250]),
        ("hard@x.test", [5, 5]),
        ("hard7@x.test", [5, 5]),
        ("block+1@x.test", [5, 5]),
        ("slow3@x.test", [250]),
        ("softly@x.test", [250]),
        ("hardy@x.test", [250]),
    ],
)
def test_the_local_part_may_say_what_happens(address: str, codes: list[int]) -> None:
    given = [decide(address, attempt, ACCEPT).code for attempt in range(len(codes))]
    assert [
        code if expected >= 100 or code == 0 else code // 100
        for code, expected in zip(given, codes, strict=True)
    ] == codes


def test_a_slow_recipient_is_answered_late() -> None:
    assert decide("slow3+x@x.test", 0, ACCEPT).delay == 3
    assert decide("deliver@x.test", 0, ACCEPT).delay == 0


@given(st.text(max_size=30), st.integers(0, 1000), st.sampled_from(sorted(MIXES)), st.integers(0, 9))
def test_the_same_address_is_always_treated_alike(local: str, attempts: int, mix: str, seed: int) -> None:
    address = f"{local}@x.test"
    assert decide(address, attempts, MIXES[mix], seed) == decide(address, attempts, MIXES[mix], seed)


@given(st.text(max_size=30), st.sampled_from(sorted(MIXES)))
def test_the_plan_foretells_every_attempt(local: str, mix: str) -> None:
    address = f"{local}@x.test"
    planned = plan(address, MIXES[mix])
    codes = [decide(address, attempt, MIXES[mix]).code for attempt in range(5)]
    failures = 5 if planned.count is None else min(planned.count, 5)
    assert [code == 250 for code in codes] == [False] * failures + [True] * (5 - failures)


def test_the_realistic_mix_has_some_of_everything_but_mostly_delivers() -> None:
    fates = Counter(plan(f"person{n}@example.test", REALISTIC).fate for n in range(10_000))
    assert 8_000 < fates[Fate.DELIVER] < 8_600
    for fate, share in REALISTIC.shares.items():
        assert share * 5 < fates[fate] < share * 20


def test_another_seed_draws_another_fate_for_some() -> None:
    people = [f"person{n}@example.test" for n in range(200)]
    assert [plan(p, REALISTIC, 1) for p in people] != [plan(p, REALISTIC, 2) for p in people]


@pytest.mark.parametrize(
    ("fate", "bounce"),
    [
        (Fate.HARD, BounceType.HARD),
        (Fate.BLOCK, BounceType.BLOCK),
        (Fate.SOFT, BounceType.SOFT),
        (Fate.FULL, BounceType.SOFT),
        (Fate.GREYLIST, BounceType.SOFT),
        (Fate.BUSY, BounceType.SOFT),
    ],
)
def test_the_sandbox_words_its_refusals_as_they_are_meant(fate: Fate, bounce: BounceType) -> None:
    for code, enhanced, text in answers()[fate]:
        reply = Reply(code, enhanced, text.format(address="bob@example.test"), "rcpt")
        assert default_classifier().classify(reply).bounce is bounce, text
