"""Creating or updating single profiles; whole files go through `store.imports`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from angarium.domain.contact import EmailAddress, email_address
from angarium.errors import InvalidInput
from angarium.web.access.models import Account
from angarium.web.directory.models import Channel, ListEntry, Profile, ProfileList, Resource, Subscription

KEY_LENGTH = 254


@dataclass(frozen=True)
class Target:
    """Where profiles go."""

    account: Account
    resource: Resource | None
    into: ProfileList | None

    @classmethod
    def of(cls, account: Account, *, resource: int | None, into: int | None) -> Target:
        """Raises `InvalidInput` for a resource or list that is not the account's."""
        found = Resource.objects.filter(account=account, pk=resource).first() if resource else None
        if resource and not found:
            raise InvalidInput(f"there is no resource {resource} in the account {account}")
        named = ProfileList.objects.filter(account=account, pk=into).first() if into else None
        if into and not named:
            raise InvalidInput(f"there is no list {into} in the account {account}")
        return cls(account, found, named)


def upsert(target: Target, key: str, email: str, attributes: dict[str, Any]) -> tuple[Profile, bool]:
    """The profile, and whether it is new. Raises `InvalidInput`; then nothing was changed.

    Attributes are merged, those that are None are removed. An e-mail address is subscribed to the
    target's resource; a subscription that is there already keeps its status.
    """
    address = email_address(email) if email else None
    if address and target.resource is None:
        raise InvalidInput("say which resource the e-mail address is to be subscribed to")
    key = key.strip() or (address.contact if address else "")
    if not 1 <= len(key) <= KEY_LENGTH:
        raise InvalidInput(f"a profile needs a key of 1 to {KEY_LENGTH} characters, or an e-mail address")
    profile, created = Profile.objects.get_or_create(account=target.account, key=key)
    _merge(profile, attributes)
    if address and target.resource:
        _subscribe(profile, target.resource, address)
    if target.into:
        ListEntry.objects.get_or_create(list=target.into, profile=profile)
    return profile, created


def contact(email: str) -> str:
    """An e-mail address as contacts are compared; an impossible one compares as itself."""
    try:
        return email_address(email).contact
    except InvalidInput:
        return email


def members(number: int) -> QuerySet[ListEntry, int]:
    """Ids of the profiles in a list."""
    return ListEntry.objects.filter(list=number).values_list("profile_id", flat=True)


def _merge(profile: Profile, attributes: dict[str, Any]) -> None:
    merged = {name: value for name, value in (profile.attributes | attributes).items() if value is not None}
    if merged != profile.attributes:
        profile.attributes = merged
        profile.save()


def _subscribe(profile: Profile, resource: Resource, address: EmailAddress) -> None:
    Subscription.objects.get_or_create(
        profile=profile,
        resource=resource,
        channel=Channel.EMAIL,
        contact=address.contact,
        defaults={"account_id": profile.account_id, "address": address.address},
    )
