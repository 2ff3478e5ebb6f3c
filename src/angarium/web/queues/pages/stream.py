"""Figures sent by the server while a page is open (server-sent events, HTML standard section 9.2).

A stream is short and the browser opens the next by itself. So whoever lost the right to see the figures is
refused within seconds, and a web process that is told to stop waits for no page.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import StreamingHttpResponse

READINGS: Final = 8
"""Of one stream, one a second: fewer seconds than the web process has for its end."""
RETRY: Final = 1_000
"""Milliseconds until a browser opens the next stream."""


def stream(read: Callable[[], dict[str, Any]]) -> StreamingHttpResponse:
    """An event with what `read` returns, at once and then once a second. It ends when the client goes."""
    response = StreamingHttpResponse(_events(read), content_type="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"
    return response


async def _events(read: Callable[[], dict[str, Any]]) -> AsyncIterator[str]:
    yield f"retry: {RETRY}\n\n"
    for reading in range(READINGS):
        if reading:
            await asyncio.sleep(1)
        yield f"data: {json.dumps(await sync_to_async(_fresh, thread_sensitive=False)(read))}\n\n"


def _fresh(read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """On a connection that is alive: no request begins or ends here."""
    close_old_connections()
    try:
        return read()
    finally:
        close_old_connections()
