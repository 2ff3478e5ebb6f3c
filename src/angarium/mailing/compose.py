"""One recipient's message, ready to travel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from angarium.domain.contact import contact_hash, domain_of, email_address
from angarium.domain.email import MailBody
from angarium.domain.link import UNSUBSCRIBE_LIFE, LinkClaim, derived_key, sign_link
from angarium.domain.message import message_id
from angarium.domain.token import Purpose, sign
from angarium.errors import InvalidInput
from angarium.mailing.port import Candidate, PacketRecipient, Plan
from angarium.mailing.render import Renderer

MESSAGE_BYTES: Final = 3_000_000
"""A message's subject, HTML and text together; its packet must stay under 4 MB. Files do not count."""

BOUNCE_LIFE: Final = 30 * 86_400.0
"""Seconds after the end of a message's life for which its id is recognised when it comes back."""


class Message(msgspec.Struct, frozen=True, gc=False):
    recipient: PacketRecipient
    domain: str
    isp: int
    frame: bytes
    """msgpack of `MailBody`, not compressed yet."""


class Composer:
    """Builds the messages of one launch. Raises `TemplateError` when the template does not compile."""

    def __init__(self, plan: Plan, secret: bytes, public_url: str, now: float) -> None:
        self._plan = plan
        self._renderer = Renderer(plan.template, plan.to_name)
        self._link_key = derived_key(secret, "unsubscribe")
        self._prefix = f"{public_url.rstrip('/')}/u/"
        self._link_expires = now + UNSUBSCRIBE_LIFE
        self._token_key = derived_key(secret, "message")
        self._token_expires = now + plan.life + BOUNCE_LIFE
        self._encode = msgspec.msgpack.Encoder().encode

    def compose(self, candidate: Candidate) -> Message:
        """The message to a candidate that passed the checks. Raises `TemplateError`, `InvalidInput`."""
        plan, subscription = self._plan, candidate.subscription
        if subscription is None:
            raise InvalidInput("there is no subscription")
        recipient = PacketRecipient(
            message_id(plan.launch, plan.channel, subscription.id),
            subscription.address,
            candidate.profile,
            subscription.id,
            candidate.contact,
        )
        return self._message(recipient, domain_of(subscription.contact), candidate.attributes)

    def again(self, recipient: PacketRecipient, attributes: Mapping[str, Any]) -> Message:
        """The message of a packet row, rendered once more. Raises `TemplateError`, `InvalidInput`."""
        return self._message(recipient, email_address(recipient.address).domain, attributes)

    def test(self, address: str, profile: int, attributes: Mapping[str, Any]) -> Message:
        """A test send. It belongs to no subscription. Raises `TemplateError`, `InvalidInput`."""
        plan, email = self._plan, email_address(address)
        recipient = PacketRecipient(
            message_id(plan.launch, plan.channel, 0),
            email.address,
            profile,
            0,
            contact_hash(plan.channel, email.contact),
        )
        return self._message(recipient, email.domain, attributes)

    def _message(self, recipient: PacketRecipient, domain: str, attributes: Mapping[str, Any]) -> Message:
        if not domain:
            raise InvalidInput(f"{recipient.address!r} is not an e-mail address")
        url = self._unsubscribe_url(recipient)
        subject, html, text, to_name = self._renderer.render(attributes, recipient.address, url)
        token = sign(recipient.id, Purpose.MESSAGE, self._token_key, 0, self._token_expires)
        frame = self._encode(MailBody(subject, html, text, to_name, url, token))
        if len(frame) > MESSAGE_BYTES:
            raise InvalidInput(f"the message has {len(frame):,} bytes; at most {MESSAGE_BYTES:,} can travel")
        return Message(recipient, domain, self._plan.isps.get(domain, 0), frame)

    def _unsubscribe_url(self, recipient: PacketRecipient) -> str:
        plan = self._plan
        claim = LinkClaim(
            plan.sender, plan.account, plan.mailing, recipient.profile, recipient.subscription, recipient.id
        )
        return self._prefix + sign_link(claim, self._link_key, self._link_expires)
