"""A message in the courier's hands."""

from __future__ import annotations

from angarium.domain.email import Reply
from angarium.mta.link import Send
from angarium.mta.mime import Message


class Job:
    """From `Send` to `Done` or `Returned`."""

    __slots__ = ("failure", "from_domain", "message", "preparing", "recipient", "send", "sender", "slot")

    def __init__(self, send: Send) -> None:
        self.send = send
        self.message: Message | None = None
        """Built, and signed where it is to be; None: not yet."""
        self.sender = ""
        """The return path."""
        self.recipient = ""
        self.from_domain = ""
        self.preparing = False
        """Waits for its signature."""
        self.failure: Reply | None = None
        """The first refusal in the transaction."""
        self.slot = -1
