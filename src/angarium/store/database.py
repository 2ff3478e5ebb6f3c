"""The way to the control database: one thread a process, on which the functions of the store run.

Guarantees: a call that returned is committed. A call refused because SQLite was locked, or because of
a deadlock, is repeated (the transaction was rolled back). A call during which the connection was lost
raises `DatabaseUnavailable` and may have been committed: it is never repeated here. The next call
opens a new connection.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import django
from django.apps import apps
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from angarium import config
from angarium.errors import ConfigurationError, DatabaseUnavailable

REPEATS: Final = 8
"""Of a call that was rolled back by a lock or deadlock."""
LOCK_WAIT: Final = 0.05
"""Seconds before the first repeat; doubles."""
CONNECT_PATIENCE: Final = 30.0
"""Seconds a call waits for a database that is not there, before anything was asked of it."""
CONNECT_PAUSE: Final = 0.5

P = ParamSpec("P")
T = TypeVar("T")


def setup(settings: config.Settings | None = None) -> None:
    """Readies Django for these settings (default: the process's own); later calls change nothing."""
    if settings is not None and not apps.ready:
        config.use(settings)
    if (url := config.current().database).startswith("sqlite://"):
        _make_folder(Path(url.removeprefix("sqlite://")).parent)
    os.environ["DJANGO_SETTINGS_MODULE"] = "angarium.web.settings"
    django.setup()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"the database's folder {folder} cannot be made: {error.strerror}"
        ) from error


def migrate() -> None:
    """Brings the schema to this version and adds what every installation has. Harmless to repeat."""
    from django.core.management import call_command

    from angarium.store.seed import seed

    try:
        call_command("migrate", verbosity=0, interactive=False)
        seed()
    except OperationalError as error:
        raise DatabaseUnavailable(f"the database cannot be used: {error}") from error


def require_migrated() -> None:
    """Raises `ConfigurationError` when the schema is not that of this version."""
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise ConfigurationError("the database's schema is older than this program: run `angarium migrate`")


class Database:
    """Runs store functions, one at a time, on a thread of its own. Close it in the end."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `function` returns. Raises `DatabaseUnavailable`, or what the function raises."""
        await self._connected()
        for repeat in range(REPEATS + 1):
            try:
                return await self._run(_guarded, function, args, kwargs)
            except _RolledBackError as error:
                if repeat == REPEATS:
                    raise DatabaseUnavailable(f"the database stayed locked: {error}") from error
                await asyncio.sleep(LOCK_WAIT * 2**repeat)
        raise AssertionError("unreachable")

    async def healthy(self) -> bool:
        """Whether the database answers."""
        try:
            await self._run(_connect)
        except DatabaseError:
            return False
        return True

    async def close(self) -> None:
        await self._run(_close)
        self._thread.shutdown()

    async def _connected(self) -> None:
        """Waits for a working connection. Nothing was asked yet, so that waiting is safe."""
        deadline = asyncio.get_running_loop().time() + CONNECT_PATIENCE
        while True:
            try:
                return await self._run(_connect)
            except OperationalError as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise DatabaseUnavailable(f"the database cannot be reached: {error}") from error
            await asyncio.sleep(CONNECT_PAUSE)

    async def _run(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)


class _RolledBackError(Exception):
    """Nothing of the call happened; it may be repeated."""


def _connect() -> None:
    """A connection that works: a lost one is replaced by a new one."""
    connection.close_if_unusable_or_obsolete()
    connection.ensure_connection()
    if connection.vendor != "sqlite" and not connection.is_usable():
        connection.close()
        connection.ensure_connection()


def _close() -> None:
    connection.close()


def _guarded(function: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, object]) -> T:
    try:
        return function(*args, **kwargs)
    except (OperationalError, InterfaceError) as error:
        if _rolled_back(error):
            raise _RolledBackError(str(error)) from error
        if connection.connection is None or not connection.is_usable():
            connection.close()
            raise DatabaseUnavailable(f"the connection to the database was lost: {error}") from error
        raise


def _rolled_back(error: Exception) -> bool:
    """SQLite gave up waiting for its lock, or PostgreSQL chose this transaction to break a deadlock."""
    state = getattr(error.__cause__, "sqlstate", None)
    return "database is locked" in str(error) or state in ("40P01", "40001")
