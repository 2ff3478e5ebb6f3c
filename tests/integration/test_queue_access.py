"""The sender queue through the API and the command line."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from angarium.cli import app
from angarium.errors import InvalidInput

if TYPE_CHECKING:
    from tests.support.people import World


@pytest.fixture
def world(control_database: str) -> World:
    """Acme's mailing Monday has 100 messages in the broker; node-1 is up and reads settings by hand."""
    from tests.support.people import build

    from angarium.web.mailings.models import Launch, Packet

    world = build()
    mailing = world.rows["mailing"]
    launch = Launch.objects.create(account=world.acme, mailing=mailing, state="prepared")
    Packet.objects.create(
        launch=launch, account=world.acme, queue=f"akmta_{mailing.sender_id}", recipients=b"", count=100,
        published=True,
    )  # fmt: skip
    return world


def node_reads(version: int | None = None, seen: float | None = None) -> None:
    from angarium.store import nodes, settings

    node = nodes.register("node-1")
    nodes.heartbeat(node.id, settings.version() if version is None else version, "", seen or time.time())


def say(*words: str, code: int = 0, typed: str = "") -> Result:
    result = CliRunner().invoke(app, ["queue", *words], input=typed, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def run(*words: str, code: int = 0) -> Any:
    return json.loads(say(*words, "--json", code=code).stdout)


def test_a_mailing_is_frozen_unfrozen_and_cleared_through_the_api(world: World) -> None:
    number = world.rows["mailing"].pk
    ask = {"mailing": number}
    dry = world.ask("alice", "POST", "queues/freeze", {**ask, "dry_run": True}).json
    assert (dry["affected"], dry["changed"]) == (100, False)
    done = world.ask("alice", "POST", "queues/freeze", ask).json
    assert done == {"affected": 100, "changed": True, "unconfirmed": [], "preparing": []}
    shown = world.ask("alice", "GET", f"queues?mailing={number}&by=node").json
    assert (shown["total"], shown["new"], shown["frozen"]) == (100, 0, 100)
    assert [(row["name"], row["queue"]["frozen"]) for row in shown["rows"]] == [("In the broker", 100)]
    [gate] = shown["gates"]
    assert (gate["mailing"], gate["account"], gate["isp"], gate["user"]) == (
        number,
        world.acme.pk,
        None,
        "alice",
    )
    assert world.ask("alice", "POST", "queues/freeze", ask).json["changed"] is False
    assert world.ask("alice", "POST", "queues/unfreeze", ask).json["affected"] == 100
    assert world.ask("alice", "POST", "queues/clear", ask).json["affected"] == 100
    assert world.ask("alice", "GET", f"queues?mailing={number}").json["total"] == 0


def test_the_api_names_nodes_that_have_not_confirmed(world: World) -> None:
    node_reads(seen=time.time() - 60)
    done = world.ask("alice", "POST", "queues/freeze", {"mailing": world.rows["mailing"].pk}).json
    assert done["unconfirmed"] == ["node-1"]


def test_a_command_says_whose_hand_it_was(world: World) -> None:
    world.ask("alice", "POST", "queues/freeze", {"mailing": world.rows["mailing"].pk})
    entry = world.ask("ada", "GET", "journal?table=gate").json["items"][0]
    assert (entry["actor"], entry["token"], entry["changes"]["affected"]) == (
        "alice",
        "alice's token",
        [None, "100"],
    )


def test_what_others_share_takes_a_postmaster(world: World) -> None:
    from angarium.web.access.models import Membership

    number = world.rows["mailing"].pk
    refused = world.ask("alice", "POST", "queues/hold", {"account": world.acme.pk})
    assert (refused.status, "postmaster" in refused.json["error"]) == (403, True)
    assert world.ask("alice", "POST", "queues/hold", {"isp": 1}).status == 404
    assert world.ask("alice", "POST", "queues/hold", {"mailing": number, "isp": 1}).status == 200
    assert world.ask("paul", "POST", "queues/hold", {"isp": 1}).status == 200
    assert world.ask("paul", "POST", "queues/hold", {"account": world.acme.pk}).status == 404
    Membership.objects.create(user=world.people["paul"], account=world.acme, right=Membership.Right.EDIT)
    assert world.ask("paul", "POST", "queues/hold", {"account": world.acme.pk}).status == 200
    assert world.ask("paul", "POST", "queues/clear", {}).status == 422
    seen = world.ask("charlie", "GET", "queues/gates").json
    assert [gate["isp"] for gate in seen] == [1], "of other accounts nobody learns"
    assert (
        world.ask("charlie", "POST", "queues/hold", {"account": world.other.pk, "mailing": number}).status
        == 404
    )


def test_a_mailing_is_frozen_and_unfrozen_by_command(world: World) -> None:
    assert "100 messages would be frozen." in say("freeze", "--mailing", "Monday", "--dry-run").stdout
    assert "Frozen: 100 messages." in say("freeze", "--mailing", "Monday").stdout
    assert "It is frozen already." in say("freeze", "--mailing", "Monday").stdout
    shown = say("show", "--mailing", "Monday").stdout
    assert "Frozen: mailing Monday since" in shown
    assert "In the broker" in shown
    assert run("show", "--mailing", "Monday", "--by", "sender")["rows"][0]["queue"]["frozen"] == 100
    assert run("unfreeze", "--mailing", "Monday") == {
        "affected": 100, "changed": True, "unconfirmed": [], "preparing": [],
    }  # fmt: skip


def test_a_clear_asks_first(world: World) -> None:
    declined = say("clear", "--mailing", "Monday", typed="n\n", code=1)
    assert "Remove 100 messages for good?" in declined.stderr
    assert run("show")["total"] == 100
    assert run("clear", "--mailing", "Monday", "--dry-run")["affected"] == 100
    assert "Removed: 100 messages." in say("clear", "--mailing", "Monday", typed="y\n").stdout
    assert run("show")["total"] == 0
    assert "Removed: 0 messages." in say("clear", "--mailing", "Monday", "--yes").stdout


def test_a_scope_is_held_and_released_by_command(world: World) -> None:
    assert run("hold", "--sender", "News", "--isp", "Gmail")["affected"] == 0
    assert run("hold", "--account", "Acme")["affected"] == 100
    assert [bool(gate["isp"]) for gate in run("show")["gates"]] == [True, False]
    assert "Exactly this is not held" in say("release", "--sender", "News").stdout
    assert run("release", "--account", "Acme")["affected"] == 100


def test_a_command_names_nodes_that_have_not_confirmed(world: World) -> None:
    node_reads(seen=time.time() - 60)
    assert "Not confirmed yet by node-1." in say("freeze", "--mailing", "Monday", code=1).stderr
    assert run("unfreeze", "--mailing", "Monday", code=1)["unconfirmed"] == ["node-1"]


def test_watching_shows_the_figures_again_and_again(world: World) -> None:
    lines = say("watch", "--mailing", "Monday", "--looks", "2", "--json").stdout.splitlines()
    assert [json.loads(line)["new"] for line in lines] == [100, 100]
    assert "In the broker" in say("watch", "--mailing", "Monday", "--looks", "1").stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("clear", "--yes"), "name what it is about"),
        (("freeze", "--mailing", "Nope"), "there is no mailing 'Nope'"),
        (("hold", "--isp", "Nope"), "there is no ISP 'Nope'"),
        (("freeze", "--mailing", "Monday", "--account", "Other"), "there is no mailing 'Monday'"),
    ],
)
def test_a_scope_that_is_not_clear_is_refused_in_plain_words(
    world: World, words: tuple[str, ...], text: str
) -> None:
    with pytest.raises(InvalidInput, match=text):
        say(*words)
