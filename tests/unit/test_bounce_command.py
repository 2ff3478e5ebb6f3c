"""`angarium bounce classify`: JSON lines in, JSON lines out."""

from __future__ import annotations

import json
import subprocess
import sys

from typer.testing import CliRunner

from angarium.commands.bounce import app


def classify(*lines: str) -> tuple[int, list[dict[str, object]], str]:
    result = CliRunner().invoke(app, ["classify"], input="".join(line + "\n" for line in lines))
    return result.exit_code, [json.loads(line) for line in result.stdout.splitlines()], result.stderr


def test_each_reply_gets_a_line_in_order() -> None:
    status, answers, errors = classify(
        '{"code": 550, "enhanced": "5.1.1", "text": "User unknown"}',
        '{"code": 421, "enhanced": null, "text": "Try again later", "isp": "gmail"}',
        '{"code": 554, "text": "blocked using zen.spamhaus.org", "isp": null}',
    )
    assert (status, errors) == (0, "")
    assert [a["bounce"] for a in answers] == ["hard", "soft", "block"]
    assert [a["category"] for a in answers] == ["unknown_user", "system", "listed"]
    assert all(a["pattern"] for a in answers)


def test_the_pattern_is_null_where_only_the_code_decided() -> None:
    assert classify('{"code": 450, "enhanced": "4.3.0", "text": "x"}')[1][0]["pattern"] is None


def test_a_bad_line_is_answered_and_told_and_the_good_ones_are_finished() -> None:
    good = '{"code": 550, "enhanced": null, "text": "User unknown"}'
    status, answers, errors = classify(good, "{", '{"code": "x", "text": ""}', '{"code": 550}', "", good)
    assert status == 2
    assert [("bounce" in a, "error" in a) for a in answers] == [
        (True, False), (False, True), (False, True), (False, True), (False, True), (True, False),
    ]  # fmt: skip
    assert [line.split(":")[0] for line in errors.splitlines()] == ["line 2", "line 3", "line 4", "line 5"]


def test_an_unknown_isp_is_refused_by_name() -> None:
    status, answers, _ = classify('{"code": 550, "text": "x", "isp": "Nowhere"}')
    assert status == 2
    assert answers == [{"error": "there is no built-in ISP named Nowhere"}]


def test_the_command_starts_without_the_web_framework() -> None:
    code = "import sys, angarium.commands.bounce; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
