"""The sender queue's figures and commands, on both databases."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from angarium.domain.gates import Scope

if TYPE_CHECKING:
    from tests.support.people import World

USER = "alice"


@dataclass
class Case:
    """`packets`: (count, published, ISP); `held`: a node's figures; `ended`: (count, ISP)."""

    packets: list[tuple[int, bool, int]] = field(default_factory=list)
    held: dict[str, dict[str, int]] = field(default_factory=dict)
    ended: list[tuple[int, int]] = field(default_factory=list)
    command: str = ""
    after: list[tuple[int, bool, int]] = field(default_factory=list)
    read: bool = True
    """Whether the nodes have read the command."""
    wanted: dict[str, int] = field(default_factory=dict)


CASES = {
    "nothing was published": Case(),
    "all is in the broker": Case([(100, True, 0)], wanted={"new": 100}),
    "what the broker has not confirmed does not count": Case(
        [(100, True, 0), (50, False, 0)], wanted={"new": 100}
    ),
    "a part is on a node": Case(
        [(100, True, 0)],
        {"node-1": {"new": 30, "retries": 20, "sending": 5}},
        wanted={"new": 75, "retries": 20, "sending": 5},
    ),
    "two nodes hold, some have ended": Case(
        [(100, True, 0)],
        {"node-1": {"new": 30}, "node-2": {"retries": 20}},
        [(40, 0)],
        wanted={"new": 40, "retries": 20},
    ),
    "all has ended": Case([(100, True, 0)], {}, [(100, 0)]),
    "a node knows of more than the books": Case([(10, True, 0)], {"node-1": {"new": 15}}, wanted={"new": 15}),
    "the recorder knows of more than the books": Case([(10, True, 0)], {}, [(12, 0)]),
    "a node found the ISP that the packet did not know": Case(
        [(100, True, 0)], {"node-1": {"new": 10, "isp": 1}}, [(20, 1)], wanted={"new": 80}
    ),
    "a node deletes": Case(
        [(100, True, 0)],
        {"node-1": {"deleting": 60, "sending": 1}},
        [(30, 0)],
        wanted={"new": 9, "sending": 1},
    ),
    "frozen: on nodes and in the broker": Case(
        [(100, True, 0)],
        {"node-1": {"frozen": 30, "sending": 5}},
        [(10, 0)],
        "freeze",
        wanted={"frozen": 85, "sending": 5},
    ),
    "frozen before the node has read it": Case(
        [(100, True, 0)],
        {"node-1": {"new": 30, "retries": 5}},
        [],
        "freeze",
        read=False,
        wanted={"frozen": 100},
    ),
    "held for one ISP": Case(
        [(100, True, 0), (50, True, 1)],
        {"node-1": {"retries": 20, "isp": 1}},
        [],
        "hold ISP",
        wanted={"new": 100, "frozen": 50},
    ),
    "cleared: in the broker, and on a node that swept": Case(
        [(100, True, 0)], {"node-1": {"sending": 3}}, [(30, 0)], "clear", wanted={"sending": 3}
    ),
    "cleared before the node has read it": Case(
        [(100, True, 0)],
        {"node-1": {"new": 30, "retries": 9, "sending": 3}},
        [],
        "clear",
        read=False,
        wanted={"sending": 3},
    ),
    "published after the clear": Case([(100, True, 0)], {}, [], "clear", [(40, True, 0)], wanted={"new": 40}),
    "published after the clear, a part is on a node": Case(
        [(100, True, 0)],
        {"node-1": {"new": 15, "deleting": 20}},
        [],
        "clear",
        [(40, True, 0)],
        wanted={"new": 40},
    ),
}


@pytest.fixture
def world(control_database: str) -> World:
    from tests.support.people import build

    return build()


def of(world: World) -> Scope:
    return Scope(account=world.acme.pk, mailing=world.rows["mailing"].pk)


