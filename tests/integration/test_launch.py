"""Launches from the control database (both kinds) to the embedded broker."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import pytest
import pytest_asyncio
from tests.support.embedded_broker import EmbeddedBrokerProcess
from tests.support.launching import PATIENCE, SECRET, Scene, bodies, launched, packets
from tests.support.rabbitmq import RabbitMQ

from angarium.broker.open import open_broker
from angarium.broker.port import Broker
from angarium.config import LauncherSettings
from angarium.domain.link import derived_key, verify_link
from angarium.domain.message import Packet
from angarium.domain.token import verify
from angarium.errors import BrokerUnavailable, InvalidInput
from angarium.mailing.port import TAKEOVER, Committed, Plan, Step

T = TypeVar("T")
SMALL = LauncherSettings(page=50, packets_in_flight=4, error_sample=20)


@pytest.fixture(scope="module")
def broker_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBrokerProcess]:
    process = EmbeddedBrokerProcess(tmp_path_factory.mktemp("b"))
    process.start()
    yield process
    process.stop()


class World:
    """A launcher's surroundings, and what happened in them."""

    def __init__(self, database: Any, broker: Broker) -> None:
        from angarium.store.launching import LaunchDatabase

        self.database = database
        self.broker = broker
        self.store = LaunchDatabase(database)

    async def do(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return await self.database.call(function, *args, **kwargs)  # type: ignore[no-any-return]

    async def scene(self, people: int = 0, **mailing: Any) -> Scene:
        return await self.do(Scene, people, **mailing)

    async def request(self, scene: Scene) -> int:
        from angarium.store import launches

        return await self.do(launches.request, scene.account.pk, scene.mailing.pk)

    async def progress(self, scene: Scene, launch: int) -> Any:
        from angarium.store import launches

        return await self.do(launches.progress, scene.account.pk, launch)

    async def finish(
        self, scene: Scene, launch: int, settings: LauncherSettings = SMALL, **parts: Any
    ) -> Any:
        async def over() -> bool:
            return bool((await self.progress(scene, launch)).is_over)

        await launched(parts.get("store", self.store), parts.get("broker", self.broker), over, settings)
        return await self.progress(scene, launch)

    async def launch(self, scene: Scene, settings: LauncherSettings = SMALL) -> Any:
        return await self.finish(scene, await self.request(scene), settings)

    async def packets(self, scene: Scene) -> list[Packet]:
        return await packets(self.broker, scene.queue)

    async def log(self) -> list[Any]:
        from angarium.web.mailings.models import LogEntry

        return await self.do(lambda: list(LogEntry.objects.order_by("pk")))

    async def rows(self) -> dict[int, list[str]]:
        """Packet number → addresses."""
        from angarium.store.packets import decode
        from angarium.web.mailings.models import Packet as Row

        return await self.do(
            lambda: {row.pk: [one.address for one in decode(row.recipients)] for row in Row.objects.all()}
        )

    async def age(self) -> None:
        """Heartbeats of dead launchers become old."""
        from angarium.web.mailings.models import Launch

        await self.do(lambda: Launch.objects.exclude(owner="").update(heartbeat="2020-01-01T00:00:00Z"))


@pytest_asyncio.fixture
async def world(control_database: str, broker_process: EmbeddedBrokerProcess) -> AsyncIterator[World]:
    from angarium.store.database import Database

    database = Database()
    broker = await open_broker(broker_process.url, "test")
    yield World(database, broker)
    for sender in range(1, 4):
        for queue in (f"akmta_{sender}", f"akmta_prior_{sender}"):
            await packets(broker, queue)
    await broker.close()
    await database.close()


def addresses(found: list[Packet]) -> Counter[str]:
    return Counter(recipient.address for packet in found for recipient in packet.header.recipients)


async def test_everybody_gets_their_own_message_in_packets_of_one_isp(world: World) -> None:
    scene = await world.scene(230)
    done = await world.launch(scene)
    assert (done.state, done.published, done.audience) == ("prepared", 230, 230)
    found = await world.packets(scene)
    assert addresses(found) == Counter(one for row in (await world.rows()).values() for one in row)
    assert set(addresses(found).values()) == {1}
    for packet in found:
        listed = {recipient.domain for recipient in packet.header.recipients}
        assert len(listed) == 1 or packet.header.isp == 0, "one ISP a packet"
        assert not packet.header.repeat
    [body] = [bodies(packet)["u7@corp.example"] for packet in found if "u7@corp.example" in bodies(packet)]
    assert body.subject == "Hi N7"
    assert "Dear N7 of Рига" in body.html
    assert "Dear N7 of Рига" in body.text
    assert body.unsubscribe in body.text


async def test_tokens_and_links_name_the_message_and_the_subscription(world: World) -> None:
    scene = await world.scene(1)
    await world.launch(scene)
    [packet] = await world.packets(scene)
    [recipient] = packet.header.recipients
    body = bodies(packet)[recipient.address]
    claim = verify(body.token, {0: derived_key(SECRET, "message")}, 0)
    assert claim is not None
    assert claim.message == recipient.id
    link = verify_link(body.unsubscribe.rpartition("/")[2], {0: derived_key(SECRET, "unsubscribe")}, 0)
    assert link is not None
    assert (link.message, link.subscription, link.mailing) == (
        recipient.id,
        recipient.subscription,
        scene.mailing.pk,
    )


async def test_each_check_holds_back_whom_it_must_and_counts_them(world: World) -> None:
    def people() -> Scene:
        import time

        from angarium.domain.contact import contact_hash
        from angarium.domain.policy import day_of
        from angarium.web.directory.models import (
            ListEntry,
            PolicyLimit,
            Profile,
            SendingPolicy,
            StopEntry,
            SuppressionEntry,
            SuppressionList,
        )  # fmt: skip
        from angarium.web.mailings.models import PolicyUse

        scene = Scene(filters=[{"field": "city", "operator": "not_equal", "value": "Oslo"}], launch_limit=2)
        account = scene.account
        loner = Profile.objects.create(account=account, key="loner")
        ListEntry.objects.create(list=scene.list, profile=loner)
        scene.add("left@example.com", status="unsubscribed")
        scene.add("north@example.com", {"city": "oslo", "first_name": "N"})
        scene.add("dead@example.com")
        StopEntry.objects.create(channel="email", contact="dead@example.com")
        general = SuppressionList.objects.create(account=account, name="general", general=True)
        other = SuppressionList.objects.create(account=account, name="not in force")
        SuppressionEntry.objects.create(list=general, kind="address", value="no@example.com")
        SuppressionEntry.objects.create(list=general, kind="domain", value="bad.example")
        SuppressionEntry.objects.create(list=other, kind="address", value="good1@example.com")
        scene.add("no@example.com")
        scene.add("x@bad.example")
        scene.add("good1@example.com")
        scene.add("Good1@example.com", key="twin")
        tired = scene.add("tired@example.com")
        policy = SendingPolicy.objects.create(account=account, name="gentle")
        PolicyLimit.objects.create(policy=policy, scope="recipient", messages=1, days=3)
        account.policy = policy
        account.save()
        PolicyUse.objects.create(
            account=account, profile=tired.pk, resource=99, channel="sms", contact=contact_hash("sms", "1"),
            day=day_of(time.time()) - 2, count=1,
        )  # fmt: skip
        scene.add("good2@example.com")
        scene.add("late1@example.com")
        scene.add("late2@example.com")
        return scene

    scene = await world.do(people)
    done = await world.launch(scene)
    assert {held.check: held.count for held in done.held_back} == {
        "no_subscription": 1, "not_subscribed": 1, "filtered": 1, "stop_list": 1, "suppressed": 2,
        "duplicate": 1, "policy": 1, "launch_limit": 2,
    }  # fmt: skip
    assert done.handled == done.audience == 12
    assert sorted(addresses(await world.packets(scene))) == ["good1@example.com", "good2@example.com"]
    reasons = [line.message for line in await world.log()]
    assert "Not sent, on a suppression list: 2" in reasons


async def test_a_second_launch_counts_what_the_first_sent(world: World) -> None:
    def two() -> Scene:
        from angarium.web.directory.models import PolicyLimit, SendingPolicy

        scene = Scene(60)
        scene.account.policy = SendingPolicy.objects.create(account=scene.account, name="p")
        PolicyLimit.objects.create(policy=scene.account.policy, scope="contact", messages=2, days=1)
        scene.account.save()
        return scene

    scene = await world.do(two)
    published = [(await world.launch(scene)).published for _ in range(3)]
    assert published == [60, 60, 0]


async def test_a_failing_recipient_is_skipped_and_logged_with_the_attributes_name(world: World) -> None:
    scene = await world.scene(60)
    await world.do(scene.add, "broken@example.com", {"city": "Riga"})
    done = await world.launch(scene)
    assert (done.state, done.published, done.errors) == ("prepared", 60, 1)
    [error] = [line for line in await world.log() if line.level == "error"]
    assert error.address == "broken@example.com"
    assert "`first_name` is undefined" in error.message


async def test_too_many_errors_pause_the_launch_and_a_mended_template_resumes_it(world: World) -> None:
    scene = await world.scene(120)
    await world.do(lambda: scene.template.content.update(subject="{{ nobody }}"))
    await world.do(scene.template.save)
    launch = await world.request(scene)
    done = await world.finish(scene, launch)
    assert (done.state, done.published) == ("paused", 0)
    assert any("Paused:" in line.message for line in await world.log())
    await world.do(lambda: scene.template.content.update(subject="Hi"))
    await world.do(scene.template.save)
    from angarium.store import launches

    await world.do(launches.resume, scene.account.pk, launch)
    done = await world.finish(scene, launch)
    assert (done.state, done.published, done.errors) == ("prepared", 120, 0)
    assert set(addresses(await world.packets(scene)).values()) == {1}


async def test_refusals_are_told_in_words(world: World) -> None:
    from angarium.store import launches

    scene = await world.scene(1)
    with pytest.raises(InvalidInput, match="there is no mailing"):
        await world.do(launches.request, scene.account.pk + 1, scene.mailing.pk)
    await world.request(scene)
    with pytest.raises(InvalidInput, match="already being launched"):
        await world.request(scene)
    for change, words in (
        ({"active": False}, "is not active"),
        ({"options": {}}, "no From address"),
        ({"filters": [{"field": "x", "operator": "like"}]}, "no operator 'like'"),
    ):
        other = await world.do(scene.new_mailing, words, **change)
        with pytest.raises(InvalidInput, match=words):
            await world.do(launches.request, scene.account.pk, other.pk)


async def test_a_mailing_deactivated_before_its_launch_begins_fails_with_the_reason(
    world: World,
) -> None:
    scene = await world.scene(1)
    launch = await world.request(scene)
    await world.do(lambda: type(scene.mailing).objects.update(active=False))
    assert (await world.finish(scene, launch)).state == "failed"
    assert "is not active" in (await world.log())[-1].message


async def test_a_test_send_takes_the_priority_queue_alone(world: World) -> None:
    from angarium.store import launches

    scene = await world.scene(3)
    launch = await world.do(launches.request_test, scene.account.pk, scene.mailing.pk, "me@example.com")
    done = await world.finish(scene, launch)
    assert (done.state, done.published) == ("prepared", 1)
    [packet] = await packets(world.broker, scene.priority_queue)
    assert [recipient.address for recipient in packet.header.recipients] == ["me@example.com"]
    assert bodies(packet)["me@example.com"].subject == "Hi N0"
    assert await world.packets(scene) == []


async def test_an_urgent_mailing_sends_one_message_a_packet(world: World) -> None:
    scene = await world.scene(7, urgent=True)
    await world.launch(scene)
    found = await packets(world.broker, scene.priority_queue)
    assert [len(packet.header.recipients) for packet in found] == [1] * 7


class Halting:
    """A store that tells when a launch has committed some pages, and waits then."""

    def __init__(self, world: World, commits: int) -> None:
        self._store = world.store
        self._left = commits
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, plan: Plan, owner: str, step: Step) -> Committed:
        done = await self._store.commit(plan, owner, step)
        self._left -= 1
        if not self._left:
            self.reached.set()
            await self.go.wait()
        return done


