"""Mailings made from files: template, attachments, audience, sender, in one step."""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from django.db import transaction

from angarium.errors import InvalidInput
from angarium.store import blobs, launches
from angarium.web.mailings.models import Mailing, Template, TemplateFile


class File(msgspec.Struct, frozen=True):
    """An attachment; an inline picture where it has a content id."""

    path: Path
    content_id: str = ""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What a person wants to send."""

    name: str
    audience: int
    resource: int
    sender: int
    content: dict[str, str]
    """subject, preheader, html, text."""
    options: dict[str, Any]
    """from_address, from_name, reply_to, to_name."""
    files: Sequence[File] = ()
    filters: Sequence[dict[str, Any]] = ()
    urgent: bool = False
    launch_limit: int | None = None
    life: int | None = None


@transaction.atomic
def create(account: int, draft: Draft) -> int:
    """The mailing's id. Raises `InvalidInput` with everything that would keep it from being launched."""
    if Mailing.objects.filter(account_id=account, name=draft.name).exists():
        raise InvalidInput(f"there is a mailing {draft.name!r} already")
    template, _ = Template.objects.update_or_create(
        account_id=account, name=draft.name, defaults={"content": draft.content}
    )
    template.files.all().delete()
    for file in draft.files:
        _attach(template, file)
    mailing = Mailing.objects.create(
        account_id=account,
        name=draft.name,
        template=template,
        audience_id=draft.audience,
        resource_id=draft.resource,
        sender_id=draft.sender,
        options={key: value for key, value in draft.options.items() if value},
        filters=list(draft.filters),
        urgent=draft.urgent,
        launch_limit=draft.launch_limit,
        life=draft.life,
    )
    if problems := launches.validate(mailing):
        raise InvalidInput("; ".join(problems))
    return mailing.pk


def listing(account: int) -> list[dict[str, Any]]:
    """The account's mailings, the newest first, each with its latest launch."""
    rows = Mailing.objects.filter(account_id=account).select_related("audience", "sender").order_by("-pk")
    return [_summary(row) for row in rows]


def _summary(row: Mailing) -> dict[str, Any]:
    latest = row.launches.filter(test_address="").order_by("-pk").first()
    return {
        "id": row.pk,
        "name": row.name,
        "active": row.active,
        "list": row.audience.name,
        "sender": row.sender.name,
        "launch": latest.pk if latest else None,
        "state": latest.state if latest else "never launched",
    }


def _attach(template: Template, file: File) -> None:
    try:
        content = file.path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{file.path} cannot be read: {error.strerror}") from error
    kind = mimetypes.guess_type(file.path.name)[0] or "application/octet-stream"
    TemplateFile.objects.create(
        template=template,
        blob_id=blobs.put(content),
        filename=file.path.name,
        content_type=kind,
        content_id=file.content_id,
    )
