"""A mailing told with commands: from a file of people to a launch that is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from angarium.cli import app
from angarium.errors import InvalidInput


def say(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return str(result.stdout)


def run(*words: str) -> Any:
    return json.loads(say(*words, "--json"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "people.csv").write_text(
        "email,first_name\na@example.com,Anna\nnobody,x\nb@example.com,Bob\n"
    )
    (tmp_path / "news.html").write_text('<p>Dear {{ first_name }}</p><img src="cid:logo">')
    (tmp_path / "logo.png").write_bytes(b"\x89PNG")
    return tmp_path


@pytest.fixture
def mailing(control_database: str, folder: Path) -> int:
    run("account", "create", "--name", "Shop")
    run("node", "create", "--name", "node-1")
    run("ip", "create", "127.0.0.2", "--node", "node-1")
    run("sender", "create", "--name", "Post", "--account", "Shop", "--ip", "127.0.0.2")
    run("import", str(folder / "people.csv"), "--list", "All", "--resource", "News")
    condition = {"field": "first_name", "operator": "not_equal", "value": "Bob"}
    made = run(
        "mailing", "create", "Spring", "--subject", "For {{ first_name }}",
        "--html", str(folder / "news.html"), "--list", "All", "--resource", "News",
        "--from", "news@shop.example", "--inline", f"logo={folder / 'logo.png'}", "--attach",
        str(folder / "people.csv"), "--where", json.dumps(condition),
    )  # fmt: skip
    return int(made["mailing"])


def test_an_import_tells_what_it_did(control_database: str, folder: Path) -> None:
    run("account", "create", "--name", "Shop")
    rejected = folder / "rejected.csv"
    outcome = run(
        "import",
        str(folder / "people.csv"),
        "--list",
        "All",
        "--resource",
        "News",
        "--rejected",
        str(rejected),
    )
    assert (outcome["created"], outcome["rejected"], outcome["state"]) == (2, 1, "finished")
    assert "nobody" in rejected.read_text()
    assert "line 3: not an e-mail address" in say("import", str(folder / "people.csv"))


def test_an_account_must_be_named_where_it_is_not_clear(control_database: str, folder: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no account yet"):
        say("import", str(folder / "people.csv"))
    run("account", "create", "--name", "Shop")
    run("account", "create", "--name", "Club")
    with pytest.raises(InvalidInput, match="say which account with --account: "):
        say("import", str(folder / "people.csv"))
    with pytest.raises(InvalidInput, match="there is no account 'Nope'"):
        say("import", str(folder / "people.csv"), "--account", "Nope")


def test_a_mailing_is_previewed_launched_stopped_and_resumed(mailing: int) -> None:
    assert run("mailing", "preview", "Spring")["subject"] == "For Anna"
    assert [one["state"] for one in run("mailing", "list")] == ["never launched"]
    launch = run("mailing", "launch", "Spring")["launch"]
    with pytest.raises(InvalidInput, match="already being launched"):
        run("mailing", "launch", str(mailing))
    state = run("mailing", "status", "Spring")
    assert (state["launch"], state["state"], state["audience"]) == (launch, "waiting", 2)
    assert state["outcomes"]["delivered"] == 0
    run("mailing", "stop", "Spring")
    assert run("mailing", "status", "Spring")["state"] == "stopped"
    assert "before it began" in say("mailing", "log", "Spring")
    run("mailing", "resume", "Spring", "--launch", str(launch))
    assert run("mailing", "status", "Spring")["state"] == "waiting"
    assert "Handed to the broker" in say("mailing", "status", "Spring")


def test_a_test_send_is_a_launch_of_its_own(mailing: int) -> None:
    assert run("mailing", "test", "Spring", "me@example.com")["launch"]
    with pytest.raises(InvalidInput, match="not an e-mail address"):
        run("mailing", "test", "Spring", "me")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--subject", "{{ x", "--from", "a@b.example"), "subject, line 1"),
        (("--subject", "S", "--from", "nobody"), "from_address: not an e-mail address"),
        (("--subject", "S", "--from", "a@b.example", "--html", "/nowhere"), "/nowhere cannot be read"),
        (("--subject", "S", "--from", "a@b.example", "--attach", "/nowhere"), "/nowhere cannot be read"),
        (("--subject", "S", "--from", "a@b.example", "--inline", "logo"), "write CID=FILE"),
        (("--subject", "S", "--from", "a@b.example", "--where", "x"), "it is not JSON"),
        (("--subject", "S", "--from", "a@b.example", "--sender", "Nope"), "there is no sender 'Nope'"),
    ],
)
def test_what_is_wrong_with_a_mailing_is_told_and_nothing_is_made(
    mailing: int, folder: Path, options: tuple[str, ...], words: str
) -> None:
    html = () if "--html" in options else ("--html", str(folder / "news.html"))
    with pytest.raises(InvalidInput, match=words):
        run("mailing", "create", "Bad", "--list", "All", "--resource", "News", *html, *options)
    assert [one["name"] for one in run("mailing", "list")] == ["Spring"]
