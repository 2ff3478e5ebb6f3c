"""The sink, spoken to by Python's own SMTP client and by raw bytes."""

from __future__ import annotations

import json
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from angarium.sandbox.behaviour import MIXES, plan
from angarium.sandbox.sink_record import SinkRecord, read_record
from angarium.sandbox.smtp_sink import SinkOptions, serving
from angarium.sandbox.smtp_wire import Fault

MESSAGE = b"Message-ID: <one@example.test>\r\nSubject: x\r\n\r\nHello\r\n.leading dot\r\n"


@contextmanager
def client(port: int, source: str = "127.0.0.1") -> Iterator[smtplib.SMTP]:
    connection = smtplib.SMTP("127.0.0.1", port, timeout=20, source_address=(source, 0))
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def raw(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        yield connection


def read_until(connection: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        part = connection.recv(65536)
        if not part:
            break
        data += part
    return data


def wait_for_closed(record: SinkRecord, connections: int) -> None:
    deadline = time.monotonic() + 20
    while sum(event.event == "close" for event in record.events) < connections:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_message_is_taken_recorded_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    with serving(SinkOptions(record=path, keep=tmp_path)) as sink, client(sink.port, "127.0.0.9") as smtp:
        smtp.sendmail("news@example.test", ["bob@example.test"], MESSAGE, ["SIZE=100", "BODY=8BITMIME"])
        in_file = read_record(path)
        assert in_file == sink.record.events
        opened, answer = in_file
        assert (opened.event, opened.connection, opened.source) == ("open", 1, "127.0.0.9")
        assert answer.accepted
        assert (answer.mail_from, answer.recipient, answer.attempt) == (
            "news@example.test",
            "bob@example.test",
            1,
        )
        assert (answer.message_id, answer.octets, answer.fate) == (
            "<one@example.test>",
            len(MESSAGE),
            "deliver",
        )
        assert answer.began <= answer.time
        assert Path(answer.file).read_bytes() == MESSAGE


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("soft2+a@x.test", [4, 4, 2]),
        ("hard@x.test", [5, 5]),
        ("greylist@x.test", [4, 2]),
        ("full@x.test", [0, 0]),
    ],
)
def test_recipients_are_treated_as_their_addresses_say(address: str, expected: list[int]) -> None:
    with serving() as sink:
        for _ in expected:
            with client(sink.port) as smtp, suppress(smtplib.SMTPException, OSError):
                smtp.sendmail("a@x.test", [address], MESSAGE)
        codes = [event.code // 100 for event in sink.record.answers()]
        if address.startswith("full"):
            assert all(code in (4, 5) for code in codes)
        else:
            assert codes == expected
        assert [event.attempt for event in sink.record.answers()] == list(range(1, len(expected) + 1))


def test_a_refusal_after_the_message_says_so_there() -> None:
    with serving() as sink, client(sink.port) as smtp:
        with pytest.raises(smtplib.SMTPDataError):
            smtp.sendmail("a@x.test", ["block@x.test"], MESSAGE)
        assert [event.octets for event in sink.record.answers()] == [len(MESSAGE)]


def test_a_dropped_connection_is_recorded_as_no_answer() -> None:
    with serving() as sink:
        with client(sink.port) as smtp, pytest.raises(smtplib.SMTPServerDisconnected):
            smtp.sendmail("a@x.test", ["drop@x.test"], MESSAGE)
        with client(sink.port) as smtp:
            smtp.sendmail("a@x.test", ["drop@x.test"], MESSAGE)
        assert [event.code for event in sink.record.answers()] == [0, 250]


def test_a_421_closes_the_connection() -> None:
    with serving() as sink, client(sink.port) as smtp:
        smtp.ehlo("me.test")
        smtp.mail("a@x.test")
        assert smtp.rcpt("421@x.test")[0] == 421
        with pytest.raises(smtplib.SMTPServerDisconnected):
            smtp.noop()
        wait_for_closed(sink.record, 1)


def test_pipelined_commands_and_split_dots_are_understood() -> None:
    one = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n"
    body = b"Subject: x\r\n\r\n..stuffed\r\n.\r\n"
    stream = b"EHLO me.test\r\n" + (one + body) * 3 + one + b".\r\nQUIT\r\n"
    with serving() as sink, raw(sink.port) as connection:
        for position in range(len(stream)):
            connection.sendall(stream[position : position + 1])
        replies = read_until(connection, b"221 ")
        assert replies.count(b"354 ") == 4
        assert [event.octets for event in sink.record.accepted()] == [len(body) - 4] * 3 + [0]


def test_the_server_says_what_is_out_of_order() -> None:
    with serving() as sink, client(sink.port) as smtp:
        assert smtp.docmd("MAIL", "FROM:<a@x.test>")[0] == 503
        smtp.ehlo("me.test")
        assert smtp.docmd("RCPT", "TO:<a@x.test>")[0] == 503
        assert smtp.docmd("DATA")[0] == 503
        assert smtp.docmd("MAIL", "a@x.test")[0] == 501
        assert smtp.docmd("MAIL", "FROM:<> SIZE=99999999999")[0] == 552
        assert smtp.docmd("MAIL", "FROM:<>")[0] == 250
        assert smtp.docmd("DATA")[0] == 554
        assert smtp.docmd("RCPT", "TO:<>")[0] == 501
        assert smtp.docmd("WHAT")[0] == 500
        assert smtp.docmd("x" * 600)[0] == 500
        assert smtp.noop()[0] == smtp.rset()[0] == 250


def test_international_addresses_are_taken() -> None:
    with serving() as sink, client(sink.port) as smtp:
        smtp.ehlo("me.test")
        smtp.command_encoding = "utf-8"
        smtp.mail("a@x.test", ["SMTPUTF8"])
        assert smtp.rcpt("почта@пример.test")[0] == 250
        smtp.data(MESSAGE)
        assert sink.record.accepted()[0].recipient == "почта@пример.test"


def test_starttls_encrypts_and_forgets_what_was_said_before() -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with serving(SinkOptions(starttls=True)) as sink, client(sink.port) as smtp:
        smtp.ehlo("me.test")
        assert smtp.has_extn("starttls")
        smtp.starttls(context=context)
        assert smtp.docmd("MAIL", "FROM:<>")[0] == 503
        smtp.ehlo("me.test")
        assert not smtp.has_extn("starttls")
        smtp.sendmail("a@x.test", ["b@x.test"], MESSAGE)
        assert sink.record.accepted()[0].tls


def test_a_password_is_demanded_where_one_is_set() -> None:
    with serving(SinkOptions(auth=("me", "secret"))) as sink, client(sink.port) as smtp:
        smtp.ehlo("me.test")
        assert smtp.mail("a@x.test")[0] == 530
        with pytest.raises(smtplib.SMTPAuthenticationError):
            smtp.login("me", "wrong")
        smtp.login("me", "secret")
        assert smtp.mail("a@x.test")[0] == 250


@pytest.mark.parametrize("stage", ["banner", "ehlo", "mail", "rcpt", "data", "dot"])
def test_the_connection_can_be_dropped_at_any_stage(stage: str) -> None:
    with serving(SinkOptions(faults=(Fault("drop", stage),))) as sink:  # type: ignore[arg-type]
        with pytest.raises((smtplib.SMTPException, OSError)), client(sink.port) as smtp:
            smtp.sendmail("a@x.test", ["b@x.test"], MESSAGE)
        wait_for_closed(sink.record, 1)
        assert sink.record.accepted() == []


def test_garbage_and_endless_lines_are_given_on_demand() -> None:
    faults = (Fault("garbage", "mail"), Fault("long", "rset"), Fault("silent", "quit"))
    with serving(SinkOptions(faults=faults)) as sink, raw(sink.port) as connection:
        read_until(connection, b"\r\n")
        connection.sendall(b"EHLO me.test\r\nMAIL FROM:<a@x.test>\r\n")
        assert b"\x00\xff\xfe" in read_until(connection, b"not a reply\r\n")
        connection.sendall(b"RSET\r\n")
        assert len(read_until(connection, b"x\r\n")) > 100_000
        connection.sendall(b"QUIT\r\n")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)


