"""Who of the audience gets a message: the checks of a launch, in their order, each with its counter.

The first check that holds somebody back is the one that is counted. What is checked once for the whole
launch (mailing active, sender usable) is not here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from angarium.domain.filters import Condition, matches
from angarium.domain.policy import Use, exceeded
from angarium.mailing.port import Candidate, Plan, Subscription

LIMIT: Final = "launch_limit"


class Progress:
    """What a launch has done so far, as far as checks depend on it."""

    def __init__(self, plan: Plan, day: int, seen: set[int], accepted: int) -> None:
        self.plan = plan
        self.day = day
        self.seen = seen
        """Contact hashes of those who are in a packet."""
        self.accepted = accepted

    def accept(self, candidate: Candidate) -> None:
        self.seen.add(candidate.contact)
        self.accepted += 1

    def use(self, candidate: Candidate) -> Use:
        """The message to the candidate as sending policies count it."""
        plan = self.plan
        return Use(candidate.profile, plan.resource, plan.channel, candidate.contact, self.day)


class Check(NamedTuple):
    name: str
    """Key of its counter."""
    reason: str
    """As the mailing log says it."""
    holds_back: Callable[[Candidate, Progress], bool]


def _no_subscription(candidate: Candidate, _: Progress) -> bool:
    return candidate.subscription is None


def _not_subscribed(candidate: Candidate, _: Progress) -> bool:
    return candidate.subscription is not None and candidate.subscription.status != "subscribed"


def _filtered(candidate: Candidate, progress: Progress) -> bool:
    conditions, subscription = progress.plan.conditions, candidate.subscription
    return bool(conditions) and not matches(
        conditions, candidate.attributes, subscription.fields if subscription else {}
    )


def _stopped(candidate: Candidate, _: Progress) -> bool:
    return candidate.stopped


def _suppressed(candidate: Candidate, _: Progress) -> bool:
    return candidate.suppressed


def _duplicate(candidate: Candidate, progress: Progress) -> bool:
    return candidate.contact in progress.seen


def _over_policy(candidate: Candidate, progress: Progress) -> bool:
    limits = progress.plan.limits
    return bool(limits) and exceeded(limits, progress.use(candidate), candidate.uses) is not None


def _over_limit(_: Candidate, progress: Progress) -> bool:
    limit = progress.plan.launch_limit
    return limit is not None and progress.accepted >= limit


CHECKS: Final = (
    Check("no_subscription", "no subscription of the channel", _no_subscription),
    Check("not_subscribed", "the subscription is not subscribed", _not_subscribed),
    Check("filtered", "held back by the mailing's filters", _filtered),
    Check("stop_list", "on the global stop list", _stopped),
    Check("suppressed", "on a suppression list", _suppressed),
    Check("duplicate", "the same contact came earlier in the launch", _duplicate),
    Check("policy", "held back by the sending policy", _over_policy),
    Check(LIMIT, "over the launch limit", _over_limit),
)
REASONS: Final = {check.name: check.reason for check in CHECKS}


def choose(
    subscriptions: Sequence[Subscription], conditions: Sequence[Condition], attributes: Mapping[str, Any]
) -> Subscription | None:
    """Which of a profile's subscriptions a message goes to: the first that passes the checks on it.

    They come by priority, then age. Where none passes, the one that gets furthest is returned.
    """
    if len(subscriptions) < 2:
        return subscriptions[0] if subscriptions else None
    subscribed = [one for one in subscriptions if one.status == "subscribed"]
    matching = (one for one in subscribed if matches(conditions, attributes, one.fields))
    return next(matching, (subscribed or subscriptions)[0])


def held_back(candidate: Candidate, progress: Progress) -> Check | None:
    """The first check that holds the candidate back; None: they get a message."""
    for check in CHECKS:
        if check.holds_back(candidate, progress):
            return check
    return None
