"""Who is written to: profiles, subscriptions, lists, and who is not: suppressions, the stop list."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from angarium.web.access.models import Account


class Channel(models.TextChoices):
    EMAIL = "email", "E-mail"


class SendingPolicy(models.Model):
    """At most so many messages in so many days; an empty limit does not limit.

    Levels: account < resource < mailing; the lower one overrides, it does not add.
    """

    account = models.ForeignKey(Account, models.CASCADE, related_name="policies")
    name = models.CharField(max_length=120)

    class Meta:
        db_table = "sending_policy"
        verbose_name_plural = "sending policies"
        constraints = [models.UniqueConstraint(fields=["account", "name"], name="sending_policy_name")]

    def __str__(self) -> str:
        return self.name


class PolicyLimit(models.Model):
    """One limit of a policy."""

    class Scope(models.TextChoices):
        RECIPIENT = "recipient", "Per recipient"
        RESOURCE = "resource", "Per recipient and resource"
        CHANNEL = "channel", "Per recipient and channel"
        CONTACT = "contact", "Per contact (address), over all profiles"

    policy = models.ForeignKey(SendingPolicy, models.CASCADE, related_name="limits")
    scope = models.CharField(max_length=10, choices=Scope.choices)
    messages = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(15)])
    days = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(16)])

    class Meta:
        db_table = "policy_limit"
        constraints = [models.UniqueConstraint(fields=["policy", "scope"], name="policy_limit_scope")]

    def __str__(self) -> str:
        return f"{self.get_scope_display()}: {self.messages} in {self.days} days"


class Resource(models.Model):
    """What people subscribe to: a site, a newsletter. Each has subscriptions of its own."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="resources")
    name = models.CharField(max_length=120)
    policy = models.ForeignKey(
        SendingPolicy, models.SET_NULL, null=True, blank=True, verbose_name="sending policy"
    )

    class Meta:
        db_table = "resource"
        constraints = [models.UniqueConstraint(fields=["account", "name"], name="resource_name")]

    def __str__(self) -> str:
        return self.name


class Profile(models.Model):
    """A person a mailing can reach."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="profiles")
    key = models.CharField(
        max_length=254,
        help_text="What an import recognises the person by: their e-mail address or your own id.",
    )
    attributes = models.JSONField(
        default=dict, blank=True, help_text="Fields for personalisation and filters."
    )
    created = models.DateTimeField(auto_now_add=True)
    updated = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "profile"
        constraints = [models.UniqueConstraint(fields=["account", "key"], name="profile_key")]

    def __str__(self) -> str:
        return self.key


class SubscriptionStatus(models.TextChoices):
    SUBSCRIBED = "subscribed", "Subscribed"
    UNSUBSCRIBED = "unsubscribed", "Unsubscribed"
    COMPLAINED = "complained", "Complained"
    HARDBOUNCED = "hardbounced", "Hard bounced"
    UNCONFIRMED = "unconfirmed", "Unconfirmed"
    SUSPENDED = "suspended", "Suspended"
    INVALID = "invalid", "Invalid"


class Subscription(models.Model):
    """A profile's address on one channel of one resource."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="+")
    profile = models.ForeignKey(Profile, models.CASCADE, related_name="subscriptions")
    resource = models.ForeignKey(Resource, models.CASCADE, related_name="subscriptions")
    channel = models.CharField(max_length=20, choices=Channel.choices)
    address = models.CharField(max_length=320, help_text="As messages are addressed.")
    contact = models.CharField(
        max_length=320, help_text="The address as it is compared: lower case, A-labels."
    )
    status = models.CharField(
        max_length=20, choices=SubscriptionStatus.choices, default=SubscriptionStatus.SUBSCRIBED,
        db_default=SubscriptionStatus.SUBSCRIBED,
    )  # fmt: skip
    provider = models.CharField(max_length=40, blank=True, default="", db_default="")
    category = models.CharField(max_length=60, blank=True, default="", db_default="")
    fields = models.JSONField(default=dict, blank=True, help_text="The subscription's own fields.")
    priority = models.SmallIntegerField(default=0, db_default=0)
    created = models.DateTimeField(auto_now_add=True)
    updated = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "subscription"
        constraints = [
            models.UniqueConstraint(
                fields=["resource", "channel", "profile", "contact"], name="subscription_once"
            )
        ]
        indexes = [
            models.Index(fields=["profile", "resource", "channel"], name="subscription_profile"),
            models.Index(fields=["channel", "contact"], name="subscription_contact"),
        ]

    def __str__(self) -> str:
        return f"{self.address} ({self.channel})"


