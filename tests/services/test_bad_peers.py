"""Receivers that misbehave, and a disk that is full: a clear answer each, nothing lost, no crash."""

from __future__ import annotations

import contextlib
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.installation import End, Installation

RULE = {"mode": "same_ip", "retries": 2, "interval": 15, "type": "fixed"}
SERVICES = ("broker", "mta", "recorder", "launcher")
PEOPLE = [f"deliver+{n}@domain{n % 3}.example" for n in range(30)]


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    yield made
    made.close()


def answers(installation: Installation) -> list[tuple[str, str]]:
    """What was recorded of soft bounces: category and text."""
    return [
        (row[0], row[1]) for row in installation.rows("SELECT reason, text FROM event WHERE kind='sbounce'")
    ]


@pytest.mark.parametrize(
    "fault",
    ["drop:banner", "garbage:banner", "drop:ehlo", "garbage:rcpt", "drop:data"],
)  # fmt: skip
def test_a_receiver_that_breaks_the_protocol_is_a_temporary_failure(
    installation: Installation, fault: str
) -> None:
    installation.build(PEOPLE, installation.start_sink("--fault", fault), rule=RULE)
    installation.start(*SERVICES)
    installation.launch()
    installation.wait_for_ends(len(PEOPLE))
    assert {end for (end,) in installation.ends().values()} == {End("undeliv", "maximum attempts reached")}
    assert installation.running("mta")
    assert all(text for _, text in answers(installation)), "every failure says what happened"
    assert not installation.taken()


def test_replies_of_100_kilobytes_are_read_for_what_they_say(installation: Installation) -> None:
    installation.build(PEOPLE, installation.start_sink("--fault", "long:rcpt"), rule=RULE)
    installation.start(*SERVICES)
    installation.launch()
    installation.wait_for_ends(len(PEOPLE))
    assert set(installation.taken()) == set(PEOPLE)
    assert {end for (end,) in installation.ends().values()} == {End("deliv", "")}


def test_a_lost_answer_to_the_final_dot_is_listed_as_doubtful(installation: Installation) -> None:
    people = [f"drop1+{n}@domain{n % 3}.example" for n in range(20)]
    installation.build(people, installation.start_sink(), rule=RULE | {"retries": 20})
    installation.start(*SERVICES)
    installation.launch()
    installation.wait_for_ends(len(people))
    assert set(people) == installation.doubtful()
    assert {end for (end,) in installation.ends().values()} == {End("deliv", "")}


def test_a_doubtful_message_counts_as_delivered_where_the_sender_says_so(installation: Installation) -> None:
    people = [f"drop1+{n}@domain{n % 3}.example" for n in range(20)]
    sender = {"doubt": "assume_delivered"}
    installation.build(people, installation.start_sink(), rule=RULE | {"retries": 20}, sender=sender)
    installation.start(*SERVICES)
    installation.launch()
    installation.wait_for_ends(len(people))
    assert installation.doubtful() == set(people)
    assert {end for (end,) in installation.ends().values()} == {End("deliv", "")}
    assert not installation.taken(), "nothing was sent again"


def test_nobody_listening_ends_as_the_retry_rule_says(installation: Installation) -> None:
    port = installation.start_sink()
    installation.stop("sink")
    installation.build(PEOPLE, port, rule=RULE)
    installation.start(*SERVICES)
    installation.launch()
    installation.wait_for_ends(len(PEOPLE))
    assert {end for (end,) in installation.ends().values()} == {End("undeliv", "maximum attempts reached")}
    assert any("refused" in text.lower() for _, text in answers(installation))


def test_a_full_disk_leaves_the_packets_in_the_broker_and_says_so(tmp_path: Path) -> None:
    installation = Installation(tmp_path, MTA__MIN_FREE_DISK="900 TB")
    try:
        installation.build(PEOPLE, installation.start_sink())
        installation.start(*SERVICES)
        installation.launch()
        said = "SELECT notice FROM node WHERE notice LIKE '%no more messages are taken%'"
        installation.wait_until(lambda: bool(installation.rows(said)), "the node's notice")
        published = "SELECT count(*) FROM packet WHERE published"
        installation.wait_until(lambda: installation.rows(published)[0][0] > 0, "published packets")
        assert installation.ends() == {}
        installation.stop("mta")
        installation.allow_any_disk()
        installation.start("mta")
        installation.wait_for_ends(len(PEOPLE))
        assert set(installation.taken()) == set(PEOPLE)
    finally:
        installation.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 8 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.fail(f"a file system of a few megabytes takes root: sudo make test ({mounted.stderr.strip()})")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leaves no octet free."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return path


def test_a_spool_without_an_octet_left_takes_nothing_and_goes_on_when_there_is_room(
    tmp_path: Path, small_disk: Path
) -> None:
    installation = Installation(tmp_path, MTA__SPOOL=str(small_disk / "spool"), MTA__MIN_FREE_DISK="0 MB")
    try:
        installation.build(PEOPLE, installation.start_sink())
        installation.start(*SERVICES)
        installation.wait_until(
            lambda: bool(installation.rows("SELECT 1 FROM node WHERE seen > 0")), "the node"
        )
        filler = fill(small_disk)
        installation.launch()
        said = "SELECT notice FROM node WHERE notice LIKE '%spool cannot be written%'"
        installation.wait_until(lambda: bool(installation.rows(said)), "the node's notice")
        assert installation.ends() == {}
        assert installation.running("mta")
        filler.unlink()
        installation.wait_for_ends(len(PEOPLE))
        assert installation.taken() == Counter(PEOPLE)
        installation.wait_until(lambda: not installation.rows(said), "the end of the notice")
    finally:
        installation.close()
