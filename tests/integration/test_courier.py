"""The courier process against SMTP servers that behave, and that do not."""

from __future__ import annotations

import asyncio
import email
import fcntl
import signal
import socket
from email.policy import default
from pathlib import Path

import pytest
from tests.support.courier import CourierProcess, until
from tests.support.smtp_server import DROP, HANG, SmtpServer, heard

from angarium.domain.email import MailBody, MailContent
from angarium.domain.outcome import BounceType
from angarium.domain.sending import TlsPolicy
from angarium.mta import link, slots

CONTENT = MailContent("news@sender.example", "The News")
NO_PIPELINING = "250-mx.example\r\n250 SIZE 1000000"


def body(number: int = 0) -> MailBody:
    return MailBody(
        f"Subject {number}", f"<p>Hello {number}</p>\n", f"Hello {number}\n", token=f"token{number}"
    )


@pytest.fixture
async def courier(tmp_path: Path):
    async with CourierProcess(
        tmp_path / "slots", "--time-scale", "0.01", "--timeouts", "quit=100"
    ) as process:
        yield process


async def carry(
    courier: CourierProcess, server: SmtpServer, count: int = 1, **options: object
) -> list[link.Done]:
    """Sends `count` messages over one connection to the server; their ends."""
    frames = courier.content([body(number) for number in range(count)], CONTENT)
    courier.open(1, server.port, **options)
    seqs = [courier.message(1, frame, f"reader{n}@mx.example", n) for n, frame in enumerate(frames)]
    return [await courier.done(seq) for seq in seqs]


# ── what goes well ──


async def test_messages_share_a_connection_and_each_gets_its_reply(courier):
    async with SmtpServer(dot=["250 2.0.0 first", "250 2.0.0 second", "452 4.2.2 full"]) as server:
        done = await carry(courier, server, 3)
        courier.send(link.Close(1))
        closed = await courier.wait_for(link.Closed)
    assert [(d.outcome, d.reply.code, d.reply.enhanced, d.reply.text) for d in done] == [
        ("replied", 250, "2.0.0", "first"),
        ("replied", 250, "2.0.0", "second"),
        ("replied", 452, "4.2.2", "full"),
    ]
    assert [d.verdict.type for d in done] == [None, None, BounceType.SOFT]
    assert closed.reply is None
    [visit] = server.visits
    assert heard(visit.commands)[0] == "EHLO"
    assert "RSET" not in heard(visit.commands)
    assert heard(visit.commands)[-1] == "QUIT"
    message = email.message_from_bytes(visit.messages[0], policy=default)
    assert message["to"] == "reader0@mx.example"
    assert message["from"] == "The News <news@sender.example>"
    assert message["message-id"] == "<token0@sender.example>"


async def test_the_envelope_sender_names_the_message(courier):
    async with SmtpServer() as server:
        await carry(courier, server)
    mail = next(command for command in server.commands if command.startswith("MAIL"))
    assert mail.startswith("MAIL FROM:<token0@sender.example> SIZE=")


@pytest.mark.parametrize("ehlo", [NO_PIPELINING, "500 5.5.1 what?"])
async def test_without_pipelining_every_command_waits_for_its_reply(courier, ehlo):
    async with SmtpServer(ehlo=ehlo) as server:
        done = await carry(courier, server, 2)
    assert [d.reply.code for d in done] == [250, 250]
    verbs = [verb for verb in heard(server.commands) if verb not in ("EHLO", "HELO")]
    assert verbs[:8] == ["MAIL", "RCPT", "DATA", "<message>"] * 2


async def test_begun_comes_before_done_and_closed_is_last(courier):
    async with SmtpServer() as server:
        await carry(courier, server, 2)
        courier.send(link.Close(1))
        await courier.wait_for(link.Closed)
    kinds = [type(report).__name__ for report in courier.reports]
    assert kinds[:2] == ["Ready", "Opened"]
    assert kinds[-1] == "Closed"
    assert kinds.index("Begun") < kinds.index("Done")


