"""How a pretended receiver treats a recipient: decided by the address alone, so that books can be compared.

The local part may say it (`deliver`, `soft2+anything`, `hard`, `block`, `full`, `slow3`, `greylist`,
`421`, `drop`, each with an optional number and an optional `+` part); otherwise a hash of the address
draws from a mix.
"""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from typing import Final, Literal

import msgspec


class Fate(StrEnum):
    """What becomes of a recipient's message in the end, and on what way."""

    DELIVER = "deliver"
    SLOW = "slow"
    """Taken, after a while."""
    SOFT = "soft"
    """Deferred some times, then taken."""
    GREYLIST = "greylist"
    """Deferred the first time, then taken."""
    BUSY = "421"
    """The connection is closed with a 421 some times, then it is taken."""
    DROP = "drop"
    """The connection is closed after the message without an answer some times, then it is taken."""
    FULL = "full"
    """Deferred always."""
    HARD = "hard"
    BLOCK = "block"


class Plan(msgspec.Struct, frozen=True):
    """A recipient's fate. `count` attempts fail before one succeeds; None: all of them."""

    fate: Fate
    count: int | None = 0
    delay: float = 0.0
    """Seconds before the final answer."""

    @property
    def delivered(self) -> bool:
        """Whether the message is taken if it is tried often enough."""
        return self.count is not None


class Behaviour(msgspec.Struct, frozen=True):
    """The answer to one attempt."""

    fate: Fate
    stage: Literal["rcpt", "dot"]
    code: int
    """0: no answer at all, the connection is closed."""
    enhanced: str
    text: str
    delay: float = 0.0
    """Seconds before the answer."""
    close: bool = False
    """The connection is closed after the answer."""


class Mix(msgspec.Struct, frozen=True):
    """Shares of the fates, in thousandths; the rest is delivered."""

    name: str
    shares: dict[Fate, int] = {}
    slowest: float = 2.0
    """Seconds."""


MIXES: Final = {
    mix.name: mix
    for mix in (
        Mix("accept"),
        Mix(
            "realistic",
            {
                Fate.SLOW: 40,
                Fate.GREYLIST: 30,
                Fate.SOFT: 40,
                Fate.BUSY: 5,
                Fate.FULL: 10,
                Fate.HARD: 30,
                Fate.BLOCK: 15,
            },
        ),
        Mix(
            "hostile",
            {
                Fate.SLOW: 100,
                Fate.GREYLIST: 100,
                Fate.SOFT: 200,
                Fate.BUSY: 50,
                Fate.DROP: 50,
                Fate.FULL: 50,
                Fate.HARD: 100,
                Fate.BLOCK: 100,
            },
        ),
        Mix("refuse", {Fate.HARD: 500, Fate.BLOCK: 500}),
        Mix("defer", {Fate.FULL: 1000}),
    )
}

_Answer = tuple[int, str, str]
_ANSWERS: Final[dict[Fate, tuple[_Answer, ...]]] = {
    Fate.SOFT: (
        (451, "4.3.0", "Temporary server error. Please try again later."),
        (
            450,
            "4.2.1",
            "The user you are trying to contact is receiving mail too quickly. Please resend later.",
        ),
        (451, "4.7.1", "Service unavailable - try again later"),
        (452, "4.3.1", "Insufficient system storage"),
        (
            421,
            "4.7.0",
            "Messages from your address temporarily deferred due to unexpected volume; see our pages",
        ),
    ),
    Fate.GREYLIST: (
        (451, "4.7.1", "Greylisting in action, please come back later"),
        (450, "4.2.0", "<{address}>: Recipient address rejected: Greylisted"),
    ),
    Fate.BUSY: ((421, "4.7.0", "Too many connections from your address, closing connection"),),
    Fate.FULL: (
        (452, "4.2.2", "<{address}>: the mailbox is over quota"),
        (452, "4.2.2", "The recipient's inbox is out of storage space"),
        (552, "5.2.2", "<{address}>: Quota exceeded (mailbox for user is full)"),
    ),
    Fate.HARD: (
        (550, "5.1.1", "The email account that you tried to reach does not exist"),
        (550, "5.1.1", "<{address}>: Recipient address rejected: User unknown in virtual mailbox table"),
        (550, "5.5.0", "Requested action not taken: mailbox unavailable"),
        (554, "", "delivery error: dd This user doesn't have an account here"),
        (550, "5.2.1", "This mailbox has been disabled"),
        (550, "", "No such user here"),
    ),
    Fate.BLOCK: (
        (550, "5.7.1", "Our system has detected that this message is likely unsolicited mail and blocked it"),
        (554, "5.7.1", "Service unavailable; Client host blocked using zen.spamhaus.org"),
        (550, "5.7.26", "Unauthenticated email is not accepted due to the domain's DMARC policy"),
        (550, "", "spam message rejected"),
        (554, "5.7.9", "Message not accepted for policy reasons"),
    ),
}
_FORM: Final = re.compile(
    r"(deliver|soft|hard|block|full|slow|drop|greylist|421)(\d{0,3})(?:\+.*)?", re.IGNORECASE
)


def plan(address: str, mix: Mix, seed: int = 0) -> Plan:
    """What becomes of a recipient: as its local part says, otherwise as the mix draws it."""
    local = address.rpartition("@")[0]
    if form := _FORM.fullmatch(local):
        number = int(form[2]) if form[2] else None
        return _plan(Fate(form[1].lower()), number, float(number or 1))
    draw = _draw(address, seed)
    mark = draw % 1000
    for fate, share in mix.shares.items():
        if mark < share:
            return _plan(fate, 1 + draw // 1000 % 3, mix.slowest * (draw // 3000 % 1000 + 1) / 1000)
        mark -= share
    return Plan(Fate.DELIVER)


def _plan(fate: Fate, number: int | None, delay: float) -> Plan:
    match fate:
        case Fate.DELIVER:
            return Plan(fate)
        case Fate.SLOW:
            return Plan(fate, delay=delay)
        case Fate.GREYLIST:
            return Plan(fate, 1)
        case Fate.SOFT | Fate.BUSY | Fate.DROP:
            return Plan(fate, 1 if number is None else number)
        case _:
            return Plan(fate, None)


def decide(address: str, attempts_so_far: int, mix: Mix, seed: int = 0) -> Behaviour:
    """The answer to the next attempt, after `attempts_so_far` for this recipient."""
    given = plan(address, mix, seed)
    if given.count is not None and attempts_so_far >= given.count:
        return Behaviour(given.fate, "dot", 250, "2.0.0", "Ok: queued", delay=given.delay)
    if given.fate is Fate.DROP:
        return Behaviour(given.fate, "dot", 0, "", "")
    answers = _ANSWERS[given.fate]
    code, enhanced, text = answers[_draw(address, seed) // 7 % len(answers)]
    return Behaviour(
        given.fate,
        "dot" if given.fate is Fate.BLOCK else "rcpt",
        code,
        enhanced,
        text.format(address=address),
        close=code == 421,
    )


def answers() -> dict[Fate, tuple[_Answer, ...]]:
    """Every refusal the sandbox may give."""
    return _ANSWERS


def _draw(address: str, seed: int) -> int:
    digest = hashlib.blake2b(f"{seed}\0{address.lower()}".encode(errors="surrogateescape"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")
