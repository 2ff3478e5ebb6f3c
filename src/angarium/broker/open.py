"""Which broker an installation uses is one URL."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from angarium.broker.embedded import EmbeddedBroker
from angarium.broker.port import Broker
from angarium.errors import ConfigurationError

EMBEDDED: Final = "embedded://"


async def open_broker(url: str, name: str) -> Broker:
    """The broker at `url`: `embedded:///path/to/folder`, `amqp://…` or `amqps://…`.

    `name` is shown in the broker's own lists. Returns at once and connects in the background: whoever
    needs the connection waits for it. Raises `ConfigurationError` for any other URL.
    """
    if url.startswith(EMBEDDED + "/"):
        return EmbeddedBroker(Path(url.removeprefix(EMBEDDED)), name)
    if url.startswith(("amqp://", "amqps://")) and urlsplit(url).hostname:
        from angarium.broker.amqp import AmqpBroker  # aio-pika is slow to import, and not always needed

        return AmqpBroker(url, name)
    raise ConfigurationError(
        f"the broker's URL begins with {url.split('://')[0]!r}: "
        "write embedded:///path/to/folder, amqp://user:password@host:port/vhost or amqps://…"
    )