async def test_after_max_messages_the_courier_leaves_and_returns_the_rest(courier):
    async with SmtpServer() as server:
        frames = courier.content([body(n) for n in range(3)], CONTENT)
        courier.open(1, server.port, max_messages=2)
        seqs = [courier.message(1, frame, "reader@mx.example", n) for n, frame in enumerate(frames)]
        await courier.wait_for(link.Closed)
    assert [d.seq for d in courier.of(link.Done)] == seqs[:2]
    assert [r.seqs for r in courier.of(link.Returned)] == [(seqs[2],)]
    assert heard(server.commands)[-1] == "QUIT"


async def test_a_message_of_megabytes_arrives_whole(courier):
    async with SmtpServer() as server:
        text = "".join(f"line {number} .\n.dot\n" for number in range(200_000))
        [frame] = courier.content([MailBody("Big", "", text, token="big")], CONTENT)
        courier.open(1, server.port)
        done = await courier.done(courier.message(1, frame, "reader@mx.example"))
    assert done.reply.code == 250
    assert (
        email.message_from_bytes(server.messages[0], policy=default).get_content().replace("\r\n", "\n")
        == text
    )


# ── slots ──


async def test_a_slot_holds_the_reply_until_it_is_settled(courier):
    async with SmtpServer() as server:
        [done] = await carry(courier, server)
        [slot] = slots.read(courier.slots) or []
        assert (slot.seq, slot.grant, slot.reply) == (done.seq, done.grant, done.reply)
        courier.send(link.Settled((done.slot,)))
        await until(lambda: not slots.read(courier.slots))


async def test_the_slot_is_taken_before_the_dot_and_survives_kill(courier):
    async with SmtpServer(dot=HANG) as server:
        frames = courier.content([body()], CONTENT)
        courier.open(1, server.port)
        seq = courier.message(1, frames[0], "reader@mx.example")
        await until(lambda: server.messages)
        courier.process.kill()
        await courier.exit_code()
    assert [(slot.seq, slot.reply) for slot in slots.read(courier.slots) or []] == [(seq, None)]


async def test_a_refusal_before_the_dot_takes_no_slot(courier):
    async with SmtpServer(rcpt="550 5.1.1 no such user") as server:
        [done] = await carry(courier, server)
    assert done.slot == -1
    assert slots.read(courier.slots) == []


# ── refusals ──

REFUSALS = [
    ({"mail": "550 5.7.1 no"}, 550, "mail", BounceType.BLOCK),
    ({"mail": "451 4.7.1 later"}, 451, "mail", BounceType.SOFT),
    ({"rcpt": "550 5.1.1 user unknown"}, 550, "rcpt", BounceType.HARD),
    (
        {"rcpt": "550 5.1.1 user unknown", "data": "554 5.5.1 no valid recipients"},
        550,
        "rcpt",
        BounceType.HARD,
    ),
    ({"rcpt": "450 4.2.0 greylisted", "data": "503 5.5.1 need RCPT"}, 450, "rcpt", BounceType.SOFT),
    ({"data": "451 4.3.0 try later"}, 451, "data", BounceType.SOFT),
    ({"data": "250 2.0.0 what"}, 451, "data", BounceType.SOFT),
    ({"dot": "554 5.7.1 spam"}, 554, "dot", BounceType.BLOCK),
    ({"dot": "503 5.5.1 out of step"}, 503, "dot", BounceType.SOFT),
    ({"dot": "354 what"}, 354, "dot", BounceType.SOFT),
]


