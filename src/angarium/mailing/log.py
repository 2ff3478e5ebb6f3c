"""What the mailing log says of a launch."""

from __future__ import annotations

from typing import Final

from angarium.mailing.checks import REASONS
from angarium.mailing.port import Candidate, LogLine, PacketRecipient

ERROR_LINES: Final = 10_000
"""Mailing errors of a launch that get a line of their own; the rest are counted."""


def begun(size: int) -> LogLine:
    return LogLine("info", f"Preparing begins: {size:,} profiles in the list", "start", value=size)


def resumed(repeated: int) -> LogLine:
    text = "Preparing goes on where it was"
    if repeated:
        text += f"; {repeated:,} packets whose arrival is not known are published again as repeats"
    return LogLine("info", text, "start", value=repeated)


def failed_recipient(candidate: Candidate, error: Exception) -> LogLine:
    address = candidate.subscription.address if candidate.subscription else ""
    return LogLine("error", f"Mailing error: {error}", address=address, profile=candidate.profile)


def failed_again(recipient: PacketRecipient, error: Exception) -> LogLine:
    text = (
        f"After a restart the message could not be rendered again; whether it was sent is not known: {error}"
    )
    return LogLine("error", text, address=recipient.address, profile=recipient.profile)


def totals(counts: dict[str, int]) -> list[LogLine]:
    """A line for each check that held somebody back, in the order of the checks."""
    lines = [
        LogLine("info", f"Not sent, {reason}: {counts[name]:,}", value=counts[name])
        for name, reason in REASONS.items()
        if counts.get(name)
    ]
    if errors := counts.get("errors", 0):
        lines.append(LogLine("warning", f"Not sent, mailing errors: {errors:,}", value=errors))
    return lines


def ended(state: str, published: int) -> LogLine:
    words = {
        "prepared": f"Prepared: {published:,} messages handed to the broker",
        "stopped": f"Stopped by a person: {published:,} messages are handed to the broker, no more follow",
    }[state]
    return LogLine("info", words, "end", value=published)


def paused(errors: int, tried: int, share: float) -> LogLine:
    text = (
        f"Paused: {errors:,} of {tried:,} recipients failed, more than {share:.0%}. "
        "Mend the template or the profiles, then resume; those of this page are tried again."
    )
    return LogLine("error", text, "end", value=errors)


def failed(reason: object) -> LogLine:
    return LogLine("error", f"The launch cannot go on: {reason}", "end")


def broker_away(away: bool) -> LogLine:
    if away:
        return LogLine("warning", "The broker is not available: the launch waits for it")
    return LogLine("info", "The broker is available again")
