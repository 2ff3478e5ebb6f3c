"""Who may see and do what: the one place that decides it.

People see the accounts they are members of; administrators see all of them. Administrators and
postmasters see and change the platform's settings. Only administrators manage accounts, people,
the global stop list and the audit journal.
"""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet

from angarium.web.access.models import Account, Membership, Role, User

Person = User | AnonymousUser


def accounts_visible(user: Person) -> QuerySet[Account]:
    """The accounts whose mailings, profiles and reports the person sees."""
    if may_administer(user):
        return Account.objects.all()
    if user.pk is None or not _known(user):
        return Account.objects.none()
    return Account.objects.filter(memberships__user_id=user.pk)


def accounts_editable(user: Person) -> QuerySet[Account]:
    """The accounts in which the person may change and launch."""
    if user.pk is None or may_administer(user):
        return accounts_visible(user)
    rights = Membership.objects.filter(user_id=user.pk, right=Membership.Right.EDIT)
    return accounts_visible(user).filter(active=True, pk__in=rights.values("account"))


def may_edit(user: Person, account: Account | int) -> bool:
    """Whether the person may change and launch in the account (or the account of that id)."""
    number = account.pk if isinstance(account, Account) else account
    return accounts_editable(user).filter(pk=number).exists()


def may_see_platform(user: Person) -> bool:
    """Retry rules, strategies, bounce patterns, ISPs, nodes, keys, routes."""
    return _known(user) and (may_administer(user) or _role(user) == Role.POSTMASTER)


def may_edit_platform(user: Person) -> bool:
    """Those who see the platform's settings are those who keep them."""
    return may_see_platform(user)


def may_administer(user: Person) -> bool:
    """Accounts, people, the global stop list, the audit journal."""
    return _known(user) and (_role(user) == Role.ADMINISTRATOR or bool(user.is_superuser))


def _known(user: Person) -> bool:
    return bool(user.is_authenticated and user.is_active)


def _role(user: Person) -> str:
    return str(getattr(user, "role", ""))
