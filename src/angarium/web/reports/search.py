"""Find messages by address, profile key or message id."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from angarium.domain.contact import email_address
from angarium.errors import InvalidInput
from angarium.web.access import current
from angarium.web.access.pages import page_context
from angarium.web.directory.models import Subscription
from angarium.web.mailings.models import Launch
from angarium.web.reports import stories


def messages(request: HttpRequest) -> HttpResponse:
    wanted = request.GET.get("of", "").strip()
    found = _find(request, wanted) if wanted else None
    context = page_context(request, "Messages", wanted=wanted, stories=found, asked=bool(wanted))
    return TemplateResponse(request, "reports/messages.html", context)


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
