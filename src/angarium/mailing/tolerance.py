"""How many failing recipients a launch puts up with."""

from __future__ import annotations

from collections.abc import Sequence

from angarium.errors import AngariumError
from angarium.mailing.log import ERROR_LINES, paused
from angarium.mailing.port import LogLine


class TooManyErrors(AngariumError):
    """More recipients fail than the launch tolerates. `lines` are the log's."""

    def __init__(self, lines: Sequence[LogLine]) -> None:
        super().__init__(lines[-1].message)
        self.lines = lines


class Tolerance:
    """Counts the recipients of a run that were tried and those that failed."""

    def __init__(self, share: float, sample: int) -> None:
        self._share = share
        self._sample = sample
        self._tried = self._failed = self._told = 0
        self._lines: list[LogLine] = []

    def succeeded(self) -> None:
        self._tried += 1

    def failed(self, line: LogLine) -> None:
        """Raises `TooManyErrors` when this one is too many."""
        self._tried += 1
        self._failed += 1
        if self._told < ERROR_LINES:
            self._told += 1
            self._lines.append(line)
        if self._tried >= self._sample and self._failed > self._share * self._tried:
            raise TooManyErrors([*self._lines, paused(self._failed, self._tried, self._share)])

    def lines(self) -> list[LogLine]:
        """Log lines since the last call."""
        lines, self._lines = self._lines, []
        return lines
