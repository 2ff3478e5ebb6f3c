"""What every carrier stands on: spool, lanes, permits, outbox, intake."""
