"""The listener's HTTP: `/u/<token>` for unsubscribes."""

from __future__ import annotations

from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from angarium.listener import pages
from angarium.listener.unsubscribes import Unsubscribes

BODY_BYTES: Final = 4_096

logger = structlog.get_logger(__name__)


def application(unsubscribes: Unsubscribes) -> Starlette:
    async def ask(request: Request) -> Response:
        claim = unsubscribes.claim(request.path_params["token"])
        return _page(pages.UNKNOWN, 404) if claim is None else _page(pages.ASK)

    async def unsubscribe(request: Request) -> Response:
        """Whatever the body says: who posts to the link wants out (RFC 8058 section 3.1)."""
        claim = unsubscribes.claim(request.path_params["token"])
        if claim is None:
            return _page(pages.UNKNOWN, 404)
        if not await _body_fits(request):
            return _page(pages.TOO_LARGE, 413)
        try:
            await unsubscribes.take(claim)
        except OSError as error:
            logger.error("unsubscribe was not taken", launch=claim.launch, reason=str(error))
            return _page(pages.TRY_AGAIN, 503)
        logger.info("unsubscribe", launch=claim.launch, mailing=claim.mailing, message=claim.message.hex())
        return _page(pages.DONE)

    async def unknown(request: Request, error: Exception) -> Response:
        return _page(pages.UNKNOWN, getattr(error, "status_code", 404))

    return Starlette(
        routes=[
            Route("/u/{token}", ask, methods=["GET", "HEAD"]),
            Route("/u/{token}", unsubscribe, methods=["POST"]),
        ],
        exception_handlers={404: unknown, 405: unknown},
    )


async def _body_fits(request: Request) -> bool:
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > BODY_BYTES:
                return False
    except ClientDisconnect:
        return False
    return True


def _page(html: str, status: int = 200) -> Response:
    return HTMLResponse(html, status, headers=pages.HEADERS)
