"""The store on both databases: settings, nodes, seeds, reports, retention, lost connections."""

from __future__ import annotations

import asyncio
import threading

import msgspec
import pytest
from tests.support.postgres import Postgres

from angarium.domain.message import message_id
from angarium.domain.outcome import Reason
from angarium.domain.sending import HeloType, RetryMode, RetryType
from angarium.errors import DatabaseUnavailable, InvalidInput
from angarium.events import Event, EventBatch, EventKind

NOON = 1_790_000_000.0


class Figure(msgspec.Struct, frozen=True):
    account: int
    sender: int
    mailing: int
    isp: int
    new: int = 0
    retries: int = 0
    sending: int = 0
    frozen: int = 0


@pytest.mark.usefixtures("control_database")
class TestSettings:
    def test_a_new_installation_has_the_default_strategy_and_retry_rule(self) -> None:
        from angarium.store import settings

        loaded = settings.load()
        strategy = loaded.strategies[loaded.default_strategy]
        assert (strategy.name, strategy.messages_per_interval, strategy.interval) == ("60:60", 60, 60.0)
        rule = loaded.retry_rules[loaded.default_retry_rule]
        assert (rule.mode, rule.retries, rule.interval, rule.type, rule.exponent) == (
            RetryMode.SAME_IP, 5, 15.0, RetryType.GEOMETRIC, 2.0,
        )  # fmt: skip
        assert loaded.isps
        assert loaded.patterns

    def test_every_change_of_a_sending_table_is_a_new_version(self) -> None:
        from angarium.store import settings
        from angarium.web.sending import models

        seen = [settings.version()]

        def grew() -> bool:
            seen.append(settings.version())
            return seen[-1] > seen[-2]

        strategy = models.Strategy.objects.create(name="fast")
        assert grew()
        node = models.Node.objects.create(name="n")
        address = models.IpAddress.objects.create(node=node, address="127.0.0.9")
        sender = models.MtaSender.objects.create(
            sender=models.Sender.objects.create(name="s"), strategy=strategy
        )
        grew()
        sender.addresses.add(address)
        assert grew()
        sender.addresses.clear()
        assert grew()
        models.BouncePattern.objects.first().save()
        assert grew()
        sender.delete()
        assert grew()
        assert not grew()

    def test_a_sender_is_read_with_all_that_it_names(self) -> None:
        from angarium.store import settings
        from angarium.web.sending import models

        node = models.Node.objects.create(name="n")
        address = models.IpAddress.objects.create(node=node, address="127.0.0.9", hostname="mx.example.com")
        strategy = models.Strategy.objects.create(name="fast", helo=HeloType.IP)
        key = models.DkimKey.objects.create(domain="example.com", selector="a", private_key="PEM")
        row = models.MtaSender.objects.create(
            sender=models.Sender.objects.create(name="s"), strategy=strategy, bounce_domain="b.example.com"
        )
        row.addresses.add(address)
        row.dkim_keys.add(key)
        isp = models.Isp.objects.first()
        models.StrategyOverride.objects.create(sender=row, isp=isp, strategy=strategy)
        models.Route.objects.create(domain="*", host="relay", password="secret")
        loaded = settings.load()
        sender = loaded.senders[row.pk]
        assert (sender.addresses, sender.strategy, sender.dkim_keys) == (
            (address.pk,),
            strategy.pk,
            (key.pk,),
        )
        assert [(o.strategy, o.address, o.isp) for o in sender.overrides] == [(strategy.pk, 0, isp.pk)]
        assert loaded.addresses[address.pk].hostname == "mx.example.com"
        assert loaded.dkim_keys[key.pk].private_key == "PEM"
        assert loaded.routes[0].password == "secret"

    def test_secrets_are_not_readable_in_the_database(self) -> None:
        from django.db import connection

        from angarium.web.sending import models

        models.DkimKey.objects.create(domain="example.com", selector="a", private_key="-----BEGIN")
        with connection.cursor() as cursor:
            cursor.execute("SELECT private_key FROM dkim_key")
            assert "BEGIN" not in cursor.fetchone()[0]

    def test_the_defaults_cannot_be_deleted(self) -> None:
        from angarium.web.sending import models

        for model in (models.Strategy, models.RetryRule):
            with pytest.raises(InvalidInput, match="can be edited, not deleted"):
                model.objects.get(default=True).delete()
            with pytest.raises(InvalidInput):
                model.objects.all().delete()

    def test_an_upgrade_keeps_what_a_person_edited_and_mends_the_rest(self) -> None:
        from angarium.store import settings
        from angarium.store.seed import seed
        from angarium.web.sending import models

        edited, stale, missing = models.BouncePattern.objects.filter(builtin=True)[:3]
        edited.message = "mine"
        edited.save()
        models.BouncePattern.objects.filter(pk=stale.pk).update(pattern="outdated")
        missing.delete()
        own = models.BouncePattern.objects.create(name="own", type="soft", pattern="x")
        gone = models.BouncePattern(name="gone", slug="gone", builtin=True, type="soft", pattern="x")
        models.BouncePattern.objects.bulk_create([gone])
        models.Strategy.objects.filter(default=True).update(connections=9)
        seed()
        assert models.BouncePattern.objects.get(pk=edited.pk).message == "mine"
        assert models.BouncePattern.objects.get(pk=stale.pk).pattern == stale.pattern
        assert models.BouncePattern.objects.filter(slug=missing.slug).exists()
        assert models.BouncePattern.objects.filter(pk=own.pk).exists()
        assert not models.BouncePattern.objects.filter(slug="gone").exists()
        assert models.Strategy.objects.get(default=True).connections == 9
        version = settings.version()
        seed()
        assert settings.version() == version


