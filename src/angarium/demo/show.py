"""The demo's progress in the terminal: outcomes as a bar, the rate, what waits for a retry."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # it needs Django, which is not ready when the demo begins
    from angarium.demo.outcome import Outcome

PARTS: Final = (
    ("delivered", "green", "delivered"),
    ("hard_bounce", "red", "hard bounces"),
    ("undelivered", "magenta", "undelivered"),
    ("not_sent", "bright_black", "not sent: held back by a check"),
    ("retries", "yellow", "waiting for a retry"),
)
"""Field of the outcome, colour, name."""
WIDTH: Final = 60
RATE_WINDOW: Final = 3.0
PLAIN_EVERY: Final = 5.0
"""Seconds between lines where there is no terminal."""


class Show:
    """Draws outcomes as they come; on a terminal in place, elsewhere as a line now and then."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._began = time.monotonic()
        self._seen: deque[tuple[float, int]] = deque()
        self._live = Live(console=console, refresh_per_second=8) if console.is_terminal else None
        self._told = 0.0

    def __enter__(self) -> Show:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def update(self, outcome: Outcome) -> None:
        now = time.monotonic()
        self._seen.append((now, outcome.tried))
        while now - self._seen[0][0] > RATE_WINDOW:
            self._seen.popleft()
        if self._live:
            self._live.update(self._picture(outcome))
        elif outcome.is_over or now - self._told > PLAIN_EVERY:
            self._told = now
            self._console.print(self._line(outcome), highlight=False, soft_wrap=True)

    @property
    def _rate(self) -> float:
        (start, before), (end, after) = self._seen[0], self._seen[-1]
        return (after - before) / (end - start) if end > start else 0.0

    def _picture(self, outcome: Outcome) -> RenderableType:
        figures = Table.grid(padding=(0, 2))
        for field, colour, name in PARTS:
            count = getattr(outcome, field)
            share = f"{100 * count / max(1, outcome.recipients):5.1f} %"
            figures.add_row(Text("■", colour), Text(f"{count:>7,}"), Text(share, "dim"), name)
        foot = f"{self._rate:,.0f} first attempts/s · {outcome.soft_bounces:,} soft bounces · {self._elapsed}"
        return Group(Text(self._title, "bold"), bar(outcome), figures, Text(foot, "dim"))

    def _line(self, outcome: Outcome) -> str:
        parts = ", ".join(f"{getattr(outcome, field):,} {name}" for field, _, name in PARTS)
        return f"{self._elapsed}  {outcome.state}: {parts}"

    @property
    def _elapsed(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        return f"{minutes}:{seconds:02d}"


def bar(outcome: Outcome, width: int = WIDTH) -> Text:
    """One block for a share of the recipients; every kind that is there gets at least one."""
    text = Text()
    for field, colour, _ in PARTS:
        count = getattr(outcome, field)
        blocks = max(1, round(width * count / max(1, outcome.recipients))) if count else 0
        text.append("█" * min(blocks, width - len(text)), colour)
    text.append("░" * (width - len(text)), "bright_black")
    return text
