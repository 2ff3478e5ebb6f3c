"""What mail goes out through and by which rules: the postmaster's tables."""

from __future__ import annotations

from typing import Any

from django.db import models

from angarium.domain.sending import DoubtPolicy, HeloType, RetryMode, RetryType, TlsPolicy
from angarium.web.access.encryption import EncryptedTextField
from angarium.web.access.models import Account
from angarium.web.directory.models import Channel


class SettingsVersion(models.Model):
    """One row; grows with every change of what the services are steered by."""

    version = models.BigIntegerField(default=1, db_default=1)

    class Meta:
        db_table = "settings_version"


class Node(models.Model):
    """A sending server."""

    name = models.CharField(max_length=80, unique=True)
    active = models.BooleanField(default=True, db_default=True, help_text="Unticked: it sends nothing.")
    seen = models.DateTimeField(null=True, blank=True, editable=False)
    version = models.BigIntegerField(
        default=0, db_default=0, editable=False, help_text="Settings version it runs."
    )
    notice = models.CharField(max_length=500, blank=True, default="", db_default="", editable=False)

    class Meta:
        db_table = "node"

    def __str__(self) -> str:
        return self.name


class IpAddress(models.Model):
    """A source address. It belongs to one node."""

    node = models.ForeignKey(Node, models.PROTECT, related_name="addresses")
    address = models.GenericIPAddressField(unique=True)
    hostname = models.CharField(
        max_length=253, blank=True, help_text="The name to greet with; empty: the address's reverse name."
    )

    class Meta:
        db_table = "ip_address"
        verbose_name = "IP address"
        verbose_name_plural = "IP addresses"

    def __str__(self) -> str:
        return self.address


class BodyEncoding(models.TextChoices):
    AUTO = "auto", "Automatic"
    QUOTED_PRINTABLE = "quoted-printable", "Quoted-printable"
    BASE64 = "base64", "Base64"
    EIGHT_BIT = "8bit", "8-bit"


class Isp(models.Model):
    """A mailbox provider: a named set of recipient domains."""

    name = models.CharField(max_length=80, unique=True)
    builtin = models.BooleanField(default=False, editable=False)
    edited = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="An upgrade leaves it as it is."
    )
    mx_suffixes = models.JSONField(default=list, blank=True, help_text='Host suffixes such as ".google.com".')
    html_encoding = models.CharField(max_length=20, choices=BodyEncoding.choices, default=BodyEncoding.AUTO)
    text_encoding = models.CharField(max_length=20, choices=BodyEncoding.choices, default=BodyEncoding.AUTO)
    add_headers = models.JSONField(default=list, blank=True, help_text="Pairs of name and value.")
    remove_headers = models.JSONField(default=list, blank=True)

    class Meta:
        db_table = "isp"
        verbose_name = "ISP"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.edited = self.builtin
        super().save(*args, **kwargs)


class IspDomain(models.Model):
    """A recipient domain; it belongs to one ISP."""

    isp = models.ForeignKey(Isp, models.CASCADE, related_name="domains")
    domain = models.CharField(max_length=253, unique=True)

    class Meta:
        db_table = "isp_domain"
        verbose_name = "domain"

    def __str__(self) -> str:
        return self.domain

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        self._mark_edited()

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        self._mark_edited()
        return super().delete(*args, **kwargs)

    def _mark_edited(self) -> None:
        Isp.objects.filter(pk=self.isp_id, builtin=True).update(edited=True)


class Strategy(models.Model):
    """Sending speed of one sender from one IP to one ISP."""

    name = models.CharField(max_length=80, unique=True)
    default = models.BooleanField(default=False, editable=False)
    connections = models.PositiveIntegerField("concurrent connections", default=1)
    messages_per_connection = models.PositiveIntegerField(default=60)
    attempts = models.PositiveIntegerField("connection attempts per interval", default=1)
    interval = models.PositiveIntegerField("interval (s)", default=60)
    helo = models.CharField(
        "HELO", max_length=12, default=HeloType.PTR,
        choices=[(HeloType.PTR, "Reverse name of the IP (PTR)"), (HeloType.FROM_DOMAIN, "From domain"),
                 (HeloType.IP, "The IP itself")],
    )  # fmt: skip
    try_tls = models.BooleanField("try TLS first", default=True)
    drop = models.BooleanField("drop message", default=False, help_text="Take and discard: nothing is sent.")

    class Meta:
        db_table = "strategy"
        verbose_name_plural = "strategies"

    def __str__(self) -> str:
        return self.name


