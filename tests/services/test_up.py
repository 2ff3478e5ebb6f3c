"""`angarium up` with real processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from angarium.services import SERVICES

PATIENCE = 90.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Up:
    """One `angarium up` and what it prints."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self._output = folder.with_suffix(".log")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANGARIUM_")}
        self.environment = (
            kept
            | {
                "ANGARIUM_DATA": str(folder),
                "ANGARIUM_WEB__PORT": str(free_port()),
                "ANGARIUM_LISTENER__PORT": str(free_port()),
                "ANGARIUM_MTA__MIN_FREE_DISK": "0",
            }
            | environment
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "angarium", "up"], env=self.environment, stdout=output, stderr=output
            )

    @property
    def lines(self) -> list[str]:
        return self._output.read_text().splitlines()

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def wait_for_event(self, name: str) -> None:
        wait(lambda: any(event["event"] == name for event in self.events()), name, self)

    def pids(self) -> dict[str, int]:
        """Service → process id, as last started."""
        found = {
            str(e["service"]): int(str(e["pid"])) for e in self.events() if e["event"] == "service starts"
        }
        return {name.partition("-")[0]: pid for name, pid in found.items()}

    def health(self, service: str) -> dict[str, object] | None:
        name = "mta-node-1" if service == "mta" else service
        with socket.socket(socket.AF_UNIX) as asked, contextlib.suppress(OSError, ValueError):
            asked.settimeout(10)
            asked.connect(str(self.folder / "run" / f"{name}.sock"))
            asked.sendall(b"GET /health HTTP/1.1\r\n\r\n")
            answer = b""
            while part := asked.recv(65536):
                answer += part
            return dict(json.loads(answer.partition(b"\r\n\r\n")[2]))
        return None

    def stop(self) -> int:
        assert self.process
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def end(self) -> None:
        """Whatever the test left."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            for pid in self.pids().values():
                wait(lambda pid=pid: not alive(pid), f"the end of {pid}", self)


def wait(condition: Callable[[], object], what: str, up: Up) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"no {what} in {PATIENCE:.0f} s:\n" + "\n".join(up.lines[-40:])
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    one = Up(tmp_path / "data")
    yield one
    one.end()


def test_every_service_is_well_and_sigterm_stops_them_in_order(up: Up) -> None:
    up.start()
    up.wait_for_event("everything runs")
    for service in SERVICES:
        assert up.health(service.name) == {"service": service.name, "healthy": True, "problems": {}}
    pids = up.pids()
    assert up.stop() == 0
    stage = {service.name: service.stop_stage for service in SERVICES}
    stopped = [str(e["service"]).partition("-")[0] for e in up.events() if e["event"] == "service stopped"]
    assert sorted(stopped) == sorted(stage)
    assert [stage[name] for name in stopped] == sorted(stage.values())
    assert not [name for name, pid in pids.items() if alive(pid)]


def test_a_service_that_is_killed_comes_back(up: Up) -> None:
    up.start()
    up.wait_for_event("everything runs")
    first = up.pids()
    for name in ("broker", "recorder"):
        os.kill(first[name], signal.SIGKILL)
    for name in ("broker", "recorder", "launcher"):
        wait(lambda name=name: (up.health(name) or {}).get("healthy"), f"health of {name}", up)
    assert up.pids()["recorder"] != first["recorder"]
    assert up.stop() == 0


def test_children_of_a_killed_supervisor_stop_by_themselves(up: Up) -> None:
    up.start()
    up.wait_for_event("everything runs")
    pids = up.pids()
    assert up.process
    up.process.kill()
    up.process.wait()
    wait(lambda: not any(alive(pid) for pid in pids.values()), "end of the children", up)


def test_a_second_signal_kills_what_hangs(up: Up) -> None:
    up.start()
    up.wait_for_event("everything runs")
    pids = up.pids()
    os.kill(pids["web"], signal.SIGSTOP)
    assert up.process
    up.process.terminate()
    wait(lambda: not alive(pids["launcher"]), "end of the launcher", up)
    assert up.process.poll() is None
    up.process.terminate()
    up.process.wait(PATIENCE)
    assert not [name for name, pid in pids.items() if alive(pid)]


def test_a_second_one_on_the_same_folder_is_refused_with_a_clear_message(up: Up) -> None:
    up.start()
    wait(lambda: (up.folder / "run" / "up.lock").exists() and up.lines, "lock", up)
    second = subprocess.run(
        [sys.executable, "-m", "angarium", "up"],
        env=up.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert second.returncode == 2
    assert "`angarium up` already runs on" in second.stderr
    assert "Traceback" not in second.stderr
    up.stop()


@pytest.mark.parametrize("setting", ["web.port", "listener.port"])
def test_a_port_in_use_is_named_with_its_setting(tmp_path: Path, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        variable = "ANGARIUM_" + setting.upper().replace(".", "__")
        up = Up(tmp_path / "data", **{variable: str(taken.getsockname()[1])})
        up.start()
        assert up.process
        try:
            assert up.process.wait(PATIENCE) == 2
        finally:
            up.end()
    text = "\n".join(up.lines)
    assert f"choose another port with {setting} ({variable})" in text
    assert "Traceback" not in text


def test_wrong_settings_end_it_with_a_line_for_each(tmp_path: Path) -> None:
    up = Up(tmp_path / "data", ANGARIUM_COLOUR="red", ANGARIUM_MTA__COURIERS="many")
    done = subprocess.run(
        [sys.executable, "-m", "angarium", "up"],
        env=up.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 2
    assert "colour: no such setting" in done.stderr
    assert "mta.couriers:" in done.stderr
    assert "Traceback" not in done.stderr
