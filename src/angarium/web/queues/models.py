"""Gates and clears as rows (`angarium.domain.gates`). Written by `store.queues` alone."""

from __future__ import annotations

from django.db import models

from angarium.domain import gates
from angarium.web.access.models import Account
from angarium.web.mailings.models import Mailing
from angarium.web.sending.models import Isp, Sender


class Scoped(models.Model):
    """A row about a scope. Null: any."""

    account = models.ForeignKey(Account, models.CASCADE, null=True, related_name="+")
    sender = models.ForeignKey(Sender, models.CASCADE, null=True, related_name="+")
    mailing = models.ForeignKey(Mailing, models.CASCADE, null=True, related_name="+")
    isp = models.ForeignKey(Isp, models.CASCADE, null=True, related_name="+")
    user = models.CharField(max_length=150, help_text="Who gave the command.")

    class Meta:
        abstract = True

    @property
    def scope(self) -> gates.Scope:
        return gates.Scope(self.account_id or 0, self.sender_id or 0, self.mailing_id or 0, self.isp_id or 0)

    def __str__(self) -> str:
        named = [(word, getattr(self, word)) for word in ("account", "sender", "mailing", "isp")]
        return ", ".join(f"{word} {row}" for word, row in named if row is not None) or "everything"


class Gate(Scoped):
    """Nothing of its scope is sent from `since` to `until`."""

    since = models.FloatField(help_text="Seconds since 1970, UTC.")
    until = models.FloatField(null=True, help_text="Null: it is closed.")

    class Meta:
        db_table = "gate"
        indexes = [models.Index(fields=["until"], name="gate_until")]


class Clear(Scoped):
    """Everything of its scope in packets with a number below `before` is dead."""

    before = models.BigIntegerField()
    at = models.FloatField(help_text="Seconds since 1970, UTC.")
    affected = models.BigIntegerField(help_text="Messages counted when the command was given.")
    version = models.BigIntegerField(help_text="The settings version that carries it.")

    class Meta:
        db_table = "clear"
        indexes = [models.Index(fields=["at"], name="clear_at")]
