"""The installation itself: is it well, which version is it."""

from __future__ import annotations

from django.db import DatabaseError, connection
from django.http import HttpRequest
from ninja import Router, Schema, Status

from angarium import __version__

router = Router(tags=["Platform"])


class Version(Schema):
    version: str


class Health(Schema):
    ok: bool
    database: bool


@router.get("/version", response=Version, auth=None, summary="Says which version this is")
def version(request: HttpRequest) -> object:
    return {"version": __version__}


@router.get(
    "/health", response={200: Health, 503: Health}, auth=None, summary="Says whether the API can work"
)
def health(request: HttpRequest) -> object:
    """503 when the database does not answer."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return Status(503, {"ok": False, "database": False})
    return {"ok": True, "database": True}
