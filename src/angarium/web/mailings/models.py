"""Templates, mailings, launches, the packets they published, and the mailing log."""

from __future__ import annotations

from django.db import models

from angarium.web.access.models import Account
from angarium.web.directory.models import Channel, ProfileList, Resource, SendingPolicy, SuppressionList


class Blob(models.Model):
    """A file's bytes, once, whoever uses it."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    size = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        db_table = "blob"


class Template(models.Model):
    """A message of one channel. `content` is the channel's: for e-mail subject, preheader, html, text."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="templates")
    name = models.CharField(max_length=120)
    channel = models.CharField(max_length=20, choices=Channel.choices, default=Channel.EMAIL)
    content = models.JSONField(default=dict)
    updated = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "template"
        constraints = [models.UniqueConstraint(fields=["account", "name"], name="template_name")]

    def __str__(self) -> str:
        return self.name


class TemplateFile(models.Model):
    """An attachment, or an inline picture where it has a content id."""

    template = models.ForeignKey(Template, models.CASCADE, related_name="files")
    blob = models.ForeignKey(Blob, models.PROTECT)
    filename = models.CharField(max_length=200)
    content_type = models.CharField(max_length=100)
    content_id = models.CharField(
        max_length=100, blank=True, help_text="For an inline picture: the HTML names it as cid:…"
    )

    class Meta:
        db_table = "template_file"

    def __str__(self) -> str:
        return self.filename


class Mailing(models.Model):
    """A template, an audience, a channel, a sender."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="mailings")
    name = models.CharField(max_length=120)
    channel = models.CharField(max_length=20, choices=Channel.choices, default=Channel.EMAIL)
    active = models.BooleanField(default=True)
    template = models.ForeignKey(Template, models.PROTECT, related_name="mailings")
    audience = models.ForeignKey(ProfileList, models.PROTECT, related_name="mailings", verbose_name="list")
    resource = models.ForeignKey(Resource, models.PROTECT, related_name="mailings")
    sender = models.ForeignKey("sending.Sender", models.PROTECT, related_name="mailings")
    urgent = models.BooleanField(default=False, help_text="Takes the priority queue.")
    options = models.JSONField(
        default=dict,
        blank=True,
        help_text="The channel's: for e-mail from_address, from_name, reply_to, headers.",
    )
    filters = models.JSONField(
        default=list,
        blank=True,
        help_text='Conditions, all of which must hold: {"field", "operator", "value"}.',
    )
    suppression_lists = models.ManyToManyField(SuppressionList, blank=True)
    policy = models.ForeignKey(
        SendingPolicy, models.SET_NULL, null=True, blank=True, verbose_name="sending policy"
    )
    launch_limit = models.PositiveIntegerField(
        null=True, blank=True, help_text="At most so many messages a launch."
    )
    life = models.PositiveIntegerField(
        null=True, blank=True, help_text="Seconds a message is tried for; empty: as the sender says."
    )
    not_after = models.DateTimeField(null=True, blank=True, help_text="Nothing is sent after this moment.")
    created = models.DateTimeField(auto_now_add=True)
    updated = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "mailing"
        constraints = [models.UniqueConstraint(fields=["account", "name"], name="mailing_name")]

    def __str__(self) -> str:
        return self.name


class LaunchState(models.TextChoices):
    WAITING = "waiting", "Waiting for the launcher"
    PREPARING = "preparing", "Preparing"
    STOPPING = "stopping", "Being stopped"
    STOPPED = "stopped", "Stopped"
    PAUSED = "paused", "Paused: too many errors"
    PREPARED = "prepared", "Prepared"
    FAILED = "failed", "Failed"


class Launch(models.Model):
    """One run of a mailing. `id` is the launch number that message ids begin with."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="+")
    mailing = models.ForeignKey(Mailing, models.CASCADE, related_name="launches")
    state = models.CharField(max_length=12, choices=LaunchState.choices, default=LaunchState.WAITING)
    test_address = models.CharField(
        max_length=320, blank=True, help_text="A test send goes here and nowhere else."
    )
    test_profile = models.BigIntegerField(null=True, blank=True, help_text="Whose fields a test send shows.")
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey("access.User", models.SET_NULL, null=True, blank=True, related_name="+")
    started = models.DateTimeField(null=True, blank=True)
    finished = models.DateTimeField(null=True, blank=True)
    cursor = models.BigIntegerField(
        default=0, db_default=0, help_text="The last list entry that was handled."
    )
    audience = models.PositiveIntegerField(default=0, db_default=0)
    recipients = models.ForeignKey(
        ProfileList, models.PROTECT, null=True, blank=True, related_name="+",
        help_text="Goes to this list instead of the mailing's.",
    )  # fmt: skip
    counts = models.JSONField(default=dict, help_text="Check → how many it held back; `published`, `errors`.")
    owner = models.CharField(max_length=80, blank=True, default="", db_default="")
    heartbeat = models.DateTimeField(null=True, blank=True, help_text="Of the launcher that runs it.")
    settled = models.BooleanField(
        default=False, db_default=False, help_text="All it published has ended: the queue's figures skip it."
    )

    class Meta:
        db_table = "launch"
        verbose_name_plural = "launches"
        indexes = [models.Index(fields=["state"], name="launch_state")]

    def __str__(self) -> str:
        return f"{self.mailing} #{self.pk}"


