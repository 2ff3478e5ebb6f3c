"""The web service: `uvicorn angarium.web.asgi:application`."""

from __future__ import annotations

import os
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "angarium.web.settings")

from django.conf import settings
from django.core.asgi import get_asgi_application

WEEK = 7 * 86_400


class _Static(StaticFiles):
    """Files of the installed packages. Their address holds our version, so that browsers may keep them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = f"public, max-age={WEEK}"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


_django: Any = get_asgi_application()
_packages: list[str | tuple[str, str]] = [
    (name, "static") for name in ("angarium.web", "unfold", "django.contrib.admin", "ninja")
]
application = Starlette(
    routes=[
        Mount(
            settings.STATIC_URL.rstrip("/"),
            _Static(packages=_packages),
            middleware=[Middleware(GZipMiddleware, minimum_size=2_000, compresslevel=5)],
        ),
        Mount("/", _django),
    ]
)
