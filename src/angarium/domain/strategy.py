"""Sending speed: what a strategy amounts to, and which one applies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from angarium.domain.sending import HeloType, Sender, SendingSettings, Strategy, StrategyOverride

_MOST: Final = {"connections": 1_000, "messages_per_connection": 10_000, "attempts": 10_000}
LONGEST_INTERVAL: Final = 86_400
"""Seconds."""


class Speed(NamedTuple):
    """Most messages one IP may begin for one ISP."""

    per_minute: float
    per_hour: float
    per_day: float


def speed(strategy: Strategy) -> Speed:
    """The speed a strategy amounts to in the long run."""
    per_second = strategy.messages_per_interval / strategy.interval
    return Speed(per_second * 60, per_second * 3_600, per_second * 86_400)


def pick(settings: SendingSettings, sender: Sender, address: int, isp: int) -> Strategy:
    """The strategy of a sender for a `SourceAddress` id and an ISP id; the most specific wins.

    Address and ISP, then address, then ISP, then the sender's own, then the default. Strategies
    that are no longer there are passed over. Raises `KeyError` when even the default is missing.
    """
    matching = [o for o in sender.overrides if o.address in (0, address) and o.isp in (0, isp)]
    matching.sort(key=_specificity, reverse=True)
    for candidate in (*(override.strategy for override in matching), sender.strategy):
        if strategy := settings.strategies.get(candidate):
            return strategy
    return settings.strategies[settings.default_strategy]


def _specificity(override: StrategyOverride) -> tuple[bool, bool]:
    return bool(override.address), bool(override.isp)


def problems(fields: Mapping[str, Any]) -> dict[str, str]:
    """Field → what is wrong with it, for the fields of a `Strategy` as a form or the API gives them."""
    found: dict[str, str] = {}
    if not str(fields.get("name") or "").strip():
        found["name"] = "Give the strategy a name."
    for name, most in _MOST.items():
        value = fields.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            found[name] = f"Give a whole number from 1 to {most}."
    if not _is_interval(fields.get("interval")):
        found["interval"] = f"Give seconds, more than 0 and at most {LONGEST_INTERVAL}."
    if fields.get("helo", HeloType.PTR) not in list(HeloType):
        found["helo"] = "Choose the name to greet with."
    return found


def _is_interval(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LONGEST_INTERVAL
