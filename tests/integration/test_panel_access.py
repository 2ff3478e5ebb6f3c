"""Every page of the panel by each person: Alice edits the account, Bob looks at it, Charlie is a stranger."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.people import World

OF_ACCOUNTS = ("mailings_", "directory_")
UNUSUAL = ("access_account_delete", "directory_importrun_delete", "access_user_factor")
ORDERS = ("switch", "reset", "stop", "resume", "freeze")
"""Pages that only take orders: they answer to POST."""
OF_ADMINISTRATORS = ("access_user", "access_account", "directory_stopentry", "auth_user_password_change")
UNUSED = ("auditlog", "jsi18n", "view_on_site", "autocomplete", "search", "app_list")
SECRETS = ("ann@example.com", "Monday", "Welcome")
"""Of the account Acme; a stranger must never read them."""


@pytest.fixture
def world(control_database: str) -> World:
    from tests.support import people

    from angarium.web.mailings.models import Launch, LaunchState, LogEntry

    made = people.build()
    mailing = made.rows["mailing"]
    launch = Launch.objects.create(account=made.acme, mailing=mailing, state=LaunchState.STOPPED, audience=1)
    LogEntry.objects.create(
        account=made.acme, mailing=mailing, launch=launch, time=launch.created, level="error", message="x"
    )
    made.rows["launch"] = launch
    made.rows |= _more_rows(made)
    return made


def _more_rows(world: World) -> dict[str, Any]:
    from angarium.web.access.models import ApiToken
    from angarium.web.directory.models import ImportRun, SendingPolicy, StopEntry, SuppressionList
    from angarium.web.sending.dkim import new_key
    from angarium.web.sending.models import BouncePattern, DefaultRule, Isp, RetryRule, Route, Strategy

    key = new_key("acme.example", "s1", "ed25519")
    key.save()
    return {
        "sendingpolicy": SendingPolicy.objects.create(account=world.acme, name="Gentle"),
        "suppressionlist": SuppressionList.objects.create(account=world.acme, name="Enough"),
        "importrun": ImportRun.objects.create(account=world.acme, filename="ann@example.com.csv"),
        "stopentry": StopEntry.objects.create(channel="email", contact="gone@example.com"),
        "dkimkey": key,
        "route": Route.objects.create(domain="a.example", host="b.example"),
        "defaultrule": DefaultRule.objects.create(),
        "retryrule": RetryRule.objects.get(default=True),
        "strategy": Strategy.objects.get(default=True),
        "isp": Isp.objects.order_by("pk").first(),
        "bouncepattern": BouncePattern.objects.order_by("pk").first(),
        "profilelist": world.rows["list"],
        "ipaddress": world.rows["address"],
        "user": world.people["bob"],
        "account": world.acme,
        "apitoken": ApiToken.objects.get(user=world.people["alice"]),
    }


def _pages(world: World) -> Iterator[tuple[str, str]]:
    """Name and address of every page that is registered, with Acme's rows in the addresses."""
    from django.contrib import admin
    from django.urls import URLPattern, URLResolver, reverse

    def patterns(found: list[Any]) -> Iterator[URLPattern]:
        for pattern in found:
            if isinstance(pattern, URLResolver):
                yield from patterns(pattern.url_patterns)
            else:
                yield pattern

    for pattern in patterns(admin.site.get_urls()):
        name = pattern.name
        if not name or name.startswith(UNUSED) or name.endswith("_history"):
            continue
        model = name.split("_")[1] if "_" in name else ""
        arguments = dict.fromkeys(pattern.pattern.converters, 0)
        for argument in arguments:
            if argument == "number":
                arguments[argument] = world.rows["launch"].pk
            elif argument in ("object_id", "id") and model in world.rows:
                arguments[argument] = world.rows[model].pk
        yield name, reverse(f"admin:{name}", kwargs=arguments)


def _get(world: World, who: str, address: str) -> Any:
    world.client.force_login(world.people[who])
    return world.client.get(address)


def test_somebody_unknown_is_asked_to_log_in_on_every_page(world: World) -> None:
    for name, address in _pages(world):
        if name not in ("login", "logout"):
            response = world.client.get(address)
            assert response.status_code == 302, (name, response.status_code)
            assert response["Location"].startswith("/login/"), name


def test_a_stranger_reads_nothing_of_the_account_on_any_page(world: World) -> None:
    for name, address in _pages(world):
        response = _get(world, "charlie", address)
        # A stream says what its page said first.
        text = "" if response.streaming else response.content.decode(errors="replace")
        assert not [secret for secret in SECRETS if secret in text], name
        has_row = "/0/" not in address and any(part.isdecimal() for part in address.split("/"))
        if name.startswith(OF_ACCOUNTS) and has_row:
            assert response.status_code in (403, 404), (name, response.status_code)