async def test_a_stopped_launch_prepares_nothing_more_and_resumes_where_it_was(world: World) -> None:
    from angarium.store import launches

    scene = await world.scene(300)
    launch = await world.request(scene)
    store = Halting(world, commits=2)
    running = asyncio.create_task(world.finish(scene, launch, store=store))
    await asyncio.wait_for(store.reached.wait(), PATIENCE)
    await world.do(launches.stop, scene.account.pk, launch)
    store.go.set()
    done = await running
    assert (done.state, done.published) == ("stopped", 150)
    assert sum(addresses(await world.packets(scene)).values()) == 150
    await world.do(launches.resume, scene.account.pk, launch)
    done = await world.finish(scene, launch)
    assert (done.state, done.published) == ("prepared", 300)
    rest = addresses(await world.packets(scene))
    assert sum(rest.values()) == 150


class Killed(Exception):
    """What stands for the end of the process."""


class Dying:
    """A store and a broker in one, that die at the n-th of the named calls, before or after it."""

    def __init__(self, inner: Any, method: str, at: int, after: bool) -> None:
        self._inner = inner
        self._method = method
        self._left = at
        self._after = after

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)
        return self._counted(call) if name == self._method else call

    def _counted(self, call: Any) -> Any:
        async def counted(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left == 0 and not self._after:
                raise Killed
            result = await call(*args, **kwargs)
            if self._left == 0:
                raise Killed
            return result

        return counted


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("part", "method", "at"),
    [
        ("store", "commit", 1), ("store", "commit", 3), ("store", "commit", 5), ("store", "page", 2),
        ("store", "finish", 1), ("broker", "publish", 1), ("broker", "publish", 4),
    ],
)  # fmt: skip
async def test_a_launch_killed_anywhere_resumes_with_everybody_in_exactly_one_packet(
    world: World, part: str, method: str, at: int, after: bool
) -> None:
    from angarium.mailing.compose import Composer
    from angarium.mailing.launcher import LaunchRun
    from angarium.mailing.lease import Lease

    scene = await world.scene(230)
    launch = await world.request(scene)
    lease = Lease()
    plan = await world.store.claim(lease.owner, busy=False)
    assert plan is not None
    parts: dict[str, Any] = {"store": world.store, "broker": world.broker}
    parts[part] = Dying(parts[part], method, at, after)
    run = LaunchRun(
        plan, Composer(plan, SECRET, "http://u", 0), parts["store"], parts["broker"], SMALL, lease
    )
    with pytest.raises(Killed):
        await run.run()
    await world.age()
    done = await world.finish(scene, launch)
    assert (done.state, done.published) == ("prepared", 230)
    rows = await world.rows()
    everybody = Counter(address for row in rows.values() for address in row)
    assert len(everybody) == 230
    assert set(everybody.values()) == {1}
    found = await world.packets(scene)
    assert {packet.header.number for packet in found} == set(rows)
    by_number = Counter(packet.header.number for packet in found)
    for packet in found:
        assert [one.address for one in packet.header.recipients] == rows[packet.header.number]
    unflagged = Counter(packet.header.number for packet in found if not packet.header.repeat)
    assert all(count == 1 for count in unflagged.values()), "a second copy says that it is one"
    assert max(by_number.values()) <= 2


