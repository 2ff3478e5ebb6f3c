"""The checks of a launch: their order, and who is held back by which."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from angarium.domain.email import MailContent
from angarium.domain.filters import parse
from angarium.domain.policy import Limit, PolicyScope, Use
from angarium.mailing.checks import CHECKS, Progress, choose, held_back
from angarium.mailing.port import Candidate, EmailTemplate, Plan, Subscription

PLAN = Plan(
    launch=1, account=1, mailing=1, name="M", resource=10, audience=1, sender=1, template=EmailTemplate(),
    content=MailContent("a@b.example"),
    conditions=parse([{"field": "city", "operator": "equal", "value": "Riga"}]),
    limits=(Limit(PolicyScope.RECIPIENT, 1, 1),), launch_limit=5,
)  # fmt: skip
SUBSCRIBED = Subscription(5, "a@b.example", "a@b.example", "subscribed", {})
GOOD = Candidate(entry=1, profile=7, attributes={"city": "Riga"}, subscription=SUBSCRIBED, contact=99)
FAULTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("no_subscription", {"subscription": None}),
    ("not_subscribed", {"subscription": msgspec.structs.replace(SUBSCRIBED, status="unsubscribed")}),
    ("filtered", {"attributes": {"city": "Oslo"}}),
    ("stop_list", {"stopped": True}),
    ("suppressed", {"suppressed": True}),
    ("policy", {"uses": (Use(7, 1, "sms", 1, 100),)}),
)


def progress(seen: tuple[int, ...] = (), accepted: int = 0) -> Progress:
    return Progress(PLAN, 100, set(seen), accepted)


def name(candidate: Candidate, state: Progress) -> str | None:
    check = held_back(candidate, state)
    return check.name if check else None


def test_the_checks_stand_in_the_order_of_the_specification() -> None:
    assert [check.name for check in CHECKS] == [
        "no_subscription", "not_subscribed", "filtered", "stop_list", "suppressed", "duplicate", "policy",
        "launch_limit",
    ]  # fmt: skip
    assert all(check.reason for check in CHECKS)


def test_somebody_without_fault_gets_a_message() -> None:
    assert name(GOOD, progress()) is None


@pytest.mark.parametrize(("check", "fault"), FAULTS)
def test_each_check_holds_back_whom_it_is_about(check: str, fault: dict[str, Any]) -> None:
    assert name(msgspec.structs.replace(GOOD, **fault), progress()) == check


def test_a_contact_that_is_in_the_launch_already_is_a_duplicate() -> None:
    state = progress()
    state.accept(GOOD)
    assert name(GOOD, state) == "duplicate"
    assert name(msgspec.structs.replace(GOOD, contact=98), state) is None


def test_the_launch_limit_counts_who_was_accepted() -> None:
    assert name(GOOD, progress(accepted=4)) is None
    assert name(GOOD, progress(accepted=5)) == "launch_limit"


def test_with_several_faults_the_first_check_counts() -> None:
    everything: dict[str, Any] = {}
    for check, fault in reversed(FAULTS):
        everything |= fault
        assert name(msgspec.structs.replace(GOOD, **everything), progress((99,), 5)) in (check, "duplicate")


@pytest.mark.parametrize(
    ("statuses", "chosen"),
    [
        ([], None),
        (["unsubscribed"], 0),
        (["unsubscribed", "subscribed"], 1),
        (["subscribed", "subscribed"], 0),
        (["hardbounced", "unsubscribed"], 0),
    ],
)
def test_of_several_subscriptions_a_subscribed_one_is_chosen(statuses: list[str], chosen: int | None) -> None:
    known = [Subscription(number, "a", "a", status, {}) for number, status in enumerate(statuses)]
    found = choose(known, (), {})
    assert (found.id if found else None) == chosen


def test_of_several_subscriptions_one_that_the_filters_let_through_is_chosen() -> None:
    known = [
        Subscription(number, "a", "a", "subscribed", {"category": name}) for number, name in enumerate("ab")
    ]
    wanted = parse([{"field": "subscription.category", "operator": "equal", "value": "b"}])
    found = choose(known, wanted, {})
    assert found is not None
    assert found.id == 1
