"""Routers whose changes are one transaction each; reading opens none, and so never waits for a writer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.http import HttpRequest
from ninja import Router


def rows_router(tag: str) -> Router:
    """A router for rows of tables: what a request changes is all kept or all undone."""
    router = Router(tags=[tag])
    router.add_decorator(_atomic_changes)
    return router


def _atomic_changes(view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if request.method == "GET":
            return view(request, *args, **kwargs)
        with transaction.atomic():
            return view(request, *args, **kwargs)

    return wrapped