@pytest.mark.parametrize("ehlo", ["", NO_PIPELINING])
@pytest.mark.parametrize(("answers", "code", "stage", "bounce"), REFUSALS)
async def test_a_refused_message_gets_the_first_refusal_and_the_next_one_goes_out(
    courier, ehlo, answers, code, stage, bounce
):
    replies = {step: [answer, *([ok] * 9)] for step, answer in answers.items() for ok in [_ok(step)]}
    if ehlo:
        replies["ehlo"] = ehlo
        if stage == "rcpt":
            replies.pop("data", None)
    async with SmtpServer(**replies) as server:
        first, second = await carry(courier, server, 2)
    assert (first.outcome, first.reply.code, first.reply.stage) == ("replied", code, stage)
    assert first.verdict.type is bounce
    assert second.reply.code == 250
    assert len(server.visits) == 1


def _ok(step: str) -> str:
    return {"mail": "250 ok", "rcpt": "250 ok", "data": "354 go", "dot": "250 ok"}[step]


async def test_a_data_taken_after_a_refused_recipient_is_ended_by_a_lone_dot(courier):
    async with SmtpServer(
        rcpt=["550 5.1.1 user unknown", "250 ok"], dot=["554 5.5.1 nobody", "250 ok"]
    ) as server:
        first, second = await carry(courier, server, 2)
    assert (first.reply.code, first.slot) == (550, -1)
    assert second.reply.code == 250
    assert len(server.messages) == 1
    assert "<dot>" in server.commands
    assert "RSET" not in heard(server.commands)


async def test_a_failed_transaction_is_reset_before_the_next(courier):
    async with SmtpServer(rcpt=["550 5.1.1 no", "250 ok"], data=["554 5.5.1 no", "354 go"]) as server:
        await carry(courier, server, 2)
    assert heard(server.commands)[1:] == ["MAIL", "RCPT", "DATA", "RSET", "MAIL", "RCPT", "DATA", "<message>"]


async def test_a_message_over_the_servers_size_is_not_sent(courier):
    async with SmtpServer(ehlo="250-mx\r\n250-PIPELINING\r\n250 SIZE 200") as server:
        [done] = await carry(courier, server)
    assert (done.outcome, done.reply.code, done.reply.enhanced, done.reply.local) == (
        "unsendable",
        552,
        "5.3.4",
        True,
    )
    assert heard(server.commands) == ["EHLO"]
    assert courier.of(link.Begun) == []


# ── SMTPUTF8, 8BITMIME ──


async def test_an_address_in_cyrillic_goes_out_with_smtputf8(courier):
    async with SmtpServer() as server:
        frames = courier.content([body()], CONTENT)
        courier.open(1, server.port)
        done = await courier.done(courier.message(1, frames[0], "почта@пример.рф"))
    assert done.reply.code == 250
    assert any(command.endswith(" SMTPUTF8") for command in server.commands)
    assert "RCPT TO:<почта@xn--e1afmkfd.xn--p1ai>" in server.commands
    assert "To: почта@xn--e1afmkfd.xn--p1ai\r\n".encode() in server.messages[0]


async def test_an_address_that_needs_smtputf8_is_unsendable_where_it_is_not_offered(courier):
    async with SmtpServer(ehlo="250-mx\r\n250 PIPELINING") as server:
        frames = courier.content([body()], CONTENT)
        courier.open(1, server.port)
        done = await courier.done(courier.message(1, frames[0], "почта@example.org"))
    assert (done.outcome, done.reply.enhanced) == ("unsendable", "5.6.7")


@pytest.mark.parametrize(
    "address", ["no-at-sign", "two words@example.org", "a@exa\r\nmple.org", "<a@b>@c", "a@"]
)
async def test_an_impossible_address_is_unsendable_and_harms_no_other(courier, address):
    async with SmtpServer() as server:
        frames = courier.content([body()], CONTENT)
        courier.open(1, server.port)
        bad, good = courier.message(1, frames[0], address), courier.message(1, frames[0], "good@example.org")
        assert (await courier.done(bad)).outcome == "unsendable"
        assert (await courier.done(good)).reply.code == 250