class RetryRule(models.Model):
    """What happens after a temporary failure."""

    name = models.CharField(max_length=120, unique=True, help_text="The more telling, the easier to choose.")
    default = models.BooleanField(default=False, editable=False)
    mode = models.CharField(
        max_length=12, default=RetryMode.SAME_IP,
        choices=[
            (RetryMode.SAME_IP, "Retry from the same IP of the same node"),
            (RetryMode.OTHER_IP, "Retry from any other IP of the same node"),
            (RetryMode.OTHER_NODE, "Retry from any other IP of any node"),
        ],
    )  # fmt: skip
    retries = models.PositiveIntegerField("number of retries", default=5)
    interval = models.FloatField("time interval (min)", default=15)
    type = models.CharField(
        max_length=10, default=RetryType.FIXED,
        choices=[
            (RetryType.FIXED, "Fixed (no increase)"),
            (RetryType.GEOMETRIC, "Geometric increase delay"),
            (RetryType.RANDOM, "Calculated random delay"),
        ],
    )  # fmt: skip
    exponent = models.FloatField(default=2, help_text="The interval is multiplied by it from retry to retry.")
    modifier = models.FloatField(
        "random modifier", default=1, help_text="The delay is at most interval × (1 + modifier)."
    )

    class Meta:
        db_table = "retry_rule"

    def __str__(self) -> str:
        return self.name


class BouncePattern(models.Model):
    """Reads an SMTP reply."""

    class Type(models.TextChoices):
        HARD = "hard", "Hard bounce"
        SOFT = "soft", "Soft bounce"
        BLOCK = "block", "Block"

    name = models.CharField(max_length=120)
    slug = models.CharField(max_length=80, unique=True, null=True, blank=True, editable=False)
    builtin = models.BooleanField(default=False, editable=False)
    edited = models.BooleanField(
        default=False, editable=False, help_text="A built-in one changed by a person: an upgrade leaves it."
    )
    active = models.BooleanField(default=True)
    type = models.CharField(max_length=6, choices=Type.choices)
    isp = models.ForeignKey(Isp, models.CASCADE, null=True, blank=True, help_text="Empty: all ISPs.")
    pattern = models.TextField(help_text='Regular expression (RE2) over "code enhanced-code text".')
    category = models.CharField(max_length=40, default="other")
    message = models.CharField(max_length=300, blank=True, help_text="In plain words, for reports.")
    position = models.IntegerField(default=1000)

    class Meta:
        db_table = "bounce_pattern"
        ordering = ["position", "id"]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.edited = self.builtin
        super().save(*args, **kwargs)


class DefaultRule(models.Model):
    """Used, in order, where a sender has no retry rule of its own. The first that matches decides."""

    position = models.IntegerField(default=100)
    isp = models.ForeignKey(Isp, models.CASCADE, null=True, blank=True, help_text="Empty: all.")
    bounce_type = models.CharField(max_length=6, choices=BouncePattern.Type.choices, blank=True)
    pattern = models.ForeignKey(BouncePattern, models.CASCADE, null=True, blank=True)
    retry_rule = models.ForeignKey(
        RetryRule, models.PROTECT, null=True, blank=True, help_text="Empty: undelivered at once."
    )

    class Meta:
        db_table = "default_rule"
        ordering = ["position", "id"]

    def __str__(self) -> str:
        return f"#{self.position}"


class DkimKey(models.Model):
    """A signing key."""

    class Algorithm(models.TextChoices):
        RSA = "rsa", "RSA-2048"
        ED25519 = "ed25519", "Ed25519"

    domain = models.CharField(max_length=253)
    selector = models.CharField(max_length=63)
    algorithm = models.CharField(max_length=8, choices=Algorithm.choices, default=Algorithm.RSA)
    private_key = EncryptedTextField(editable=False, help_text="PEM, encrypted at rest.")
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "dkim_key"
        verbose_name = "DKIM key"
        constraints = [models.UniqueConstraint(fields=["domain", "selector"], name="dkim_key_once")]

    def __str__(self) -> str:
        return f"{self.selector}._domainkey.{self.domain}"


