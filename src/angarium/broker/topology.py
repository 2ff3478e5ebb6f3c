"""Every queue in one table."""

from __future__ import annotations

from typing import Final

EVENTS: Final = "angarium_events"
DEAD: Final = "angarium_dead"
DELIVERY_LIMIT: Final = 1_000_000
"""Never −1, which drops at the first redelivery on RabbitMQ 3.10; newer ones drop after 20 by default."""


def mta_queue(sender: int) -> str:
    """Ordinary e-mail of a sender: to disk, then by the sender's strategy."""
    return f"akmta_{sender}"


def priority_queue(sender: int) -> str:
    """E-mail that is tried at once: test sends, triggers, urgent mailings. One message a packet."""
    return f"akmta_prior_{sender}"


def node_queue(node: int) -> str:
    """E-mail moving to a node, and what nodes ask one another."""
    return f"akmta_node_{node}"