async def test_a_damaged_frame_is_unsendable(courier):
    async with SmtpServer() as server:
        courier.content([body(0), body(1)], CONTENT)
        courier.open(1, server.port)
        done = await courier.done(courier.message(1, b"garbage", "reader@example.org", index=1))
    assert (done.outcome, done.reply.local) == ("unsendable", True)


# ── connections that go wrong ──

LOST = [
    ({"mail": DROP}, "replied", -1),
    ({"rcpt": DROP}, "replied", -1),
    ({"data": DROP}, "replied", -1),
    ({"dot": DROP}, "doubtful", 0),
    ({"mail": HANG}, "replied", -1),
    ({"data": HANG}, "replied", -1),
    ({"dot": HANG}, "doubtful", 0),
    ({"mail": b"\x00\xff garbage\r\n"}, "replied", -1),
    ({"rcpt": b"no code here\r\n"}, "replied", -1),
    ({"data": b"250-one\r\n251 other code\r\n"}, "replied", -1),
    ({"dot": b"what?\r\n"}, "doubtful", 0),
    ({"mail": b"2" * 600_000}, "replied", -1),
    ({"mail": b"250-more\r\n" * 20_000}, "replied", -1),
]


@pytest.mark.parametrize(("answers", "outcome", "slot"), LOST)
async def test_a_lost_connection_is_soft_before_the_dot_and_doubtful_after(tmp_path, answers, outcome, slot):
    scale = "mail=0.3,rcpt=0.3,data=0.3,dot=0.3,quit=1"
    async with (
        CourierProcess(tmp_path / "slots", "--timeouts", scale) as courier,
        SmtpServer(**answers) as server,
    ):
        [done] = await carry(courier, server)
        await courier.wait_for(link.Closed)
    assert (done.outcome, done.slot) == (outcome, slot)
    assert (done.reply.code, done.reply.local) == (451, True)
    assert done.verdict.type is BounceType.SOFT


async def test_a_line_of_100_kb_is_a_reply_cut_short(courier):
    async with SmtpServer(dot=b"250 2.0.0 " + b"x" * 100_000 + b"\r\n") as server:
        [done] = await carry(courier, server)
    assert (done.reply.code, len(done.reply.text)) == (250, 1000)


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "dot"])
async def test_421_in_a_transaction_is_the_messages_reply_and_ends_the_connection(courier, stage):
    async with SmtpServer(**{stage: b"421 4.7.0 too much\r\n"}) as server:
        [done] = await carry(courier, server)
        for visit in server.visits:
            visit.writer.close()
        closed = await courier.wait_for(link.Closed)
    assert (done.outcome, done.reply.code, done.reply.stage, done.reply.text) == (
        "replied",
        421,
        stage,
        "too much",
    )
    assert done.verdict.type is BounceType.SOFT
    assert closed.reply is not None
    assert closed.reply.code == 421


async def test_421_while_idle_returns_messages_without_a_failure(courier):
    async with SmtpServer() as server:
        frames = courier.content([body()], CONTENT)
        courier.open(1, server.port)
        await courier.wait_for(link.Opened)
        server.visits[0].writer.write(b"421 4.3.2 shutting down\r\n")
        seq = courier.message(1, frames[0], "reader@example.org")
        returned = await courier.wait_for(link.Returned)
        server.visits[0].writer.close()
        closed = await courier.wait_for(link.Closed)
    assert returned.seqs == (seq,)
    assert courier.of(link.Done) == courier.of(link.Begun) == []
    assert closed.reply is not None
    assert closed.reply.text == "shutting down"


async def test_half_a_line_while_idle_ends_the_connection_in_time(tmp_path):
    options = ("--timeouts", "dot=0.3,banner=0.5,ehlo=0.5,quit=0.5")
    async with CourierProcess(tmp_path / "slots", *options) as courier, SmtpServer() as server:
        frames = courier.content([body()], CONTENT)
        courier.open(1, server.port)
        await courier.wait_for(link.Opened)
        server.visits[0].writer.write(b"421 4.3.2 shut")
        seq = courier.message(1, frames[0], "reader@example.org")
        assert (await courier.wait_for(link.Returned)).seqs == (seq,)
        await courier.wait_for(link.Closed)


