"""The mta service: one engine, one spool, its couriers.

Start: open the spool, wait until couriers of a former run are gone, settle what they had by their slots, then
load what is due and take packets. Stop (SIGTERM): take nothing more, finish what has begun, publish the
events, close.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from angarium.broker.port import Broker
from angarium.broker.topology import mta_queue, priority_queue
from angarium.config import MtaSettings, Settings
from angarium.domain.sending import Node, SendingSettings
from angarium.engine.gatekeeper import Gatekeeper
from angarium.engine.intake import Intake
from angarium.engine.moves import Moves
from angarium.engine.outbox import Outbox
from angarium.engine.schedule import Schedule
from angarium.engine.spool import Spool
from angarium.mta.carrier import Carrier
from angarium.mta.couriers import Couriers, blobs_of, old_slots
from angarium.mta.link import Configure
from angarium.mta.mx import Resolver
from angarium.mta.resolution import Resolution
from angarium.mta.settlement import Settlement
from angarium.mta.slots import boot_id

DRAIN_PATIENCE = 20.0
EXPIRY_EVERY = 10.0
BLIND_LONGEST = 60.0
"""Seconds without a look at the settings after which nothing is begun: a gate may have been closed."""
_log = structlog.get_logger()


class Figure(msgspec.Struct, frozen=True):
    """What this node holds of one mailing at one ISP."""

    account: int
    sender: int
    mailing: int
    isp: int
    new: int
    retries: int
    sending: int
    frozen: int = 0
    deleting: int = 0
    """Cleared, and not yet reported as undelivered."""


class Report(msgspec.Struct, frozen=True):
    """What an engine says of itself every second."""

    node: int
    at: float
    """Wall clock, seconds: the moment the figures are true for."""
    settings_version: int
    notice: str
    """Why it does not do all it should; empty: all is well."""
    figures: tuple[Figure, ...]
    loaded: int
    """Messages in memory."""


class Engine:
    """Everything one node runs, wired."""

    def __init__(
        self,
        settings: Settings,
        node: Node,
        broker: Broker,
        load_settings: Callable[[], Awaitable[SendingSettings]],
        settings_version: Callable[[], Awaitable[int]],
        nodes: Callable[[], Awaitable[dict[int, Node]]],
        report: Callable[[Report], Awaitable[None]],
        blob: Callable[[str], Awaitable[bytes | None]],
    ) -> None:
        mta = settings.mta
        self._mta = mta
        self._node = node
        self._load_settings = load_settings
        self._settings_version = settings_version
        self._nodes = nodes
        self._report = report
        self._folder = settings.spool
        self._sending = SendingSettings(0)
        self._resolution = Resolution(Resolver(mta.nameservers, allow_loopback=mta.allow_loopback))
        self.spool = Spool(self._folder, node.id, mta.tombstone_life)
        self._outbox = Outbox(self.spool, broker)
        self._moves = Moves(self.spool, broker, node.id)
        self._gatekeeper = Gatekeeper(self.spool)
        self._settlement = Settlement(self.spool, self._moves, self._gatekeeper, node.id)
        self._carrier = Carrier(
            self.spool,
            self._settlement,
            self._gatekeeper,
            node.id,
            self._resolution,
            boot_id().decode(),
            mta.rules_speed,
        )
        self._schedule = Schedule(
            self.spool, mta.window, self._carrier.add, self._gatekeeper.shut, self._settlement.removed
        )
        self._gatekeeper.schedule = self._schedule
        self._gatekeeper.take_back = self._carrier.take_back
        self._gatekeeper.remove = self._settlement.remove
        self._intake = Intake(
            self.spool,
            self._schedule,
            broker,
            node.id,
            nodes=lambda: set(self._sending.nodes),
            silence=mta.node_silence,
            min_free_disk=mta.min_free_disk,
            blobs_of=blobs_of,
            fetch_blob=blob,
            is_shut=self._gatekeeper.stops,
            offer=self._carrier.add,
            doubt=self._settlement.doubt,
        )
        self._couriers = Couriers(
            self._folder,
            mta.couriers or min(4, os.cpu_count() or 1),
            mta.timeout_scale,
            self._carrier.heard,
            self._carrier.courier_died,
        )
        self._carrier.couriers = self._couriers
        self._settlement.schedule = self._schedule
        self._settlement.finished = self._intake.finished

        self._defect: BaseException | None = None
        self._known_at = time.monotonic()
        self._blind = False

    def failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The loop's exception handler: what nobody caught is a defect, unless a connection just broke."""
        error = context.get("exception")
        if error is None or isinstance(error, OSError):
            _log.warning("connection_trouble", what=context.get("message"), error=str(error or ""))
        else:
            _log.critical("engine_ends_after_a_defect", what=context.get("message"), exc_info=error)
            self._defect = error

    async def start(self) -> None:
        await self._read_settings()
        self._settlement.recover_all(await old_slots(self._folder))
        await self.spool.flushed()
        await self._couriers.start()
        self._outbox.start()
        self._moves.start()
        self._schedule.start()
        self._gatekeeper.start()
        await self._take_what_is_ours()

    async def run(self, stop: asyncio.Event) -> None:
        """Looks after everything, once a second, until `stop`."""
        expiry = 0.0
        while not stop.is_set():
            try:
                async with asyncio.timeout(1.0):
                    await stop.wait()
            except TimeoutError:
                pass
            self._fail_with_its_parts()
            await self._look_after()
            if time.monotonic() > expiry:
                expiry = time.monotonic() + EXPIRY_EVERY
                self._settlement.expire_all()
                self.spool.tidy(time.time())

    async def stop(self) -> None:
        await self._intake.stop()
        await self._carrier.drain(DRAIN_PATIENCE)
        await self.spool.flushed()
        await self._outbox.drain(DRAIN_PATIENCE)
        await self._report_now()
        await self._moves.stop()
        await self._gatekeeper.stop()
        await self._schedule.stop()
        await self._outbox.stop()
        await self.spool.close()

    async def _look_after(self) -> None:
        try:
            if await self._settings_version() != self._sending.version:
                await self._read_settings()
                await self._take_what_is_ours()
            self._see_neighbours(await self._nodes())
            self._known_at = time.monotonic()
            await self._report_now()
        except Exception as error:  # the database may be away; delivery goes on with what is known
            _log.warning("database_unavailable", reason=str(error))
        self._pause_when_blind()
        await self._intake.look_after()
        self._carrier.look_after()
        self.spool.want_commit()

    def _pause_when_blind(self) -> None:
        blind = time.monotonic() - self._known_at > BLIND_LONGEST
        if blind and not self._blind:
            _log.error("nothing_is_begun", reason="the settings cannot be read; a gate may have been closed")
        self._blind = blind
        self._carrier.pause(paused=blind)

    def _fail_with_its_parts(self) -> None:
        """A defect, or a part that ended by itself: going on, messages would wait unseen."""
        if self._defect is not None:
            raise self._defect
        for part in (
            self.spool,
            self._schedule,
            self._gatekeeper,
            self._outbox,
            self._moves,
            self._couriers,
        ):
            for task in part.tasks:
                if task.done():
                    task.result()
                    raise RuntimeError(f"{task.get_name()} has ended")

    def _see_neighbours(self, nodes: dict[int, Node]) -> None:
        """Which nodes are alive changes without a change of the settings."""
        self._sending = msgspec.structs.replace(self._sending, nodes=nodes)
        self._settlement.see_nodes(nodes)

    async def _read_settings(self) -> None:
        self._sending = faster(await self._load_settings(), self._mta)
        await self._resolution.learn_names(self._sending, self._node.id)
        self._settlement.use(self._sending)
        self._carrier.use(self._sending)
        self._gatekeeper.use(self._sending.gates)
        self._couriers.reconfigure(Configure(self._sending))
        _log.info("settings_read", version=self._sending.version, senders=len(self._sending.senders))

    async def _take_what_is_ours(self) -> None:
        node = self._sending.nodes.get(self._node.id)
        queues: dict[str, bool] = {}
        for sender in self._sending.senders.values() if node and node.active else ():
            if sender.active and sender.kind == "mta" and self._carrier.sources_of(sender):
                queues |= {mta_queue(sender.id): False, priority_queue(sender.id): True}
        await self._intake.consume(queues)

    async def _report_now(self) -> None:
        notice = self._intake.notice
        await self._report(
            Report(
                self._node.id,
                time.time(),
                self._sending.version,
                notice,
                self._figures(),
                self._schedule.loaded,
            )
        )

    def _figures(self) -> tuple[Figure, ...]:
        sums: dict[tuple[int, int, int, int], list[int]] = {}
        for number, lane in self.spool.lanes.items():
            new, retries = self.spool.lane_counts[number]
            sending = self._settlement.sending.get(number, (0, 0))
            row = sums.setdefault((lane.account, lane.sender, lane.mailing, lane.isp), [0, 0, 0, 0, 0])
            waiting = new - sending[0], retries - sending[1]
            if self._gatekeeper.sweeping(number):
                row[4] += sum(waiting)
            elif self._gatekeeper.gated(number):
                row[3] += sum(waiting)
            else:
                row[0] += waiting[0]
                row[1] += waiting[1]
            row[2] += sum(sending)
        return tuple(Figure(*key, *row) for key, row in sums.items() if any(row))


