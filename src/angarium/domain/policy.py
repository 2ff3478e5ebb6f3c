"""Sending policies: at most so many messages in so many days.

A window of N days is today and the N − 1 days before it, by UTC days. Levels are account, resource, mailing;
the lowest one that has a policy overrides the others and does not add to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final, TypeVar

import msgspec

MAX_DAYS: Final = 16
T = TypeVar("T")


class PolicyScope(StrEnum):
    """What a limit counts over."""

    RECIPIENT = "recipient"
    RESOURCE = "resource"
    CHANNEL = "channel"
    CONTACT = "contact"


class Limit(msgspec.Struct, frozen=True):
    scope: PolicyScope
    messages: int
    """1–15."""
    days: int
    """1–16."""


class Use(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Messages of one day to one profile and contact."""

    profile: int
    resource: int
    channel: str
    contact: int
    """`domain.contact.contact_hash`."""
    day: int
    """Days since 1970-01-01, UTC."""
    count: int = 1


def day_of(time: float) -> int:
    """The UTC day of a wall-clock time in seconds."""
    return int(time // 86_400)


def in_force(account: T | None, resource: T | None, mailing: T | None) -> T | None:
    """The policy that decides: the mailing's, else the resource's, else the account's."""
    return mailing if mailing is not None else resource if resource is not None else account


def exceeded(limits: Sequence[Limit], message: Use, uses: Iterable[Use]) -> Limit | None:
    """The first limit that `message` would exceed, given the `uses` of its profile and contact."""
    if not limits:
        return None
    known = tuple(uses)
    for limit in limits:
        oldest = message.day - limit.days
        counted = sum(use.count for use in known if use.day > oldest and _counts(limit.scope, message, use))
        if counted + message.count > limit.messages:
            return limit
    return None


def _counts(scope: PolicyScope, message: Use, use: Use) -> bool:
    if scope is PolicyScope.CONTACT:
        return use.contact == message.contact
    if use.profile != message.profile:
        return False
    if scope is PolicyScope.RESOURCE:
        return use.resource == message.resource
    return scope is PolicyScope.RECIPIENT or use.channel == message.channel
