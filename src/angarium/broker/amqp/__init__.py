"""`Broker` over RabbitMQ.

Queues are quorum queues: a confirmed publish is on the disk of a majority of the cluster. They return
a packet a million times before they give it up to `angarium_dead`, at least once.

Everything comes back by itself after a lost connection, except a publish whose confirm was lost:
that raises, and is never sent again from here.

    line       a connection that comes back, and subscriptions that live on it
    consumer   deliveries
    client     the `Broker`
"""

from angarium.broker.amqp.client import AmqpBroker

__all__ = ["AmqpBroker"]
