"""Real services, started once a run: databases with the control schema, and both brokers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from tests.support import databases
from tests.support.embedded_broker import EmbeddedBrokerProcess
from tests.support.postgres import Postgres
from tests.support.rabbitmq import RabbitMQ

Server = TypeVar("Server", EmbeddedBrokerProcess, RabbitMQ)


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A short path that other users may enter: sockets and servers that do not run as root."""
    folder = Path(tempfile.mkdtemp(prefix="ang-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(open_folder: Path) -> Iterator[Postgres]:
    server = Postgres(open_folder / "pg")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _django(open_folder: Path) -> None:
    databases.setup(open_folder / "data")


@pytest.fixture(scope="session")
def _sqlite(_django: None, open_folder: Path) -> databases.Sqlite:
    return databases.Sqlite(open_folder)


@pytest.fixture(scope="session")
def _postgresql(_django: None, postgres: Postgres) -> databases.PostgresDatabases:
    return databases.PostgresDatabases(postgres)


@pytest.fixture(params=["sqlite", "postgresql"])
def control_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh, migrated and seeded control database of each kind; its URL. Django is connected to it."""
    from django.db import connections

    url = request.getfixturevalue(f"_{request.param}").fresh()
    databases.use(url)
    yield url
    connections["default"].close()


@pytest.fixture(scope="session")
def rabbitmq(open_folder: Path) -> Iterator[RabbitMQ]:
    """A node for all tests that leave it alone."""
    yield from _running(RabbitMQ(open_folder / "rabbit"))


@pytest.fixture(scope="session")
def embedded_broker(open_folder: Path) -> Iterator[EmbeddedBrokerProcess]:
    yield from _running(EmbeddedBrokerProcess(open_folder / "broker"))


@pytest.fixture(params=["embedded", "rabbitmq"])
def broker_url(request: pytest.FixtureRequest) -> str:
    """The URL of a running broker of each kind; name your queues by yourself."""
    name = "rabbitmq" if request.param == "rabbitmq" else "embedded_broker"
    return str(request.getfixturevalue(name).url)


@pytest.fixture(scope="session")
def mortal_rabbitmq(open_folder: Path) -> Iterator[RabbitMQ]:
    """A node for tests that kill it."""
    yield from _running(RabbitMQ(open_folder / "rabbit-mortal"))


@pytest.fixture(params=["embedded", "rabbitmq"])
def mortal_broker(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[EmbeddedBrokerProcess | RabbitMQ]:
    """A running broker of each kind that the test may kill and start again."""
    if request.param == "rabbitmq":
        yield request.getfixturevalue("mortal_rabbitmq")
    else:
        yield from _running(EmbeddedBrokerProcess(tmp_path / "broker"))


def _running(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.stop()