def publish(world: World, packets: list[tuple[int, bool, int]]) -> None:
    from angarium.web.mailings.models import Launch, Packet

    mailing = world.rows["mailing"]
    launch, _ = Launch.objects.get_or_create(account=world.acme, mailing=mailing, state="prepared")
    for count, published, isp in packets:
        Packet.objects.create(
            launch=launch,
            account=world.acme,
            queue=f"akmta_{mailing.sender_id}",
            isp=isp,
            recipients=b"",
            count=count,
            published=published,
        )


def end(world: World, ended: list[tuple[int, int]]) -> None:
    from angarium.web.mailings.models import Launch
    from angarium.web.reports.models import Counter

    mailing = world.rows["mailing"]
    for count, isp in ended:
        Counter.objects.create(
            account=world.acme.pk,
            mailing=mailing.pk,
            launch=Launch.objects.get().pk,
            isp=isp,
            sender=mailing.sender_id,
            channel="email",
            kind="deliv",
            minute=1,
            count=count,
        )


def say(world: World, name: str, held: dict[str, int], version: int, at: float | None = None) -> int:
    """A node's report: what it holds of the mailing, and the settings it runs."""
    from angarium.store import nodes

    mailing = world.rows["mailing"]
    node = nodes.register(name)
    states = dict.fromkeys(("new", "retries", "sending", "frozen", "deleting", "isp"), 0) | held
    now = time.time() if at is None else at
    figure = SimpleNamespace(account=world.acme.pk, sender=mailing.sender_id, mailing=mailing.pk, **states)
    nodes.heartbeat(node.id, version, "", now)
    nodes.figures(node.id, [figure], now)
    return node.id


@pytest.mark.parametrize("name", CASES)
def test_the_queue_is_what_was_published_and_has_not_ended(world: World, name: str) -> None:
    from angarium.store import queues, settings

    case = CASES[name]
    before = settings.version()
    publish(world, case.packets)
    end(world, case.ended)
    match case.command:
        case "freeze":
            queues.close(of(world), USER)
        case "hold ISP":
            queues.close(Scope(isp=1), USER)
        case "clear":
            queues.clear(of(world), USER)
    publish(world, case.after)
    for node, held in case.held.items():
        say(world, node, held, settings.version() if case.read else before)
    found = queues.queue(of(world))
    states = {state: getattr(found, state) for state in ("new", "retries", "sending", "frozen")}
    assert {state: count for state, count in states.items() if count} == case.wanted
    assert found.total == sum(states.values())
    for scope in (Scope(), Scope(account=world.acme.pk), Scope(sender=world.rows["sender"].pk)):
        assert queues.queue(scope).total == found.total
    parts: tuple[queues.By, ...] = ("mailing", "sender", "isp", "node")
    for by in parts:
        assert sum(row.queue.total for row in queues.breakdown(of(world), by)) == found.total


def test_a_report_agrees_with_the_queue(world: World) -> None:
    from angarium.store import queues, reports

    publish(world, [(100, True, 0)])
    end(world, [(20, 0)])
    queues.close(of(world), USER)
    say(world, "node-1", {"frozen": 30, "sending": 5}, 9)
    report, queue = reports.mailing_report(world.acme.pk, of(world).mailing), queues.queue(of(world))
    for state in ("new", "retries", "sending", "frozen", "at"):
        assert getattr(report, state) == getattr(queue, state)
    assert report.sent == report.delivered + queue.total + report.deleting


def test_a_breakdown_names_its_parts_the_largest_first(world: World) -> None:
    from angarium.store import queues

    publish(world, [(100, True, 0), (5, True, 1)])
    node = say(world, "node-1", {"new": 30}, 1)
    rows = queues.breakdown(of(world), "node")
    assert [(row.id, row.name, row.queue.total) for row in rows] == [
        (0, "In the broker", 75),
        (node, "node-1", 30),
    ]
    [other, known] = queues.breakdown(of(world), "isp")
    assert (other.id, other.name, known.id) == (0, "Other domains", 1)
    [mailing] = queues.breakdown(Scope(), "mailing")
    assert (mailing.name, mailing.queue.new) == ("Monday", 105)


