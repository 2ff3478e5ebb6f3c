"""The classifier: real wordings, precedence, and what can never happen."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.domain.bounce import (
    CATEGORIES,
    Classifier,
    builtin_isps,
    builtin_patterns,
    default_classifier,
    pattern_problem,
)
from angarium.domain.email import Reply
from angarium.domain.outcome import BounceType
from angarium.domain.sending import BouncePattern

HARD, SOFT, BLOCK = BounceType.HARD, BounceType.SOFT, BounceType.BLOCK
FOLDER = Path(__file__).parent


def table(name: str) -> list[tuple[str, int, str, str, str, str]]:
    lines = (FOLDER / name).read_text("utf-8").splitlines()
    rows = [
        [cell.strip() for cell in line.split("|", 5)] for line in lines if line and not line.startswith("#")
    ]
    return [
        (source, int(code), enhanced, bounce, category, text)
        for source, code, enhanced, bounce, category, text in rows
    ]


def reply(code: int, text: str = "", enhanced: str = "", **more: object) -> Reply:
    return Reply(code, enhanced, text, more.pop("stage", "rcpt"), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "code", "enhanced", "bounce", "category", "text"), table("bounce_replies.txt")
)
def test_replies_of_real_servers_are_read_right(
    source: str, code: int, enhanced: str, bounce: str, category: str, text: str
) -> None:
    verdict = default_classifier().classify(reply(code, text, enhanced))
    assert verdict.bounce == bounce, verdict.name
    if category:
        assert verdict.category == category, verdict.name


def pattern(number: int, kind: BounceType, expression: str, **more: object) -> BouncePattern:
    return BouncePattern(number, f"p{number}", kind, more.pop("isp", 0), expression, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("patterns", "isp", "expected"),
    [
        # by position, then by id
        ([pattern(1, HARD, "nope", position=2), pattern(2, BLOCK, "nope", position=1)], 0, "p2"),
        ([pattern(2, HARD, "nope"), pattern(1, BLOCK, "nope")], 0, "p1"),
        # own before built-in
        ([pattern(1, HARD, "nope", builtin=True), pattern(2, BLOCK, "nope", position=9)], 0, "p2"),
        # of the ISP before general, even a built-in one before an own one
        ([pattern(1, HARD, "nope"), pattern(2, BLOCK, "nope", isp=7, builtin=True)], 7, "p2"),
        ([pattern(1, HARD, "nope"), pattern(2, BLOCK, "nope", isp=7)], 8, "p1"),
        ([pattern(1, HARD, "nope"), pattern(2, BLOCK, "nope", isp=7)], 0, "p1"),
        # a broken one never matches and breaks nothing
        ([pattern(1, HARD, "nope("), pattern(2, BLOCK, "nope", position=9)], 0, "p2"),
        ([pattern(1, HARD, "^550 5.7.1 NOPE$")], 0, "p1"),
        ([pattern(1, HARD, "yes")], 0, ""),
    ],
)
def test_the_pattern_that_decides(patterns: list[BouncePattern], isp: int, expected: str) -> None:
    assert Classifier(patterns).classify(reply(550, "nope", "5.7.1"), isp).name == expected


@pytest.mark.parametrize(
    ("code", "enhanced", "bounce", "category"),
    [
        (550, "5.1.1", HARD, "unknown_user"),
        (550, "5.1.2", HARD, "bad_domain"),
        (550, "5.1.3", HARD, "bad_address"),
        (550, "5.1.6", HARD, "moved"),
        (550, "5.1.8", BLOCK, "sender"),
        (556, "5.1.10", HARD, "bad_domain"),
        (550, "5.2.1", HARD, "disabled"),
        (552, "5.2.2", SOFT, "full"),
        (552, "5.2.3", BLOCK, "size"),
        (552, "5.3.4", BLOCK, "size"),
        (550, "5.4.4", HARD, "bad_domain"),
        (554, "5.4.6", SOFT, "loop"),
        (550, "4.4.7", SOFT, "expired"),
        (550, "5.6.3", BLOCK, "content"),
        (550, "5.7.1", BLOCK, "policy"),
        (550, "5.7.26", BLOCK, "auth"),
        (550, "5.7.999", BLOCK, "policy"),
        (550, "5.0.0", BLOCK, "other"),
        (554, "", BLOCK, "other"),
        (551, "", HARD, "moved"),
        (552, "", SOFT, "full"),
        (503, "", SOFT, "protocol"),
        (354, "", SOFT, "protocol"),
        (450, "", SOFT, "system"),
        (450, "4.1.1", SOFT, "unknown_user"),
        (450, "5.1.1", SOFT, "unknown_user"),
        (452, "4.2.2", SOFT, "full"),
    ],
)
def test_codes_decide_where_no_pattern_does(
    code: int, enhanced: str, bounce: BounceType, category: str
) -> None:
    verdict = Classifier(()).classify(reply(code, "x", enhanced))
    assert (verdict.bounce, verdict.category, verdict.pattern) == (bounce, category, 0)


@pytest.mark.parametrize(
    ("stage", "code", "text", "bounce", "category"),
    [
        ("dns", 550, "domain does not exist", HARD, "bad_domain"),
        ("dns", 550, "the domain takes no mail (null MX)", HARD, "bad_domain"),
        ("dns", 451, "name server timed out", SOFT, "dns"),
        ("connect", 451, "connection refused", SOFT, "connection"),
        ("connect", 451, "connection timed out", SOFT, "timeout"),
        ("connect", 550, "network unreachable", SOFT, "connection"),
        ("tls", 451, "TLS is required and not offered", SOFT, "tls"),
        ("rcpt", 451, "timed out waiting for the reply", SOFT, "timeout"),
        ("dot", 451, "connection closed", SOFT, "connection"),
        ("local", 550, "address needs SMTPUTF8", BLOCK, "content"),
    ],
)
def test_local_failures_are_read_by_their_stage(
    stage: str, code: int, text: str, bounce: BounceType, category: str
) -> None:
    verdict = default_classifier().classify(reply(code, text, stage=stage, local=True))
    assert (verdict.bounce, verdict.category) == (bounce, category)


def test_own_patterns_read_local_failures_too() -> None:
    classifier = Classifier([pattern(1, BLOCK, "network unreachable")])
    assert classifier.classify(reply(550, "network unreachable", stage="connect", local=True)).name == "p1"


@given(st.integers(400, 499), st.text(max_size=300), st.sampled_from(["", "4.2.2", "5.1.1", "x"]))
def test_a_4xx_is_never_more_than_soft(code: int, text: str, enhanced: str) -> None:
    assert default_classifier().classify(reply(code, text, enhanced)).bounce is SOFT


ANYTHING = st.text(st.characters(), max_size=3000) | st.binary().map(
    lambda b: b.decode("utf-8", "surrogateescape")
)


@given(st.integers(200, 599), ANYTHING, st.text(max_size=12), st.integers(0, 40))
def test_anything_at_all_gets_a_verdict_with_a_known_category(
    code: int, text: str, enhanced: str, isp: int
) -> None:
    assert default_classifier().classify(reply(code, text, enhanced), isp).category in CATEGORIES


@given(st.sampled_from(table("bounce_replies.txt")))
def test_case_and_line_breaks_do_not_matter(row: tuple[str, int, str, str, str, str]) -> None:
    _, code, enhanced, bounce, _, text = row
    changed = text.replace(" ", "\r\n ")
    assert default_classifier().classify(reply(code, changed, enhanced)).bounce == bounce


def test_the_built_in_patterns_are_sound() -> None:
    patterns, isps = builtin_patterns(), {isp.name for isp in builtin_isps()}
    assert len({p.slug for p in patterns}) == len({p.name for p in patterns}) == len(patterns)
    for each in patterns:
        assert not pattern_problem(each.pattern), each.slug
        assert each.category in CATEGORIES, each.slug
        assert not each.isp or each.isp in isps, each.slug
        assert each.message


@pytest.mark.parametrize("text", ["", "  ", "(", "a" * 2001, r"(?=look)", r"(a)\1"])
def test_a_pattern_that_cannot_be_used_is_told_why(text: str) -> None:
    assert pattern_problem(text).endswith(".")


def test_a_reply_is_classified_quickly_whatever_ids_it_carries() -> None:
    classifier = default_classifier()
    rows = [(code, enhanced, text) for _, code, enhanced, _, _, text in table("bounce_replies.txt")]
    for _ in range(2):
        for code, enhanced, text in rows:
            classifier.classify(reply(code, text, enhanced))
    begun = time.process_time()
    for number, (code, enhanced, text) in enumerate(rows):
        classifier.classify(reply(code, f"{text} x{number * 7919:x}si{number}.9 - gsmtp", enhanced))
    assert (time.process_time() - begun) / len(rows) < 0.001


@pytest.mark.parametrize(
    ("isp", "code", "enhanced", "text", "bounce", "category"),
    [
        ("Gmail", 452, "4.5.3", "Your message has too many recipients.", SOFT, "rate"),
        ("Microsoft", 550, "5.2.122", "The recipient has exceeded their limit", SOFT, "rate"),
        ("Mail.ru", 550, "", "user is terminated", HARD, "disabled"),
        ("Mail.ru", 550, "", "Access to this account is denied", BLOCK, "restricted"),
        ("NetEase", 550, "", "MI:SFQ 163 mx1", SOFT, "rate"),
        ("Cox", 554, "", "cox.net 192.0.2.5 blocked. Error Code: CXBL.", BLOCK, "listed"),
        ("Comcast", 550, "5.1.1", "<bob@comcast.net> refused", HARD, "unknown_user"),
    ],
)
def test_a_provider_is_read_by_its_own_patterns_first(
    isp: str, code: int, enhanced: str, text: str, bounce: BounceType, category: str
) -> None:
    number = next(each.id for each in builtin_isps() if each.name == isp)
    verdict = default_classifier().classify(reply(code, text, enhanced), number)
    assert (verdict.bounce, verdict.category) == (bounce, category)