@pytest.mark.usefixtures("control_database")
class TestNodes:
    def test_a_node_registers_once_and_keeps_its_addresses(self) -> None:
        from angarium.store import nodes
        from angarium.web.sending.models import IpAddress

        first = nodes.register("a", ["127.0.0.1", "127.0.0.2"])
        assert nodes.register("a") == first
        second = nodes.register("b", ["127.0.0.2", "127.0.0.3"])
        assert list(IpAddress.objects.order_by("address").values_list("node", flat=True)) == [
            first.id, first.id, second.id,
        ]  # fmt: skip

    def test_figures_replace_those_said_before_by_the_same_node(self) -> None:
        from angarium.store import nodes
        from angarium.web.reports.models import QueueFigure

        nodes.figures(1, [Figure(1, 1, 1, 0, new=5), Figure(1, 1, 1, 2, new=7)], NOON)
        nodes.figures(2, [Figure(1, 1, 1, 0, new=1)], NOON)
        nodes.figures(1, [Figure(1, 1, 1, 0, retries=3)], NOON + 1)
        rows = QueueFigure.objects.order_by("node").values_list("node", "isp", "new", "retries", "at")
        assert list(rows) == [(1, 0, 0, 3, NOON + 1), (2, 0, 1, 0, NOON)]

    def test_a_sign_of_life_changes_no_version(self) -> None:
        from angarium.store import nodes, settings

        node = nodes.register("a")
        version = settings.version()
        nodes.heartbeat(node.id, 7, "disk is full", NOON)
        assert settings.version() == version
        assert settings.load().nodes[node.id].seen == NOON


@pytest.mark.usefixtures("control_database")
def test_the_same_bytes_are_kept_once() -> None:
    from angarium.store import blobs

    key = blobs.put(b"\x00picture")
    assert blobs.put(b"\x00picture") == key
    assert blobs.read(key) == b"\x00picture"
    assert blobs.read("0" * 64) is None


def mailing() -> tuple[int, int, int, int]:
    """Account, mailing, launch, and a test send's launch."""
    from angarium.web.access.models import Account
    from angarium.web.directory.models import ProfileList, Resource
    from angarium.web.mailings.models import Launch, Mailing, Packet, Template
    from angarium.web.sending.models import Sender

    account = Account.objects.create(name="One")
    row = Mailing.objects.create(
        account=account, name="m", template=Template.objects.create(account=account, name="t"),
        audience=ProfileList.objects.create(account=account, name="l"),
        resource=Resource.objects.create(account=account, name="r"), sender=Sender.objects.create(name="s"),
    )  # fmt: skip
    launch = Launch.objects.create(account=account, mailing=row, audience=12)
    test = Launch.objects.create(account=account, mailing=row, test_address="me@example.com")
    for owner, count, published in (
        (launch, 6, True),
        (launch, 4, True),
        (launch, 2, False),
        (test, 1, True),
    ):
        Packet.objects.create(
            launch=owner, account=account, queue="akmta_1", recipients=b"", count=count, published=published
        )
    return account.pk, row.pk, launch.pk, test.pk


def happened(account: int, mailing: int, launch: int, *kinds: tuple[EventKind, str]) -> list[Event]:
    return [
        Event(
            kind, NOON + number, account, mailing, launch, message_id(launch, "email", number), "email",
            number, number, 1, "a@b.example", reason=reason, attempt=1, code=550, text="no",
        )
        for number, (kind, reason) in enumerate(kinds)
    ]  # fmt: skip


