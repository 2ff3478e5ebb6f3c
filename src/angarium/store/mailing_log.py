"""The mailing log's rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from django.utils import timezone

from angarium.mailing.port import LogLine
from angarium.web.mailings.models import Launch, LogEntry

ADDRESS_LENGTH: Final = 320


def write(account: int, mailing: int, launch: int, lines: Sequence[LogLine]) -> None:
    """Lines of a launch, as of now."""
    if not lines:
        return
    now = timezone.now()
    LogEntry.objects.bulk_create(
        [
            LogEntry(
                account_id=account,
                mailing_id=mailing,
                launch_id=launch,
                time=now,
                level=line.level,
                state=line.state,
                message=line.message,
                address=line.address[:ADDRESS_LENGTH],
                profile=line.profile,
                value=line.value,
            )
            for line in lines
        ],
        batch_size=500,
    )


def write_for(row: Launch, lines: Sequence[LogLine]) -> None:
    write(row.account_id, row.mailing_id, row.pk, lines)


def read(account: int, mailing: int, launch: int | None = None, limit: int = 200) -> list[LogEntry]:
    """The latest lines, the newest first."""
    rows = LogEntry.objects.filter(account_id=account, mailing_id=mailing).order_by("-pk")
    return list((rows if launch is None else rows.filter(launch_id=launch))[:limit])