async def test_a_connection_closed_while_idle_returns_messages(courier):
    async with SmtpServer() as server:
        frames = courier.content([body()], CONTENT)
        courier.open(1, server.port)
        await courier.wait_for(link.Opened)
        server.visits[0].writer.close()
        await server.visits[0].writer.wait_closed()
        courier.message(1, frames[0], "reader@example.org")
        await courier.wait_for(link.Returned)
        assert courier.of(link.Begun) == []


async def test_closed_waits_for_the_servers_end_of_the_connection(courier):
    async with SmtpServer(quit=b"") as server:
        courier.open(1, server.port)
        await courier.wait_for(link.Opened)
        courier.send(link.Close(1))
        await until(lambda: "QUIT" in server.commands)
        assert courier.of(link.Closed) == []
        server.visits[0].writer.write(b"221 bye\r\n")
        server.visits[0].writer.close()
        await courier.wait_for(link.Closed)


# ── opening ──


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    "banner", ["421 4.7.0 busy", "554 5.7.1 go away", DROP, b"HTTP/1.1 400 Bad Request\r\n"]
)
async def test_the_next_host_is_tried_when_one_does_not_greet(courier, banner):
    async with SmtpServer(banner=banner) as bad, SmtpServer() as good:
        courier.open(1, closed_port(), bad.port, good.port)
        opened = await courier.wait_for(link.Opened)
    assert opened.host.port == good.port
    assert opened.host.name == "mx2.example"


OPENINGS = [
    ({"banner": "554 5.7.1 you are listed"}, 554, "banner", False),
    ({"banner": "421 4.7.0 busy"}, 421, "banner", False),
    ({"ehlo": "550 5.7.1 bad helo", "helo": "550 5.7.1 bad helo"}, 550, "ehlo", False),
    ({"banner": HANG}, 451, "banner", True),
]


@pytest.mark.parametrize(("answers", "code", "stage", "local"), OPENINGS)
async def test_without_a_host_the_most_telling_failure_is_reported(tmp_path, answers, code, stage, local):
    options = ("--timeouts", "banner=0.3,quit=0.3")
    async with CourierProcess(tmp_path / "slots", *options) as courier, SmtpServer(**answers) as server:
        frames = courier.content([body()], CONTENT)
        courier.open(1, server.port, closed_port())
        seq = courier.message(1, frames[0], "reader@example.org")
        failed = await courier.wait_for(link.OpenFailed)
    assert [returned.seqs for returned in courier.of(link.Returned)] == [(seq,)]
    if not local:
        assert (failed.reply.code, failed.reply.stage, failed.reply.local) == (code, stage, local)
    assert failed.reply.local is local
    assert failed.verdict.type is not None


async def test_an_address_that_is_not_ours_is_named_as_the_cause(courier):
    async with SmtpServer() as server:
        courier.open(1, server.port, source="192.0.2.77")
        failed = await courier.wait_for(link.OpenFailed)
    assert (failed.reply.code, failed.reply.stage, failed.reply.local) == (451, "local", True)
    assert "192.0.2.77" in failed.reply.text


async def test_the_source_address_is_the_one_ordered(courier):
    async with SmtpServer() as server:
        courier.open(1, server.port, source="127.0.0.7")
        await courier.wait_for(link.Opened)
        assert server.visits[0].peer[0] == "127.0.0.7"


async def test_ipv6_works(courier):
    async with SmtpServer(host="::1") as server:
        host = (link.Host("mx.example", "::1", server.port),)
        courier.send(link.Open(1, 1, "::1", "client.example", host, TlsPolicy.NEVER))
        await courier.wait_for(link.Opened)


