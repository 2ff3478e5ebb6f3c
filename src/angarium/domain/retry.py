"""When and from where a message is tried again after a temporary failure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from angarium.domain.outcome import Defer, Reason, Undelivered
from angarium.domain.sending import RetryMode, RetryRule, RetryType, SourceAddress

MINUTE: Final = 60.0
MOST_RETRIES: Final = 1000
LONGEST_INTERVAL: Final = 30 * 24 * 60.0
"""Minutes."""
LARGEST_EXPONENT: Final = 100.0
LARGEST_MODIFIER: Final = 1000.0
LONGEST_DELAY: Final = 366 * 86_400.0
"""Seconds. Longer than any message lives, and a number every format can carry."""


def delay(rule: RetryRule, attempt_failed: int, chance: float) -> float:
    """Seconds from the end of failed attempt n (counted from 1) to retry n. `chance` is in [0, 1)."""
    base = rule.interval * MINUTE
    match rule.type:
        case RetryType.GEOMETRIC:
            base *= _power(rule.exponent, attempt_failed - 1)
        case RetryType.RANDOM:
            base *= 1 + rule.modifier * chance
    return min(base, LONGEST_DELAY)


def next_attempt(
    rule: RetryRule,
    *,
    made: int,
    ended: float,
    expires: float,
    reason: str,
    tried: Sequence[str],
    addresses: Sequence[SourceAddress],
    node: int,
    chance: float,
) -> Defer | Undelivered:
    """What follows a soft bounce.

    `made` attempts have been made, the last ended at `ended`, the message's life ends at `expires`
    (wall clock, seconds). `tried` are the source IPs of the attempts, the latest last. `addresses`
    are the sender's that may be used now, of every node; `node` is the one that asks. `chance`, in
    [0, 1), draws the random delay and chooses among addresses that are equally good.
    """
    if made > rule.retries:
        return Undelivered(Reason.MAX_ATTEMPTS, reason)
    until = ended + delay(rule, made, chance)
    if until > expires:
        return Undelivered(Reason.LIFETIME, reason)
    source = _next_source(rule.mode, tried, addresses, node, chance)
    if source is None:
        return Defer(until, reason)
    return Defer(until, reason, address=source.address, node=None if source.node == node else source.node)


def attempt_times(rule: RetryRule, life: float = math.inf) -> list[tuple[float, float]]:
    """Earliest and latest time of each retry, in seconds after the first attempt, attempts taking no time.

    Retries that cannot happen within `life` seconds are left out.
    """
    times: list[tuple[float, float]] = []
    earliest = latest = 0.0
    for failed in range(1, rule.retries + 1):
        earliest += delay(rule, failed, 0.0)
        latest += delay(rule, failed, 1.0)
        if earliest > life:
            break
        times.append((earliest, min(latest, life)))
    return times


def _power(exponent: float, times: int) -> float:
    try:
        return float(exponent**times)
    except OverflowError:
        return math.inf


def _next_source(
    mode: RetryMode, tried: Sequence[str], addresses: Sequence[SourceAddress], node: int, chance: float
) -> SourceAddress | None:
    """The address the next attempt must use; None: any of the sender's on this node."""
    last = tried[-1] if tried else ""
    within = [a for a in addresses if mode is RetryMode.OTHER_NODE or a.node == node]
    others = [a for a in within if a.address != last]
    if mode is not RetryMode.SAME_IP and last and others:
        return _least_recently_tried(others, tried, chance)
    return next((a for a in within if a.address == last), None)


def _least_recently_tried(
    candidates: Sequence[SourceAddress], tried: Sequence[str], chance: float
) -> SourceAddress:
    when = {address: index for index, address in enumerate(tried)}
    oldest = min(when.get(candidate.address, -1) for candidate in candidates)
    equal = [candidate for candidate in candidates if when.get(candidate.address, -1) == oldest]
    return equal[int(chance * len(equal))]


class Limits(NamedTuple):
    """What a number of a rule may be."""

    least: float
    most: float
    message: str


_LIMITS: Final = {
    "retries": Limits(0, MOST_RETRIES, f"Give a whole number from 0 to {MOST_RETRIES}."),
    "interval": Limits(
        0, LONGEST_INTERVAL, f"Give minutes, more than 0 and at most {LONGEST_INTERVAL:.0f} (30 days)."
    ),
    "exponent": Limits(1, LARGEST_EXPONENT, f"Give a number from 1 to {LARGEST_EXPONENT:.0f}."),
    "modifier": Limits(0, LARGEST_MODIFIER, f"Give a number from 0 to {LARGEST_MODIFIER:.0f}."),
}
_OF_TYPE: Final = {RetryType.GEOMETRIC: "exponent", RetryType.RANDOM: "modifier"}


def problems(fields: Mapping[str, Any]) -> dict[str, str]:
    """Field → what is wrong with it, for the fields of a `RetryRule` as a form or the API gives them.

    The exponent counts only for the geometric type, the modifier only for the random one.
    """
    found: dict[str, str] = {}
    if not str(fields.get("name") or "").strip():
        found["name"] = "Give the rule a name."
    if fields.get("mode") not in list(RetryMode):
        found["mode"] = "Choose where the retry leaves from."
    if fields.get("type") not in list(RetryType):
        found["type"] = "Choose how the delay develops."
    numbers = ["retries", "interval"]
    if extra := _OF_TYPE.get(fields.get("type")):  # type: ignore[arg-type]
        numbers.append(extra)
    found |= {name: _LIMITS[name].message for name in numbers if not _allowed(name, fields.get(name))}
    return found


def _allowed(name: str, value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    if name == "retries" and value != int(value):
        return False
    if name == "interval" and value == 0:
        return False
    return _LIMITS[name].least <= value <= _LIMITS[name].most
