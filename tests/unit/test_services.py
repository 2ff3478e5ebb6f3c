"""The table of services, logs and health."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from angarium import config, logs, metrics, runtime
from angarium.cli import COMMANDS
from angarium.services import SERVICES, Service


def test_every_service_of_the_table_is_wired_and_no_other() -> None:
    assert set(runtime.WIRING) == {service.name for service in SERVICES}


@pytest.mark.parametrize("service", [s for s in SERVICES if not s.entry.startswith("angarium.web")])
def test_the_entry_of_a_service_is_where_the_table_says(service: Service) -> None:
    module, _, name = service.entry.partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_what_takes_work_in_stops_before_what_carries_it_on() -> None:
    stages = [service.name for service in sorted(SERVICES, key=lambda s: (s.stop_stage, s.name))]
    assert stages == ["launcher", "listener", "web", "mta", "recorder", "broker"]


def test_every_command_of_the_table_is_there() -> None:
    missing = [name for name, (module, _) in COMMANDS.items() if importlib.util.find_spec(module) is None]
    assert missing == []


@pytest.mark.parametrize("arguments", [["--help"], ["bounce", "--help"], ["up", "--help"]])
def test_help_and_what_needs_no_database_start_without_django(arguments: list[str]) -> None:
    program = (
        "import sys; from angarium.cli import main\n"
        f"sys.argv = ['angarium', *{arguments!r}]\n"
        "try: main()\nexcept SystemExit: pass\n"
        "sys.exit('django' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("password", "hunter2", "***"),
        ("api_token", "abc", "***"),
        ("private_key", "-----BEGIN", "***"),
        ("url", "amqp://me:hunter2@host/v", "amqp://***@host/v"),
        ("message", bytes.fromhex("00ff" * 8), "00ff" * 8),
        ("sender", 7, 7),
        ("reason", "550 no such user <a@b.example>", "550 no such user <a@b.example>"),
    ],
)
def test_logs_are_readable_and_hold_no_secret(key: str, value: object, shown: object) -> None:
    event = logs.mask(None, "", logs.readable(None, "", {key: value}))
    assert event == {key: shown}


async def test_health_tells_problems_and_recovery_at_any_path_length(tmp_path: Path) -> None:
    data = tmp_path / ("long" * 30)
    settings = config.Settings(data=data)
    health = metrics.Health("recorder")
    notice = health.notice("disk")
    async with metrics.serving(settings, health):
        assert await metrics.ask(settings, "recorder") == {
            "service": "recorder", "healthy": True, "problems": {},
        }  # fmt: skip
        notice("the disk is full")
        assert await metrics.ask(settings, "recorder") == {
            "service": "recorder", "healthy": False, "problems": {"disk": "the disk is full"},
        }  # fmt: skip
    assert await metrics.ask(settings, "recorder") is None


async def test_a_second_process_of_a_service_leaves_the_first_its_socket(tmp_path: Path) -> None:
    settings = config.Settings(data=tmp_path)
    async with metrics.serving(settings, metrics.Health("web")):
        async with metrics.serving(settings, metrics.Health("web")):
            assert len(list((tmp_path / "run").glob("*.sock"))) == 2
        assert await metrics.ask(settings, "web")


def test_settings_are_shown_with_their_origin_and_without_secrets(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "angarium", "check-config", "--json"],
        env={"ANGARIUM_DATA": str(tmp_path), "ANGARIUM_DATABASE_URL": "postgresql://me:hunter2@host/db"},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    shown = json.loads(done.stdout)
    assert shown["database_url"] == {"value": "***", "from": "ANGARIUM_DATABASE_URL"}
    assert shown["web.port"] == {"value": 8080, "from": "default"}
