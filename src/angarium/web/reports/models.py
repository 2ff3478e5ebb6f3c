"""What happened: events, counters, and the figures services publish."""

from __future__ import annotations

from django.db import models


class EventBatch(models.Model):
    """The batches that are in: a batch is stored once."""

    id = models.CharField(max_length=80, primary_key=True)
    at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        db_table = "event_batch"


class Event(models.Model):
    """One thing that happened to one message (`angarium.events.Event`). Written by the recorder alone."""

    message = models.BinaryField(max_length=16)
    slot = models.CharField(max_length=80)
    kind = models.CharField(max_length=10)
    time = models.FloatField(help_text="Seconds since 1970, UTC.")
    account = models.BigIntegerField()
    mailing = models.BigIntegerField()
    launch = models.BigIntegerField()
    channel = models.CharField(max_length=20)
    profile = models.BigIntegerField()
    subscription = models.BigIntegerField()
    sender = models.BigIntegerField()
    address = models.CharField(max_length=320)
    isp = models.BigIntegerField(default=0, db_default=0)
    node = models.BigIntegerField(default=0, db_default=0)
    source = models.CharField(max_length=45, default="", db_default="")
    attempt = models.IntegerField(default=0, db_default=0)
    reason = models.CharField(max_length=80, default="", db_default="")
    code = models.IntegerField(default=0, db_default=0)
    enhanced = models.CharField(max_length=12, default="", db_default="")
    text = models.TextField(default="", db_default="")
    mx = models.CharField(max_length=255, default="", db_default="")
    tls = models.CharField(max_length=12, default="", db_default="")
    pattern = models.CharField(max_length=120, default="", db_default="")
    next_attempt = models.FloatField(default=0, db_default=0)

    class Meta:
        db_table = "event"
        constraints = [models.UniqueConstraint(fields=["message", "slot"], name="event_once")]
        indexes = [models.Index(fields=["launch", "kind", "id"], name="event_launch")]


class Counter(models.Model):
    """How many events of a kind a launch has had, by minute: what reports and charts add up."""

    account = models.BigIntegerField()
    mailing = models.BigIntegerField()
    launch = models.BigIntegerField()
    sender = models.BigIntegerField()
    channel = models.CharField(max_length=20)
    isp = models.BigIntegerField(default=0)
    kind = models.CharField(max_length=10)
    reason = models.CharField(max_length=80, default="", db_default="")
    minute = models.BigIntegerField(help_text="Minutes since 1970, UTC.")
    count = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        db_table = "counter"
        constraints = [
            models.UniqueConstraint(
                fields=["launch", "sender", "isp", "kind", "reason", "minute"], name="counter_once"
            )
        ]
        indexes = [
            models.Index(fields=["mailing", "kind"], name="counter_mailing"),
            models.Index(fields=["account", "minute"], name="counter_account"),
        ]


class QueueFigure(models.Model):
    """What a node holds of a mailing, as it last said."""

    node = models.BigIntegerField()
    account = models.BigIntegerField()
    sender = models.BigIntegerField()
    mailing = models.BigIntegerField()
    isp = models.BigIntegerField()
    new = models.BigIntegerField(default=0, db_default=0)
    retries = models.BigIntegerField(default=0, db_default=0)
    sending = models.BigIntegerField(default=0, db_default=0)
    frozen = models.BigIntegerField(default=0, db_default=0)
    deleting = models.BigIntegerField(
        default=0, db_default=0, help_text="Cleared and not yet recorded as ended; in none of the states."
    )
    at = models.FloatField(help_text="Seconds since 1970, UTC: the moment the figures are true for.")

    class Meta:
        db_table = "queue_figure"
        constraints = [
            models.UniqueConstraint(
                fields=["node", "account", "sender", "mailing", "isp"], name="queue_figure_once"
            )
        ]
        indexes = [models.Index(fields=["mailing"], name="queue_figure_mailing")]
