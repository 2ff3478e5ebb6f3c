"""Reads SMTP replies: is the address dead, is it only not now, or are we refused?

A pattern decides where one matches, otherwise the enhanced code (RFC 3463 and the IANA registry of
enhanced status codes), otherwise the basic code (RFC 5321 section 4.2). Whatever matched, a 4xx is
never more than soft.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import re2

from angarium.domain.bounce_codes import by_code
from angarium.domain.email import Reply
from angarium.domain.outcome import BounceType
from angarium.domain.sending import BouncePattern, Isp

LONGEST_LINE: Final = 2_000
"""Characters of a reply that are read."""
LONGEST_PATTERN: Final = 2_000
_LEADING_CODE: Final = re.compile(r"\s*[#(\[]?([245]\.\d{1,3}\.\d{1,3})(?![.\d])")
_ANY_CODE: Final = re.compile(r"(?<![\d.])([45]\.\d\.\d{1,3})(?![.\d])")

CATEGORIES: Final = {
    "unknown_user": "There is no such mailbox.",
    "bad_address": "The recipient's address is not well-formed.",
    "bad_domain": "The recipient's domain does not exist or takes no mail.",
    "disabled": "The mailbox exists but is closed, suspended or inactive.",
    "moved": "The recipient has another address now.",
    "full": "The mailbox, or the disk it is on, is full.",
    "restricted": "The recipient takes mail only from some senders.",
    "spam": "The message looks like spam.",
    "virus": "The message seems to carry something dangerous.",
    "content": "Something in the message is not accepted: a link, an attachment, a header.",
    "size": "The message is too big.",
    "listed": "Our address or domain is on a block list.",
    "reputation": "Our address or domain has a poor name with this receiver.",
    "auth": "SPF, DKIM, DMARC or ARC did not pass.",
    "reverse_dns": "Our IP address has no reverse name, or the name we greet with is not accepted.",
    "sender": "The envelope sender or its domain is not accepted.",
    "relay": "The server does not take mail for this domain from us.",
    "policy": "A rule of the receiver forbids it.",
    "tls": "Encryption is demanded and was not given, or failed.",
    "greylist": "First contact: try again a little later.",
    "rate": "Too many messages, connections or recipients in too short a time.",
    "system": "The receiver has a fault of its own.",
    "connection": "The connection could not be made or broke.",
    "timeout": "The receiver did not answer in time.",
    "dns": "The name service gave no answer.",
    "loop": "The message goes round in circles.",
    "expired": "Another server gave up trying.",
    "protocol": "The session got out of step.",
    "other": "Nothing more is known.",
}
"""What a refusal was about; the words of reports. `docs/reference/bounces.md` says more."""


class Verdict(msgspec.Struct, frozen=True):
    """What a reply means."""

    bounce: BounceType
    category: str
    pattern: int = 0
    """Id of the pattern that decided; 0: the code did."""
    name: str = ""
    message: str = ""
    """The pattern's text for people."""


class BuiltinPattern(msgspec.Struct, frozen=True):
    """A pattern as the product ships it. Its slug stays the same over versions."""

    slug: str
    name: str
    type: BounceType
    pattern: str
    category: str
    position: int
    isp: str = ""
    """Name of a built-in ISP; empty: all."""
    message: str = ""


class Classifier:
    """Classifies replies by patterns: ISP-specific before general, own before built-in, then by position."""

    def __init__(self, patterns: Iterable[BouncePattern]) -> None:
        groups: dict[tuple[int, bool], list[BouncePattern]] = {}
        for pattern in sorted(patterns, key=lambda p: (p.position, p.id)):
            groups.setdefault((pattern.isp, pattern.builtin), []).append(pattern)
        self._groups = {key: _PatternSet(group) for key, group in groups.items()}

    def classify(self, reply: Reply, isp: int = 0) -> Verdict:
        """What the reply means, coming from a host of this ISP."""
        text = " ".join(reply.text[:LONGEST_LINE].split())
        enhanced = reply.enhanced or _code_in(text)
        match = self._first_match(line(reply.code, reply.enhanced, text), isp, own_only=reply.local)
        if match:
            verdict = Verdict(match.type, match.category, match.id, match.name, match.message)
        else:
            verdict = Verdict(*by_code(reply, enhanced))
        if reply.code < 500 and verdict.bounce is not BounceType.SOFT:
            return msgspec.structs.replace(verdict, bounce=BounceType.SOFT)
        return verdict

    def _first_match(self, text: str, isp: int, own_only: bool) -> BouncePattern | None:
        """Built-in patterns read what servers say; local failures are told by their stage."""
        for scope in (isp, 0) if isp else (0,):
            for builtin in (False,) if own_only else (False, True):
                group = self._groups.get((scope, builtin))
                if group and (match := group.first_match(text)):
                    return match
        return None


