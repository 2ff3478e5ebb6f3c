"""What reports add up, on both databases."""

from __future__ import annotations

from typing import Any

COMMON = {"account": 1, "mailing": 1, "launch": 5, "sender": 1, "channel": "email"}
MINUTE = 29_000_000


def _count(kind: str, count: int, reason: str = "", minute: int = MINUTE) -> None:
    from angarium.web.reports.models import Counter

    Counter.objects.create(kind=kind, reason=reason, count=count, minute=minute, isp=0, **COMMON)


def _happen(number: int, kind: str, time: float, reason: str = "") -> None:
    from angarium.web.reports.models import Event

    rest: dict[str, Any] = {"profile": 1, "subscription": 1, "address": "a@example.org", "reason": reason}
    Event.objects.create(
        message=number.to_bytes(16, "big"), slot=f"{kind}:1", kind=kind, time=time, **rest, **COMMON
    )


def test_hard_bounces_and_blocks_stand_apart_from_other_undelivered(control_database: str) -> None:
    from angarium.web.reports import figures

    for kind, reason, count in (
        ("deliv", "", 90), ("sbounce", "full", 7), ("hbounce", "unknown_user", 3),
        ("undeliv", "hard bounce", 3),
        ("undeliv", "blocked", 2), ("undeliv", "maximum attempts reached", 5),
    ):  # fmt: skip
        _count(kind, count, reason)
    found = figures.outcomes(figures.of_launch(5))
    shown = {name: found[name] for name in ("delivered", "soft", "hard", "blocked", "undelivered", "ended")}
    assert shown == {"delivered": 90, "soft": 7, "hard": 3, "blocked": 2, "undelivered": 5, "ended": 100}
    assert found["reasons"] == {"maximum attempts reached": 5}


def test_a_young_launch_is_drawn_by_seconds_and_an_old_one_by_minutes(control_database: str) -> None:
    from angarium.web.reports import figures

    _count("deliv", 3)
    for number, second in enumerate((0, 0.5, 9)):
        _happen(number, "deliv", MINUTE * 60 + second)
    young = figures.launch_timeline(5)
    assert (young["start"], young["step"]) == (MINUTE * 60, 1)
    assert young["series"]["delivered"] == [2, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    _count("deliv", 4, minute=MINUTE + 90)
    old = figures.launch_timeline(5)
    assert old["step"] == 120
    assert (old["series"]["delivered"][0], old["series"]["delivered"][-1]) == (3, 4)


def test_a_message_tells_its_story_and_how_it_ended(control_database: str) -> None:
    from angarium.web.reports import stories

    _happen(7, "deliv", 200.0)
    _happen(7, "sbounce", 100.0, "greylist")
    [story] = stories.of_messages([(7).to_bytes(16, "big")])
    assert story.state == "Delivered"
    assert [event["words"] for event in story.events] == ["Soft bounce", "Delivered"]


def test_a_share_is_a_hundred_per_cent_only_when_it_is_all() -> None:
    from angarium.web.reports.figures import share

    assert [share(0, 0), share(1, 1), share(9_999, 10_000), share(1, 3)] == ["–", "100 %", "99.9 %", "33.3 %"]
