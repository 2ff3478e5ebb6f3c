"""The audit journal: who changed what, and by which token."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from auditlog.models import LogEntry
from django.http import HttpRequest
from ninja import Query, Router, Schema
from pydantic import Field

from angarium.web.api.caller import caller
from angarium.web.api.paging import Page, Paging, page

router = Router(tags=["Audit journal"])
ACTIONS = {0: "create", 1: "update", 2: "delete", 3: "access"}


class ChangeOut(Schema):
    id: int
    time: datetime
    actor: str | None
    token: str | None = Field(description="The name of the API token; null: it was not by a token.")
    address: str | None = Field(description="The network address it came from.")
    action: str
    table: str
    row: str
    name: str
    changes: dict[str, Any]


@router.get("", response=Page[ChangeOut], summary="Lists changes, the newest first")
def list_changes(
    request: HttpRequest, paging: Query[Paging], table: str = "", row: str = "", actor: str = ""
) -> object:
    """For administrators. `table`: such as `retry_rule`; `row`: its id; `actor`: a user name."""
    caller(request).must_administer()
    rows = LogEntry.objects.select_related("actor", "content_type")
    wanted = {"object_pk": row, "actor__username": actor, "content_type__model": table.replace("_", "")}
    rows = rows.filter(**{name: value for name, value in wanted.items() if value})
    found = page(rows, paging, newest_first=True)
    return {**found, "items": [_shown(entry) for entry in found["items"]]}


def _shown(entry: Any) -> dict[str, Any]:
    model = entry.content_type.model_class()
    return {
        "id": entry.pk,
        "time": entry.timestamp,
        "actor": entry.actor.username if entry.actor else None,
        "token": (entry.additional_data or {}).get("token"),
        "address": entry.remote_addr,
        "action": ACTIONS[entry.action],
        "table": model._meta.db_table if model else entry.content_type.model,
        "row": entry.object_pk,
        "name": entry.object_repr,
        "changes": entry.changes_dict,
    }
