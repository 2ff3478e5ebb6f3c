"""The settings' commands: a story told with them, their JSON, their refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from angarium.cli import app
from angarium.errors import InvalidInput


def run(*words: str) -> Any:
    """What the command wrote as JSON. Raises what it raised."""
    result = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_sender_is_set_up_by_commands(control_database: str) -> None:
    run("account", "create", "--name", "Acme")
    run("node", "create", "--name", "node-1")
    address = run("ip", "create", "127.0.0.2", "--node", "node-1")
    strategy = run("strategy", "create", "--name", "Slow", "--connections", "2", "--interval", "10")
    rule = run(
        "retry-rule", "create", "--name", "Patient", "--mode", "other-node", "--retries", "3",
        "--interval-min", "10", "--type", "geometric", "--exponent", "3",
    )  # fmt: skip
    key = run("dkim", "create", "acme.example", "--selector", "may", "--algorithm", "ed25519")
    sender = run(
        "sender", "create", "--name", "News", "--account", "Acme", "--ip", "127.0.0.2", "--strategy", "Slow",
        "--retry-rule", "Patient", "--dkim-key", "acme.example", "--tls", "required-verified",
    )  # fmt: skip
    assert sender["mta"] == {
        "addresses": [address["id"]], "strategy": strategy["id"], "overrides": [], "retry_rule": rule["id"],
        "dkim_keys": [key["id"]], "doubt": "retry", "life": 86_400, "bounce_domain": "",
        "tls": "required_verified",
    }  # fmt: skip
    assert rule["mode"] == "other_node"
    with pytest.raises(InvalidInput, match="in use: sender News"):
        run("retry-rule", "delete", "Patient")
    run("sender", "delete", "News")
    assert run("retry-rule", "delete", "Patient") == {"deleted": rule["id"], "name": "Patient"}


def test_a_preview_shows_the_times_of_a_rule_with_other_values(control_database: str) -> None:
    times = run("retry-rule", "preview", "1", "--retries", "3", "--interval-min", "10")
    assert [time["earliest"] for time in times] == [600, 1800, 4200]
    random = run("retry-rule", "preview", "--type", "random", "--retries", "1", "--modifier", "2")
    assert random == [{"retry": 1, "earliest": 900, "latest": 2700}]


def test_what_is_wrong_is_told_by_option(control_database: str) -> None:
    refusals = {
        ("retry-rule", "edit", "1", "--interval-min", "0"): "--interval-min: Give minutes",
        ("retry-rule", "create", "--name", "x", "--type", "random", "--modifier", "-1"): "--modifier: Give",
        ("retry-rule", "show", "nothing"): "there is no retry rule 'nothing'",
        ("strategy", "create", "--name", "x", "--interval", "0"): "--interval: Give seconds",
        ("bounce-pattern", "create", "--name", "x", "--type", "hard", "--pattern", "("): "--pattern: ",
        ("dkim", "create", "not a domain", "--selector", "a"): "is not a domain name",
        ("isp", "create", "--name", "x", "--domain", "gmail.com"): "belongs to the ISP Gmail",
        ("token", "create", "nobody", "--name", "x"): "there is no user 'nobody'",
    }
    for words, text in refusals.items():
        with pytest.raises(InvalidInput, match=text.replace("(", r"\(")):
            run(*words)


def test_a_token_made_by_command_opens_the_api_until_it_is_revoked(control_database: str) -> None:
    from django.test import Client

    from angarium.web.access.models import User

    User.objects.create(username="alice")
    made = run("token", "create", "alice", "--name", "script", "--expires", "1 day")
    headers = {"Authorization": f"Bearer {made['token']}"}
    client = Client(SERVER_NAME="localhost")
    assert client.get("/api/v1/me", headers=headers).json()["username"] == "alice"
    assert made["token"] not in str(run("token", "list"))
    run("token", "revoke", str(made["id"]))
    assert client.get("/api/v1/me", headers=headers).status_code == 401


def test_a_table_for_people_names_the_columns(control_database: str) -> None:
    result = CliRunner().invoke(app, ["retry-rule", "list"])
    assert "interval" in result.stdout
    assert "same_ip" in result.stdout
