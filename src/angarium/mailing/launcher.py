"""One launch: from the audience to packets in the broker.

Page by page: read candidates, check, render, bundle; commit packet rows, cursor, counts and log in one
transaction; publish what was committed. Publishing a page overlaps preparing the next.

What survives a crash: everything. A packet is published only after its row, with exactly its recipients, is
committed; packets the broker has not confirmed are published again by whoever resumes the launch, marked
`repeat`; the cursor stands after the last recipient who was decided. So nobody is left out, nobody is in two
packets, and a packet that may exist twice says so.

What is never done: publishing without a fresh claim on the launch, preparing after a stop was seen,
ending a launch because of one recipient.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Protocol

from prometheus_client import Counter as Metric

from angarium.broker.port import Broker
from angarium.broker.topology import mta_queue, priority_queue
from angarium.config import LauncherSettings
from angarium.domain.policy import Use, day_of
from angarium.errors import InvalidInput
from angarium.mailing import log
from angarium.mailing.bundles import Bundle, Bundler
from angarium.mailing.checks import LIMIT, Progress, held_back
from angarium.mailing.compose import Composer, Message
from angarium.mailing.port import (
    Candidate,
    LaunchLost,
    LaunchStore,
    LogLine,
    NewPacket,
    PacketRow,
    Plan,
    Step,
    TestSend,
)
from angarium.mailing.publish import Publisher
from angarium.mailing.tolerance import Tolerance, TooManyErrors
from angarium.mailing.wire import PacketWriter

_messages = Metric("angarium_launcher_messages", "Recipients decided, by what became of them.", ["outcome"])

SLICE: Final = 20
"""Recipients prepared before other work of the process gets its turn."""


class Claim(Protocol):
    """The launcher's hold on its launches."""

    @property
    def owner(self) -> str: ...
    @property
    def fresh(self) -> bool:
        """Whether nobody else can have taken them over yet."""


