"""Lists in pages: `?cursor=…&limit=…`; an answer's `next` is the cursor of the next page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from django.db.models import Model, QuerySet
from ninja import Schema
from pydantic import Field

T = TypeVar("T")
M = TypeVar("M", bound=Model)


class Paging(Schema):
    cursor: int | None = Field(None, ge=0, le=2**63 - 1, description="`next` of the page before.")
    limit: int = Field(50, ge=1, le=500)


class Page(Schema, Generic[T]):
    items: list[T]
    next: int | None = Field(None, description="Cursor of the next page; null: this is the last.")


def page(rows: QuerySet[M], paging: Paging, *, newest_first: bool = False) -> dict[str, Any]:
    """One page by primary key, which no insertion or deletion elsewhere shifts."""
    comparison = "pk__lt" if newest_first else "pk__gt"
    if paging.cursor is not None:
        rows = rows.filter(**{comparison: paging.cursor})
    found = list(rows.order_by("-pk" if newest_first else "pk")[: paging.limit + 1])
    return cut(found, paging)


def cut(found: list[M], paging: Paging) -> dict[str, Any]:
    items: Iterable[M] = found[: paging.limit]
    return {"items": items, "next": found[paging.limit - 1].pk if len(found) > paging.limit else None}