def test_a_tarpit_delays_every_reply_and_a_final_delay_the_last() -> None:
    with serving(SinkOptions(tarpit=0.05, final_delay=0.2)) as sink:
        begun = time.monotonic()
        with client(sink.port) as smtp:
            smtp.sendmail("a@x.test", ["b@x.test"], MESSAGE)
            opened, answer = sink.record.events
            assert answer.time - begun >= 0.05 * 6 + 0.2
            assert answer.time - answer.began >= 0.05 * 3 + 0.2
            assert opened.connection == answer.connection


def test_options_can_change_while_it_runs() -> None:
    with serving() as sink, client(sink.port) as smtp:
        smtp.sendmail("a@x.test", ["person@x.test"], MESSAGE)
        sink.options = SinkOptions(mix=MIXES["refuse"])
        with pytest.raises((smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError)):
            smtp.sendmail("a@x.test", ["person@x.test"], MESSAGE)


def test_windows_and_connections_are_counted_by_source() -> None:
    with serving() as sink:
        with client(sink.port, "127.0.0.2") as one, client(sink.port, "127.0.0.3") as two:
            for _ in range(3):
                one.sendmail("a@x.test", ["b@x.test", "c@x.test"], MESSAGE)
            two.sendmail("a@x.test", ["b@x.test"], MESSAGE)
        wait_for_closed(sink.record, 2)
        with client(sink.port, "127.0.0.2") as one:
            one.noop()
        record = sink.record
        assert (record.most_in_window(60), record.most_in_window(60, "127.0.0.2")) == (4, 3)
        assert (record.most_in_window(60, "127.0.0.3"), record.most_in_window(1e-9, "127.0.0.2")) == (1, 1)
        assert (record.most_connections(), record.most_connections("127.0.0.2")) == (2, 1)


def test_it_runs_as_a_program_until_sigterm(tmp_path: Path) -> None:
    record = tmp_path / "r.jsonl"
    command = [sys.executable, "-m", "angarium.sandbox.smtp_sink", "--mix", "realistic", "--seed", "3"]
    with subprocess.Popen([*command, "--record", str(record)], stdout=subprocess.PIPE) as program:
        assert program.stdout
        port = json.loads(program.stdout.readline())["port"]
        people = [f"person{n}@example.test" for n in range(60)]
        for person in people:
            with client(port) as smtp, suppress(smtplib.SMTPException, OSError):
                smtp.sendmail("a@x.test", [person], MESSAGE)
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0
    first = {
        e.recipient: e.code == 250 for e in read_record(record) if e.event == "answer" and e.attempt == 1
    }
    assert first == {p: plan(p, MIXES["realistic"], 3).count == 0 for p in people}


def test_many_connections_at_once_are_served() -> None:
    with serving() as sink:

        def send() -> None:
            with client(sink.port) as smtp:
                for n in range(10):
                    smtp.sendmail("a@x.test", [f"p{n}@x.test"], MESSAGE)

        threads = [threading.Thread(target=send) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(sink.record.accepted()) == 200
        assert sink.record.most_connections() <= 20
