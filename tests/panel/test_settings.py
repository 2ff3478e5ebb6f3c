"""Settings – MTA: retry rules, strategies, bounce patterns, keys."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect
from tests.panel.conftest import Panel, Visitor

TIMES = {
    "fixed": ["15 min", "30 min", "45 min"],
    "geometric": ["15 min", "1 h", "3 h 15 min"],
    "random": ["15 min – 37 min 30 s", "30 min – 1 h 15 min", "45 min – 1 h 52 min"],
}


@pytest.mark.parametrize("kind", TIMES)
def test_a_retry_rule_of_each_type_shows_its_fields_and_times_and_is_saved(ada: Visitor, kind: str) -> None:
    page = ada.page
    ada.open("/sending/retryrule/")
    page.get_by_role("link", name="+ Create").click()
    page.get_by_label("Name").fill(f"Of type {kind}")
    page.get_by_label("Number of retries").fill("3")
    page.get_by_label("Time interval (min)").fill("15")
    page.get_by_label("Type").select_option(kind)
    exponent, modifier = page.locator("#id_exponent"), page.locator("#id_modifier")
    expect(exponent).to_be_visible(visible=kind == "geometric")
    expect(modifier).to_be_visible(visible=kind == "random")
    if kind == "geometric":
        exponent.fill("3")
    if kind == "random":
        modifier.fill("1.5")
    times = page.locator("#attempt-times tbody tr td:last-child")
    expect(times).to_have_text(TIMES[kind])
    ada.save()
    row = page.get_by_role("row", name=re.compile(f"Of type {kind}"))
    expect(row.get_by_role("link", name=f"Of type {kind}")).to_be_visible()
    expect(row.get_by_role("link", name="Edit")).to_be_visible()
    expect(row.get_by_role("link", name="Delete")).to_be_visible()


def test_the_options_of_a_retry_rule_are_those_of_the_specification(ada: Visitor) -> None:
    ada.open("/sending/retryrule/add/")
    modes = ada.page.get_by_label("Mode").locator("option").all_inner_texts()
    assert modes == [
        "Retry from the same IP of the same node",
        "Retry from any other IP of the same node",
        "Retry from any other IP of any node",
    ]
    types = ada.page.get_by_label("Type").locator("option").all_inner_texts()
    assert types == ["Fixed (no increase)", "Geometric increase delay", "Calculated random delay"]


def test_bad_values_of_a_retry_rule_get_a_message_at_the_field(ada: Visitor) -> None:
    page = ada.page
    ada.open("/sending/retryrule/add/")
    page.get_by_label("Name").fill("Bad")
    page.get_by_label("Number of retries").fill("2000")
    page.get_by_label("Time interval (min)").fill("0")
    page.get_by_label("Type").select_option("geometric")
    page.locator("#id_exponent").fill("0.5")
    expect(page.locator("#attempt-times")).to_contain_text("when all fields hold good values")
    ada.save()
    expect(page.locator(".field-retries")).to_contain_text("Give a whole number from 0 to 1000.")
    expect(page.locator(".field-interval")).to_contain_text("Give minutes, more than 0")
    expect(page.locator(".field-exponent")).to_contain_text("Give a number from 1 to 100.")


def test_a_strategy_shows_its_speed_while_it_is_typed(ada: Visitor) -> None:
    page = ada.page
    ada.open("/sending/strategy/add/")
    page.get_by_label("Concurrent connections").fill("2")
    page.get_by_label("Messages per connection").fill("5")
    page.get_by_label("Connection attempts per interval").fill("3")
    page.get_by_label("Interval (s)").fill("10")
    expect(page.locator("#speed b")).to_have_text(["180", "10\u202f800", "259\u202f200"])
    page.get_by_label("Interval (s)").fill("0")
    page.get_by_label("Name").fill("Impossible")
    ada.save()
    expect(page.locator(".field-interval")).to_contain_text("Give seconds, more than 0")


def test_a_pasted_reply_shows_what_it_means_and_which_pattern_says_so(ada: Visitor) -> None:
    page = ada.page
    ada.open("/sending/bouncepattern/")
    page.get_by_role("link", name="Try a reply").click()
    page.get_by_label("Reply of the server").fill(
        "452-4.2.2 The email account that you tried to reach is over quota."
    )
    page.get_by_role("button", name="Try", exact=True).click()
    expect(page.locator("#verdict-type")).to_have_text("Soft")
    expect(page.locator("#verdict-category")).to_have_text("full")


def test_a_pattern_that_re2_cannot_run_is_refused_at_the_field(ada: Visitor) -> None:
    page = ada.page
    ada.open("/sending/bouncepattern/add/")
    page.get_by_label("Name").fill("Backreference")
    page.locator("#id_type").select_option("soft")
    page.locator("#id_pattern").fill(r"(a)\1")
    ada.save()
    expect(page.locator(".field-pattern")).to_contain_text("not a regular expression that RE2 can run")


def test_an_edited_built_in_pattern_can_be_reset(ada: Visitor, panel: Panel) -> None:
    page = ada.page
    address = f"/sending/bouncepattern/{panel.rows['bouncepattern']}/change/"
    ada.open(address)
    shipped = page.get_by_label("Message").input_value()
    page.get_by_label("Message").fill("In my own words")
    ada.save()
    ada.open(address)
    page.get_by_role("button", name="Reset to what was shipped").click()
    expect(page.get_by_text("The pattern is as it was shipped.")).to_be_visible()
    assert page.get_by_label("Message").input_value() == shipped


def test_a_domain_of_another_isp_is_moved_when_asked(ada: Visitor) -> None:
    page = ada.page
    ada.open("/sending/isp/add/")
    page.get_by_label("Name").fill("My provider")
    page.locator("#id_domains").fill("gmail.com\nmine.example")
    ada.save()
    expect(page.locator(".field-domains")).to_contain_text("gmail.com to Gmail")
    page.locator("#id_move").check()
    ada.save()
    expect(page.get_by_role("row", name=re.compile("My provider"))).to_be_visible()


def test_a_dkim_key_shows_the_record_to_publish_and_never_its_private_half(ada: Visitor) -> None:
    page = ada.page
    ada.open("/sending/dkimkey/add/")
    page.get_by_label("Domain").fill("news.example")
    page.get_by_label("Selector").fill("spring")
    page.get_by_label("Algorithm").select_option("ed25519")
    ada.save()
    page.get_by_role("link", name="news.example").click()
    expect(page.locator("#record-name")).to_have_text("spring._domainkey.news.example")
    expect(page.locator("#record-value")).to_contain_text("v=DKIM1; k=ed25519; p=")
    assert "PRIVATE KEY" not in page.content()


def test_a_sender_warns_when_its_retry_rule_finds_no_other_address(ada: Visitor, panel: Panel) -> None:
    page = ada.page
    ada.open("/sending/retryrule/add/")
    page.get_by_label("Name").fill("Elsewhere")
    page.get_by_label("Mode").select_option("other_ip")
    ada.save()
    ada.open(f"/sending/sender/{panel.rows['sender']}/change/")
    page.get_by_label("Retry rule").select_option(label="Elsewhere")
    page.get_by_role("button", name="+ Override").click()
    page.get_by_label("ISP").select_option(label="Gmail")
    page.get_by_label("Strategy").last.select_option(label="60:60")
    ada.save()
    expect(page.get_by_text("the sender has only one on node-1").first).to_be_visible()


def test_a_node_is_stopped_and_started(ada: Visitor) -> None:
    page = ada.page
    ada.open("/sending/node/")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("node-1 sends nothing from now on.")).to_be_visible()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("node-1 sends.")).to_be_visible()
