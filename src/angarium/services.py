"""The services: what each is for, where its code is, what it reads and writes.

`angarium run NAME` runs one, `angarium up` all of them; they stop in the order of `stop_stage`.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Service(NamedTuple):
    """One kind of process."""

    name: str
    duty: str
    entry: str
    """Where its work begins: module, then a colon and the name."""
    reads: str
    writes: str
    stop_stage: int
    """Those with the lowest number stop first; the next begin when they have ended."""
    drain: float
    """Seconds it may take to stop before it is ended."""


SERVICES: Final = (
    Service(
        "broker", "the embedded message broker", "angarium.broker.embedded.server:serve",
        "its Unix socket", "its folder", 4, 15,
    ),
    Service(
        "web", "panel and API", "angarium.web.asgi:application",
        "HTTP, database", "database", 1, 15,
    ),
    Service(
        "launcher", "runs launches", "angarium.mailing.service:run",
        "database", "broker: akmta_*", 1, 30,
    ),
    Service(
        "listener", "public HTTP: unsubscribes", "angarium.listener.service:run",
        "HTTP", "broker: angarium_events", 1, 15,
    ),
    Service(
        "mta", "spool, retry, SMTP", "angarium.mta.service:run",
        "broker: akmta_*", "SMTP, broker: angarium_events", 2, 60,
    ),
    Service(
        "recorder", "events, counters, subscription statuses, stop list", "angarium.status.recorder:run",
        "broker: angarium_events", "database", 3, 20,
    ),
)  # fmt: skip
BY_NAME: Final = {service.name: service for service in SERVICES}
