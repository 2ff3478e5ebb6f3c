"""From replies to verdicts: the bounce patterns, and what the protocol itself says."""

from __future__ import annotations

from typing import Final

from angarium.domain.bounce import Classifier
from angarium.domain.email import Reply
from angarium.domain.outcome import BounceType
from angarium.domain.sending import SendingSettings
from angarium.mta.link import Verdict

DELIVERED: Final = Verdict(None)
UNSENDABLE: Final = Verdict(BounceType.BLOCK, "content")


class Judge:
    """Reads replies by the settings of the moment."""

    def __init__(self, settings: SendingSettings) -> None:
        self._classifier = Classifier(settings.patterns)

    def verdict(self, reply: Reply, isp: int) -> Verdict:
        """What a reply to a message or to an opening means."""
        if 200 <= reply.code < 300:
            return DELIVERED
        if reply.code < 400 or reply.code == 503:
            # The session got out of step: nothing is said about the message.
            return Verdict(BounceType.SOFT, "protocol")
        found = self._classifier.classify(reply, isp)
        return Verdict(found.bounce, found.category, found.pattern, found.name)
