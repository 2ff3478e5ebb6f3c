"""Permits: how much may begin now, counted so that the receiver never counts more.

A window counts something – transactions, connections – that begins and ends. What has begun and not
ended is counted, and what ended stays counted for the interval after its end: wherever between its
begin and its end the receiver's clock saw it, no interval of the receiver's holds more than the limit,
even when the receiver is slow or changes its speed. Ends are kept in fifty buckets an interval; the
bucket an end falls into counts until it is wholly out of sight, which makes the window up to 2 % longer.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

BUCKETS: Final = 50


class Window:
    """At most `limit` in any `interval` seconds. Times are a monotonic clock's seconds."""

    __slots__ = ("_buckets", "_ended", "_width", "interval", "limit", "under_way")

    def __init__(self, limit: int, interval: float) -> None:
        self.limit = limit
        self.interval = interval
        self.under_way = 0
        self._width = interval / BUCKETS
        self._buckets: deque[tuple[int, int]] = deque()  # (bucket number, how many ended in it)
        self._ended = 0

    def available(self, now: float) -> int:
        """How many may begin now."""
        self._forget(now)
        return max(0, self.limit - self.under_way - self._ended)

    def begin(self, count: int = 1) -> None:
        self.under_way += count

    def cancel(self, count: int = 1) -> None:
        """They did not begin after all: the receiver saw nothing."""
        self.under_way -= count

    def end(self, now: float, count: int = 1) -> None:
        self.under_way -= count
        self._record(now, count)

    def next_free(self, now: float) -> float | None:
        """When something may begin that may not now; None: now, or when something under way ends."""
        self._forget(now)
        if self.under_way + self._ended < self.limit or not self._buckets:
            return None
        return (self._buckets[0][0] + 1) * self._width + self.interval

    def adjust(self, limit: int, interval: float, now: float) -> None:
        """Another strategy holds from now on; what has been counted stays counted."""
        if (limit, interval) == (self.limit, self.interval):
            return
        self._forget(now)
        ended = [((number + 1) * self._width, count) for number, count in self._buckets]
        self.limit, self.interval, self._width = limit, interval, interval / BUCKETS
        self._buckets.clear()
        self._ended = 0
        for at, count in ended:
            self._record(min(at, now), count)

    def dump(self) -> tuple[int, list[tuple[float, int]]]:
        """What a restart needs: how many are under way, and (time, count) of what has ended."""
        return self.under_way, [((number + 1) * self._width, count) for number, count in self._buckets]

    def restore(self, under_way: int, ended: list[tuple[float, int]], now: float) -> None:
        """What was under way when the process died may have been seen up to now."""
        for at, count in ended:
            self._record(min(at, now), count)
        if under_way:
            self._record(now, under_way)

    def _record(self, at: float, count: int) -> None:
        number = math.floor(at / self._width)
        if self._buckets and self._buckets[-1][0] >= number:
            last, before = self._buckets[-1]
            self._buckets[-1] = (last, before + count)
        else:
            self._buckets.append((number, count))
        self._ended += count

    def _forget(self, now: float) -> None:
        while self._buckets and (self._buckets[0][0] + 1) * self._width + self.interval <= now:
            self._ended -= self._buckets.popleft()[1]