def test_objects_of_another_account_do_not_exist(world: World) -> None:
    for page in ("mailings_mailing_change", "mailings_mailing_report", "mailings_mailing_log",
                 "mailings_mailing_figures", "mailings_mailing_queue", "mailings_mailing_queue_stream",
                 "mailings_mailing_queue_clear", "directory_profile_change", "directory_profilelist_delete",
                 "directory_importrun_rejections", "mailings_template_change"):  # fmt: skip
        address = dict(_pages(world))[page]
        assert _get(world, "charlie", address).status_code == 404, page
        assert _get(world, "alice", address).status_code in (200, 302), page


def test_members_see_no_settings_of_the_platform_and_postmasters_all_of_them(world: World) -> None:
    for name, address in _pages(world):
        if name.startswith("sending_") and not name.endswith(("switch", "reset")):
            assert _get(world, "alice", address).status_code in (403, 404), name
            assert _get(world, "paul", address).status_code in (200, 302), name
            assert _get(world, "ada", address).status_code in (200, 302), name


def test_only_administrators_manage_people_accounts_and_the_stop_list(world: World) -> None:
    for name, address in _pages(world):
        if name.startswith(OF_ADMINISTRATORS) and name not in UNUSUAL:
            for who in ("alice", "charlie", "paul"):
                assert _get(world, who, address).status_code in (403, 404), (who, name)
            assert _get(world, "ada", address).status_code in (200, 302), name


def test_every_page_answers_an_administrator(world: World) -> None:
    for name, address in _pages(world):
        if name in (*UNUSUAL, "logout", "choose_account") or name.endswith(ORDERS):
            continue
        status = _get(world, "ada", address).status_code
        assert status in (200, 302) or "/0/" in address, (name, status)


def test_who_may_only_look_changes_nothing(world: World) -> None:
    from angarium.web.mailings.models import Launch, Mailing

    pages = dict(_pages(world))
    launches = Launch.objects.count()
    world.client.force_login(world.people["bob"])
    for name in ("launch", "test", "stop", "resume", "change", "add", "delete"):
        status = world.client.post(
            pages[f"mailings_mailing_{name}"], {"name": "x", "post": "yes"}
        ).status_code
        assert status in (403, 404), (name, status)
    for name in ("profile", "profilelist", "resource", "sendingpolicy", "suppressionlist"):
        for what in ("add", "change", "delete"):
            address = pages[f"directory_{name}_{what}"]
            assert world.client.post(address, {"name": "x", "key": "x", "post": "yes"}).status_code == 403, (
                name
            )
    assert world.client.post(pages["directory_importrun_add"], {}).status_code == 403
    assert Launch.objects.count() == launches
    assert Mailing.objects.get().name == "Monday"


def test_who_may_only_look_sees_mailings_with_their_content_and_no_buttons(world: World) -> None:
    pages = dict(_pages(world))
    for name in ("mailings_mailing_change", "mailings_template_change"):
        shown = _get(world, "bob", pages[name]).content.decode()
        assert "Hello {{ name }}" in shown, name
        assert 'name="_save"' not in shown, name
    for name in ("directory_profile", "directory_suppressionlist", "directory_sendingpolicy"):
        shown = _get(world, "bob", pages[f"{name}_change"])
        assert shown.status_code == 200, name
        assert 'name="_save"' not in shown.content.decode(), name
    report = _get(world, "bob", pages["mailings_mailing_report"]).content.decode()
    assert "Resume" not in report


def test_who_edits_launches_stops_and_tests(world: World) -> None:
    from angarium.web.mailings.models import Launch

    pages = dict(_pages(world))
    world.client.force_login(world.people["alice"])
    shown = world.client.get(pages["mailings_mailing_launch"]).content.decode()
    assert "Launch to 1 profile" in shown
    assert world.client.post(pages["mailings_mailing_launch"]).status_code == 302
    launch = Launch.objects.latest("pk")
    assert (launch.state, launch.created_by, launch.audience) == ("waiting", world.people["alice"], 1)
    stop = pages["mailings_mailing_stop"].replace(f"/{world.rows['launch'].pk}/stop", f"/{launch.pk}/stop")
    assert world.client.post(stop).status_code == 302
    launch.refresh_from_db()
    assert launch.state == "stopped"
    sent = world.client.post(pages["mailings_mailing_test"], {"address": "me@example.org"})
    assert sent.status_code == 302
    assert Launch.objects.latest("pk").test_address == "me@example.org"


def test_the_journal_notes_what_was_done_and_shows_an_account_its_own(world: World) -> None:
    pages = dict(_pages(world))
    world.client.force_login(world.people["alice"])
    world.client.post(pages["mailings_mailing_launch"])
    world.client.post(pages["directory_resource_change"], {"name": "Magazine", "policy": ""})
    world.client.post(pages["directory_sendingpolicy_delete"], {"post": "yes"})
    journal = "/auditlog/logentry/"
    own = world.client.get(journal).content.decode()
    assert "launched" in own
    assert "Site → Magazine" in own
    assert "sending policy: deleted" in own
    assert "60:60" not in own
    assert "launched" not in _get(world, "charlie", journal).content.decode()
    assert _get(world, "bob", journal).status_code == 403
    assert "launched" in _get(world, "ada", journal).content.decode()


