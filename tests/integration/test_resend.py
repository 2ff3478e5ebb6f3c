"""A launch sent again to those it did not reach."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from angarium.cli import app

if TYPE_CHECKING:
    from tests.support.people import World

ENDS = {
    "ann": ("deliv", ""),
    "ben": ("undeliv", "hard bounce"),
    "cat": ("undeliv", "blocked"),
    "dan": ("undeliv", "maximum attempts reached"),
    "eve": ("undeliv", "maximum attempts reached"),
    "fay": ("undeliv", "removed from the queue by user"),
}
EXHAUSTED = "maximum attempts reached"


@pytest.fixture
def world(control_database: str) -> World:
    """Monday was launched to six people, who ended as `ENDS` says."""
    from tests.support.people import build

    from angarium.domain.message import message_id
    from angarium.web.directory.models import Profile
    from angarium.web.mailings.models import Launch
    from angarium.web.reports.models import Counter, Event

    world = build()
    mailing = world.rows["mailing"]
    launch = world.rows["launch"] = Launch.objects.create(
        account=world.acme, mailing=mailing, state="prepared", audience=len(ENDS)
    )
    same = {
        "account": world.acme.pk, "mailing": mailing.pk, "launch": launch.pk, "channel": "email",
        "sender": mailing.sender_id,
    }  # fmt: skip
    for number, (name, (kind, reason)) in enumerate(ENDS.items(), start=1):
        profile = Profile.objects.create(account=world.acme, key=name)
        Event.objects.create(
            message=message_id(launch.pk, "email", number), slot="end", kind=kind, reason=reason, time=1.0,
            profile=profile.pk, subscription=number, address=f"{name}@example.com", **same,
        )  # fmt: skip
        Counter.objects.create(kind=kind, reason=reason, minute=number, count=1, **same)
    return world


def resend(world: World, who: str = "alice", **body: Any) -> Any:
    return world.ask(who, "POST", f"launches/{world.rows['launch'].pk}/resend", body)


def goes_to(launch: int) -> set[str]:
    """Keys of the profiles the launcher will read for it."""
    from angarium.store import plans
    from angarium.web.directory.models import ListEntry
    from angarium.web.mailings.models import Launch

    plan = plans.of_launch(Launch.objects.get(pk=launch))
    return set(ListEntry.objects.filter(list=plan.audience).values_list("profile__key", flat=True))


@pytest.mark.parametrize(
    ("reasons", "people"),
    [
        ([], {"cat", "dan", "eve", "fay"}),
        ([EXHAUSTED], {"dan", "eve"}),
        (["blocked", EXHAUSTED], {"cat", "dan", "eve"}),
    ],
)
def test_it_goes_to_those_who_ended_undelivered_for_the_reasons(
    world: World, reasons: list[str], people: set[str]
) -> None:
    dry = resend(world, reasons=reasons, dry_run=True).json
    assert dry == {"recipients": len(people), "launch": 0}
    made = resend(world, reasons=reasons).json
    assert made["recipients"] == len(people)
    assert made["launch"] > world.rows["launch"].pk
    assert goes_to(made["launch"]) == people
    entry = world.ask("ada", "GET", "journal?table=mailing").json["items"][0]
    assert entry["actor"] == "alice"


@pytest.mark.parametrize(
    ("reasons", "words"),
    [(["hard bounce"], "the address is dead"), (["outcome unknown"], "left nobody undelivered")],
)
def test_what_cannot_be_sent_again_is_refused_in_words_and_makes_no_launch(
    world: World, reasons: list[str], words: str
) -> None:
    from angarium.web.directory.models import ProfileList
    from angarium.web.mailings.models import Launch

    before = Launch.objects.count(), ProfileList.objects.count()
    refused = resend(world, reasons=reasons)
    assert 400 <= refused.status < 500
    assert words in json.dumps(refused.json)
    assert (Launch.objects.count(), ProfileList.objects.count()) == before


def test_a_launch_that_is_not_over_and_a_mailing_that_is_being_launched_are_refused(world: World) -> None:
    assert resend(world).status == 200
    assert "already being launched" in json.dumps(resend(world).json)
    world.rows["launch"].state = "preparing"
    world.rows["launch"].save()
    assert "is not over" in json.dumps(resend(world).json)


def test_only_those_who_may_launch_send_again(world: World) -> None:
    assert resend(world, "bob").status == 403
    assert resend(world, "charlie").status == 404


def test_the_command_line_sends_again(world: World) -> None:
    words = ["mailing", "resend", "Monday", "--account", "Acme", "--reason", EXHAUSTED, "--json"]
    dry = CliRunner().invoke(app, [*words, "--dry-run"], catch_exceptions=False)
    assert json.loads(dry.stdout) == {"recipients": 2, "launch": 0}
    made = json.loads(CliRunner().invoke(app, words, catch_exceptions=False).stdout)
    assert goes_to(made["launch"]) == {"dan", "eve"}
