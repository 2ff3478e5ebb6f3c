"""The figures of queues as pages show them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from angarium import config
from angarium.domain.gates import Scope
from angarium.store import queues
from angarium.store.queues import By, GateRow, Queue, Row
from angarium.store.stalls import stalls
from angarium.web.access import current, permissions
from angarium.web.access.models import Account
from angarium.web.mailings.models import Mailing
from angarium.web.sending.models import Isp, Sender

KINDS: Final[dict[By, str]] = {"sender": "Senders", "isp": "ISPs", "node": "Nodes"}
"""What every page breaks its queue down by, with the heading."""
STATES: Final = ("total", "new", "retries", "sending", "frozen")
CLOCK: Final = "%Y-%m-%d %H:%M:%S"


def scopes(request: HttpRequest) -> list[Scope]:
    """The platform for those who keep it, unless they chose an account; else the accounts that lists show."""
    if permissions.may_see_platform(request.user) and current.current(request) is None:
        return [Scope()]
    return [Scope(account=account) for account in current.shown(request)]


def counts(of: Sequence[Scope]) -> dict[str, int]:
    """The five figures."""
    return _counts(added(queues.queue(scope) for scope in of))


def _counts(queue: Queue) -> dict[str, int]:
    return {state: getattr(queue, state) for state in STATES}


def added(several: Iterable[Queue]) -> Queue:
    """Queues that share no message, as one."""
    parts = list(several)
    return Queue(
        **{state: sum(getattr(part, state) for part in parts) for state in STATES},
        at=min((part.at for part in parts if part.at is not None), default=None),
        silent=tuple(sorted({name for part in parts for name in part.silent})),
    )


def rows(of: Sequence[Scope], by: By) -> list[Row]:
    """A breakdown of several scopes, the longest queue first."""
    found: dict[int, list[Row]] = {}
    for scope in of:
        for row in queues.breakdown(scope, by):
            found.setdefault(row.id, []).append(row)
    merged = [
        Row(number, parts[0].name, added(part.queue for part in parts)) for number, parts in found.items()
    ]
    return sorted((row for row in merged if row.queue.total), key=lambda row: -row.queue.total)


def gates(of: Sequence[Scope]) -> list[GateRow]:
    """Those in force that concern the scopes, the newest first."""
    found = {gate.id: gate for scope in of for gate in queues.gates(scope)}
    return sorted(found.values(), key=lambda gate: -gate.since)


def live(of: Sequence[Scope], version: int) -> dict[str, Any]:
    """What a page shows and is told again. `version`: of the command it waits for, or 0."""
    queue = added(queues.queue(scope) for scope in of)
    unconfirmed = queues.unconfirmed(version) if version else []
    stuck = [line for scope in of for line in stalled(scope)]
    return {
        **_counts(queue),
        "at": clock(queue.at) if queue.at is not None else "",
        "silent": ", ".join(queue.silent),
        "unconfirmed": ", ".join(unconfirmed),
        "confirmed": version > 0 and not unconfirmed,
        "stalls": stuck,
        "stalling": bool(stuck),
        "breakdowns": {kind: [cells(row.name, row.queue) for row in rows(of, kind)] for kind in KINDS},
    }


def stalled(scope: Scope) -> list[list[Any]]:
    """Queues of which nothing ends: what, how many messages, the likely cause."""
    found = stalls(scope, config.current().recorder.stall_after, time.time())
    return [[_stalled_name(one.scope), one.waiting, one.words] for one in found]


def _stalled_name(scope: Scope) -> str:
    isp = _name(Isp, scope.isp) if scope.isp else "other domains"
    return f"{_name(Sender, scope.sender)} to {isp}"


def cells(name: str | dict[str, str], queue: Queue) -> list[Any]:
    """A line of a table of queues."""
    return [name, *(getattr(queue, state) for state in STATES)]


def link(text: str, address: str) -> dict[str, str]:
    """A cell that leads somewhere."""
    return {"text": text, "href": address}


def clock(at: float) -> str:
    return timezone.localtime(datetime.fromtimestamp(at, UTC)).strftime(CLOCK)


def described(scope: Scope) -> str:
    """A scope in words, such as `sender News, ISP Gmail`."""
    parts = (
        ("account", Account, scope.account if not scope.mailing else 0),
        ("mailing", Mailing, scope.mailing),
        ("sender", Sender, scope.sender),
        ("ISP", Isp, scope.isp),
    )
    named = (f"{word} {_name(model, number)}" for word, model, number in parts if number)
    return ", ".join(named) or "everything"


def _name(model: Any, number: int) -> str:
    """Of a row; its number when it is gone."""
    return str(model._default_manager.filter(pk=number).first() or f"#{number}")


def of_mailing(mailing: Mailing) -> Scope:
    return Scope(account=mailing.account_id, mailing=mailing.pk)


def page_of_mailing(mailing: int) -> str:
    return reverse("admin:mailings_mailing_queue", args=[mailing])