class _PatternSet:
    """Patterns in order. Words they need are looked for in one pass, then only those that may match are run.

    Broken patterns never match.
    """

    def __init__(self, patterns: Sequence[BouncePattern]) -> None:
        self._patterns: list[BouncePattern] = []
        self._filter = re2.Filter()
        for pattern in patterns:
            if not pattern_problem(pattern.pattern):
                self._filter.Add(pattern.pattern, _options())
                self._patterns.append(pattern)
        if self._patterns:
            self._filter.Compile()

    def first_match(self, text: str) -> BouncePattern | None:
        matches = self._filter.Match(text.encode("utf-8", "replace")) if self._patterns else None
        return self._patterns[min(matches)] if matches else None


def line(code: int, enhanced: str, text: str) -> str:
    """What patterns are matched against: `550 5.1.1 user unknown`."""
    return f"{code} {enhanced} {text}" if enhanced else f"{code} {text}"


def pattern_problem(pattern: str) -> str:
    """What is wrong with a pattern as a person wrote it; empty when it can be used."""
    if not pattern.strip():
        return "Give a regular expression."
    if len(pattern) > LONGEST_PATTERN:
        return f"Give a regular expression of at most {LONGEST_PATTERN} characters."
    try:
        re2.compile(pattern, _options())
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        return f"This is not a regular expression that RE2 can run: {reason}."
    return ""


def _options() -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    return options


def _code_in(text: str) -> str:
    """The enhanced code a server wrote where none was recognised, such as `#5.1.0 Address rejected`."""
    found = _LEADING_CODE.match(text) or _ANY_CODE.search(text)
    return found[1] if found else ""


@functools.cache
def builtin_patterns() -> tuple[BuiltinPattern, ...]:
    """The patterns the product ships, in order."""
    data = _read("bounce_patterns.toml")
    words: dict[str, str] = {}
    for name, value in data["words"].items():
        words[name] = _expand(value, words)
    return tuple(
        BuiltinPattern(
            slug=entry["slug"],
            name=entry["name"],
            type=BounceType(entry["type"]),
            pattern=_expand(entry["pattern"], words),
            category=entry["category"],
            position=position,
            isp=entry.get("isp", ""),
            message=entry.get("message", CATEGORIES[entry["category"]]),
        )
        for position, entry in enumerate(data["pattern"], start=1)
    )


def _expand(pattern: str, words: dict[str, str]) -> str:
    return re.sub(r"<(\w+)>", lambda found: words[found[1]], pattern)


@functools.cache
def builtin_isps() -> tuple[Isp, ...]:
    """The mailbox providers the product knows, numbered from 1."""
    return tuple(
        Isp(number, entry["name"], tuple(entry.get("domains", ())), tuple(entry.get("mx", ())))
        for number, entry in enumerate(_read("isps.toml")["isp"], start=1)
    )


@functools.cache
def default_classifier() -> Classifier:
    """Classifies by the built-in patterns alone; ISPs are numbered as in `builtin_isps`."""
    numbers = {isp.name: isp.id for isp in builtin_isps()}
    return Classifier(
        BouncePattern(
            p.position,
            p.name,
            p.type,
            numbers.get(p.isp, 0),
            p.pattern,
            p.message,
            p.category,
            True,
            p.position,
        )
        for p in builtin_patterns()
    )


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name(name).read_text("utf-8"))
