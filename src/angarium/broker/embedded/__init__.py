"""A broker for one machine: one process, one SQLite file, a Unix socket.

What a kill -9 of the broker at any instant leaves: every publish that was confirmed; of those that
were not, some; every message not acknowledged, flagged redelivered if it may have been handed out.
An acknowledgement of the last instants may be lost: its message comes again, flagged.

    place       folder, lock, socket address
    frames      what is said on the socket
    connection  bytes to frames
    storage     the SQLite file
    queues      who is next: no I/O
    dispatcher  publishes to disk, messages to consumers
    server      the process
    client      `Broker` for the other processes
"""

from angarium.broker.embedded.client import EmbeddedBroker
from angarium.broker.embedded.server import serve

__all__ = ["EmbeddedBroker", "serve"]
