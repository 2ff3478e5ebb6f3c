"""When a queue counts as stalled, and what it is put down to."""

from __future__ import annotations

import pytest

from angarium.domain.stall import Cause, Standing, cause

PATIENCE = 1800.0
LONG, SHORT = 2000.0, 100.0


@pytest.mark.parametrize(
    ("queue", "expected"),
    [
        (Standing(waited=LONG), None),  # empty
        (Standing(new=5, waited=SHORT), None),  # it has only begun
        (Standing(new=5, ended=1, waited=LONG), None),  # it moves
        (Standing(new=5, waited=LONG), Cause.LIMITED),
        (Standing(sending=5, waited=LONG), Cause.LIMITED),
        (Standing(retries=5, waited=LONG), None),  # they wait for their time
        (Standing(retries=5, refused=1, waited=LONG), Cause.REFUSED),
        (Standing(new=5, retries=5, refused=9, waited=LONG), Cause.REFUSED),
        (Standing(frozen=5, waited=LONG), Cause.FROZEN),
        (Standing(frozen=5, waited=LONG, node_down=True), Cause.FROZEN),
        (Standing(frozen=5, sending=1, waited=LONG), Cause.LIMITED),  # hangs on the wire
        (Standing(new=5, waited=LONG, node_down=True, refused=1), Cause.NODE_DOWN),
        (Standing(new=5, waited=LONG, node_trouble=True, refused=1), Cause.NODE_TROUBLE),
        (Standing(retries=5, waited=LONG, node_down=True), Cause.NODE_DOWN),
    ],
)
def test_a_queue_of_which_nothing_ends_for_too_long_is_put_down_to_a_cause(
    queue: Standing, expected: Cause | None
) -> None:
    assert cause(queue, PATIENCE) is expected
