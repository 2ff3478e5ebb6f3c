"""Accounts, people, tokens."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models


class Account(models.Model):
    """A tenant: mailings, profiles and reports belong to one."""

    name = models.CharField(max_length=120, unique=True)
    active = models.BooleanField(default=True, db_default=True)
    policy = models.ForeignKey(
        "directory.SendingPolicy", models.SET_NULL, null=True, blank=True, related_name="+",
        verbose_name="sending policy", help_text="Holds unless a resource or mailing says otherwise.",
    )  # fmt: skip
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "account"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    """What a person may see of the platform; what they see of accounts is their memberships."""

    ADMINISTRATOR = "administrator", "Administrator"
    POSTMASTER = "postmaster", "Postmaster"
    MEMBER = "member", "Member of accounts"


class User(AbstractUser):
    """A person."""

    role = models.CharField(max_length=20, choices=Role.choices, default=Role.MEMBER)
    accounts = models.ManyToManyField(Account, through="Membership", related_name="users")

    class Meta(AbstractUser.Meta):
        db_table = "user"


class Membership(models.Model):
    """A person's part in an account."""

    class Right(models.TextChoices):
        EDIT = "edit", "Edit and launch"
        VIEW = "view", "Look"

    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    account = models.ForeignKey(Account, models.CASCADE, related_name="memberships")
    right = models.CharField(max_length=10, choices=Right.choices, default=Right.EDIT)

    class Meta:
        db_table = "membership"
        constraints = [models.UniqueConstraint(fields=["user", "account"], name="membership_once")]

    def __str__(self) -> str:
        return f"{self.user} – {self.account}"


class ApiToken(models.Model):
    """A key to the API: the rights of its user, narrowed to an account where one is named."""

    user = models.ForeignKey(User, models.CASCADE, related_name="tokens")
    account = models.ForeignKey(Account, models.CASCADE, null=True, blank=True, related_name="tokens")
    name = models.CharField(max_length=120)
    prefix = models.CharField(
        max_length=12, editable=False, help_text="The first characters, to recognise it."
    )
    digest = models.CharField(max_length=64, unique=True, editable=False, help_text="SHA-256 of the token.")
    created = models.DateTimeField(auto_now_add=True)
    expires = models.DateTimeField(null=True, blank=True)
    used = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        db_table = "api_token"

    def __str__(self) -> str:
        return self.name


class LoginFailure(models.Model):
    """Counted to limit guessing."""

    key = models.CharField(max_length=200, db_index=True, help_text="User name or network address.")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "login_failure"
