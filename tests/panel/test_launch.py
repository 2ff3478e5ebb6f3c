"""The launch walk: a person launches in the browser, real services deliver, the report follows."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from tests.panel.conftest import Panel, Visitor, visit, wait_for
from tests.panel.rows import PASSWORD
from tests.support.installation import Installation

FATES = {"deliver": 60, "soft1": 10, "hard": 6, "block": 4}
ALL = sum(FATES.values())
PATIENCE = 120_000
"""Milliseconds for deliveries with retries."""


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[tuple[Installation, Panel]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    made = Installation(tmp_path, WEB__PORT=str(port))
    people = [
        f"{fate}+{number}@domain{number % 5}.example"
        for fate, count in FATES.items()
        for number in range(count)
    ]
    try:
        made.build(people, made.start_sink())
        (tmp_path / "password").write_text(PASSWORD)
        made.command("user", "create", "ada", "--password-file", str(tmp_path / "password"))
        made.start("broker", "launcher", "mta", "recorder", "web")
        wait_for(f"http://127.0.0.1:{port}/login/", lambda: made.running("web"), tmp_path / "log")
        yield made, Panel(f"http://127.0.0.1:{port}", {}, tmp_path)
    finally:
        if made.running("web"):
            made.stop("web")
        made.close()


@pytest.fixture
def watcher(launched: tuple[Installation, Panel], browser: Browser) -> Iterator[Visitor]:
    yield from visit(launched[1], browser, viewport={"width": 1280, "height": 900})


def test_a_launch_is_followed_to_the_end_of_every_message(
    launched: tuple[Installation, Panel], watcher: Visitor
) -> None:
    installation, page = launched[0], watcher.page
    watcher.log_in("ada")
    watcher.open("/mailings/mailing/")
    page.get_by_role("link", name="Launch", exact=True).click()
    page.get_by_role("button", name=f"Launch to {ALL} profiles").click()
    state = page.locator("[data-field=state_words]").first
    expect(state).to_have_text("Prepared", timeout=PATIENCE)
    expect(page.locator("[data-field=open]")).to_have_text("0", timeout=PATIENCE)
    shown = {
        name: page.locator(f"[data-field={name}]").first.inner_text()
        for name in ("delivered", "hard", "blocked")
    }
    assert shown == {"delivered": "70", "hard": "6", "blocked": "4"}
    assert int(page.locator("[data-field=soft]").inner_text()) >= FATES["soft1"]
    drawn = (
        "Chart.getChart(document.querySelector('[data-chart]')).data.datasets[0].data.reduce((a, b) => a + b)"
    )
    assert page.evaluate(drawn) == 70
    assert sum(installation.taken().values()) == 70

    page.get_by_role("link", name="Log", exact=True).click()
    expect(page.locator("#mailing-log")).to_contain_text(f"Prepared: {ALL} messages handed to the broker")
    watcher.open("/reports/messages/?of=soft1%2B0@domain0.example")
    story = page.locator(".a-story")
    expect(story).to_contain_text("Soft bounce")
    expect(story.locator("summary")).to_contain_text("Delivered")
    watcher.open("/sending/node/")
    expect(page.get_by_role("row", name="node-1")).to_contain_text("running")