# ── orders ──


async def test_recalled_messages_come_back_unless_they_have_begun(courier):
    async with SmtpServer(dot=HANG) as server:
        frames = courier.content([body(n) for n in range(3)], CONTENT)
        courier.open(1, server.port, max_messages=1)
        first, second, third = (
            courier.message(1, frame, "reader@example.org", n) for n, frame in enumerate(frames)
        )
        await courier.wait_for(link.Begun)
        courier.send(link.Recall((first, third)))
        returned = await courier.wait_for(link.Returned)
    assert returned.seqs == (third,)


async def test_drain_finishes_what_has_begun_and_ends(courier):
    async with SmtpServer(ehlo=NO_PIPELINING) as server:
        frames = courier.content([body(n) for n in range(5)], CONTENT)
        courier.open(1, server.port)
        seqs = [courier.message(1, frame, "reader@example.org", n) for n, frame in enumerate(frames)]
        await courier.wait_for(link.Begun)
        courier.send(link.Drain())
        assert await courier.exit_code() == 0
        await courier.wait_for(link.Closed)
    done = {report.seq for report in courier.of(link.Done)}
    returned = {seq for report in courier.of(link.Returned) for seq in report.seqs}
    assert done | returned == set(seqs)
    assert not done & returned
    assert len(server.messages) == len(done)


async def test_drain_gives_up_connections_that_are_still_opening(courier):
    async with SmtpServer(banner=HANG) as server:
        courier.open(1, server.port)
        await until(lambda: server.visits)
        courier.send(link.Drain())
        assert await courier.exit_code() == 0
        await courier.wait_for(link.Closed)


async def test_a_send_to_a_connection_that_is_gone_comes_back(courier):
    frames = courier.content([body()], CONTENT)
    seq = courier.message(77, frames[0], "reader@example.org")
    assert (await courier.wait_for(link.Returned)).seqs == (seq,)


async def test_sigterm_and_sigint_are_left_to_the_engine(courier):
    courier.process.send_signal(signal.SIGTERM)
    courier.process.send_signal(signal.SIGINT)
    async with SmtpServer() as server:
        [done] = await carry(courier, server)
    assert done.reply.code == 250


async def test_without_an_engine_the_reply_to_a_dot_still_reaches_the_slot(tmp_path):
    async with CourierProcess(tmp_path / "slots") as courier, SmtpServer(dot=b"") as server:
        frames = courier.content([body(n) for n in range(2)], CONTENT)
        courier.open(1, server.port)
        seq = courier.message(1, frames[0], "reader@example.org")
        await until(lambda: server.messages)
        courier.leave()
        await asyncio.sleep(0.2)  # the courier notices; nothing to wait on outside it
        assert courier.process.poll() is None
        server.visits[0].writer.write(b"250 2.0.0 late\r\n")
        assert await courier.exit_code() == 0
    [slot] = slots.read(courier.slots) or []
    assert slot.seq == seq
    assert slot.reply is not None
    assert slot.reply.text == "late"


async def test_without_an_engine_nothing_is_begun_and_the_process_ends(tmp_path):
    async with (
        CourierProcess(tmp_path / "slots", "--timeouts", "orphan=0.3") as courier,
        SmtpServer(dot=HANG) as server,
    ):
        frames = courier.content([body(n) for n in range(2)], CONTENT)
        courier.open(1, server.port)
        courier.message(1, frames[0], "reader@example.org")
        courier.leave()
        assert await courier.exit_code() == 0
    with (tmp_path / "slots").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def test_the_slot_file_is_locked_while_the_courier_lives(courier):
    with courier.slots.open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def test_a_frame_that_is_no_frame_ends_the_process_for_another_to_begin(courier):
    courier._writer.write(b"\x00\x00\x00\x03bad")
    assert await courier.exit_code() == 70