class ProfileList(models.Model):
    """A named set of profiles: an audience."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="lists")
    name = models.CharField(max_length=120)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "profile_list"
        verbose_name = "list"
        constraints = [models.UniqueConstraint(fields=["account", "name"], name="profile_list_name")]

    def __str__(self) -> str:
        return self.name


class ListEntry(models.Model):
    list = models.ForeignKey(ProfileList, models.CASCADE, related_name="entries")
    profile = models.ForeignKey(Profile, models.CASCADE, related_name="+")

    class Meta:
        db_table = "list_entry"
        constraints = [models.UniqueConstraint(fields=["list", "profile"], name="list_entry_once")]


class SuppressionList(models.Model):
    """Contacts an account does not write to. A general one holds for every mailing of the account."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="suppression_lists")
    name = models.CharField(max_length=120)
    general = models.BooleanField(default=False, help_text="Holds for every mailing of the account.")

    class Meta:
        db_table = "suppression_list"
        constraints = [models.UniqueConstraint(fields=["account", "name"], name="suppression_list_name")]

    def __str__(self) -> str:
        return self.name


class SuppressionEntry(models.Model):
    class Kind(models.TextChoices):
        ADDRESS = "address", "E-mail address"
        PHONE = "phone", "Phone"
        DOMAIN = "domain", "Domain"

    list = models.ForeignKey(SuppressionList, models.CASCADE, related_name="entries")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    value = models.CharField(max_length=320, help_text="As compared: lower case, A-labels.")

    class Meta:
        db_table = "suppression_entry"
        verbose_name_plural = "suppression entries"
        constraints = [
            models.UniqueConstraint(fields=["list", "kind", "value"], name="suppression_entry_once")
        ]
        indexes = [models.Index(fields=["value"], name="suppression_value")]

    def __str__(self) -> str:
        return self.value


class StopEntry(models.Model):
    """The platform's global stop list: dead addresses, for all accounts."""

    channel = models.CharField(max_length=20, choices=Channel.choices)
    contact = models.CharField(max_length=320)
    reason = models.CharField(max_length=500, blank=True)
    message = models.BinaryField(null=True, blank=True, editable=False)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "stop_entry"
        verbose_name = "stop list entry"
        verbose_name_plural = "global stop list"
        constraints = [models.UniqueConstraint(fields=["channel", "contact"], name="stop_entry_once")]

    def __str__(self) -> str:
        return self.contact


class ImportRun(models.Model):
    """One import of a file: what came of it, and the lines refused with the reason."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="imports")
    profile_list = models.ForeignKey(
        ProfileList, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name="list"
    )
    resource = models.ForeignKey(Resource, models.SET_NULL, null=True, blank=True, related_name="+")
    filename = models.CharField(max_length=255)
    state = models.CharField(max_length=12, default="running")
    lines = models.PositiveIntegerField(default=0)
    created_profiles = models.PositiveIntegerField(default=0)
    updated_profiles = models.PositiveIntegerField(default=0)
    unchanged_profiles = models.PositiveIntegerField(default=0)
    rejected = models.PositiveIntegerField(default=0)
    rejections = models.JSONField(default=list, help_text="The first 1,000: line, reason, text.")
    started = models.DateTimeField(auto_now_add=True)
    updated = models.DateTimeField(auto_now=True, help_text="An import that runs keeps it fresh.")
    finished = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)

    class Meta:
        db_table = "import_run"
        verbose_name = "import"

    def __str__(self) -> str:
        return self.filename