async def test_a_launcher_that_lost_its_launch_publishes_nothing_more(world: World) -> None:
    from angarium.mailing.compose import Composer
    from angarium.mailing.launcher import LaunchRun
    from angarium.mailing.lease import Lease
    from angarium.mailing.port import LaunchLost

    scene = await world.scene(120)
    launch = await world.request(scene)
    slow = Lease()
    plan = await world.store.claim(slow.owner, busy=False)
    assert plan is not None
    await world.age()
    done = await world.finish(scene, launch)
    assert done.published == 120
    run = LaunchRun(plan, Composer(plan, SECRET, "http://u", 0), world.store, world.broker, SMALL, slow)
    with pytest.raises(LaunchLost):
        await run.run()
    assert sum(addresses(await world.packets(scene)).values()) == 120


@pytest.mark.parametrize(("seconds", "claimed"), [(TAKEOVER + 1, True), (TAKEOVER / 2, False), (None, True)])
async def test_a_launch_is_taken_over_only_from_a_launcher_that_was_long_silent(
    world: World, seconds: float | None, claimed: bool
) -> None:
    from django.db.models.functions import Now

    from angarium.web.mailings.models import Launch

    scene = await world.scene(1)
    launch = await world.request(scene)
    assert await world.store.claim("another/machine", busy=False) is not None
    beat = None if seconds is None else Now() - timedelta(seconds=seconds)
    await world.do(lambda: Launch.objects.update(heartbeat=beat))
    plan = await world.store.claim("here", busy=False)
    assert (plan is not None) is claimed
    assert plan is None or plan.started
    assert await world.store.beat("another/machine") == (set() if claimed else {launch})