def test_a_node_that_is_down_counts_with_what_it_last_said_and_is_named(world: World) -> None:
    from angarium.store import queues

    publish(world, [(100, True, 0)])
    long_ago = time.time() - 60
    say(world, "node-1", {"new": 30}, 1, long_ago)
    say(world, "node-2", {"retries": 10}, 1)
    found = queues.queue(of(world))
    assert (found.total, found.retries, found.silent, found.at) == (100, 10, ("node-1",), long_ago)
    assert queues.queue(Scope(account=world.other.pk)).silent == ()


def test_closing_twice_changes_nothing_and_opening_lifts_only_its_own(world: World) -> None:
    from angarium.store import queues, settings

    publish(world, [(100, True, 0)])
    mailing, sender = of(world), Scope(sender=world.rows["sender"].pk)
    dry = queues.close(mailing, USER, dry_run=True)
    assert (dry.affected, dry.version, queues.gates()) == (100, 0, [])
    before = settings.version()
    assert queues.close(mailing, USER) == queues.Command(100, before + 1)
    assert queues.close(Scope(mailing=mailing.mailing), USER) == queues.Command(0, 0)
    assert queues.close(sender, USER).affected == 0, "they are frozen already"
    assert settings.version() == before + 2
    assert [gate.scope for gate in queues.gates(mailing)] == [mailing, sender]
    assert queues.open_again(mailing, USER).affected == 0, "the sender's hold still covers them"
    assert queues.queue(mailing).frozen == 100
    assert queues.open_again(sender, USER).affected == 100
    assert (queues.queue(mailing).new, queues.gates()) == (100, [])
    assert queues.open_again(sender, USER) == queues.Command(0, 0)


def test_nodes_read_closed_and_opened_gates_and_clears_of_the_last_month(world: World) -> None:
    from angarium.store import queues, settings
    from angarium.web.queues.models import Clear, Gate

    publish(world, [(100, True, 0)])
    queues.close(of(world), USER)
    queues.open_again(of(world), USER)
    queues.close(Scope(isp=1), USER)
    queues.clear(of(world), USER)
    found = settings.load().gates
    assert [(gate.scope, gate.until is None) for gate in found.gates] == [
        (of(world), False),
        (Scope(isp=1), True),
    ]
    from angarium.web.mailings.models import Packet

    [clear] = found.clears
    last = Packet.objects.get().pk
    assert (clear.scope, clear.user, clear.before) == (of(world), USER, last + 1)
    Gate.objects.update(since=1)
    Gate.objects.filter(until__isnull=False).update(until=2)
    Clear.objects.update(at=3)
    found = settings.load().gates
    assert ([gate.scope for gate in found.gates], found.clears) == ([Scope(isp=1)], ())


def test_every_command_is_in_the_journal_with_user_and_count(world: World) -> None:
    from auditlog.models import LogEntry

    from angarium.store import queues

    publish(world, [(100, True, 0)])
    queues.close(of(world), USER)
    queues.open_again(of(world), USER)
    queues.close(Scope(isp=1), USER)
    queues.clear(of(world), USER)
    entries = LogEntry.objects.filter(content_type__app_label="queues").order_by("pk")
    told = [
        (
            entry.additional_data["event"],
            entry.additional_data.get("account"),
            entry.changes_dict["affected"][1],
        )
        for entry in entries
    ]
    acme = world.acme.pk
    assert told == [
        ("freeze", acme, "100"),
        ("unfreeze", acme, "100"),
        ("hold", None, "0"),
        ("clear", acme, "100"),
    ]
    assert entries[0].object_repr == "account Acme, mailing Monday"


def test_nodes_that_have_not_confirmed_are_named(world: World) -> None:
    from angarium.store import nodes, queues
    from angarium.web.sending.models import Node

    nodes.register("never-ran")
    say(world, "node-1", {}, 1)
    say(world, "down", {}, 1, time.time() - 60)
    version = queues.close(of(world), USER).version
    assert queues.unconfirmed(version) == ["down", "node-1"]
    Node.objects.filter(name="node-1").update(version=version)
    assert queues.confirm(version) == ["down"], "nobody waits for a node that is down"
    Node.objects.filter(name="down").update(active=False)
    assert queues.confirm(version) == []