class Sender(models.Model):
    """What carries the messages of a channel. The kind's own settings are in a table of the kind."""

    class Kind(models.TextChoices):
        MTA = "mta", "Own SMTP"

    name = models.CharField(max_length=120, unique=True)
    channel = models.CharField(max_length=20, choices=Channel.choices, default=Channel.EMAIL)
    kind = models.CharField(max_length=20, choices=Kind.choices, default=Kind.MTA)
    active = models.BooleanField(default=True)
    accounts = models.ManyToManyField(Account, related_name="senders", help_text="Who may use it.")

    class Meta:
        db_table = "sender"

    def __str__(self) -> str:
        return self.name


class MtaSender(models.Model):
    """A sender's settings when it is our own SMTP."""

    sender = models.OneToOneField(Sender, models.CASCADE, primary_key=True, related_name="mta")
    addresses = models.ManyToManyField(IpAddress, verbose_name="IP addresses", related_name="senders")
    strategy = models.ForeignKey(Strategy, models.PROTECT, null=True, blank=True, related_name="senders")
    retry_rule = models.ForeignKey(
        RetryRule, models.PROTECT, null=True, blank=True, related_name="senders",
        help_text="Empty: the default rules decide.",
    )  # fmt: skip
    dkim_keys = models.ManyToManyField(DkimKey, blank=True, related_name="senders", verbose_name="DKIM keys")
    doubt = models.CharField(
        "doubtful deliveries", max_length=16, default=DoubtPolicy.RETRY,
        choices=[
            (DoubtPolicy.RETRY, "Send again"),
            (DoubtPolicy.ASSUME_DELIVERED, "Count as delivered"),
        ],
    )  # fmt: skip
    life = models.PositiveIntegerField("message life (s)", default=86_400)
    bounce_domain = models.CharField(
        max_length=253, blank=True, help_text="Of the envelope sender; empty: the From domain."
    )
    tls = models.CharField(
        "TLS", max_length=20, default=TlsPolicy.OPPORTUNISTIC,
        choices=[
            (TlsPolicy.OPPORTUNISTIC, "When offered"),
            (TlsPolicy.REQUIRED, "Required"),
            (TlsPolicy.REQUIRED_VERIFIED, "Required, certificate checked"),
            (TlsPolicy.NEVER, "Never"),
        ],
    )  # fmt: skip

    class Meta:
        db_table = "mta_sender"

    def __str__(self) -> str:
        return str(self.sender)


class StrategyOverride(models.Model):
    """Another strategy for one IP, one ISP, or one of both."""

    sender = models.ForeignKey(MtaSender, models.CASCADE, related_name="overrides")
    address = models.ForeignKey(IpAddress, models.CASCADE, null=True, blank=True, help_text="Empty: any.")
    isp = models.ForeignKey(Isp, models.CASCADE, null=True, blank=True, help_text="Empty: any.")
    strategy = models.ForeignKey(Strategy, models.PROTECT, related_name="overrides")

    class Meta:
        db_table = "strategy_override"

    def __str__(self) -> str:
        return str(self.strategy)


class Route(models.Model):
    """Where mail for a domain goes instead of its MX: a smart host."""

    domain = models.CharField(max_length=253, help_text="A recipient domain, or * for all.")
    sender = models.ForeignKey(
        Sender, models.CASCADE, null=True, blank=True, help_text="Empty: every sender."
    )
    host = models.CharField(max_length=253)
    port = models.PositiveIntegerField(default=25)
    tls = models.CharField(
        max_length=20, default=TlsPolicy.OPPORTUNISTIC, choices=MtaSender.tls.field.choices
    )
    username = models.CharField(max_length=200, blank=True)
    password = EncryptedTextField(blank=True)

    class Meta:
        db_table = "route"
        constraints = [models.UniqueConstraint(fields=["domain", "sender"], name="route_once")]

    def __str__(self) -> str:
        return f"{self.domain} → {self.host}:{self.port}"
