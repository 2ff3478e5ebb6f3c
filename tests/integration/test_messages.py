"""Messages searched one by one: how they stand, what was said last, and whose they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from angarium.cli import app
from angarium.domain.gates import Scope

if TYPE_CHECKING:
    from tests.support.people import World

GMAIL = 1
FATES: dict[str, list[dict[str, Any]]] = {
    "new": [],
    "retries": [{"kind": "sbounce", "attempt": 1, "code": 452, "enhanced": "4.2.2", "text": "Mailbox full"}],
    "doubtful": [{"kind": "doubt", "attempt": 1}],
    "delivered": [
        {"kind": "sbounce", "attempt": 1, "code": 451, "text": "Greylisted"},
        {"kind": "deliv", "attempt": 2, "code": 250, "text": "OK", "slot": "end"},
    ],
    "hard_bounce": [
        {"kind": "hbounce", "attempt": 1, "code": 550, "enhanced": "5.1.1", "text": "No such user"},
        {"kind": "undeliv", "attempt": 1, "reason": "hard bounce", "slot": "end"},
    ],
    "undelivered": [
        {"kind": "undeliv", "attempt": 1, "reason": "blocked", "code": 554, "text": "Spam", "slot": "end"}
    ],
}
WAITING = {"new": "new", "retries": "retries", "doubtful": "retries"}
STATES = {fate: WAITING.get(fate, fate) for fate in FATES}


@pytest.fixture
def world(control_database: str) -> World:
    """One launch of Monday: two packets with a message of every fate each; `new` is the first of each."""
    from tests.support.people import build

    world = build()
    world.rows["launch"] = launch(world)
    return world


def launch(world: World) -> Any:
    from angarium.domain.message import message_id
    from angarium.mailing.port import PacketRecipient
    from angarium.store import packets
    from angarium.web.mailings.models import Launch, Packet

    mailing = world.rows["mailing"]
    row = Launch.objects.create(account=world.acme, mailing=mailing, state="prepared")
    for part in range(2):
        people = []
        for place, fate in enumerate(FATES):
            subscription = 100 * part + place + 1
            message = message_id(row.pk, "email", subscription)
            people.append(PacketRecipient(message, f"{fate}.{part}@example.com", 1, subscription, 0))
            tell(world, row, message, FATES[fate])
        Packet.objects.create(
            launch=row, account=world.acme, queue=f"akmta_{mailing.sender_id}", count=len(people),
            recipients=packets.encode(people), published=True,
        )  # fmt: skip
    return row


def tell(world: World, row: Any, message: bytes, happened: list[dict[str, Any]]) -> None:
    from angarium.web.reports.models import Event

    mailing = world.rows["mailing"]
    for number, event in enumerate(happened):
        values = {"slot": f"{event['kind']}:{number}", "next_attempt": 0.0, **event}
        if event["kind"] == "sbounce":
            values["next_attempt"] = 2_000_000_000.0
        Event.objects.create(
            message=message, time=1000.0 + number, account=world.acme.pk, mailing=mailing.pk, launch=row.pk,
            channel="email", profile=1, subscription=1, sender=mailing.sender_id, address="", isp=GMAIL,
            **values,
        )  # fmt: skip


def found(world: World, query: str = "", who: str = "alice") -> list[dict[str, Any]]:
    answer = world.ask(who, "GET", f"queues/messages?{query}")
    assert answer.status == 200, answer.json
    return list(answer.json["items"])


def names(messages: list[dict[str, Any]]) -> list[str]:
    return [message["address"].removesuffix("@example.com") for message in messages]


def of_fates(*fates: str) -> list[str]:
    return [f"{fate}.{part}" for part in range(2) for fate in FATES if fate in fates]


def test_every_message_is_shown_as_it_stands(world: World) -> None:
    shown = {message["address"].partition(".")[0]: message for message in found(world)}
    assert {fate: message["state"] for fate, message in shown.items()} == STATES
    assert shown["retries"]["answer"] == "452 4.2.2 Mailbox full"
    assert shown["retries"]["next_attempt"].startswith("2033-05-18")
    assert shown["delivered"]["attempts"] == 2
    assert shown["delivered"]["next_attempt"] is None
    assert [fate for fate, message in shown.items() if message["doubtful"]] == ["doubtful"]
    assert shown["hard_bounce"]["reason"] == "hard bounce"


@pytest.mark.parametrize(
    ("query", "fates"),
    [
        ("state=new", ["new"]),
        ("state=retries", ["retries", "doubtful"]),
        ("state=delivered", ["delivered"]),
        ("state=hard_bounce", ["hard_bounce"]),
        ("state=undelivered", ["undelivered"]),
        ("state=frozen", []),
        ("answer=MAILBOX", ["retries"]),
        ("answer=5.1.1", ["hard_bounce"]),
        ("recipient=RETRIES", ["retries"]),
        ("doubtful=true", ["doubtful"]),
        ("doubtful=true&state=new", []),
        (f"isp={GMAIL}", [fate for fate in FATES if fate != "new"]),
        ("isp=0", list(FATES)),
        ("sender=999999", []),
    ],
)
def test_a_search_finds_what_fits_and_nothing_else(world: World, query: str, fates: list[str]) -> None:
    assert names(found(world, query)) == of_fates(*fates)


def test_a_whole_address_finds_its_one_message(world: World) -> None:
    assert names(found(world, "recipient=New.1@EXAMPLE.com")) == ["new.1"]


def test_what_a_gate_covers_is_frozen_and_what_a_clear_covers_is_being_removed(world: World) -> None:
    from angarium.store import queues

    scope = Scope(mailing=world.rows["mailing"].pk)
    queues.close(scope, "alice")
    assert names(found(world, "state=frozen")) == of_fates(*WAITING)
    queues.open_again(scope, "alice")
    assert found(world, "state=frozen") == []
    queues.clear(scope, "alice")
    assert names(found(world, "state=deleted")) == of_fates(*WAITING)
    launch(world)
    assert names(found(world, "state=new")) == of_fates("new"), "what was published after it is not dead"


@pytest.mark.parametrize("packets", [1, 50])
@pytest.mark.parametrize("limit", [1, 5, 6, 100])
def test_pages_hold_everything_once_however_little_is_looked_through(
    world: World, monkeypatch: pytest.MonkeyPatch, limit: int, packets: int
) -> None:
    from angarium.store import messages

    monkeypatch.setattr(messages, "PACKETS", packets)
    launch(world)
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = world.ask("alice", "GET", f"queues/messages?limit={limit}&after={after}").json
        assert len(page["items"]) <= limit
        seen += names(page["items"])
        after = page["next"]
    assert seen == of_fates(*FATES) * 2


def test_people_find_messages_of_their_accounts_alone(world: World) -> None:
    number = world.rows["mailing"].pk
    assert len(found(world, f"mailing={number}", "bob")) == 2 * len(FATES)
    assert found(world, "", "charlie") == []
    assert world.ask("charlie", "GET", f"queues/messages?mailing={number}").status == 404
    assert world.ask("charlie", "GET", f"queues/messages?account={world.acme.pk}").status == 404
    assert world.ask(None, "GET", "queues/messages").status == 401


@pytest.mark.parametrize("query", ["state=lost", "after=7", "after=1-2-x", "limit=0"])
def test_a_search_that_makes_no_sense_is_refused(world: World, query: str) -> None:
    assert world.ask("alice", "GET", f"queues/messages?{query}").status in (400, 422)


def test_the_command_line_goes_on_until_it_has_as_many_as_asked_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from angarium.store import messages

    monkeypatch.setattr(messages, "PACKETS", 1)
    words = ("queue", "messages", "--mailing", "Monday", "--state", "retries", "--limit", "3")
    page = json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).stdout)
    assert names(page["items"]) == ["retries.0", "doubtful.0", "retries.1"]
    assert page["next"]
    shown = CliRunner().invoke(app, list(words), catch_exceptions=False).stdout
    assert "Mailbox full" in shown
