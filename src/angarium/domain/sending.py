"""The records the data plane is steered by: rows of the settings, frozen.

`store.settings` reads them from the database; services swap the whole `SendingSettings` at once.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from angarium.domain.gates import Gates
from angarium.domain.outcome import BounceType


class RetryMode(StrEnum):
    """Where the next attempt leaves from (spec: retry rules in the panel)."""

    SAME_IP = "same_ip"
    OTHER_IP = "other_ip"
    OTHER_NODE = "other_node"


class RetryType(StrEnum):
    """How the delay develops from retry to retry."""

    FIXED = "fixed"
    GEOMETRIC = "geometric"
    RANDOM = "random"


class RetryRule(msgspec.Struct, frozen=True):
    """What happens after a temporary failure."""

    id: int
    name: str
    mode: RetryMode
    retries: int
    """Attempts after the first; 0: none."""
    interval: float
    """Minutes."""
    type: RetryType
    exponent: float = 2.0
    modifier: float = 0.0


class HeloType(StrEnum):
    PTR = "ptr"
    FROM_DOMAIN = "from_domain"
    IP = "ip"


class Strategy(msgspec.Struct, frozen=True):
    """Sending speed for one (sender, IP, ISP)."""

    id: int
    name: str
    connections: int
    """Concurrent connections."""
    messages_per_connection: int
    attempts: int
    """Rounds of concurrent connections that may be opened in an interval."""
    interval: float
    """Seconds."""
    helo: HeloType = HeloType.PTR
    try_tls: bool = True
    drop: bool = False
    """Take and discard."""

    @property
    def messages_per_interval(self) -> int:
        return self.connections * self.messages_per_connection * self.attempts

    @property
    def connections_per_interval(self) -> int:
        return self.connections * self.attempts


class BouncePattern(msgspec.Struct, frozen=True):
    """Reads an SMTP reply. `pattern` is an RE2 expression over "code enhanced text"."""

    id: int
    name: str
    type: BounceType
    isp: int
    """0: all ISPs."""
    pattern: str
    message: str = ""
    category: str = "other"
    builtin: bool = False
    position: int = 0


Encoding = Literal["auto", "quoted-printable", "base64", "8bit"]


class Isp(msgspec.Struct, frozen=True):
    """A mailbox provider: a named set of recipient domains."""

    id: int
    name: str
    domains: tuple[str, ...] = ()
    mx_suffixes: tuple[str, ...] = ()
    html_encoding: Encoding = "auto"
    text_encoding: Encoding = "auto"
    add_headers: tuple[tuple[str, str], ...] = ()
    remove_headers: tuple[str, ...] = ()


class SourceAddress(msgspec.Struct, frozen=True):
    """An IP address of a node."""

    id: int
    address: str
    node: int
    hostname: str = ""
    """The reverse name to greet with; empty: looked up by PTR."""


class Node(msgspec.Struct, frozen=True):
    id: int
    name: str
    active: bool = True
    seen: float = 0.0
    """Wall clock of the last sign of life."""


class DkimKey(msgspec.Struct, frozen=True):
    id: int
    domain: str
    selector: str
    algorithm: Literal["rsa", "ed25519"]
    private_key: str
    """PEM."""


class DoubtPolicy(StrEnum):
    """What happens to a message sent without a known answer."""

    RETRY = "retry"
    ASSUME_DELIVERED = "assume_delivered"


class TlsPolicy(StrEnum):
    """Opportunistic follows the strategy's "try TLS first"; required never falls back to plain text."""

    OPPORTUNISTIC = "opportunistic"
    REQUIRED = "required"
    REQUIRED_VERIFIED = "required_verified"
    NEVER = "never"


class Route(msgspec.Struct, frozen=True):
    """A per-domain override of MX: a smart host."""

    domain: str
    """A recipient domain, or `*`."""
    host: str
    port: int = 25
    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC
    username: str = ""
    password: str = ""
    sender: int = 0
    """0: every sender."""


class StrategyOverride(msgspec.Struct, frozen=True):
    strategy: int
    address: int = 0
    """SourceAddress id; 0: any."""
    isp: int = 0
    """ISP id; 0: any."""


class Sender(msgspec.Struct, frozen=True):
    """What carries the messages of a channel; here our own SMTP."""

    id: int
    name: str
    channel: str
    kind: str
    """`mta` for our own SMTP."""
    active: bool = True
    addresses: tuple[int, ...] = ()
    """SourceAddress ids."""
    strategy: int = 0
    overrides: tuple[StrategyOverride, ...] = ()
    retry_rule: int = 0
    """0: the default rules decide."""
    dkim_keys: tuple[int, ...] = ()
    doubt: DoubtPolicy = DoubtPolicy.RETRY
    life: float = 86_400.0
    """Seconds a message lives from publishing."""
    bounce_domain: str = ""
    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC
    options: msgspec.Raw = msgspec.Raw(b"\x80")
    """Settings of the channel's own, msgpack."""


class DefaultRule(msgspec.Struct, frozen=True):
    """Ordered; used where a sender has no rule of its own. First match wins."""

    position: int
    isp: int = 0
    bounce_type: BounceType | None = None
    pattern: int = 0
    """BouncePattern id; 0: any."""
    retry_rule: int = 0
    """0: undelivered at once."""


class SendingSettings(msgspec.Struct, frozen=True):
    """All of it, as of one moment. Dictionaries are keyed by id."""

    version: int
    senders: dict[int, Sender] = {}
    addresses: dict[int, SourceAddress] = {}
    nodes: dict[int, Node] = {}
    isps: dict[int, Isp] = {}
    strategies: dict[int, Strategy] = {}
    default_strategy: int = 0
    retry_rules: dict[int, RetryRule] = {}
    default_retry_rule: int = 0
    patterns: tuple[BouncePattern, ...] = ()
    default_rules: tuple[DefaultRule, ...] = ()
    dkim_keys: dict[int, DkimKey] = {}
    routes: tuple[Route, ...] = ()
    gates: Gates = Gates()