async def test_a_stop_that_its_launcher_did_not_live_to_see_is_carried_out(world: World) -> None:
    from angarium.store import launches

    scene = await world.scene(230)
    launch = await world.request(scene)
    await world.store.claim("dead", busy=False)
    await world.do(launches.stop, scene.account.pk, launch)
    await world.age()
    done = await world.finish(scene, launch)
    assert (done.state, done.published) == ("stopped", 0)


async def test_a_lost_confirm_is_repeated_and_says_so(world: World) -> None:
    class Forgetful:
        """Takes every third packet without saying so."""

        def __init__(self) -> None:
            self._calls = 0

        async def publish(self, queue: str, body: bytes) -> None:
            self._calls += 1
            lost = self._calls % 3 == 0
            await world.broker.publish(queue, body)
            if lost:
                raise BrokerUnavailable("no confirm came")

    scene = await world.scene(230)
    done = await world.finish(scene, await world.request(scene), broker=Forgetful())
    assert done.state == "prepared"
    found = await world.packets(scene)
    numbers = Counter(packet.header.number for packet in found)
    unflagged = Counter(packet.header.number for packet in found if not packet.header.repeat)
    assert max(numbers.values()) > 1
    assert set(unflagged.values()) == {1}
    assert any("not available" in line.message for line in await world.log())


