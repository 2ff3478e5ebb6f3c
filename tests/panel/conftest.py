"""The panel as people meet it: a real web process on a free port, looked at by headless Chromium."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    sync_playwright,
)
from tests.panel.rows import PASSWORD

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
REPOSITORY = Path(__file__).parents[2]
START = 60.0
"""Seconds the web process may take to answer."""


class Panel(NamedTuple):
    address: str
    rows: dict[str, int]
    folder: Path


@pytest.fixture(scope="session")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    folder = tmp_path_factory.mktemp("panel")
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANGARIUM_", "DJANGO_"))
    }
    environment = {**kept, "ANGARIUM_DATA": str(folder / "data"), "PYTHONPATH": str(REPOSITORY)}
    filled = subprocess.run(
        [sys.executable, "-m", "tests.panel.rows"], cwd=REPOSITORY, env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert filled.returncode == 0, filled.stderr
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "angarium.web.asgi:application", "--port", str(port)]
    with (folder / "web.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--timeout-graceful-shutdown", "1"], env=environment, stdout=log, stderr=log
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/login/", lambda: process.poll() is None, folder / "web.log")
        yield Panel(f"http://127.0.0.1:{port}", json.loads(filled.stdout.splitlines()[-1]), folder)
    finally:
        process.terminate()
        process.wait(30)


def wait_for(address: str, alive: Callable[[], bool], log: Path) -> None:
    """Until the address answers. Fails with the log's end."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and alive():
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"the web process did not answer:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Ends with its module: Playwright's loop runs in this thread, and no other loop can beside it."""
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is not there: sudo apt install chromium (or name another by CHROMIUM=…)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield running
        running.close()


class Visitor:
    """A person at the panel. Notes what a browser complains of and what it asks other hosts for."""

    def __init__(self, panel: Panel, context: BrowserContext) -> None:
        self.panel = panel
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._note_console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        self.page.on("request", self._note_request)
        self.page.on("response", self._note_response)

    def log_in(self, who: str) -> None:
        self.open("/login/")
        self.page.get_by_label("User name").fill(who)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url(f"{self.panel.address}/")

    def open(self, path: str) -> None:
        """Waits for the page, and for what the page itself asks for."""
        self.page.goto(f"{self.panel.address}{path}", wait_until="load")
        if self.page.locator("[hx-trigger^=load]").count():
            self.page.wait_for_load_state("networkidle")

    def save(self) -> None:
        with self.page.expect_navigation():
            self.page.locator("button[name=_save]").click()

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type} at {self.page.url}: {message.text}")

    def _note_request(self, request: Request) -> None:
        if not request.url.startswith((self.panel.address, "data:", "about:", "blob:")):
            self.complaints.append(f"request to another host: {request.url}")

    def _note_response(self, response: Response) -> None:
        if response.status >= 400:
            self.complaints.append(f"{response.status} for {response.url}")


def visit(panel: Panel, browser: Browser, **options: Any) -> Iterator[Visitor]:
    context = browser.new_context(**options)
    context.set_default_timeout(20_000)
    visitor = Visitor(panel, context)
    yield visitor
    context.close()
    assert visitor.complaints == []


@pytest.fixture
def visitor(panel: Panel, browser: Browser) -> Iterator[Visitor]:
    """At a laptop."""
    yield from visit(panel, browser, viewport={"width": 1280, "height": 900})


@pytest.fixture
def ada(visitor: Visitor) -> Visitor:
    """Who administers."""
    visitor.log_in("ada")
    return visitor


@pytest.fixture
def alice(visitor: Visitor) -> Visitor:
    """Who edits the account Acme."""
    visitor.log_in("alice")
    return visitor