def faster(settings: SendingSettings, mta: MtaSettings) -> SendingSettings:
    """The settings with the retry rules' delays divided by `mta.rules_speed`."""
    if mta.rules_speed == 1:
        return settings
    rules = {
        number: msgspec.structs.replace(rule, interval=rule.interval / mta.rules_speed)
        for number, rule in settings.retry_rules.items()
    }
    return msgspec.structs.replace(settings, retry_rules=rules)


async def run(
    settings: Settings,
    node: Node,
    broker: Broker,
    load_settings: Callable[[], Awaitable[SendingSettings]],
    settings_version: Callable[[], Awaitable[int]],
    nodes: Callable[[], Awaitable[dict[int, Node]]],
    report: Callable[[Report], Awaitable[None]],
    blob: Callable[[str], Awaitable[bytes | None]],
    stop: asyncio.Event,
) -> None:
    """Runs a node's engine until `stop`.

    Raises `SpoolUnavailable` when another engine owns the spool. A defect ends the process as a kill would:
    the next start settles everything from the spool and the slots.
    """
    engine = Engine(settings, node, broker, load_settings, settings_version, nodes, report, blob)
    asyncio.get_running_loop().set_exception_handler(engine.failed)
    await engine.start()
    _log.info("mta_runs", node=node.name)
    await engine.run(stop)
    await engine.stop()
