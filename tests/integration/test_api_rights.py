"""Each endpoint by each person: what one may not see is 404, what one may see but not do is 403."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.people import World

PEOPLE = ("alice", "bob", "charlie", "paul", "ada")
RULE = {"name": "Patient", "type": "geometric", "exponent": 3}
ROWS: dict[str, tuple[int, ...]] = {
    # endpoint                          alice bob charlie paul ada
    "GET me":                           (200, 200, 200, 200, 200),
    "GET accounts/{acme}":              (200, 200, 404, 404, 200),
    "POST accounts":                    (404, 404, 404, 404, 201),
    "PATCH accounts/{acme}":            (403, 403, 404, 404, 200),
    "GET profiles/{profile}":           (200, 200, 404, 404, 200),
    "POST profiles":                    (200, 403, 404, 404, 200),
    "DELETE profiles/{profile}":        (204, 403, 404, 404, 204),
    "PATCH subscriptions/{subscription}": (200, 403, 404, 404, 200),
    "GET lists/{list}":                 (200, 200, 404, 404, 200),
    "POST lists":                       (201, 403, 404, 404, 201),
    "PATCH lists/{list}":               (200, 403, 404, 404, 200),
    "DELETE lists/{list}":              (409, 403, 404, 404, 409),
    "POST lists/{list}/add":            (200, 403, 404, 404, 200),
    "POST lists/{list}/remove":         (200, 403, 404, 404, 200),
    "POST resources":                   (201, 403, 404, 404, 201),
    "POST suppression-lists":           (201, 403, 404, 404, 201),
    "GET templates/{template}":         (200, 200, 404, 404, 200),
    "POST templates":                   (201, 403, 404, 404, 201),
    "PATCH templates/{template}":       (200, 403, 404, 404, 200),
    "DELETE templates/{template}":      (409, 403, 404, 404, 409),
    "GET mailings/{mailing}":           (200, 200, 404, 404, 200),
    "POST mailings":                    (201, 403, 404, 404, 201),
    "PATCH mailings/{mailing}":         (200, 403, 404, 404, 200),
    "DELETE mailings/{mailing}":        (204, 403, 404, 404, 204),
    "GET mailings/{mailing}/validate":  (200, 200, 404, 404, 200),
    "GET mailings/{mailing}/preview":   (200, 200, 404, 404, 200),
    "GET mailings/{mailing}/report":    (200, 200, 404, 404, 200),
    "GET mailings/{mailing}/answers":  (200, 200, 404, 404, 200),
    "GET mailings/{mailing}/log":       (200, 200, 404, 404, 200),
    "POST mailings/{mailing}/test":     (201, 403, 404, 404, 201),
    "POST mailings/{mailing}/launch":   (201, 403, 404, 404, 201),
    "GET queues":                       (200, 200, 200, 200, 200),
    "GET queues?mailing={mailing}&by=isp": (200, 200, 404, 404, 200),
    "GET queues?account={acme}":        (200, 200, 404, 404, 200),
    "GET queues/gates?mailing={mailing}": (200, 200, 404, 404, 200),
    "POST queues/freeze":               (200, 403, 404, 404, 200),
    "POST queues/unfreeze":             (200, 403, 404, 404, 200),
    "POST queues/clear":                (200, 403, 404, 404, 200),
    "POST queues/hold":                 (403, 403, 404, 404, 200),
    "POST queues/release":              (404, 404, 404, 200, 200),
    "GET senders/{sender}":             (200, 200, 404, 200, 200),
    "POST senders":                     (404, 404, 404, 201, 201),
    "PATCH senders/{sender}":           (403, 403, 404, 200, 200),
    "DELETE senders/{sender}":          (403, 403, 404, 409, 409),
    "GET retry-rules":                  (404, 404, 404, 200, 200),
    "GET retry-rules/{rule}":           (404, 404, 404, 200, 200),
    "POST retry-rules":                 (404, 404, 404, 201, 201),
    "POST retry-rules/preview":         (404, 404, 404, 200, 200),
    "PATCH retry-rules/{rule}":         (404, 404, 404, 200, 200),
    "DELETE retry-rules/{rule}":        (404, 404, 404, 409, 409),
    "GET strategies":                   (404, 404, 404, 200, 200),
    "POST strategies":                  (404, 404, 404, 201, 201),
    "GET bounce-patterns":              (404, 404, 404, 200, 200),
    "POST bounce-patterns":             (404, 404, 404, 201, 201),
    "POST bounce-patterns/classify":    (404, 404, 404, 200, 200),
    "GET isps":                         (404, 404, 404, 200, 200),
    "POST isps":                        (404, 404, 404, 201, 201),
    "GET nodes/{node}":                 (404, 404, 404, 200, 200),
    "POST nodes":                       (404, 404, 404, 201, 201),
    "DELETE nodes/{node}":              (404, 404, 404, 409, 409),
    "GET ip-addresses/{address}":       (404, 404, 404, 200, 200),
    "POST ip-addresses":                (404, 404, 404, 201, 201),
    "DELETE ip-addresses/{address}":    (404, 404, 404, 409, 409),
    "GET dkim-keys":                    (404, 404, 404, 200, 200),
    "POST dkim-keys":                   (404, 404, 404, 201, 201),
    "GET routes":                       (404, 404, 404, 200, 200),
    "POST routes":                      (404, 404, 404, 201, 201),
    "GET default-rules":                (404, 404, 404, 200, 200),
    "POST default-rules":               (404, 404, 404, 201, 201),
    "GET stop-list":                    (404, 404, 404, 404, 200),
    "POST stop-list":                   (404, 404, 404, 404, 201),
    "GET journal":                      (404, 404, 404, 404, 200),
}  # fmt: skip


@pytest.fixture
def world(control_database: str) -> World:
    from tests.support.people import build

    return build()


def bodies(world: World) -> dict[str, Any]:
    rows, acme = {name: row.pk for name, row in world.rows.items()}, world.acme.pk
    mailing = {name: rows[name] for name in ("template", "resource", "sender")} | {"audience": rows["list"]}
    return {
        "POST accounts": {"name": "Third"},
        "PATCH accounts/{acme}": {"name": "Acme Ltd"},
        "POST profiles": {"account": acme, "profiles": [{"key": "x"}]},
        "PATCH subscriptions/{subscription}": {"status": "suspended"},
        "POST lists": {"account": acme, "name": "Some"},
        "PATCH lists/{list}": {"name": "All"},
        "POST lists/{list}/add": {"profiles": [rows["profile"]]},
        "POST lists/{list}/remove": {"profiles": [rows["profile"]]},
        "POST resources": {"account": acme, "name": "App"},
        "POST suppression-lists": {"account": acme, "name": "Never"},
        "POST templates": {"account": acme, "name": "T", "subject": "S", "text": "T"},
        "PATCH templates/{template}": {"subject": "Hi"},
        "POST mailings": {"account": acme, "name": "Tuesday", **mailing},
        "PATCH mailings/{mailing}": {"urgent": True},
        "POST mailings/{mailing}/test": {"address": "me@acme.example"},
        "POST mailings/{mailing}/launch": {},
        "POST queues/freeze": {"mailing": rows["mailing"]},
        "POST queues/unfreeze": {"mailing": rows["mailing"]},
        "POST queues/clear": {"mailing": rows["mailing"]},
        "POST queues/hold": {"account": acme, "isp": 1},
        "POST queues/release": {"sender": rows["sender"]},
        "POST senders": {"name": "Other"},
        "PATCH senders/{sender}": {"life": 3600},
        "POST retry-rules": RULE,
        "POST retry-rules/preview": RULE,
        "PATCH retry-rules/{rule}": {"retries": 3},
        "POST strategies": {"name": "Slow"},
        "POST bounce-patterns": {"name": "P", "type": "soft", "pattern": "^450"},
        "POST bounce-patterns/classify": [{"code": 550, "text": "user unknown"}],
        "POST isps": {"name": "Small", "domains": ["small.example"]},
        "POST nodes": {"name": "node-2"},
        "POST ip-addresses": {"node": rows["node"], "address": "127.0.0.3"},
        "POST dkim-keys": {"domain": "acme.example", "selector": "a", "algorithm": "ed25519"},
        "POST routes": {"domain": "*", "host": "127.0.0.1"},
        "POST default-rules": {"bounce_type": "block", "retry_rule": 1},
        "POST stop-list": {"email": "dead@example.com"},
    }


def ids(world: World) -> dict[str, int]:
    return {"acme": world.acme.pk, "rule": 1, **{name: row.pk for name, row in world.rows.items()}}


def test_each_person_gets_what_is_theirs_and_no_more(world: World) -> None:
    from django.db import transaction

    wrong = []
    for endpoint, statuses in ROWS.items():
        method, path = endpoint.split(" ")
        for person, wanted in zip(PEOPLE, statuses, strict=True):
            with transaction.atomic():
                answer = world.ask(person, method, path.format(**ids(world)), bodies(world).get(endpoint))
                transaction.set_rollback(True)
            if answer.status != wanted:
                wrong.append(f"{person}: {endpoint} gave {answer.status}, not {wanted}: {answer.json}")
    assert not wrong, "\n".join(wrong)


def test_nobody_gets_nothing(world: World) -> None:
    for endpoint in ROWS:
        method, path = endpoint.split(" ")
        answer = world.ask(None, method, path.format(**ids(world)), bodies(world).get(endpoint))
        assert answer.status == 401, endpoint


LISTS = ("profiles", "subscriptions", "lists", "resources", "suppression-lists", "templates", "mailings",
         "launches", "senders")  # fmt: skip


def test_lists_show_only_rows_of_ones_own_accounts(world: World) -> None:
    world.ask("alice", "POST", f"mailings/{world.rows['mailing'].pk}/launch")
    world.ask("alice", "POST", "suppression-lists", {"name": "Never"})
    for path in LISTS:
        seen = {
            person: world.ask(person, "GET", path).json["items"] for person in ("alice", "bob", "charlie")
        }
        assert seen["alice"], path
        assert seen["alice"] == seen["bob"], path
        assert seen["charlie"] == [], path


def test_an_account_asked_for_by_a_stranger_is_empty(world: World) -> None:
    assert world.ask("charlie", "GET", f"profiles?account={world.acme.pk}").json["items"] == []
    assert [row["name"] for row in world.ask("charlie", "GET", "accounts").json["items"]] == ["Other"]
