"""The broker: one port, two implementations with the same promises (`amqp`, `embedded`)."""
