"""Every page at a laptop and on a phone, light and dark: nothing sticks out or complains."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser
from tests.panel.conftest import Panel, Visitor, visit

PAGES = (
    "/",
    "/?range=month",
    "/password_change/",
    "/second-factor/",
    "/reports/messages/",
    "/reports/messages/?of=ann@example.com",
    "/mailings/mailing/",
    "/mailings/mailing/add/?account={account}",
    "/mailings/mailing/{mailing}/change/",
    "/mailings/mailing/{mailing}/report/",
    "/mailings/mailing/{mailing}/log/",
    "/mailings/mailing/{queued}/queue/",
    "/mailings/mailing/{queued}/queue/clear/",
    "/sender-queue/",
    "/sender-queue/command/?action=hold&isp={isp}",
    "/mailings/mailing/{mailing}/launch/",
    "/mailings/mailing/{mailing}/test/",
    "/mailings/mailing/{mailing}/delete/",
    "/mailings/template/",
    "/mailings/template/{template}/change/",
    "/mailings/template/add/",
    "/directory/profile/",
    "/directory/profile/{profile}/change/",
    "/directory/profilelist/",
    "/directory/profilelist/{list}/change/",
    "/directory/importrun/",
    "/directory/importrun/add/?account={account}",
    "/directory/importrun/{importrun}/change/",
    "/directory/resource/{resource}/change/",
    "/directory/sendingpolicy/{sendingpolicy}/change/",
    "/directory/suppressionlist/",
    "/directory/suppressionlist/{suppressionlist}/change/",
    "/directory/stopentry/",
    "/directory/stopentry/add/",
    "/sending/sender/",
    "/sending/sender/{sender}/change/",
    "/sending/retryrule/",
    "/sending/retryrule/add/",
    "/sending/defaultrule/",
    "/sending/defaultrule/add/",
    "/sending/strategy/",
    "/sending/strategy/add/",
    "/sending/bouncepattern/",
    "/sending/bouncepattern/{bouncepattern}/change/",
    "/sending/bouncepattern/test/",
    "/sending/isp/",
    "/sending/isp/{isp}/change/",
    "/sending/node/",
    "/sending/node/{node}/change/",
    "/sending/ipaddress/",
    "/sending/ipaddress/{address}/change/",
    "/sending/dkimkey/",
    "/sending/dkimkey/add/",
    "/sending/dkimkey/{dkimkey}/change/",
    "/sending/route/",
    "/sending/route/{route}/change/",
    "/access/user/",
    "/access/user/add/",
    "/access/user/{user}/change/",
    "/access/user/{user}/password/",
    "/access/account/",
    "/access/account/{account}/change/",
    "/access/apitoken/",
    "/access/apitoken/add/",
    "/auditlog/logentry/",
    "/api/v1/docs",
)
STICKS_OUT = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["laptop", "phone"])
def walker(request: pytest.FixtureRequest, panel: Panel, browser: Browser) -> Iterator[Visitor]:
    width, scheme = request.param
    yield from visit(panel, browser, viewport={"width": width, "height": 844}, color_scheme=scheme)


def test_every_page_fits_the_screen_and_stays_at_home(walker: Visitor, panel: Panel) -> None:
    walker.log_in("ada")
    too_wide = {}
    for page in PAGES:
        address = page.format(**panel.rows)
        walker.open(address)
        if (by := walker.page.evaluate(STICKS_OUT)) > 0:
            too_wide[address] = by
    assert too_wide == {}
    assert walker.complaints == []


def test_the_login_page_fits_and_refuses_a_wrong_password(walker: Visitor) -> None:
    walker.open("/login/")
    assert walker.page.evaluate(STICKS_OUT) <= 0
    walker.page.get_by_label("User name").fill("nobody")
    walker.page.get_by_label("Password").fill("wrong")
    walker.page.get_by_role("button", name="Log in").click()
    assert "The user name or the password is wrong." in walker.page.get_by_role("alert").inner_text()
