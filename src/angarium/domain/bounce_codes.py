"""What codes alone say of a refusal, when no wording decided.

Enhanced codes: RFC 3463, RFC 5248 and the registry they opened; basic codes: RFC 5321 section 4.2.
"""

from __future__ import annotations

from typing import Final

from angarium.domain.email import Reply
from angarium.domain.outcome import BounceType

HARD, SOFT, BLOCK = BounceType.HARD, BounceType.SOFT, BounceType.BLOCK
Meaning = tuple[BounceType, str]

_DETAIL: Final[dict[str, Meaning]] = {
    "1.0": (HARD, "unknown_user"),
    "1.1": (HARD, "unknown_user"),
    "1.2": (HARD, "bad_domain"),
    "1.3": (HARD, "bad_address"),
    "1.4": (HARD, "bad_address"),
    "1.5": (BLOCK, "other"),
    "1.6": (HARD, "moved"),
    "1.7": (BLOCK, "sender"),
    "1.8": (BLOCK, "sender"),
    "1.9": (BLOCK, "sender"),
    "1.10": (HARD, "bad_domain"),
    "2.0": (SOFT, "system"),
    "2.1": (HARD, "disabled"),
    "2.2": (SOFT, "full"),
    "2.3": (BLOCK, "size"),
    "2.4": (SOFT, "system"),
    "3.1": (SOFT, "full"),
    "3.3": (BLOCK, "policy"),
    "3.4": (BLOCK, "size"),
    "3.6": (SOFT, "system"),
    "4.1": (SOFT, "connection"),
    "4.2": (SOFT, "connection"),
    "4.3": (SOFT, "dns"),
    "4.4": (HARD, "bad_domain"),
    "4.5": (SOFT, "rate"),
    "4.6": (SOFT, "loop"),
    "4.7": (SOFT, "expired"),
    "5.3": (SOFT, "rate"),
    "7.4": (BLOCK, "tls"),
    "7.5": (BLOCK, "tls"),
    "7.10": (BLOCK, "tls"),
    "7.11": (BLOCK, "tls"),
    "7.13": (HARD, "disabled"),
    "7.15": (SOFT, "rate"),
    "7.17": (HARD, "moved"),
    "7.18": (HARD, "moved"),
    **dict.fromkeys(("7.7", "7.8", "7.9"), (BLOCK, "auth")),
    **dict.fromkeys(("7.20", "7.21", "7.22", "7.23", "7.24", "7.26", "7.29"), (BLOCK, "auth")),
    "7.25": (BLOCK, "reverse_dns"),
    "7.27": (BLOCK, "sender"),
    "7.28": (BLOCK, "reputation"),
    "7.30": (BLOCK, "tls"),
}
_SUBJECT: Final[dict[str, Meaning]] = {
    "1": (HARD, "unknown_user"),
    "2": (SOFT, "system"),
    "3": (SOFT, "system"),
    "4": (SOFT, "connection"),
    "5": (SOFT, "protocol"),
    "6": (BLOCK, "content"),
    "7": (BLOCK, "policy"),
}
_BASIC: Final[dict[int, Meaning]] = {
    503: (SOFT, "protocol"),
    521: (BLOCK, "policy"),
    530: (BLOCK, "tls"),
    534: (BLOCK, "auth"),
    535: (BLOCK, "auth"),
    538: (BLOCK, "tls"),
    551: (HARD, "moved"),
    552: (SOFT, "full"),
    553: (HARD, "bad_address"),
    555: (BLOCK, "protocol"),
    556: (HARD, "bad_domain"),
}
_LOCAL: Final[dict[str, Meaning]] = {
    "dns": (SOFT, "dns"),
    "connect": (SOFT, "connection"),
    "tls": (SOFT, "tls"),
    "local": (BLOCK, "content"),
}


def by_code(reply: Reply, enhanced: str) -> Meaning:
    """The meaning of a reply by its stage or codes alone. `enhanced` may have been read from the text."""
    if reply.local:
        return _local(reply)
    if not 500 <= reply.code < 600:
        return SOFT, _category_of(enhanced) if 400 <= reply.code < 500 else "protocol"
    if reply.code == 503:
        return SOFT, "protocol"
    if enhanced.startswith("4"):
        return SOFT, _category_of(enhanced)
    detail = enhanced.partition(".")[2]
    if detail and detail != "0.0":
        return _DETAIL.get(detail) or _SUBJECT.get(detail.partition(".")[0], (BLOCK, "other"))
    return _BASIC.get(reply.code, (BLOCK, "other"))


def _category_of(enhanced: str) -> str:
    detail = enhanced.partition(".")[2]
    known = _DETAIL.get(detail) or _SUBJECT.get(detail.partition(".")[0])
    return known[1] if known else "system"


def _local(reply: Reply) -> Meaning:
    """A failure no server spoke of: only a domain that cannot have mail is the address's fault."""
    if reply.stage == "dns" and reply.code >= 500:
        return HARD, "bad_domain"
    text = reply.text.lower()
    if reply.stage != "dns" and ("timed out" in text or "timeout" in text or "time-out" in text):
        return SOFT, "timeout"
    return _LOCAL.get(reply.stage, (SOFT, "connection"))