class Packet(models.Model):
    """What a launch publishes, committed before it is published. `id` is the packet number."""

    launch = models.ForeignKey(Launch, models.CASCADE, related_name="packets")
    account = models.ForeignKey(Account, models.CASCADE, related_name="+")
    queue = models.CharField(max_length=80)
    isp = models.BigIntegerField(default=0, db_default=0)
    published = models.BooleanField(default=False, db_default=False, help_text="The broker confirmed it.")
    recipients = models.BinaryField(help_text="msgpack: exactly who, see store.packets.")
    count = models.PositiveIntegerField()
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "packet"
        # Figures of the queue are added up from the index alone: rows are as large as their recipients.
        indexes = [
            models.Index(fields=["launch", "published", "queue", "isp", "count"], name="packet_launch")
        ]


class PolicyUse(models.Model):
    """Messages to a profile and contact in a day; what sending policies count."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="+")
    profile = models.BigIntegerField()
    resource = models.BigIntegerField()
    channel = models.CharField(max_length=20)
    contact = models.BigIntegerField(help_text="64-bit hash of channel and contact.")
    day = models.IntegerField(help_text="Days since 1970-01-01, UTC.")
    count = models.PositiveIntegerField(default=0, db_default=0)

    class Meta:
        db_table = "policy_use"
        constraints = [
            models.UniqueConstraint(
                fields=["account", "profile", "resource", "channel", "contact", "day"], name="policy_use_once"
            )
        ]
        indexes = [models.Index(fields=["account", "contact", "day"], name="policy_use_contact")]


class LogEntry(models.Model):
    """A line of the mailing log."""

    class Level(models.TextChoices):
        DEBUG = "debug", "Debug"
        INFO = "info", "Info"
        WARNING = "warning", "Warning"
        ERROR = "error", "Error"

    account = models.ForeignKey(Account, models.CASCADE, related_name="+")
    mailing = models.ForeignKey(Mailing, models.CASCADE, related_name="log")
    launch = models.ForeignKey(Launch, models.CASCADE, related_name="log", null=True)
    time = models.DateTimeField(db_index=True)
    level = models.CharField(max_length=8, choices=Level.choices)
    state = models.CharField(max_length=12, blank=True, help_text="start, end, or empty.")
    message = models.TextField()
    address = models.CharField(max_length=320, blank=True, help_text="Of a mailing error: the recipient.")
    profile = models.BigIntegerField(null=True)
    value = models.BigIntegerField(null=True, help_text="A count, where the line states one.")

    class Meta:
        db_table = "mailing_log"
        verbose_name = "log entry"
        verbose_name_plural = "mailing log"
        indexes = [models.Index(fields=["mailing", "-id"], name="mailing_log_recent")]

    def __str__(self) -> str:
        return self.message
