"""The API's promises: tokens, errors at fields, pages, deletion, launches, the journal."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.people import World


@pytest.fixture
def world(control_database: str) -> World:
    from tests.support.people import build

    return build()


# Tokens


def test_a_token_is_kept_as_a_digest_and_its_use_is_noted_once_a_minute(world: World) -> None:
    from django.utils import timezone

    from angarium.web.access.models import ApiToken

    row = ApiToken.objects.get(user=world.people["alice"])
    assert world.tokens["alice"] not in {row.digest, row.prefix}
    assert row.used is None
    world.ask("alice", "GET", "me")
    row.refresh_from_db()
    first = row.used
    assert first is not None
    world.ask("alice", "GET", "me")
    row.refresh_from_db()
    assert row.used == first
    ApiToken.objects.filter(pk=row.pk).update(used=timezone.now() - timedelta(minutes=2))
    world.ask("alice", "GET", "me")
    row.refresh_from_db()
    assert row.used is not None
    assert row.used > first


def test_an_expired_token_and_one_of_an_inactive_person_are_refused(world: World) -> None:
    from django.utils import timezone

    from angarium.web.access.models import ApiToken

    ApiToken.objects.filter(user=world.people["alice"]).update(expires=timezone.now() - timedelta(seconds=1))
    world.people["bob"].is_active = False
    world.people["bob"].save()
    assert world.ask("alice", "GET", "me").status == 401
    assert world.ask("bob", "GET", "me").status == 401


def test_a_token_narrowed_to_an_account_gives_nothing_of_the_platform(world: World) -> None:
    from angarium.web.access import tokens

    _, secret = tokens.create(world.people["ada"], "narrow", world.other)
    assert [row["name"] for row in world.ask(secret, "GET", "accounts").json["items"]] == ["Other"]
    assert world.ask(secret, "GET", f"mailings/{world.rows['mailing'].pk}").status == 404
    for path in ("retry-rules", "journal", "stop-list"):
        assert world.ask(secret, "GET", path).status == 404
    assert world.ask(secret, "POST", "lists", {"name": "Here"}).json["account"] == world.other.pk


def test_guessing_is_slowed_down_but_a_good_token_is_always_heard(world: World) -> None:
    statuses = [world.ask("ang_wrong", "GET", "me").status for _ in range(22)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    assert world.ask("ang_wrong", "GET", "me").headers["Retry-After"]
    assert world.ask("alice", "GET", "me").status == 200


def test_a_session_may_read_but_changes_need_the_csrf_token(world: World) -> None:
    from django.test import Client

    client = Client(enforce_csrf_checks=True, SERVER_NAME="localhost")
    client.force_login(world.people["alice"])
    assert client.get("/api/v1/lists").status_code == 200
    answer = client.post("/api/v1/lists", {"name": "X"}, content_type="application/json")
    assert answer.status_code == 403
    assert "CSRF" in answer.json()["error"]


# Errors


WRONG_RULES: list[tuple[dict[str, Any], set[str]]] = [
    ({"name": ""}, {"name"}),
    ({"name": "A", "mode": "any"}, {"mode"}),
    ({"name": "A", "retries": -1}, {"retries"}),
    ({"name": "A", "retries": 1.5}, {"retries"}),
    ({"name": "A", "retries": True}, {"retries"}),
    ({"name": "A", "interval": 0}, {"interval"}),
    ({"name": "A", "type": "geometric", "exponent": 0.5}, {"exponent"}),
    ({"name": "A", "type": "random", "modifier": -1}, {"modifier"}),
    ({"name": "A", "type": "geometric", "exponent": 0, "interval": 0}, {"exponent", "interval"}),
    ({"name": "A", "colour": "red"}, {"colour"}),
    ({}, {"name"}),
    ({"name": "Default: same IP, 5 retries, 15 min doubling"}, {"name"}),
]


def test_a_wrong_retry_rule_is_refused_at_the_field(world: World) -> None:
    for fields, wrong in WRONG_RULES:
        answer = world.ask("paul", "POST", "retry-rules", fields)
        assert (answer.status, set(answer.json["fields"])) == (422, wrong), fields
        assert all(answer.json["fields"].values())


def test_a_field_that_the_type_does_not_use_is_not_judged(world: World) -> None:
    body = {"name": "A", "type": "fixed", "exponent": 0, "modifier": -5}
    assert world.ask("paul", "POST", "retry-rules", body).status == 201


def test_a_body_that_cannot_be_kept_is_refused_plainly(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.tokens['paul']}"}
    for body in (
        "{",
        r'{"name": "a\u0000b"}',
        r'{"name": "\ud800"}',
        '{"name": "a", "interval": NaN}',
        '{"interval": 1e999}',
        "\0",
    ):
        answer = world.client.generic(
            "POST", "/api/v1/retry-rules", body, "application/json", headers=headers
        )
        assert answer.status_code == 400, body
        assert "cannot be read" in answer.json()["error"]
    assert world.ask("paul", "GET", "retry-rules?name=%00").status == 400


def test_an_address_that_is_none_is_answered_in_the_apis_way(world: World) -> None:
    for path in ("nothing", "retry-rules/x", "retry-rules/-1"):
        assert world.ask("paul", "POST", path).status == 404
        assert "error" in world.ask("paul", "GET", path).json


WRONG_MAILINGS: list[tuple[dict[str, Any], set[str]]] = [
    ({"from_address": "not an address"}, {"from_address"}),
    ({"filters": [{"field": "age", "operator": "older", "value": 1}]}, {"filters"}),
    ({"headers": {"X-A": "one\r\ntwo"}}, {"headers"}),
    ({"audience": 999_999}, {"audience"}),
    ({"sender": 999_999}, {"sender"}),
    ({"suppression_lists": [999_999]}, {"suppression_lists"}),
    ({"life": 1}, {"life"}),
    ({"to_name": "{{ name"}, {"to_name"}),
    ({"launch_limit": 0}, {"launch_limit"}),
]


def test_a_wrong_mailing_is_refused_at_the_field(world: World) -> None:
    for fields, wrong in WRONG_MAILINGS:
        answer = world.ask("alice", "PATCH", f"mailings/{world.rows['mailing'].pk}", fields)
        assert (answer.status, set(answer.json["fields"])) == (422, wrong), fields


def test_a_template_that_cannot_work_is_refused_at_its_part(world: World) -> None:
    body = {"name": "T", "subject": "{{ x", "html": "{% nonsense %}", "text": "fine"}
    answer = world.ask("alice", "POST", "templates", body)
    assert set(answer.json["fields"]) == {"subject", "html"}


# Deletion


def test_a_retry_rule_in_use_is_not_deleted_and_says_where(world: World) -> None:
    rule = world.ask("paul", "POST", "retry-rules", {"name": "Used"}).json["id"]
    world.ask("paul", "PATCH", f"senders/{world.rows['sender'].pk}", {"retry_rule": rule})
    world.ask("paul", "POST", "default-rules", {"retry_rule": rule, "position": 7})
    answer = world.ask("paul", "DELETE", f"retry-rules/{rule}")
    assert answer.status == 409
    assert answer.json["uses"] == ["sender News", "default rule #7"]
    world.ask("paul", "PATCH", f"senders/{world.rows['sender'].pk}", {"retry_rule": None})
    for row in world.ask("paul", "GET", "default-rules").json["items"]:
        assert world.ask("paul", "DELETE", f"default-rules/{row['id']}").status == 204
    assert world.ask("paul", "DELETE", f"retry-rules/{rule}").status == 204


def test_a_default_can_be_edited_but_not_deleted(world: World) -> None:
    for path in ("retry-rules", "strategies"):
        rows = world.ask("paul", "GET", path).json["items"]
        row = next(row for row in rows if row["default"])
        assert world.ask("paul", "DELETE", f"{path}/{row['id']}").status == 409
        assert world.ask("paul", "PATCH", f"{path}/{row['id']}", {"name": "Renamed"}).status == 200


def test_a_builtin_pattern_is_edited_and_reset_but_not_deleted(world: World) -> None:
    row = world.ask("paul", "GET", "bounce-patterns?limit=1&builtin=true").json["items"][0]
    path = f"bounce-patterns/{row['id']}"
    assert world.ask("paul", "DELETE", path).status == 409
    assert world.ask("paul", "PATCH", path, {"pattern": "^never$"}).json["edited"] is True
    assert world.ask("paul", "POST", f"{path}/reset").json == row


# Settings


def test_a_preview_shows_the_attempt_times_of_the_rule(world: World) -> None:
    body = {"name": "A", "retries": 3, "interval": 10, "type": "geometric", "exponent": 2}
    times = world.ask("paul", "POST", "retry-rules/preview", body).json["attempts"]
    assert [time["earliest"] for time in times] == [600, 1800, 4200]


def test_a_strategy_says_its_speed(world: World) -> None:
    body = {"name": "S", "connections": 2, "messages_per_connection": 5, "attempts": 3, "interval": 10}
    assert world.ask("paul", "POST", "strategies", body).json["speed"] == {
        "per_minute": 180,
        "per_hour": 10_800,
        "per_day": 259_200,
    }


def test_a_dkim_key_shows_its_dns_record_and_never_its_private_half(world: World) -> None:
    for algorithm in ("rsa", "ed25519"):
        body = {"domain": "Пример.РФ", "selector": f"May-{algorithm}", "algorithm": algorithm}
        made = world.ask("paul", "POST", "dkim-keys", body).json
        assert made["record"]["name"] == f"may-{algorithm}._domainkey.xn--e1afmkfd.xn--p1ai"
        assert made["record"]["value"].startswith(f"v=DKIM1; k={algorithm}; p=")
        seen = str(
            [made, world.ask("paul", "GET", "dkim-keys").json, world.ask("ada", "GET", "journal").json]
        )
        assert "PRIVATE KEY" not in seen
        assert world.ask("paul", "POST", "dkim-keys", body).status == 422


def test_a_sender_is_written_whole_or_not_at_all(world: World) -> None:
    wrong = {"name": "Half", "addresses": [world.rows["address"].pk], "overrides": [{"strategy": 999_999}]}
    assert set(world.ask("paul", "POST", "senders", wrong).json["fields"]) == {"overrides"}
    assert world.ask("paul", "GET", "senders?name=Half").json["items"] == []


def test_a_sender_shows_its_sending_to_postmasters_only(world: World) -> None:
    path = f"senders/{world.rows['sender'].pk}"
    assert world.ask("paul", "GET", path).json["mta"]["addresses"] == [world.rows["address"].pk]
    assert world.ask("alice", "GET", path).json["mta"] is None


def test_a_change_of_settings_raises_their_version(world: World) -> None:
    from angarium.store import settings

    before = settings.version()
    world.ask("paul", "PATCH", "retry-rules/1", {"retries": 4})
    assert settings.version() > before


def test_a_routes_password_is_written_and_never_read(world: World) -> None:
    body = {"domain": "acme.example", "host": "relay.acme.example", "username": "u", "password": "secret!"}
    made = world.ask("paul", "POST", "routes", body)
    assert made.status == 201
    assert "secret!" not in str([made.json, world.ask("ada", "GET", "journal").json])


# Profiles


def test_a_batch_of_profiles_reports_each_and_keeps_the_good_ones(world: World) -> None:
    batch = [
        {"email": "New@Example.com", "attributes": {"name": "New"}},
        {"email": "not an address"},
        {"key": "ann@example.com", "attributes": {"age": 30, "name": None}},
        {},
    ]
    body = {"resource": world.rows["resource"].pk, "list": world.rows["list"].pk, "profiles": batch}
    found = world.ask("alice", "POST", "profiles", body).json
    assert [(item["profile"] is not None, item["created"]) for item in found] == [
        (True, True), (False, False), (True, False), (False, False),
    ]  # fmt: skip
    assert found[1]["error"].startswith("not an e-mail address")
    ann = world.ask("alice", "GET", f"profiles/{found[2]['profile']}").json
    assert ann["attributes"] == {"age": 30}
    new = world.ask("alice", "GET", f"profiles/{found[0]['profile']}").json
    assert new["subscriptions"][0]["address"] == "New@example.com"
    assert world.ask("alice", "GET", f"lists/{world.rows['list'].pk}").json["size"] == 2


def test_a_batch_never_subscribes_again_whoever_left(world: World) -> None:
    path = f"subscriptions/{world.rows['subscription'].pk}"
    world.ask("alice", "PATCH", path, {"status": "unsubscribed"})
    body = {"resource": world.rows["resource"].pk, "profiles": [{"email": "ann@example.com"}]}
    world.ask("alice", "POST", "profiles", body)
    rows = world.ask("alice", "GET", "subscriptions?email=ANN@example.com").json["items"]
    assert [row["status"] for row in rows] == ["unsubscribed"]


def test_more_than_a_thousand_profiles_are_refused(world: World) -> None:
    answer = world.ask("alice", "POST", "profiles", {"profiles": [{"key": "x"}] * 1001})
    assert set(answer.json["fields"]) == {"profiles"}


def test_pages_follow_one_another_without_gaps_or_repeats(world: World) -> None:
    world.ask("alice", "POST", "profiles", {"profiles": [{"key": f"p{n}"} for n in range(6)]})
    seen, cursor = [], ""
    while True:
        answer = world.ask("alice", "GET", f"profiles?limit=3{cursor}").json
        seen += [row["key"] for row in answer["items"]]
        if answer["next"] is None:
            break
        cursor = f"&cursor={answer['next']}"
    assert seen == ["ann@example.com", *(f"p{n}" for n in range(6))]


def test_suppressed_values_are_compared_as_the_launch_compares_them(world: World) -> None:
    number = world.ask("alice", "POST", "suppression-lists", {"name": "Never"}).json["id"]
    body = {"values": ["Ann@Example.COM", "@bad.example", "пример.рф"]}
    assert world.ask("alice", "POST", f"suppression-lists/{number}/add", body).json == {"changed": 3}
    entries = world.ask("alice", "GET", f"suppression-lists/{number}/entries").json["items"]
    assert {(entry["kind"], entry["value"]) for entry in entries} == {
        ("address", "ann@example.com"), ("domain", "bad.example"), ("domain", "xn--e1afmkfd.xn--p1ai"),
    }  # fmt: skip
    wrong = world.ask(
        "alice", "POST", f"suppression-lists/{number}/add", {"values": ["ok.example", "no domain"]}
    )
    assert set(wrong.json["fields"]) == {"values.1"}


# Launches


def test_a_repeated_key_gives_the_launch_of_then(world: World) -> None:
    path = f"mailings/{world.rows['mailing'].pk}/launch"
    first = world.ask("alice", "POST", path, **{"Idempotency-Key": "monday"})
    again = world.ask("alice", "POST", path, **{"Idempotency-Key": "monday"})
    assert (first.status, again.status) == (201, 200)
    assert again.json["id"] == first.json["id"]
    other = world.ask("alice", "POST", path, **{"Idempotency-Key": "tuesday"})
    assert other.status == 409
    assert "already being launched" in other.json["error"]


def test_a_refused_launch_does_not_use_up_its_key(world: World) -> None:
    mailing = f"mailings/{world.rows['mailing'].pk}"
    world.ask("alice", "PATCH", mailing, {"active": False})
    refused = world.ask("alice", "POST", f"{mailing}/launch", **{"Idempotency-Key": "k"})
    assert refused.status == 422
    assert "not active" in refused.json["error"]
    world.ask("alice", "PATCH", mailing, {"active": True})
    assert world.ask("alice", "POST", f"{mailing}/launch", **{"Idempotency-Key": "k"}).status == 201


def test_a_launch_is_stopped_resumed_and_followed(world: World) -> None:
    path = f"mailings/{world.rows['mailing'].pk}/launch"
    number = world.ask("alice", "POST", path).json["id"]
    assert world.ask("alice", "POST", f"launches/{number}/stop").json["state"] == "stopped"
    assert world.ask("alice", "POST", f"launches/{number}/stop").status == 409
    assert world.ask("alice", "POST", f"launches/{number}/resume").json["state"] == "waiting"
    log = world.ask("alice", "GET", f"launches/{number}/log").json["items"]
    assert log[0]["message"] == "Stopped by a person before it began"
    assert world.ask("bob", "POST", f"launches/{number}/stop").status == 403
    assert world.ask("charlie", "GET", f"launches/{number}").status == 404


def test_reports_and_stories_tell_what_the_recorder_stored(world: World) -> None:
    from angarium.domain.message import message_id
    from angarium.events import Event, EventBatch, EventKind
    from angarium.store import events

    mailing = world.rows["mailing"]
    number = world.ask("alice", "POST", f"mailings/{mailing.pk}/launch").json["id"]
    message = message_id(number, "email", world.rows["subscription"].pk)
    facts: dict[str, Any] = {
        "account": world.acme.pk, "mailing": mailing.pk, "launch": number, "message": message,
        "channel": "email", "profile": 1, "subscription": 0, "sender": 1, "address": "ann@example.com",
    }  # fmt: skip
    happened = (
        Event(kind=EventKind.SEND, time=60.0, **facts),
        Event(
            kind=EventKind.SOFT_BOUNCE,
            time=61.0,
            attempt=1,
            code=450,
            text="later",
            next_attempt=900.0,
            **facts,
        ),
        Event(kind=EventKind.DELIVERED, time=905.0, attempt=2, code=250, **facts),
    )
    events.store([EventBatch("b:1", happened)], 1000.0)
    report = world.ask("bob", "GET", f"launches/{number}/report").json
    assert (report["delivered"], report["soft_bounces"], report["undelivered"]) == (1, 1, 0)
    answers = world.ask("bob", "GET", f"launches/{number}/answers").json
    assert [(answer["code"], answer["text"], answer["count"]) for answer in answers] == [(450, "later", 1)]
    assert sum(world.ask("bob", "GET", f"launches/{number}/timeline").json["series"]["delivered"]) == 1
    story = world.ask("bob", "GET", f"messages/{message.hex()}").json
    assert [event["kind"] for event in story["events"]] == ["send", "sbounce", "deliv"]
    listed = world.ask("bob", "GET", f"launches/{number}/events?kind=deliv").json["items"]
    assert [event["message"] for event in listed] == [message.hex()]
    assert world.ask("charlie", "GET", f"messages/{message.hex()}").status == 404


def test_what_is_no_message_id_is_not_found(world: World) -> None:
    for text in ("x", "zz", "ab" * 15, "ff" * 16, "1" * 56):
        assert world.ask("ada", "GET", f"messages/{text}").status == 404


# Files


def test_an_uploaded_file_is_imported_and_reports_its_refused_lines(world: World) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    file = SimpleUploadedFile(
        "people.csv", b"email,name\neve@example.com,Eve\nnot an address,X\n", "text/csv"
    )
    data = {"file": file, "resource": world.rows["resource"].pk, "list": world.rows["list"].pk}
    headers = {"Authorization": f"Bearer {world.tokens['alice']}"}
    begun = world.client.post("/api/v1/imports", data, headers=headers)
    assert begun.status_code == 202, begun.content
    found = _finished(world, begun.json()["id"])
    assert (found["state"], found["created_profiles"], found["rejected"]) == ("finished", 1, 1)
    assert found["rejections"][0]["line"] == 3
    assert world.ask("charlie", "GET", f"imports/{found['id']}").status == 404


def _finished(world: World, number: int) -> dict[str, Any]:
    import time

    deadline = time.monotonic() + 30
    while True:
        found: dict[str, Any] = world.ask("alice", "GET", f"imports/{number}").json
        if found["state"] != "running" or time.monotonic() > deadline:
            return found


def test_a_file_without_addresses_is_refused_plainly(world: World) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    file = SimpleUploadedFile("people.csv", b"colour\nred\n", "text/csv")
    headers = {"Authorization": f"Bearer {world.tokens['alice']}"}
    answer = world.client.post("/api/v1/imports", {"file": file}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["error"]


def test_a_picture_that_the_html_names_is_placed_in_it(world: World) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    path = f"templates/{world.rows['template'].pk}"
    world.ask("alice", "PATCH", path, {"html": '<img src="cid:cat.png">'})
    headers = {"Authorization": f"Bearer {world.tokens['alice']}"}
    file = SimpleUploadedFile("cat.png", b"png", "image/png")
    made = world.client.post(f"/api/v1/{path}/files", {"file": file}, headers=headers).json()
    assert made["content_id"] == "cat.png"
    assert world.ask("alice", "GET", path).json["files"] == [made]
    assert world.ask("alice", "DELETE", f"{path}/files/{made['id']}").status == 204


# The journal and the description


def test_the_journal_names_the_person_and_their_token(world: World) -> None:
    world.ask("paul", "PATCH", "retry-rules/1", {"retries": 9})
    world.ask("alice", "POST", f"mailings/{world.rows['mailing'].pk}/launch")
    entries = world.ask("ada", "GET", "journal").json["items"]
    launched, changed = entries[0], entries[1]
    assert (launched["actor"], launched["token"], launched["table"]) == ("alice", "alice's token", "mailing")
    assert (changed["actor"], changed["token"]) == ("paul", "paul's token")
    assert changed["changes"] == {"retries": ["5", "9"]}


def test_the_description_page_asks_nothing_of_other_hosts(world: World) -> None:
    import re

    page = world.client.get("/api/v1/docs").content.decode()
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert links
    assert all(link.startswith("/") for link in links)


def test_health_and_version_need_no_token(world: World) -> None:
    assert world.ask(None, "GET", "health").json == {"ok": True, "database": True}
    assert world.ask(None, "GET", "version").status == 200


def test_two_requests_with_one_key_at_the_same_moment_make_one_launch(world: World) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from django.db import connection

    path = f"mailings/{world.rows['mailing'].pk}/launch"

    def launch(_: int) -> tuple[int, int]:
        try:
            answer = world.ask("alice", "POST", path, **{"Idempotency-Key": "once"})
            return answer.status, answer.json["id"]
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(launch, range(4)))
    assert sorted(status for status, _ in answers) == [200, 200, 200, 201]
    assert len({number for _, number in answers}) == 1
