"""What the launcher needs from the control database, and the records it exchanges with it.

`store.launching` implements `LaunchStore`. Its promises, which the launcher's guarantees stand on:

- `commit` is one transaction. What it returned is durable; what raised did not happen.
- A packet number exists only once its row is committed; none is reserved ahead.
- Only one launcher owns a launch. `commit` and `finish` raise `LaunchLost` for any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, Protocol

import msgspec

from angarium.domain.email import MailContent
from angarium.domain.filters import Condition
from angarium.domain.policy import Limit, Use
from angarium.errors import AngariumError

TAKEOVER: Final = 10.0
"""Seconds without a heartbeat after which a launch is another launcher's to claim."""


class LaunchLost(AngariumError):
    """Another launcher runs the launch now."""


class EmailTemplate(msgspec.Struct, frozen=True):
    """The content of an e-mail template: minijinja sources."""

    subject: str = ""
    preheader: str = ""
    html: str = ""
    text: str = ""


class TestSend(msgspec.Struct, frozen=True):
    """One message to one address, with the fields of a profile; the audience is not touched."""

    address: str
    profile: int | None = None
    """None: the profile the address belongs to, else the first of the audience, else no fields."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A launch as the launcher reads it: everything that stays the same from the first page to the last."""

    launch: int
    account: int
    mailing: int
    name: str
    resource: int
    audience: int
    """List id."""
    sender: int
    channel: str = "email"
    urgent: bool = False
    template: EmailTemplate
    content: MailContent
    to_name: str = ""
    """Template of the name in the To header."""
    conditions: tuple[Condition, ...] = ()
    suppression_lists: tuple[int, ...] = ()
    limits: tuple[Limit, ...] = ()
    """Of the sending policy in force."""
    counts_use: bool = False
    """Whether the account has any sending policy, so that messages must be counted for it."""
    launch_limit: int | None = None
    life: float = 86_400.0
    """Seconds."""
    not_after: float | None = None
    """Wall clock, seconds."""
    isps: dict[str, int] = {}
    """Recipient domain → ISP id."""
    test: TestSend | None = None
    started: bool = False
    """An earlier launcher, or an earlier run, has begun it."""
    stopping: bool = False
    """A person asked to stop it; its launcher died before it could."""
    cursor: int = 0
    counts: dict[str, int] = {}


class Subscription(msgspec.Struct, frozen=True, gc=False):
    id: int
    address: str
    contact: str
    status: str
    fields: dict[str, Any]
    """category, provider and own fields, as conditions name them."""


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A profile of the audience, with what the checks need to know about it."""

    entry: int
    profile: int
    attributes: dict[str, Any]
    subscription: Subscription | None
    """Of the mailing's resource and channel; of several the one `checks.choose` says."""
    contact: int = 0
    """`domain.contact.contact_hash` of the subscription's contact."""
    stopped: bool = False
    """On the global stop list."""
    suppressed: bool = False
    """On a suppression list in force, by address or domain."""
    uses: tuple[Use, ...] = ()
    """What sending policies count, of this profile and contact."""


class PacketRecipient(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One message of a packet row."""

    id: bytes
    address: str
    profile: int
    subscription: int
    contact: int
    """`domain.contact.contact_hash`."""


class NewPacket(msgspec.Struct, frozen=True):
    queue: str
    isp: int
    recipients: tuple[PacketRecipient, ...]


class PacketRow(msgspec.Struct, frozen=True):
    """A committed packet the broker has not confirmed."""

    number: int
    queue: str
    isp: int
    recipients: tuple[PacketRecipient, ...]


class LogLine(msgspec.Struct, frozen=True):
    """A line of the mailing log."""

    level: Literal["debug", "info", "warning", "error"]
    message: str
    state: Literal["", "start", "end"] = ""
    address: str = ""
    profile: int | None = None
    value: int | None = None


class Step(msgspec.Struct, frozen=True):
    """What one commit makes durable: all of it or nothing."""

    cursor: int
    counts: dict[str, int]
    packets: Sequence[NewPacket] = ()
    replaced: Sequence[int] = ()
    """Numbers of packet rows, never published, whose recipients are in `packets` now."""
    confirmed: Sequence[int] = ()
    """Numbers the broker has confirmed."""
    uses: Sequence[Use] = ()
    log: Sequence[LogLine] = ()


class Committed(msgspec.Struct, frozen=True):
    numbers: tuple[int, ...]
    """Aligned with the step's packets."""
    stopping: bool
    """A person asked to stop the launch."""


class LaunchStore(Protocol):
    async def claim(self, owner: str, busy: bool) -> Plan | None:
        """The next launch to run, now owned. A busy launcher is given test sends only."""

    async def beat(self, owner: str) -> set[int]:
        """Renews the claim on all launches of the owner; they are returned."""

    async def audience_size(self, plan: Plan, after: int) -> int:
        """How many list entries follow the one named."""

    async def page(self, plan: Plan, after: int, size: int) -> list[Candidate]:
        """The next candidates after a list entry, in the order of entries."""

    async def candidates(self, plan: Plan, profiles: Sequence[int]) -> dict[int, Candidate]:
        """Profiles by id, whether they are still in the audience or not."""

    async def sample(self, plan: Plan, address: str) -> Candidate | None:
        """Whose fields a test send to the address shows when nobody says."""

    async def recipients(self, launch: int) -> set[int]:
        """Contact hashes of everybody who is in a packet row of the launch."""

    async def unconfirmed(self, launch: int) -> list[PacketRow]: ...

    async def commit(self, plan: Plan, owner: str, step: Step) -> Committed:
        """Raises `LaunchLost`."""

    async def log(self, plan: Plan, lines: Sequence[LogLine]) -> None: ...

    async def finish(self, plan: Plan, owner: str, state: str, lines: Sequence[LogLine]) -> None:
        """Ends the run: `prepared`, `stopped`, `paused`, `failed`. Raises `LaunchLost`."""

    async def release(self, owner: str, launch: int | None = None) -> None:
        """Gives back a launch the owner runs, or all of them, to be claimed at once."""
