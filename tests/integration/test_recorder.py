"""Events are recorded once, whatever comes twice, on both databases."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from tests.support.embedded_broker import EmbeddedBrokerProcess

from angarium.broker.open import open_broker
from angarium.broker.port import Broker
from angarium.broker.topology import DEAD, EVENTS
from angarium.domain.message import message_id
from angarium.events import Event, EventBatch, EventKind, encode
from angarium.status import recorder

pytestmark = pytest.mark.usefixtures("control_database")
NOON = 1_790_000_000.0
DELIVERED, UNDELIVERED = EventKind.DELIVERED, EventKind.UNDELIVERED


def event(kind: EventKind, number: int = 1, **fields: object) -> Event:
    values = {
        "kind": kind, "time": NOON, "account": 1, "mailing": 2, "launch": 3,
        "message": message_id(3, "email", number), "channel": "email", "profile": number,
        "subscription": number, "sender": 4, "address": f"person{number}@example.com",
    } | fields  # fmt: skip
    return Event(**values)


def store(*batches: EventBatch) -> tuple[int, int]:
    from angarium.store import events

    return tuple(events.store(batches, NOON))


def batch(name: str, *events: Event) -> EventBatch:
    return EventBatch(name, events)


def counters() -> dict[tuple[str, str], int]:
    from django.db.models import Sum

    from angarium.web.reports.models import Counter

    rows = Counter.objects.values_list("kind", "reason").annotate(total=Sum("count"))
    return {(kind, reason): total for kind, reason, total in rows if total}


def stored() -> list[tuple[bytes, str, str]]:
    from angarium.web.reports.models import Event as Row

    return sorted((bytes(m), s, k) for m, s, k in Row.objects.values_list("message", "slot", "kind"))


def subscribe(*addresses: str, status: str = "subscribed") -> list[int]:
    """Subscriptions of one account, an address each; their ids."""
    from angarium.domain.contact import email_address
    from angarium.web.access.models import Account
    from angarium.web.directory.models import Profile, Resource, Subscription

    account, _ = Account.objects.get_or_create(name="One")
    ids = []
    for number, address in enumerate(addresses):
        resource = Resource.objects.create(account=account, name=f"{address}-{number}-{time.monotonic_ns()}")
        profile = Profile.objects.create(account=account, key=f"{address}-{time.monotonic_ns()}")
        row = Subscription.objects.create(
            account=account, profile=profile, resource=resource, channel="email", address=address,
            contact=email_address(address).contact, status=status,
        )  # fmt: skip
        ids.append(row.pk)
    return ids


def status_of(subscription: int) -> str:
    from angarium.web.directory.models import Subscription

    return Subscription.objects.get(pk=subscription).status


def account() -> int:
    from angarium.web.access.models import Account

    return Account.objects.get(name="One").pk


def test_a_batch_is_stored_once_however_often_it_comes() -> None:
    one = batch("node:1:a:1", event(DELIVERED, 1), event(DELIVERED, 2))
    assert store(one) == (2, 0)
    assert store(one) == (0, 2)
    assert store(one, one) == (0, 4)
    assert counters() == {("deliv", ""): 2}


def test_an_event_is_stored_once_in_whichever_batch_it_comes() -> None:
    store(batch("a", event(DELIVERED, 1)))
    assert store(batch("b", event(DELIVERED, 1), event(DELIVERED, 2))) == (1, 1)
    assert counters() == {("deliv", ""): 2}


def test_attempts_of_a_message_are_events_of_their_own() -> None:
    soft = [event(EventKind.SOFT_BOUNCE, 1, attempt=n, reason="policy") for n in (1, 2, 2)]
    assert store(batch("a", *soft)) == (2, 1)
    assert counters() == {("sbounce", "policy"): 2}


@pytest.mark.parametrize("order", [(UNDELIVERED, DELIVERED), (DELIVERED, UNDELIVERED)])
@pytest.mark.parametrize("together", [True, False])
def test_of_two_ends_the_higher_stays_whichever_came_first(
    order: tuple[EventKind, EventKind], together: bool
) -> None:
    ends = [
        event(kind, 1, reason="blocked" if kind is UNDELIVERED else "", isp=int(kind is UNDELIVERED))
        for kind in order
    ]
    if together:
        store(batch("a", *ends))
    else:
        store(batch("a", ends[0]))
        store(batch("b", ends[1]))
    assert [kind for *_, kind in stored()] == ["deliv"]
    assert counters() == {("deliv", ""): 1}


def test_counters_equal_the_events_after_any_shuffle_of_repeats() -> None:
    chance = random.Random(7)
    kinds = (DELIVERED, UNDELIVERED)
    pool = [event(chance.choice(kinds), n % 60, time=NOON + chance.randrange(300)) for n in range(300)]
    for number in range(40):
        store(batch(f"b{number % 30}", *chance.sample(pool, 20)))
    found = [kind for *_, kind in stored()]
    assert counters() == {(kind, ""): found.count(kind) for kind in set(found)}


def test_a_hard_bounce_ends_every_subscription_of_the_address_and_stops_it_for_all() -> None:
    from angarium.web.directory.models import StopEntry

    first, second, other = subscribe("Dead@Пример.рф", "dead@xn--e1afmkfd.xn--p1ai", "alive@example.com")
    bounce = event(
        EventKind.HARD_BOUNCE, 1, account=account(), subscription=first, address="Dead@Пример.рф",
        text="550 5.1.1 no such user", reason="unknown_user",
    )  # fmt: skip
    store(batch("a", bounce))
    assert [status_of(row) for row in (first, second, other)] == ["hardbounced", "hardbounced", "subscribed"]
    entry = StopEntry.objects.get()
    assert (entry.contact, entry.reason) == ("dead@xn--e1afmkfd.xn--p1ai", "550 5.1.1 no such user")
    assert bytes(entry.message) == bounce.message


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        (EventKind.UNSUBSCRIBE, "subscribed", "unsubscribed"),
        (EventKind.UNSUBSCRIBE, "hardbounced", "unsubscribed"),
        (EventKind.UNSUBSCRIBE, "complained", "complained"),
        (EventKind.COMPLAIN, "unsubscribed", "complained"),
        (EventKind.COMPLAIN, "invalid", "invalid"),
        (EventKind.HARD_BOUNCE, "unsubscribed", "unsubscribed"),
        (EventKind.HARD_BOUNCE, "unconfirmed", "hardbounced"),
        (EventKind.SOFT_BOUNCE, "subscribed", "subscribed"),
        (EventKind.UNDELIVERED, "subscribed", "subscribed"),
    ],
)
def test_a_subscription_is_only_ever_made_worse(kind: EventKind, before: str, after: str) -> None:
    (row,) = subscribe("a@example.com", status=before)
    store(batch("a", event(kind, 1, account=account(), subscription=row, address="a@example.com")))
    assert status_of(row) == after


def test_an_unsubscription_does_not_reach_another_account() -> None:
    (row,) = subscribe("a@example.com")
    store(batch("a", event(EventKind.UNSUBSCRIBE, 1, account=account() + 1, subscription=row)))
    assert status_of(row) == "subscribed"


def test_a_server_that_answers_garbage_does_not_stop_the_recorder() -> None:
    garbage = event(
        DELIVERED, 1, text="\0ok" * 4000, mx="x" * 999, tls="t" * 99, enhanced="9" * 50, key="k" * 200
    )  # fmt: skip
    assert store(batch("a" * 300, garbage)) == (1, 0)
    assert store(batch("a" * 300, garbage)) == (0, 1)


def test_what_the_database_cannot_take_is_told_and_leaves_nothing() -> None:
    from angarium.errors import CorruptPacket

    with pytest.raises(CorruptPacket):
        store(batch("a", event(DELIVERED, 1), event(DELIVERED, 2, account=2**63)))
    assert stored() == []
    assert store(batch("a", event(DELIVERED, 1))) == (1, 0)


@pytest.fixture
def broker_url(tmp_path: Path) -> Iterator[str]:
    process = EmbeddedBrokerProcess(tmp_path / "broker")
    process.start()
    yield process.url
    process.stop()


@pytest.fixture
async def broker(broker_url: str) -> AsyncIterator[Broker]:
    opened = await open_broker(broker_url, "test")
    yield opened
    await opened.close()


async def record(broker: Broker, done: int, problems: list[str]) -> None:
    """Runs a recorder until so many events are in the database."""
    from angarium.store import events
    from angarium.store.database import Database

    database, stop = Database(), asyncio.Event()
    running = asyncio.create_task(
        recorder.run(
            broker, lambda batches: database.call(events.store, batches, time.time()), problems.append, stop
        )
    )
    async with asyncio.timeout(60):
        while await database.call(lambda: len(stored())) < done:  # noqa: ASYNC110 – another process's doing
            await asyncio.sleep(0.02)
        stop.set()
        await running
    await database.close()


async def test_the_recorder_stores_what_is_in_the_queue_and_gives_up_what_is_no_batch(broker: Broker) -> None:
    poison = batch("poison", event(DELIVERED, 9999, account=2**63))
    wires = [encode(batch(f"b{n}", *(event(DELIVERED, n * 10 + i) for i in range(10)))) for n in range(30)]
    for wire in (*wires[:10], b"garbage", encode(poison), *wires[5:]):
        await broker.publish(EVENTS, wire)
    await record(broker, 300, [])
    assert (await broker.depth(EVENTS)).ready == 0
    assert (await broker.depth(DEAD)).ready == 2


async def test_a_recorder_that_is_cut_off_at_any_moment_leaves_exact_counters(
    broker: Broker, broker_url: str
) -> None:
    """Each is cut off after a commit, before the acknowledgement."""
    for n in range(100):
        await broker.publish(EVENTS, encode(batch(f"b{n}", *(event(DELIVERED, n * 5 + i) for i in range(5)))))
    for _ in range(5):
        await store_and_die(broker_url)
    await record(broker, 500, [])
    assert await asyncio.to_thread(counters) == {("deliv", ""): 500}


async def store_and_die(broker_url: str) -> None:
    from angarium.store import events
    from angarium.store.database import Database

    database, committed = Database(), asyncio.Event()

    async def keep(batches: Sequence[EventBatch]) -> recorder.Stored:
        await database.call(events.store, batches[: len(batches) // 2 + 1], time.time())
        committed.set()
        return await asyncio.Future()

    broker = await open_broker(broker_url, "dying")
    running = asyncio.create_task(recorder.run(broker, keep, lambda _: None, asyncio.Event()))
    await asyncio.wait_for(committed.wait(), 30)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await broker.close()
    await database.close()
