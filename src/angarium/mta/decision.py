"""From a reply to what becomes of the message, and the events that tell of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from angarium.domain.email import Reply
from angarium.domain.outcome import Bounce, BounceType, Decision, Defer, Delivered, Reason, Undelivered
from angarium.domain.retry import next_attempt
from angarium.domain.sending import RetryRule, Sender, SendingSettings, SourceAddress
from angarium.engine.message import Message
from angarium.events import Event, EventKind
from angarium.mta.link import Verdict

NODE_ALIVE: Final = 60.0
"""Seconds: a node not seen for longer gets no messages to retry."""


class Attempt(NamedTuple):
    """One attempt that has ended."""

    verdict: Verdict
    reply: Reply
    ended: float
    """Wall clock, seconds."""
    source: str
    """The IP it left from."""
    mx: str
    tls: str


def decide(
    attempt: Attempt,
    message: Message,
    isp: int,
    settings: SendingSettings,
    node: int,
    chance: float,
    rest: float = 0.0,
) -> Decision:
    """What becomes of the message. `chance` is in [0, 1); `rest`: seconds of its life that do not count."""
    verdict, reason = attempt.verdict, reply_line(attempt.reply)
    if verdict.type is None:
        return Delivered()
    if verdict.type is BounceType.HARD:
        return Bounce(BounceType.HARD, reason)
    sender = settings.senders.get(message.header.sender)
    rule = retry_rule(verdict, sender, isp, settings)
    if rule is None:
        return Bounce(verdict.type, reason)
    return next_attempt(
        rule,
        made=message.attempts + 1,
        ended=attempt.ended,
        expires=end_of_life(message, rest),
        reason=reason,
        tried=tried_after(message, attempt.source),
        addresses=usable_addresses(settings, sender, node, attempt.ended),
        node=node,
        chance=chance,
    )


def retry_rule(
    verdict: Verdict, sender: Sender | None, isp: int, settings: SendingSettings
) -> RetryRule | None:
    """The rule for this refusal; None: final at once.

    A soft bounce follows the sender's rule, or else the first default rule that matches, or else the default
    retry rule. A block is retried only where a default rule says so.
    """
    soft = verdict.type is BounceType.SOFT
    if soft and sender and (own := settings.retry_rules.get(sender.retry_rule)):
        return own
    for rule in settings.default_rules:
        if (
            rule.isp in (0, isp)
            and rule.pattern in (0, verdict.pattern)
            and rule.bounce_type in (None, verdict.type)
            and (soft or rule.bounce_type is not None or rule.pattern)
        ):
            return settings.retry_rules.get(rule.retry_rule)
    return settings.retry_rules[settings.default_retry_rule] if soft else None


def usable_addresses(
    settings: SendingSettings, sender: Sender | None, node: int, now: float
) -> list[SourceAddress]:
    """The sender's addresses on this node and on other nodes that are alive."""
    alive = {n.id for n in settings.nodes.values() if n.active and now - n.seen < NODE_ALIVE} | {node}
    own = sender.addresses if sender else ()
    addresses = (settings.addresses[number] for number in own if number in settings.addresses)
    return [address for address in addresses if address.node in alive]


def end_of_life(message: Message, rest: float = 0.0) -> float:
    """Wall clock, seconds. `rest`, the time gates were closed, extends a life, but not past "not after"."""
    header = message.header
    expires = header.expires + rest
    return min(expires, header.not_after) if header.not_after is not None else expires


def tried_after(message: Message, source: str) -> tuple[str, ...]:
    """Source addresses tried once this attempt has ended, the latest last, each once."""
    if not source:
        return message.tried
    return (*(address for address in message.tried if address != source), source)


def events(decision: Decision, attempt: Attempt, message: Message, isp: int, node: int) -> list[Event]:
    """What is recorded of an attempt and its decision."""
    match decision:
        case Delivered():
            return [_event(EventKind.DELIVERED, attempt, message, isp, node)]
        case Defer(until=until):
            return [_soft(attempt, message, isp, node, until)]
        case Bounce(kind=BounceType.HARD):
            return [
                _event(EventKind.HARD_BOUNCE, attempt, message, isp, node, attempt.verdict.category),
                _event(EventKind.UNDELIVERED, attempt, message, isp, node, Reason.HARD_BOUNCE),
            ]
        case Bounce():
            return [_event(EventKind.UNDELIVERED, attempt, message, isp, node, Reason.BLOCKED)]
        case Undelivered(reason=reason):
            last = (
                [_soft(attempt, message, isp, node, 0.0)] if attempt.verdict.type is BounceType.SOFT else []
            )
            return [*last, _event(EventKind.UNDELIVERED, attempt, message, isp, node, reason)]


def end_without_attempt(
    message: Message, reason: Reason, now: float, isp: int, node: int, text: str = ""
) -> Iterable[Event]:
    """The end of a message that nobody refused: its life is over, it was removed, the strategy drops it."""
    nothing = Attempt(Verdict(None), Reply(0, "", text, "local", True), now, "", "", "")
    event = _event(EventKind.UNDELIVERED, nothing, message, isp, node, reason)
    return [event]


def doubt(message: Message, now: float, isp: int, node: int, source: str, mx: str) -> Event:
    """The message may have been delivered: it was sent, and no answer is known."""
    unknown = Attempt(Verdict(None), Reply(0, "", "", "dot", True), now, source, mx, "")
    return _event(EventKind.DOUBT, unknown, message, isp, node)


def reply_line(reply: Reply) -> str:
    """A reply on one line, as a server said it."""
    return " ".join(part for part in (str(reply.code or ""), reply.enhanced, reply.text) if part)


def _soft(attempt: Attempt, message: Message, isp: int, node: int, until: float) -> Event:
    return _event(EventKind.SOFT_BOUNCE, attempt, message, isp, node, attempt.verdict.category, until)


def _event(
    kind: EventKind,
    attempt: Attempt,
    message: Message,
    isp: int,
    node: int,
    reason: str = "",
    next_attempt: float = 0.0,
) -> Event:
    header, reply = message.header, attempt.reply
    counted = attempt.verdict.type is not None or reply.code
    return Event(
        kind, attempt.ended, header.account, header.mailing, header.launch, message.id, header.channel,
        message.profile, message.subscription, header.sender, message.address, isp, node, attempt.source,
        message.attempts + 1 if counted else message.attempts, str(reason), reply.code, reply.enhanced,
        reply.text[:500], attempt.mx, attempt.tls, attempt.verdict.pattern_name, next_attempt,
    )  # fmt: skip
