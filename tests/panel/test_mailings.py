"""Mailings: written, previewed, launched, followed; imports; people; tokens."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import expect
from tests.panel.conftest import Panel, Visitor

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c63606060f80f0001"
    "0401005fe5c34b0000000049454e44ae426082"
)


def test_a_mailing_is_written_previewed_and_launched(alice: Visitor, tmp_path: Path) -> None:
    page = alice.page
    alice.open("/mailings/mailing/add/")
    page.locator("#id_name").fill("Spring")
    page.get_by_label("From address").fill("news@acme.example")
    page.locator("#id_subject").fill("Dear {{ name }}")
    page.locator("#id_html").fill("<h1>Hello {{ name }}</h1><img src='cid:dot.png'>")
    page.get_by_role("button", name="+ Condition").click()
    page.get_by_label("Field", exact=True).fill("name")
    page.get_by_label("Value", exact=True).fill("Ann")
    expect(page.locator("#preview-subject")).to_have_text("Dear Ann")
    expect(page.frame_locator("#preview-html").locator("h1")).to_have_text("Hello Ann")
    (tmp_path / "dot.png").write_bytes(PIXEL)
    page.locator("#id_new_files").set_input_files(tmp_path / "dot.png")
    alice.save()
    page.get_by_role("row").get_by_role("link", name="Spring", exact=True).click()
    expect(page.get_by_text("dot.png – 0 kB, in the HTML")).to_be_visible()
    picture = page.frame_locator("#preview-html").locator("img")
    expect(picture).to_have_attribute("src", re.compile("^data:image/png;base64,"))

    alice.open("/mailings/mailing/")
    page.get_by_role("row", name=re.compile("Spring")).get_by_role("link", name="Launch").click()
    expect(page.locator("#audience-size")).to_have_text("1")
    page.get_by_role("button", name="Launch to 1 profile").click()
    expect(page.locator("[data-field=state_words]").first).to_have_text("Waiting for the launcher")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("[data-field=state_words]").first).to_have_text("Stopped")
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    page.get_by_role("link", name="Log", exact=True).click()
    expect(page.locator("#mailing-log")).to_contain_text("Stopped by a person before it began")


def test_mistakes_in_a_mailing_get_a_message_at_the_field(alice: Visitor) -> None:
    page = alice.page
    alice.open("/mailings/mailing/add/")
    page.locator("#id_name").fill("Monday")
    page.get_by_label("From address").fill("not an address")
    page.locator("#id_subject").fill("Hello {{ name }}")
    page.locator("#id_html").fill("<p>{% if %}</p>")
    expect(page.locator("#preview .a-error")).to_contain_text("html, line 1")
    alice.save()
    expect(page.locator(".field-name")).to_contain_text("There is a mailing of this name already.")
    expect(page.locator(".field-from_address")).to_contain_text("Not an e-mail address")
    expect(page.locator(".field-html")).to_contain_text("html, line 1")


def test_the_report_shows_outcomes_reasons_and_the_chart(alice: Visitor, panel: Panel) -> None:
    page = alice.page
    alice.open(f"/mailings/mailing/{panel.rows['mailing']}/report/?launch={panel.rows['launch']}")
    figures = {
        "published": "1,000",
        "delivered": "900",
        "soft": "120",
        "hard": "30",
        "blocked": "30",
        "open": "40",
    }
    for name, value in figures.items():
        expect(page.locator(f"[data-field={name}]")).to_have_text(value)
    expect(page.locator("[data-rows=held_back]")).to_contain_text("held back by the mailing's filters")
    drawn = "Chart.getChart(document.querySelector('[data-chart]')).data.datasets.map(set => set.label)"
    assert page.evaluate(drawn) == ["Delivered", "Soft bounces", "Hard bounces", "Undelivered"]


def test_a_launch_is_sent_again_to_those_it_did_not_reach(alice: Visitor, panel: Panel) -> None:
    page = alice.page
    alice.open(f"/mailings/mailing/{panel.rows['mailing']}/report/?launch={panel.rows['launch']}")
    page.get_by_role("link", name="Send again to the undelivered").click()
    expect(page.get_by_role("checkbox")).to_have_count(1)
    expect(page.get_by_label("blocked (30)")).to_be_checked()
    page.get_by_role("checkbox").uncheck()
    page.get_by_role("button", name="Launch to them").click()
    expect(page.get_by_text("Choose at least one reason.")).to_be_visible()
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Launch to them").click()
    expect(page.get_by_text("left nobody undelivered for these reasons")).to_be_visible()


def test_the_log_is_filtered_by_level_and_words(alice: Visitor, panel: Panel) -> None:
    page = alice.page
    alice.open(f"/mailings/mailing/{panel.rows['mailing']}/log/")
    expect(page.locator("#mailing-log")).to_contain_text("undefined value")
    page.get_by_label("Level").select_option("info")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#mailing-log")).not_to_contain_text("undefined value")


def test_a_message_is_found_by_its_address_with_its_story(alice: Visitor) -> None:
    page = alice.page
    alice.open("/reports/messages/")
    page.get_by_label("E-mail address, profile key").fill("Ann@example.com")
    page.get_by_role("button", name="Find").click()
    expect(page.locator(".a-story").last).to_contain_text("Delivered")
    expect(page.locator(".a-story").last).to_contain_text("451 4.7.1 Greylisted")


def test_a_test_send_goes_to_one_address(alice: Visitor, panel: Panel) -> None:
    page = alice.page
    alice.open(f"/mailings/mailing/{panel.rows['mailing']}/test/")
    page.get_by_label("Address").fill("nowhere")
    page.get_by_role("button", name="Send a test").click()
    expect(page.get_by_text("Not an e-mail address")).to_be_visible()
    page.get_by_label("Address").fill("me@example.org")
    page.get_by_role("button", name="Send a test").click()
    expect(page.get_by_text("The test to me@example.org is on its way.")).to_be_visible()


def test_a_file_is_imported_and_its_refused_lines_are_told(alice: Visitor, tmp_path: Path) -> None:
    page = alice.page
    file = tmp_path / "people.csv"
    file.write_text("email,name\nben@example.org,Ben\nnobody,No\ncid@example.org,Cid\n")
    alice.open("/directory/importrun/add/")
    page.locator("#id_file").set_input_files(file)
    page.get_by_label("Put on the list").select_option(label="Everybody")
    page.get_by_label("Subscribe to").select_option(label="Site")
    page.get_by_role("button", name="Import").click()
    expect(page.locator("#import")).to_contain_text("Finished")
    expect(page.locator("#import-lines")).to_have_text("3")
    expect(page.locator("#import")).to_contain_text("nobody")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    assert "nobody" in Path(download.value.path()).read_text()
    alice.open("/directory/profile/?q=ben@")
    page.get_by_role("link", name="ben@example.org").click()
    expect(page.get_by_label("Value of the attribute")).to_have_value("Ben")


def test_a_suppression_list_takes_pasted_addresses_and_domains(alice: Visitor, panel: Panel) -> None:
    page = alice.page
    alice.open(f"/directory/suppressionlist/{panel.rows['suppressionlist']}/change/")
    page.locator("#id_add").fill("Dan@Example.org\nspam.example\nnot anything")
    alice.save()
    expect(page.locator(".field-add")).to_contain_text("Neither an address nor a domain: not anything.")
    page.locator("#id_add").fill("Dan@Example.org\nspam.example")
    alice.save()
    alice.open(f"/directory/suppressionlist/{panel.rows['suppressionlist']}/change/")
    expect(page.get_by_text("On the list: 2")).to_be_visible()
    expect(page.get_by_role("cell", name="dan@example.org")).to_be_visible()


def test_a_token_is_shown_once_and_opens_the_api(alice: Visitor, panel: Panel) -> None:
    page = alice.page
    alice.open("/access/apitoken/add/")
    page.get_by_label("Name").fill("Warehouse")
    alice.save()
    secret = page.locator("#secret").inner_text()
    answer = page.context.request.get(
        f"{panel.address}/api/v1/me", headers={"Authorization": f"Bearer {secret}"}
    )
    assert answer.ok
    alice.open("/access/apitoken/")
    expect(page.get_by_role("cell", name="Warehouse")).to_be_visible()
    assert secret not in page.content()


def test_a_person_is_made_a_member_and_logs_in(ada: Visitor) -> None:
    page = ada.page
    ada.open("/access/user/add/")
    page.get_by_label("Username").fill("dora")
    page.locator("#id_password1").fill("open sesame 12345")
    page.locator("#id_password2").fill("open sesame 12345")
    page.get_by_role("link", name="Add another").click()
    page.locator("select[name=memberships-0-account]").select_option(label="Acme")
    ada.save()
    page.locator("#logout-form").evaluate("form => form.submit()")
    page.wait_for_load_state("networkidle")
    ada.open("/login/")
    page.get_by_label("User name").fill("dora")
    page.get_by_label("Password").fill("open sesame 12345")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("link", name="campaign Mailings")).to_be_visible()


def test_the_account_switcher_narrows_lists(ada: Visitor) -> None:
    page = ada.page
    ada.open("/mailings/mailing/")
    page.get_by_text("All accounts").first.click()
    page.get_by_role("link", name="Other").click()
    page.wait_for_load_state("networkidle")
    expect(page.get_by_role("link", name="Monday")).to_have_count(0)
    ada.open("/account/0/")
