"""The sender queue: a mailing frozen, unfrozen and cleared; holds of the postmaster; who may do what."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.panel.conftest import Panel, Visitor, visit

STATES = ("total", "new", "retries", "sending", "frozen")
FULL = [980, 850, 115, 15, 0]
STICKS_OUT = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
DRAWN = "Chart.getChart(document.querySelector('[data-history]')).data.datasets.map(set => set.data.at(-1))"
AFRESH = (
    "UPDATE launch SET created = CURRENT_TIMESTAMP",
    "UPDATE counter SET minute = strftime('%s', 'now') / 60 WHERE isp <> 0",
    "DELETE FROM gate",
    "DELETE FROM clear",
    "UPDATE queue_figure SET new = CASE retries WHEN 70 THEN 500 ELSE 150 END",
)

Write = Callable[..., None]


@pytest.fixture
def write(panel: Panel) -> Iterator[Write]:
    """Writes what a node would write, to a queue as `rows` made it."""
    with closing(sqlite3.connect(panel.folder / "data" / "angarium.db", timeout=30)) as database:

        def write(statement: str, *values: object) -> None:
            with database:
                database.execute(statement, values)

        for statement in AFRESH:
            write(statement)
        yield write


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["laptop", "phone"])
def walker(request: pytest.FixtureRequest, panel: Panel, browser: Browser) -> Iterator[Visitor]:
    width, scheme = request.param
    yield from visit(panel, browser, viewport={"width": width, "height": 844}, color_scheme=scheme)


def shows(page: Page, figures: list[int]) -> None:
    for state, number in zip(STATES, figures, strict=True):
        expect(page.locator(f"[data-field={state}]")).to_have_text(f"{number:,}")


def lives(write: Write, version: int | None = None) -> None:
    """A sign of life of the node, with the settings version it runs."""
    now = datetime.now(UTC).replace(tzinfo=None)
    write("UPDATE node SET seen = ?, version = COALESCE(?, version)", now.isoformat(" "), version)


def followed(page: Page) -> int:
    """The settings version of the command the page follows."""
    return int(parse_qs(urlsplit(page.url).query)["version"][0])


def test_a_mailing_is_frozen_unfrozen_and_cleared(walker: Visitor, write: Write) -> None:
    page = walker.page
    walker.log_in("alice")
    walker.open("/mailings/mailing/")
    page.get_by_role("row", name=re.compile("Black Friday")).get_by_role("link", name="Sender Queue").click()
    shows(page, FULL)
    expect(page.locator("[data-field=pace]")).to_contain_text("a minute come to an end")
    lives(write)

    page.get_by_role("button", name="Freeze", exact=True).click()
    expect(page.locator("main, body").get_by_text("Nothing more of this mailing is sent")).to_be_visible()
    shows(page, [980, 0, 0, 15, 965])
    expect(page.locator("[data-lines=gates]")).to_contain_text("This mailing is frozen")
    expect(page.locator("[data-lines=gates]")).to_contain_text("alice")
    expect(page.locator("[data-field=unconfirmed]")).to_have_text("node-1")
    lives(write, followed(page))
    expect(page.get_by_text("All nodes have confirmed the command.")).to_be_visible()
    assert page.evaluate(DRAWN) == [0, 0, 15, 965]
    assert page.evaluate(STICKS_OUT) <= 0

    page.get_by_role("button", name="Unfreeze").click()
    shows(page, FULL)
    expect(page.get_by_role("button", name="Freeze", exact=True)).to_be_visible()

    page.get_by_role("link", name="Clear").click()
    expect(page.locator("#affected")).to_have_text("965")
    page.get_by_role("button", name="Clear 965 messages").click()
    expect(page.get_by_text("The name is: Black Friday")).to_be_visible()
    page.get_by_label("Write the name").fill("Black Friday")
    page.get_by_role("button", name="Clear 965 messages").click()
    expect(page.get_by_text("965 messages were removed from the queue.")).to_be_visible()
    shows(page, [15, 0, 0, 15, 0])
    assert page.evaluate(STICKS_OUT) <= 0


def test_the_figures_move_while_the_page_is_open(alice: Visitor, panel: Panel, write: Write) -> None:
    page = alice.page
    lives(write)
    with page.expect_request("**/queue/stream/**") as first:
        alice.open(f"/mailings/mailing/{panel.rows['queued']}/queue/")
    shows(page, FULL)
    write("UPDATE queue_figure SET new = new - 50 WHERE new = 500")
    write("UPDATE queue_figure SET at = ?", time.time())
    shows(page, FULL)  # what the node no longer holds is published and has not ended: the broker's
    expect(page.locator("[data-lines='breakdowns.node']")).to_contain_text("250")
    expect(page.locator("[data-show=silent]")).to_be_visible(timeout=30_000)
    with page.expect_request("**/queue/stream/**", timeout=30_000) as next_one:
        pass
    assert first.value is not next_one.value
    lives(write)
    expect(page.locator("[data-show=silent]")).to_be_hidden()


def test_a_postmaster_holds_an_isp_and_releases_it(walker: Visitor, write: Write) -> None:
    page = walker.page
    walker.log_in("ada")
    walker.open("/sender-queue/")
    shows(page, FULL)
    expect(page.locator("[data-lines=mailings]")).to_contain_text("Black Friday (Acme)")
    page.get_by_role("button", name="Count first").click()
    expect(page.get_by_text("Choose an account, a sender or an ISP.")).to_be_visible()
    page.get_by_label("ISP").select_option(label="Gmail")
    page.get_by_role("button", name="Count first").click()
    expect(page.locator("#affected")).to_have_text("680")
    page.get_by_role("button", name="Hold 680 messages").click()
    shows(page, [980, 240, 45, 15, 680])
    gate = page.locator("[data-lines=gates] tr")
    expect(gate).to_contain_text("ISP Gmail")
    expect(gate).to_contain_text("ada")
    gate.get_by_role("link", name="Release").click()
    page.get_by_role("button", name="Release 680 messages").click()
    shows(page, FULL)
    expect(page.locator("[data-lines=gates]")).to_contain_text("Nothing is frozen or held")
    page.get_by_role("link", name=re.compile("Black Friday")).click()
    expect(page.get_by_role("button", name="Freeze", exact=True)).to_be_visible()


def test_a_queue_that_does_not_shrink_is_shown_with_its_likely_cause(
    walker: Visitor, panel: Panel, write: Write
) -> None:
    write("UPDATE launch SET created = '2020-01-01 00:00:00' WHERE mailing_id = ?", panel.rows["queued"])
    write("UPDATE counter SET minute = 1 WHERE mailing = ?", panel.rows["queued"])
    lives(write)
    walker.log_in("alice")
    walker.open(f"/mailings/mailing/{panel.rows['queued']}/queue/")
    expect(walker.page.locator("#stalls tbody tr")).to_have_count(2)
    expect(walker.page.locator("#stalls")).to_contain_text("News to Gmail")
    expect(walker.page.locator("#stalls")).to_contain_text("nothing was tried")
    assert walker.page.evaluate(STICKS_OUT) <= 0


def test_those_who_may_only_look_command_nothing(visitor: Visitor, panel: Panel, write: Write) -> None:
    page, address = visitor.page, f"/mailings/mailing/{panel.rows['queued']}/queue/"
    visitor.log_in("bob")
    visitor.open(address)
    shows(page, FULL)
    expect(page.get_by_role("button", name="Freeze")).to_have_count(0)
    assert refused(visitor, f"{address}freeze/", f"{address}unfreeze/", f"{address}clear/") == [404] * 3
    assert page.request.get(f"{panel.address}{address}clear/").status == 404
    visitor.open("/sender-queue/")
    shows(page, FULL)
    expect(page.get_by_role("button", name="Count first")).to_have_count(0)
    assert refused(visitor, "/sender-queue/command/") == [404]


def test_the_queue_of_another_account_is_not_there(visitor: Visitor, panel: Panel, write: Write) -> None:
    address = f"{panel.address}/mailings/mailing/{panel.rows['queued']}/queue/"
    visitor.log_in("charlie")
    visitor.open("/sender-queue/")
    shows(visitor.page, [0] * 5)
    for part in ("", "stream/", "clear/"):
        assert visitor.page.request.get(f"{address}{part}").status == 404
    own = urlsplit(address).path
    assert refused(visitor, f"{own}freeze/", f"{own}unfreeze/", f"{own}clear/") == [404] * 3


def test_a_postmaster_sees_no_names_of_other_accounts(visitor: Visitor, write: Write) -> None:
    visitor.log_in("paul")
    visitor.open("/sender-queue/")
    shows(visitor.page, FULL)
    lines = visitor.page.locator("[data-lines=mailings]")
    expect(lines).to_contain_text("Mailings of other accounts")
    expect(lines).not_to_contain_text("Black Friday")


def refused(visitor: Visitor, *paths: str) -> list[int]:
    """The answers to commands sent past the pages."""
    cookies = {cookie.get("name"): cookie.get("value") for cookie in visitor.page.context.cookies()}
    headers = {"X-CSRFToken": str(cookies["csrftoken"])}
    post = visitor.page.request.post
    return [post(f"{visitor.panel.address}{path}", headers=headers).status for path in paths]


def test_the_messages_of_a_mailing_are_listed_by_state_and_lead_to_their_stories(
    walker: Visitor, panel: Panel
) -> None:
    page = walker.page
    walker.log_in("alice")
    walker.open(f"/mailings/mailing/{panel.rows['mailing']}/queue/")
    page.get_by_role("link", name="Retries", exact=True).click()
    expect(page.locator("#messages tbody tr")).to_have_count(1)
    expect(page.locator("#messages")).to_contain_text("452 4.2.2 The mailbox is over quota")
    assert page.evaluate(STICKS_OUT) <= 0
    page.get_by_label("State").select_option("Delivered")
    page.get_by_role("button", name="List").click()
    expect(page.locator("#messages tbody tr")).to_have_count(1)
    page.get_by_label("Part of the last answer").fill("no such words")
    page.get_by_role("button", name="List").click()
    expect(page.locator("#messages")).to_contain_text("No message fits.")
    page.go_back()
    page.get_by_role("link", name="ann@example.com").click()
    expect(page.locator(".a-story")).to_contain_text("Greylisted")
