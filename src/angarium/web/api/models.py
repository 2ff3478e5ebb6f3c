"""What the API remembers of its own."""

from __future__ import annotations

from django.db import models

from angarium.web.mailings.models import Launch, Mailing


class LaunchRequest(models.Model):
    """An idempotency key: the launch it asked for. It is committed together with the launch."""

    mailing = models.ForeignKey(Mailing, models.CASCADE, related_name="+")
    key = models.CharField(max_length=200)
    launch = models.ForeignKey(Launch, models.CASCADE, related_name="+", null=True)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "launch_request"
        constraints = [models.UniqueConstraint(fields=["mailing", "key"], name="launch_request_once")]
