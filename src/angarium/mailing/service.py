"""The launcher service: claims launches and runs them, several at a time, test sends at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from typing import Final

import structlog

from angarium.broker.port import Broker
from angarium.config import LauncherSettings
from angarium.errors import AngariumError, BrokerUnavailable, DatabaseUnavailable
from angarium.mailing import log
from angarium.mailing.compose import Composer
from angarium.mailing.launcher import LaunchRun
from angarium.mailing.lease import Lease
from angarium.mailing.port import LaunchLost, LaunchStore, Plan

BEAT: Final = 1.0
"""Seconds between looking for launches, and between heartbeats."""
AT_ONCE: Final = 8
"""Launches prepared side by side; test sends come on top."""
DRAIN: Final = 20.0
"""Seconds a stopping launcher waits for the broker to confirm what is under way."""

logger = structlog.get_logger(__name__)


class Launcher:
    """Runs launches until it is told to stop."""

    def __init__(
        self,
        settings: LauncherSettings,
        store: LaunchStore,
        broker: Broker,
        secret: bytes,
        public_url: str,
    ) -> None:
        self._settings = settings
        self._store = store
        self._broker = broker
        self._secret = secret
        self._public_url = public_url
        self._lease = Lease()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._runs: dict[int, LaunchRun] = {}

    async def run(self, stop: asyncio.Event) -> None:
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stopping.done():
                with contextlib.suppress(DatabaseUnavailable):
                    await self._beat()
                    await self._claim()
                await asyncio.wait({stopping}, timeout=BEAT)
        finally:
            stopping.cancel()
            await self._wind_up()

    async def _beat(self) -> None:
        asked = time.monotonic()
        owned = await self._store.beat(self._lease.owner)
        self._lease.renewed(asked)
        for launch in self._tasks.keys() - owned:
            self._tasks[launch].cancel()

    async def _claim(self) -> None:
        while plan := await self._store.claim(self._lease.owner, busy=len(self._tasks) >= AT_ONCE):
            self._tasks[plan.launch] = task = asyncio.create_task(self._run(plan))
            task.add_done_callback(partial(self._ended, plan.launch))

    def _ended(self, launch: int, _: asyncio.Task[None]) -> None:
        self._tasks.pop(launch, None)

    async def _run(self, plan: Plan) -> None:
        bound = logger.bind(launch=plan.launch, mailing=plan.mailing, account=plan.account)
        bound.info("launch begins", resumed=plan.started)
        try:
            composer = Composer(plan, self._secret, self._public_url, time.time())
            run = LaunchRun(plan, composer, self._store, self._broker, self._settings, self._lease)
            self._runs[plan.launch] = run
            await run.run()
        except (LaunchLost, BrokerUnavailable, DatabaseUnavailable) as error:
            bound.warning("launch interrupted", reason=str(error))
            await self._give_back(plan)
        except AngariumError as error:
            await self._fail(plan, error)
        except Exception:
            bound.exception("launch failed")
            await self._fail(plan, "an internal error; the launcher's own log has the details")
        else:
            bound.info("launch ends")
        finally:
            self._runs.pop(plan.launch, None)

    async def _fail(self, plan: Plan, reason: object) -> None:
        with contextlib.suppress(LaunchLost, DatabaseUnavailable):
            await self._store.finish(plan, self._lease.owner, "failed", [log.failed(reason)])

    async def _give_back(self, plan: Plan) -> None:
        """So that the launch is claimed again, from what is committed."""
        while True:
            try:
                return await self._store.release(self._lease.owner, plan.launch)
            except DatabaseUnavailable:
                await asyncio.sleep(BEAT)

    async def _wind_up(self) -> None:
        """Lets the pages under way reach the broker, then gives the launches back."""
        for run in self._runs.values():
            run.halt()
        if tasks := list(self._tasks.values()):
            _, late = await asyncio.wait(tasks, timeout=DRAIN)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        with contextlib.suppress(DatabaseUnavailable):
            await self._store.release(self._lease.owner)


async def run(
    settings: LauncherSettings,
    store: LaunchStore,
    broker: Broker,
    secret: bytes,
    public_url: str,
    stop: asyncio.Event,
) -> None:
    """Claims and runs launches until `stop`; what is under way is given back, to be resumed."""
    await Launcher(settings, store, broker, secret, public_url).run(stop)