async def test_previews_show_the_message_as_one_profile_gets_it(world: World) -> None:
    from angarium.store import launches

    scene = await world.scene(2)
    await world.do(scene.add, "broken@example.com", {"city": "Riga"}, key="broken")
    shown = await world.do(launches.preview, scene.account.pk, scene.mailing.pk)
    assert shown.subject == "Hi N0"
    from angarium.web.directory.models import Profile

    broken = await world.do(lambda: Profile.objects.get(key="broken").pk)
    with pytest.raises(InvalidInput, match="`first_name` is undefined"):
        await world.do(launches.preview, scene.account.pk, scene.mailing.pk, broken)


async def test_log_lines_tell_begin_and_end(world: World) -> None:
    scene = await world.scene(5)
    await world.launch(scene)
    lines = [(line.state, line.level, line.value) for line in await world.log()]
    assert lines == [("start", "info", 5), ("end", "info", 5)]


async def test_rabbitmq_killed_in_the_middle_loses_nobody(world: World, rabbitmq: RabbitMQ) -> None:
    scene = await world.scene(230)
    launch = await world.request(scene)
    store = Halting(world, commits=3)
    broker = await open_broker(rabbitmq.url, "test")
    running = asyncio.create_task(world.finish(scene, launch, store=store, broker=broker))
    await asyncio.wait_for(store.reached.wait(), PATIENCE)
    await asyncio.to_thread(rabbitmq.wait_until_registered, scene.queue)
    await asyncio.to_thread(rabbitmq.kill)
    store.go.set()
    await asyncio.to_thread(rabbitmq.start)
    done = await running
    assert (done.state, done.published) == ("prepared", 230)
    found = await packets(broker, scene.queue)
    rows = await world.rows()
    assert {packet.header.number for packet in found} == set(rows)
    originals = Counter(packet.header.number for packet in found if not packet.header.repeat)
    assert set(originals.values()) <= {1}
    await broker.close()