def test_secrets_are_masked_in_the_journal(world: World) -> None:
    from auditlog.models import LogEntry

    from angarium.web.sending.models import DkimKey, Route

    route = Route.objects.create(domain="x.example", host="y.example", password="swordfish-long-enough")
    route.password = "changed-swordfish-again"
    route.save()
    texts = str(list(LogEntry.objects.values_list("changes", flat=True)))
    key = DkimKey.objects.get()
    assert "swordfish-long-enough" not in texts
    assert "changed-swordfish-again" not in texts
    assert key.private_key not in texts
    assert key.private_key.splitlines()[1][len(key.private_key.splitlines()[1]) // 2 :] not in texts


def test_guessing_a_password_is_stopped_and_said(world: World) -> None:
    user = world.people["bob"]
    user.set_password("correct horse battery")
    user.save()
    for _ in range(5):
        wrong = world.client.post("/login/", {"username": "bob", "password": "wrong"})
        assert "The user name or the password is wrong." in wrong.content.decode()
    refused = world.client.post("/login/", {"username": "bob", "password": "correct horse battery"})
    assert "Too many failed attempts for this user name. Try again in 15 min." in refused.content.decode()


def test_a_second_factor_is_asked_for_once_it_is_set_up(world: World) -> None:
    from django_otp.oath import totp
    from django_otp.plugins.otp_totp.models import TOTPDevice

    user = world.people["alice"]
    user.set_password("correct horse battery")
    user.save()
    world.client.force_login(user)
    assert "authenticator app" in world.client.get("/second-factor/").content.decode()
    device = TOTPDevice.objects.get(user=user)
    refused = world.client.post("/second-factor/", {"code": "000000"}).content.decode()
    assert "This code is not right." in refused
    TOTPDevice.objects.filter(pk=device.pk).update(throttling_failure_count=0)
    assert world.client.post("/second-factor/", {"code": f"{totp(device.bin_key):06}"}).status_code == 302
    world.client.logout()

    login = {"username": "alice", "password": "correct horse battery"}
    asked = world.client.post("/login/", login).content.decode()
    assert "Give the code that your authenticator app shows now." in asked
    TOTPDevice.objects.filter(pk=device.pk).update(throttling_failure_count=0, last_t=-1)
    code = f"{totp(device.bin_key):06}"
    assert world.client.post("/login/", {**login, "code": code}).status_code == 302
    world.client.logout()
    again = world.client.post("/login/", {**login, "code": code})
    assert again.status_code == 200, "a code is good once"

    world.client.force_login(world.people["ada"])
    assert "Uses a second factor" in world.client.get(f"/access/user/{user.pk}/change/").content.decode()
    world.client.post(f"/access/user/{user.pk}/factor/")
    world.client.logout()
    assert world.client.post("/login/", login).status_code == 302


def test_pages_forbid_what_comes_from_elsewhere(world: World) -> None:
    response = _get(world, "alice", "/")
    assert "default-src 'self'" in response["Content-Security-Policy"]
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "SAMEORIGIN"


def test_a_row_in_use_is_not_deleted_and_the_answer_says_where_it_is_used(world: World) -> None:
    from angarium.web.sending.models import MtaSender, RetryRule

    rule = RetryRule.objects.create(name="Patient")
    MtaSender.objects.update(retry_rule=rule)
    world.client.force_login(world.people["paul"])
    address = f"/sending/retryrule/{rule.pk}/delete/"
    told = world.client.post(address, {"post": "yes"}, follow=True).content.decode()
    assert "is in use: sender News" in told
    assert RetryRule.objects.filter(pk=rule.pk).exists()
    MtaSender.objects.update(retry_rule=None)
    world.client.post(address, {"post": "yes"})
    assert not RetryRule.objects.filter(pk=rule.pk).exists()


def test_the_default_rule_can_be_edited_and_not_deleted(world: World) -> None:
    from angarium.web.sending.models import RetryRule

    rule = RetryRule.objects.get(default=True)
    world.client.force_login(world.people["paul"])
    values = {"name": "Mine", "mode": "other_ip", "retries": 3, "interval": 5, "type": "fixed"}
    assert world.client.post(f"/sending/retryrule/{rule.pk}/change/", values).status_code == 302
    told = world.client.post(f"/sending/retryrule/{rule.pk}/delete/", {"post": "yes"}, follow=True)
    assert "can be edited, not deleted" in told.content.decode()
    rule.refresh_from_db()
    assert (rule.name, rule.retries) == ("Mine", 3)
