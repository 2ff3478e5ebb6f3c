"""The demo, as a person starts it: its outcome is what the sandbox's own books say of each recipient."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from tests.support.postgres import Postgres
from tests.support.rabbitmq import RabbitMQ

from angarium.demo import audience
from angarium.domain.contact import email_address
from angarium.sandbox.behaviour import Fate
from angarium.sandbox.sink_record import SinkEvent, read_record

SPEED: Final = "1800"
PATIENCE: Final = 280
ENDS: Final = "SELECT address, kind, reason FROM event WHERE kind IN ('deliv', 'undeliv')"


class Demo:
    """A run of `angarium demo` in a folder of its own."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.data = folder / "demo"
        self.report = folder / "out.json"
        self._output = folder / "output"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ANGARIUM_")}
        self._environment = clean | environment

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        command = ("demo", "--data", str(self.data), "--speed", SPEED, "--port", "0", *options)
        with self._output.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "angarium", *command],
                env=self._environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def run(self, recipients: int, *options: str) -> dict[str, Any]:
        """What `--json` wrote of the one mailing."""
        arguments = ("--exit", "--recipients", str(recipients), "--json", str(self.report), *options)
        code = self.start(*arguments).wait(PATIENCE)
        assert code == 0, self.output
        (mailing,) = json.loads(self.report.read_text())["mailings"]
        assert sum(mailing["outcomes"].values()) == mailing["recipients"] == recipients
        return dict(mailing)

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def wait_for(self, text: str, patience: float = 120) -> str:
        deadline = time.monotonic() + patience
        while text not in self.output:
            assert time.monotonic() < deadline, f"{text!r} did not appear:\n{self.output}"
            time.sleep(0.2)
        return self.output

    def sink(self) -> dict[str, str]:
        """Contact → what became of it by the sandbox's books."""
        last: dict[str, SinkEvent] = {}
        for event in read_record(self.data / "sink.jsonl"):
            if event.event == "answer":
                last[email_address(event.recipient).contact] = event
        return {contact: outcome_of(event) for contact, event in last.items()}

    def taken(self) -> Counter[str]:
        """How often the sandbox took a message for a contact."""
        events = read_record(self.data / "sink.jsonl")
        return Counter(email_address(event.recipient).contact for event in events if event.accepted)


def outcome_of(last: SinkEvent) -> str:
    if last.accepted:
        return "delivered"
    return "hard_bounce" if last.fate == Fate.HARD else "undelivered"


def outcomes(rows: list[tuple[str, str, str]]) -> dict[str, str]:
    """Contact → outcome, of rows of `ENDS`; nobody has two."""
    found = {}
    for address, kind, reason in rows:
        contact = email_address(address).contact
        assert contact not in found
        hard = "hard_bounce" if reason == "hard bounce" else "undelivered"
        found[contact] = "delivered" if kind == "deliv" else hard
    return found


def held_back(recipients: int) -> set[str]:
    """Those who asked not to be written to."""
    people = list(audience.people(recipients))
    return {email_address(person.email).contact for person in audience.silent(people)}


def compare(demo: Demo, mailing: dict[str, Any], rows: list[tuple[str, str, str]]) -> None:
    """The demo's figures, the database and the sandbox's books say the same of everybody."""
    ours, theirs = outcomes(rows), demo.sink()
    assert ours == theirs
    assert set(demo.taken().values()) <= {1}
    everybody = {email_address(person.email).contact for person in audience.people(mailing["recipients"])}
    silent = held_back(mailing["recipients"])
    assert set(ours) == everybody - silent
    assert mailing["outcomes"] == {**Counter(ours.values()), "not_sent": len(silent)}


def processes_of(folder: Path) -> list[str]:
    """Command lines of living processes that were started for the folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            environment, line = (process / "environ").read_bytes(), (process / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in environment + line and line:
            found.append(line.replace(b"\0", b" ").decode(errors="replace"))
    return found


def wait_until_nothing_runs(folder: Path, patience: float = 60) -> None:
    deadline = time.monotonic() + patience
    while left := processes_of(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


@pytest.fixture
def servers() -> Iterator[tuple[Postgres, RabbitMQ]]:
    """A private PostgreSQL and a private RabbitMQ, in a folder that other users may enter."""
    folder = Path(tempfile.mkdtemp(prefix="ang-demo-"))
    folder.chmod(0o755)
    postgres, rabbitmq = Postgres(folder / "pg"), RabbitMQ(folder / "rabbit")
    try:
        postgres.start()
        rabbitmq.start()
        yield postgres, rabbitmq
    finally:
        rabbitmq.stop()
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_2000_recipients_end_as_the_sandbox_decided(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    mailing = demo.run(2_000)
    with sqlite3.connect(demo.data / "angarium.db") as database:
        compare(demo, mailing, database.execute(ENDS).fetchall())
    assert (mailing["channel"], mailing["provider"]) == ("email", "mta")
    assert mailing["messages_per_second"] > 0
    wait_until_nothing_runs(tmp_path)


def test_postgresql_rabbitmq_and_two_nodes_give_the_same(
    tmp_path: Path, servers: tuple[Postgres, RabbitMQ]
) -> None:
    postgres, rabbitmq = servers
    url = postgres.url()
    demo = Demo(tmp_path, ANGARIUM_DATABASE_URL=url, ANGARIUM_BROKER_URL=rabbitmq.url)
    mailing = demo.run(2_000, "--nodes", "2")
    with psycopg.connect(url) as database:
        compare(demo, mailing, database.execute(ENDS).fetchall())
        nodes = database.execute("SELECT count(DISTINCT node) FROM event WHERE kind = 'deliv'").fetchone()
    assert nodes == (2,)


def test_the_panel_stays_until_ctrl_c_which_leaves_nothing_running(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    process = demo.start("--recipients", "50")
    shown = demo.wait_for("The panel stays")
    assert re.search(r"Panel: http://127\.0\.0\.1:\d+/\nLogin: demo  Password: \S+", shown)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(60) == 0
    assert processes_of(tmp_path) == []


def test_a_killed_demo_takes_its_processes_along(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    process = demo.start("--recipients", "50")
    demo.wait_for("Panel: ")
    process.kill()
    process.wait()
    wait_until_nothing_runs(tmp_path)


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    demo.data.mkdir()
    (demo.data / "precious").touch()
    assert demo.start("--exit").wait(60) == 2
    assert "not a demo's folder" in demo.output
    assert (demo.data / "precious").exists()