@pytest.mark.usefixtures("control_database")
class TestReports:
    def test_a_report_accounts_for_every_message_that_was_published(self) -> None:
        from angarium.store import events, nodes, reports

        account, row, launch, test = mailing()
        kinds = [
            (EventKind.DELIVERED, ""), (EventKind.DELIVERED, ""), (EventKind.UNDELIVERED, Reason.HARD_BOUNCE),
            (EventKind.UNDELIVERED, Reason.BLOCKED), (EventKind.UNDELIVERED, Reason.MAX_ATTEMPTS),
            (EventKind.SOFT_BOUNCE, "full"),
        ]  # fmt: skip
        ones = happened(account, row, launch, *kinds) + happened(
            account, row, test, (EventKind.DELIVERED, "")
        )
        events.store([EventBatch("a", tuple(ones))], NOON)
        nodes.figures(1, [Figure(account, 1, row, 0, new=1, retries=1, sending=1, frozen=1)], NOON)
        report = reports.mailing_report(account, row)
        assert (report.audience, report.sent, report.delivered) == (12, 10, 2)
        assert (report.hard_bounces, report.blocked, report.undelivered) == (1, 1, 1)
        assert report.reasons == {Reason.MAX_ATTEMPTS: 1}
        assert (report.soft_bounces, report.deleting, report.at) == (1, 0, NOON)
        assert (report.new, report.retries, report.sending, report.frozen) == (2, 1, 1, 1)
        assert reports.mailing_report(account, row, test).delivered == 1

    def test_nothing_of_another_account_is_shown(self) -> None:
        from angarium.store import events, reports

        account, row, launch, _ = mailing()
        one = happened(account, row, launch, (EventKind.DELIVERED, ""))
        events.store([EventBatch("a", tuple(one))], NOON)
        assert reports.message_story(account, one[0].message)
        assert reports.message_story(account + 1, one[0].message) == []
        for ask in (reports.mailing_report, reports.timeline, reports.last_answers):
            with pytest.raises(InvalidInput):
                ask(account + 1, row)

    def test_alike_answers_are_shown_together(self) -> None:
        from angarium.store import events, reports

        account, row, launch, _ = mailing()
        kinds = [(EventKind.UNDELIVERED, Reason.BLOCKED)] * 3 + [(EventKind.SOFT_BOUNCE, "full")]
        events.store([EventBatch("a", tuple(happened(account, row, launch, *kinds)))], NOON)
        answers = reports.last_answers(account, row)
        assert [(answer.kind, answer.count) for answer in answers] == [("undeliv", 3), ("sbounce", 1)]


@pytest.mark.usefixtures("control_database")
def test_old_events_are_deleted_step_by_step_and_counters_stay() -> None:
    from angarium.store import events, retention
    from angarium.web.reports.models import Counter
    from angarium.web.reports.models import Event as Row
    from angarium.web.reports.models import EventBatch as Batch

    account, row, launch, _ = mailing()
    old = happened(account, row, launch, *[(EventKind.DELIVERED, "")] * 5_000)
    new = msgspec.structs.replace(old[0], time=NOON + 500_000, message=message_id(9, "email", 1))
    events.store([EventBatch("old", tuple(old))], NOON)
    events.store([EventBatch("new", (new,))], NOON + 500_000)
    steps = 0
    while retention.step(400_000, NOON + 500_000):
        steps += 1
    assert steps >= 3
    assert [row.time for row in Row.objects.all()] == [new.time]
    assert [batch.pk for batch in Batch.objects.all()] == ["new"]
    assert sum(counter.count for counter in Counter.objects.all()) == 5_001


@pytest.mark.usefixtures("control_database")
def test_after_a_restore_no_number_is_given_out_twice() -> None:
    from angarium.store.restored import SKIPPED, skip_used_numbers
    from angarium.web.mailings.models import Launch, Packet

    skip_used_numbers()
    _, _, launch, _ = mailing()
    assert launch > SKIPPED
    assert min(Packet.objects.values_list("pk", flat=True)) > SKIPPED
    skip_used_numbers()
    again = Launch.objects.get(pk=launch)
    again.pk = None
    again.save()
    assert again.pk > launch + SKIPPED


async def test_a_call_refused_by_a_lock_is_repeated(control_database: str) -> None:
    """Another connection holds SQLite's lock longer than one try waits for it."""
    from django.db import connection, transaction

    from angarium.store import blobs
    from angarium.store.database import Database

    locked, release = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("UPDATE settings_version SET version = version + 1")
            locked.set()
            release.wait(30)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    await asyncio.to_thread(locked.wait, 30)
    database = Database()
    if control_database.startswith("sqlite"):
        await database.call(impatient)
    asyncio.get_running_loop().call_later(0.3, release.set)
    assert len(await database.call(blobs.put, b"x")) == 64
    await database.close()
    holder.join()


def impatient() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 1")


async def test_after_a_restart_of_the_server_the_next_call_works(
    control_database: str, postgres: Postgres
) -> None:
    if control_database.startswith("sqlite"):
        return
    from angarium.store import blobs
    from angarium.store.database import Database

    database = Database()
    key = await database.call(blobs.put, b"x")
    await asyncio.to_thread(postgres.stop, "immediate")
    assert not await database.healthy()
    await asyncio.to_thread(postgres.start)
    assert await database.call(blobs.read, key) == b"x"
    assert await database.healthy()
    await database.close()


async def test_a_connection_lost_in_the_middle_is_told_and_not_repeated(control_database: str) -> None:
    if control_database.startswith("sqlite"):
        return
    from django.db import connection

    from angarium.store.database import Database

    calls = []

    def dies() -> None:
        calls.append(1)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    database = Database()
    with pytest.raises(DatabaseUnavailable):
        await database.call(dies)
    assert len(calls) == 1
    assert await database.healthy()
    await database.close()
