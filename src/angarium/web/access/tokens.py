"""Tokens of the API: shown once, kept as SHA-256 digests."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q
from django.utils import timezone

from angarium.web.access.models import Account, ApiToken, User

MARK: Final = "ang_"
"""Every token begins with it, so that scanners of repositories can find leaked ones."""
SHOWN: Final = 12
USED_EVERY: Final = timedelta(minutes=1)


def create(
    user: User, name: str, account: Account | None = None, expires: datetime | None = None
) -> tuple[ApiToken, str]:
    """The row and the token itself, which is not kept."""
    secret = MARK + secrets.token_urlsafe(32)
    row = ApiToken.objects.create(
        user=user, name=name, account=account, expires=expires, prefix=secret[:SHOWN], digest=digest(secret)
    )
    return row, secret


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def find(secret: str) -> ApiToken | None:
    """The token, where it is known, has not expired and its user is active. Notes its use once a minute."""
    now, wanted = timezone.now(), digest(secret)
    valid = ApiToken.objects.filter(Q(expires=None) | Q(expires__gt=now), user__is_active=True)
    row = valid.select_related("user", "account").filter(digest=wanted).first()
    if row is None or not hmac.compare_digest(row.digest, wanted):
        return None
    if row.used is None or now - row.used > USED_EVERY:
        ApiToken.objects.filter(pk=row.pk).update(used=now)
    return row
