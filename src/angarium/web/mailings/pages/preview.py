"""The message as one profile would get it, made from what stands in the form."""

from __future__ import annotations

import base64
import re
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from angarium.domain.contact import email_address
from angarium.errors import InvalidInput
from angarium.mailing import render as rendering
from angarium.mailing.port import EmailTemplate
from angarium.web.directory.models import ListEntry, Profile, Subscription
from angarium.web.mailings.models import Template, TemplateFile

NO_LINK = "https://example.org/unsubscribe"
EMPTY_PICTURE = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
_ELSEWHERE = re.compile(r"""(\b(?:src|background)\s*=\s*["']?)(?:https?:)?//[^"'\s>]+""", re.IGNORECASE)
_CID = re.compile(r"cid:([^\"'\s)>]+)")


class Reader(NamedTuple):
    """Whose message is shown."""

    name: str
    address: str
    attributes: dict[str, Any]
    id: int | None = None


def preview(request: HttpRequest, account: int | None, template: Template | None) -> HttpResponse:
    """A fragment: head and body of the message, or what is wrong."""
    data = request.POST
    reader = find_reader(account, data.get("preview_as", "").strip(), data.get("audience", ""))
    if reader is None:
        return _answer(request, problem=f"No profile “{data.get('preview_as', '').strip()}” in this account.")
    try:
        content = EmailTemplate(
            *(data.get(part, "").replace("\r\n", "\n") for part in ("subject", "preheader", "html", "text"))
        )
        message = rendering.preview(
            content, reader.attributes, reader.address, NO_LINK, data.get("to_name", "")
        )
    except InvalidInput as error:
        return _answer(request, problem=str(error), reader=reader)
    html = _with_files(message.html, template)
    sender = f"{data.get('from_name', '')} <{data.get('from_address', '')}>".strip()
    return _answer(
        request, message=message._replace(html=html), reader=reader, sender="" if sender == "<>" else sender
    )


def _answer(request: HttpRequest, **values: Any) -> HttpResponse:
    return render(request, "mailings/preview.html", values)


def find_reader(account: int | None, wanted: str, audience: str) -> Reader | None:
    """The profile of this key or address; without one, the first of the list. None: there is no such."""
    profiles = Profile.objects.filter(account=account)
    if wanted:
        profile = profiles.filter(key=wanted).first() or _by_address(account, wanted)
        if profile is None:
            return None
    else:
        number = int(audience) if audience.isdecimal() else 0
        entries = ListEntry.objects.filter(list=number, list__account=account).order_by("pk")
        first = entries.select_related("profile").first()
        profile = first.profile if first else profiles.order_by("pk").first()
    if profile is None:
        return Reader("nobody in particular", "reader@example.org", {})
    subscription = profile.subscriptions.order_by("pk").first()
    address = subscription.address if subscription else profile.key
    return Reader(profile.key, address, profile.attributes, profile.pk)


def _by_address(account: int | None, wanted: str) -> Profile | None:
    try:
        contact = email_address(wanted).contact
    except InvalidInput:
        return None
    found = Subscription.objects.filter(account=account, contact=contact).select_related("profile").first()
    return found.profile if found else None


def _with_files(html: str, template: Template | None) -> str:
    """Inline pictures from the template's files, as data; others as an empty one, for nothing is loaded."""
    if "cid:" in html:
        kept = template.files.select_related("blob") if template is not None and template.pk else []
        files = {file.filename: _data(file) for file in kept if f"cid:{file.filename}" in html}
        html = _CID.sub(lambda match: files.get(match[1], EMPTY_PICTURE), html)
    return _ELSEWHERE.sub(lambda match: match[1] + EMPTY_PICTURE, html)


def _data(file: TemplateFile) -> str:
    return f"data:{file.content_type};base64,{base64.b64encode(bytes(file.blob.content)).decode()}"
