"""Migrated control databases, a fresh one for each test: SQLite by copying, PostgreSQL by template."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

from django.db import connections
from tests.support.postgres import Postgres

from angarium import config
from angarium.store import database
from angarium.web.settings import database as connection_settings

_numbers = itertools.count(1)


def setup(folder: Path) -> None:
    """Readies Django in this process; `use` says later which database it talks to."""
    database.setup(config.load(environment={"ANGARIUM_DATA": str(folder), "ANGARIUM_SECRET_KEY": "k" * 64}))


def use(url: str) -> None:
    """Points Django's connections at another database; threads that have one open keep it."""
    connections["default"].close()
    connections.settings["default"] = connections.configure_settings({"default": connection_settings(url)})[
        "default"
    ]
    del connections["default"]


class Sqlite:
    """Fresh databases from one that was migrated."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._template = folder / "template.db"
        migrate(f"sqlite://{self._template}")

    def fresh(self) -> str:
        path = self._folder / f"test{next(_numbers)}.db"
        shutil.copy(self._template, path)
        return f"sqlite://{path}"


class PostgresDatabases:
    """Fresh databases of a running server, from one that was migrated."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        server.sql("CREATE DATABASE template_migrated")
        migrate(server.url("template_migrated"))

    def fresh(self) -> str:
        name = f"test{next(_numbers)}"
        self._server.sql(f"CREATE DATABASE {name} TEMPLATE template_migrated")
        return self._server.url(name)


def migrate(url: str) -> None:
    """In a process of its own, so that no connection to the template stays open."""
    environment = {"ANGARIUM_DATABASE_URL": url, "ANGARIUM_SECRET_KEY": "k" * 64, "PATH": "/usr/bin:/bin"}
    subprocess.run(
        [sys.executable, "-m", "angarium", "migrate"], env=environment, check=True, capture_output=True
    )