class LaunchRun:
    """A run of a launch by this launcher."""

    def __init__(
        self,
        plan: Plan,
        composer: Composer,
        store: LaunchStore,
        broker: Broker,
        settings: LauncherSettings,
        claim: Claim,
        clock: Callable[[], float] = time.time,
    ) -> None:
        single = plan.urgent or plan.test is not None
        self._plan = plan
        self._composer = composer
        self._store = store
        self._page_size = settings.page
        self._claim = claim
        self._clock = clock
        self._queue = priority_queue(plan.sender) if single else mta_queue(plan.sender)
        self._writer = PacketWriter(plan, self._queue, clock)
        self._bundler = Bundler(single)
        self._publisher = Publisher(broker, settings.packets_in_flight, self._broker_away)
        self._tolerance = Tolerance(settings.max_error_share, settings.error_sample)
        self._halted = False
        self._cursor = plan.cursor
        self._counts = Counter(plan.counts)

    def halt(self) -> None:
        """The launcher is to end: the page under way is finished, no other begun, the launch not ended."""
        self._halted = True

    async def run(self) -> None:
        """To the end, a stop, a pause or a halt. Raises `LaunchLost`, or what the environment fails with."""
        try:
            await self._begin()
            state, lines = await self._prepare_all()
            await self._publish(self._bundler.close())
            await self._publisher.drain()
            await self._commit()
        finally:
            await self._publisher.cancel()
        if state:
            await self._store.finish(self._plan, self._claim.owner, state, lines)
        else:
            await self._store.release(self._claim.owner, self._plan.launch)

    async def _begin(self) -> None:
        if self._plan.not_after is not None and self._plan.not_after <= self._clock():
            raise InvalidInput("the moment after which the mailing sends nothing has passed")
        if self._plan.started:
            await self._recover()
        else:
            size = 1 if self._plan.test else await self._store.audience_size(self._plan, 0)
            await self._store.log(self._plan, [log.begun(size)])

    async def _recover(self) -> None:
        """Packets of an earlier run whose arrival is not known go out again."""
        rows = await self._store.unconfirmed(self._plan.launch)
        await self._store.log(self._plan, [log.resumed(len(rows))])
        for row in rows:
            await self._publish_again(row)

    async def _prepare_all(self) -> tuple[str, list[LogLine]]:
        """The state it ends in, empty when it is to go on later; and what the log says about that."""
        try:
            stopped = await (self._test(self._plan.test) if self._plan.test else self._broadcast())
        except TooManyErrors as error:
            return "paused", list(error.lines)
        if self._halted and not stopped:
            return "", []
        state = "stopped" if stopped else "prepared"
        return state, [*log.totals(self._counts), log.ended(state, self._counts["published"])]

    async def _broadcast(self) -> bool:
        """Page after page. Returns whether a person stopped it."""
        if self._plan.stopping:
            return True
        seen = await self._store.recipients(self._plan.launch) if self._plan.started else set()
        progress = Progress(self._plan, day_of(self._clock()), seen, self._counts["published"])
        page = await self._page(self._cursor)
        while page and not self._halted:
            following = asyncio.create_task(self._page(page[-1].entry))
            try:
                if await self._prepare(page, progress):
                    return True
                page = [] if self._full(progress) else await following
            finally:
                following.cancel()
        if self._full(progress):
            self._counts[LIMIT] += await self._store.audience_size(self._plan, self._cursor)
        return False

    async def _page(self, after: int) -> list[Candidate]:
        return await self._store.page(self._plan, after, self._page_size)

    def _full(self, progress: Progress) -> bool:
        return self._plan.launch_limit is not None and progress.accepted >= self._plan.launch_limit

    async def _prepare(self, page: Sequence[Candidate], progress: Progress) -> bool:
        """One page, from checks to the publisher. Returns whether a person stopped the launch."""
        counts: Counter[str] = Counter()
        messages: list[Message] = []
        uses: list[Use] = []
        for number, candidate in enumerate(page, 1):
            if check := held_back(candidate, progress):
                counts[check.name] += 1
            elif message := self._composed(candidate):
                progress.accept(candidate)
                messages.append(message)
                uses.append(progress.use(candidate))
            if number % SLICE == 0:
                await asyncio.sleep(0)
        counts["published"] = len(messages)
        counts["errors"] = len(page) - counts.total()
        self._cursor = page[-1].entry
        self._counts.update(counts)
        ready = self._bundler.add(messages)
        stopping = await self._commit((*ready, *self._bundler.open), uses, self._tolerance.lines())
        for outcome, count in counts.items():
            _messages.labels(outcome).inc(count)
        await self._publish(ready)
        return stopping

    def _composed(self, candidate: Candidate) -> Message | None:
        try:
            message = self._composer.compose(candidate)
        except InvalidInput as error:
            self._tolerance.failed(log.failed_recipient(candidate, error))
            return None
        self._tolerance.succeeded()
        return message

    async def _commit(
        self, bundles: Iterable[Bundle] = (), uses: Sequence[Use] = (), lines: Sequence[LogLine] = ()
    ) -> bool:
        """Makes durable what was decided. Returns whether a person stopped the launch."""
        changed = [bundle for bundle in bundles if bundle.changed]
        step = Step(
            cursor=self._cursor,
            counts=dict(+self._counts),
            packets=[self._row(bundle) for bundle in changed],
            replaced=[bundle.number for bundle in changed if bundle.number],
            confirmed=self._publisher.confirmed(),
            uses=uses if self._plan.counts_use else (),
            log=lines,
        )
        committed = await self._store.commit(self._plan, self._claim.owner, step)
        for bundle, number in zip(changed, committed.numbers, strict=True):
            bundle.number, bundle.changed = number, False
        return committed.stopping

    def _row(self, bundle: Bundle) -> NewPacket:
        recipients = tuple(message.recipient for message in bundle.messages)
        return NewPacket(self._queue, bundle.isp, recipients)

    async def _publish(self, bundles: Iterable[Bundle], repeat: bool = False) -> None:
        for bundle in bundles:
            await self._publisher.submit(bundle.number, self._queue, partial(self._wire, bundle), repeat)

    def _wire(self, bundle: Bundle, repeat: bool) -> bytes:
        if not self._claim.fresh:
            raise LaunchLost("the launcher's claim may have run out while it was held up")
        return self._writer.write(bundle, repeat)

    async def _publish_again(self, row: PacketRow) -> None:
        """A packet of an earlier run, for exactly its recipients."""
        profiles = {recipient.profile for recipient in row.recipients}
        known = await self._store.candidates(self._plan, sorted(profiles))
        bundle, lines = Bundle(row.isp), []
        for recipient in row.recipients:
            candidate = known.get(recipient.profile)
            try:
                bundle.add(self._composer.again(recipient, candidate.attributes if candidate else {}))
            except InvalidInput as error:
                lines.append(log.failed_again(recipient, error))
        bundle.number, bundle.changed = row.number, False
        await self._store.log(self._plan, lines)
        if bundle.messages:
            await self._publish([bundle], repeat=True)

    async def _test(self, test: TestSend) -> bool:
        if self._counts["published"] or self._plan.stopping:
            return self._plan.stopping
        profile = test.profile
        if profile is None:
            sample = await self._store.sample(self._plan, test.address)
        else:
            sample = (await self._store.candidates(self._plan, [profile])).get(profile)
        message = self._composer.test(
            test.address, sample.profile if sample else 0, sample.attributes if sample else {}
        )
        self._counts["published"] = 1
        ready = self._bundler.add([message])
        stopping = await self._commit(ready)
        await self._publish(ready)
        return stopping

    async def _broker_away(self, away: bool) -> None:
        await self._store.log(self._plan, [log.broker_away(away)])
