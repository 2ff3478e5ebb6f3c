"""Find messages: one by address, profile key or message id with its story, or all that stand in some way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from angarium.domain.contact import email_address
from angarium.domain.gates import Scope
from angarium.errors import InvalidInput
from angarium.store import messages as stored
from angarium.store.messages import Found, Place, Search, State
from angarium.web.access import current
from angarium.web.access.pages import page_context
from angarium.web.directory.models import Subscription
from angarium.web.mailings.models import Launch, Mailing
from angarium.web.reports import stories
from angarium.web.sending.models import Isp

FILTERS: Final = ("mailing", "state", "isp", "recipient", "answer")
DOUBTFUL: Final = "doubtful"
"""Chosen among the states: those that may have been delivered without an answer, however they stand."""
A_PAGE: Final = 50
CHOICES: Final = 200
"""Mailings to choose from, the newest."""
STATES: Final = {
    State.NEW: "New",
    State.RETRIES: "Retries",
    State.FROZEN: "Frozen",
    State.DELETED: "Being removed",
    State.DELIVERED: "Delivered",
    State.HARD_BOUNCE: "Hard bounce",
    State.UNDELIVERED: "Undelivered",
}


class Row(NamedTuple):
    """One message in the list."""

    found: Found
    state: str
    mailing: str
    next_attempt: datetime | None


def messages(request: HttpRequest) -> HttpResponse:
    wanted = request.GET.get("of", "").strip()
    chosen = {name: request.GET.get(name, "").strip() for name in FILTERS}
    values: dict[str, Any] = {"wanted": wanted, "asked": bool(wanted), "chosen": chosen}
    if wanted:
        values["stories"] = _find(request, wanted)
    elif any(chosen.values()):
        values |= _listed(request, chosen)
    context = page_context(request, "Messages", **values, **_choices(request, chosen))
    return TemplateResponse(request, "reports/messages.html", context)


def _choices(request: HttpRequest, chosen: dict[str, str]) -> dict[str, Any]:
    own = Mailing.objects.filter(account__in=current.shown(request))
    mailings = list(own.order_by("-pk")[:CHOICES])
    if (number := _number(chosen["mailing"])) and number not in {row.pk for row in mailings}:
        mailings += own.filter(pk=number)
    return {
        "mailings": mailings,
        "isps": Isp.objects.order_by("name"),
        "states": [*STATES.items(), (DOUBTFUL, "Doubtful")],
    }


def _listed(request: HttpRequest, chosen: dict[str, str]) -> dict[str, Any]:
    """A page of the list, and where the next one is."""
    scope = Scope(mailing=_number(chosen["mailing"]), isp=_number(chosen["isp"]))
    state = State(chosen["state"]) if chosen["state"] in set(State) else None
    doubtful = chosen["state"] == DOUBTFUL
    wanted = Search(scope, state, chosen["recipient"], chosen["answer"], doubtful)
    page = stored.search(wanted, current.shown(request), _after(request), A_PAGE)
    following = urlencode({**{name: word for name, word in chosen.items() if word}, "after": page.next or ""})
    return {"rows": _rows(page.messages), "listed": True, "following": following if page.next else ""}


def _after(request: HttpRequest) -> Place | None:
    try:
        return Place.read(request.GET["after"]) if "after" in request.GET else None
    except InvalidInput:
        return None


def _rows(found: Sequence[Found]) -> list[Row]:
    names = dict(
        Mailing.objects.filter(pk__in={one.scope.mailing for one in found}).values_list("pk", "name")
    )
    return [
        Row(
            one,
            STATES[one.state],
            names.get(one.scope.mailing, ""),
            datetime.fromtimestamp(one.next_attempt, UTC) if one.next_attempt else None,
        )
        for one in found
    ]


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 19 else 0


def _find(request: HttpRequest, wanted: str) -> list[stories.Story]:
    accounts = current.shown(request)
    try:
        contact = email_address(wanted).contact
    except InvalidInput:
        contact = ""
    rows = Subscription.objects.filter(account__in=accounts)
    subscriptions = list(rows.filter(contact=contact) if contact else rows.filter(profile__key=wanted))
    found = []
    for account in {row.account_id for row in subscriptions}:
        found += stories.of_subscriptions([row for row in subscriptions if row.account_id == account])
    if not found and (number := stories.read_id(wanted)) is not None:
        found = stories.of_messages([number])
        own = set(
            Launch.objects.filter(account__in=accounts, pk__in=[story.launch for story in found]).values_list(
                "pk", flat=True
            )
        )
        found = [story for story in found if story.launch in own]
    return sorted(found, key=lambda story: -story.launch)