@pytest.mark.parametrize("scope", [Scope(mailing=999), Scope(sender=999), Scope(isp=99_999)])
def test_a_scope_that_is_not_there_is_refused(world: World, scope: Scope) -> None:
    from angarium.errors import InvalidInput
    from angarium.store import queues

    commands: list[Any] = [queues.close, queues.open_again, queues.clear]
    for command in commands:
        with pytest.raises(InvalidInput, match="there is no"):
            command(scope, USER)


def test_launches_that_still_prepare_are_told(world: World) -> None:
    from angarium.store import queues
    from angarium.web.mailings.models import Launch

    running = Launch.objects.create(account=world.acme, mailing=world.rows["mailing"], state="preparing")
    Launch.objects.create(account=world.acme, mailing=world.rows["mailing"], state="prepared")
    assert queues.preparing(of(world)) == [running.pk]


def test_a_launch_that_has_ended_is_settled_and_skipped(world: World) -> None:
    from angarium.store import queue_books, queues
    from angarium.web.mailings.models import Launch

    publish(world, [(100, True, 0)])
    end(world, [(99, 0)])
    assert queue_books.settle() == 0
    end(world, [(1, 1)])
    assert (queue_books.settle(), queue_books.settle()) == (1, 0)
    for scope in (of(world), Scope()):
        assert queues.queue(scope).total == 0
    Launch.objects.create(account=world.acme, mailing=world.rows["mailing"], state="preparing")
    assert queue_books.settle() == 0, "it may still publish"


def bounce(world: World, count: int, text: str) -> None:
    """Soft bounces of this minute, and the last answer."""
    from angarium.web.mailings.models import Launch
    from angarium.web.reports.models import Counter, Event

    mailing, launch = world.rows["mailing"], Launch.objects.get().pk
    same = {"account": world.acme.pk, "mailing": mailing.pk, "launch": launch, "sender": mailing.sender_id}
    minute = int(time.time() // 60)
    Counter.objects.create(kind="sbounce", minute=minute, count=count, isp=0, channel="email", **same)
    Event.objects.create(
        message=b"m", slot="sbounce:1", kind="sbounce", time=time.time(), profile=1, subscription=1,
        address="ann@example.com", code=452, text=text, **same,
    )  # fmt: skip


def test_a_stalled_queue_is_listed_with_its_likely_cause(world: World) -> None:
    from angarium.store import queues
    from angarium.store.stalls import stalls

    def words() -> list[str]:
        return [stall.words for stall in stalls(of(world), 1800, time.time() + 3600)]

    publish(world, [(100, True, 0)])
    say(world, "node-1", {"new": 60, "retries": 40}, 1)
    assert stalls(of(world), 1800, time.time()) == [], "it has only begun"
    assert [stall.cause for stall in stalls(of(world), 1800, time.time() + 3600)] == ["limited"]
    say(world, "node-1", {"new": 60, "retries": 40}, 1, time.time() - 60)
    assert words() == ["no sign of life: node-1"]
    queues.close(of(world), USER)
    assert words() == ["frozen or held"]
    queues.open_again(of(world), USER)
    say(world, "node-1", {"new": 60, "retries": 40}, 1)
    assert stalls(of(world), 1800, time.time() + 1700) == [], "it has only begun again"


def test_an_isp_that_puts_everything_off_is_named_with_its_last_answer(world: World) -> None:
    from angarium.web.mailings.models import Launch

    publish(world, [(100, True, 0)])
    Launch.objects.update(created=datetime.now(UTC) - timedelta(hours=1))
    say(world, "node-1", {"new": 60, "retries": 40}, 1)
    bounce(world, 40, "Try again later")
    [stall] = world.ask("alice", "GET", f"queues/stalls?mailing={world.rows['mailing'].pk}").json
    assert (stall["cause"], stall["waiting"]) == ("refused", 100)
    assert stall["words"] == "the receiver puts it off: 452 Try again later"
    assert world.ask("charlie", "GET", f"queues/stalls?mailing={world.rows['mailing'].pk}").status == 404
