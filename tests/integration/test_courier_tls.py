"""STARTTLS and authentication, as servers offer, break and refuse them."""

from __future__ import annotations

import asyncio
import socket
from base64 import b64encode
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from tests.support.certificates import Authority
from tests.support.courier import CourierProcess
from tests.support.smtp_server import DROP, HANG, SmtpServer, heard

from angarium.domain.email import MailBody, MailContent
from angarium.domain.outcome import BounceType
from angarium.domain.sending import TlsPolicy
from angarium.mta import link

OFFER = "250-mx\r\n250-PIPELINING\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS"
LOGIN_ONLY = "250-mx\r\n250-AUTH LOGIN\r\n250 STARTTLS"
NO_OFFER = "250-mx\r\n250 PIPELINING"
ENCRYPTING = [TlsPolicy.OPPORTUNISTIC, TlsPolicy.REQUIRED, TlsPolicy.REQUIRED_VERIFIED]
WAITS = "tls=0.5,quit=0.5,banner=2"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def courier(tmp_path: Path, authority: Authority):
    options = ("--authorities", str(authority.path), "--timeouts", WAITS)
    async with CourierProcess(tmp_path / "slots", *options) as process:
        yield process


async def one_message(courier: CourierProcess, connection: int = 1) -> link.Done:
    frames = courier.content(
        [MailBody("s", "<p>Hi</p>", "Hi", token="t")], MailContent("news@sender.example")
    )
    return await courier.done(courier.message(connection, frames[0], "reader@mx.example"))


@pytest.mark.parametrize("policy", ENCRYPTING)
async def test_mail_goes_under_tls_when_it_is_offered(courier, authority, policy):
    async with SmtpServer(tls=authority.server_context("mx0.example"), ehlo=OFFER) as server:
        courier.open(1, server.port, tls=policy)
        opened = await courier.wait_for(link.Opened)
        done = await one_message(courier)
        courier.send(link.Close(1))
        await courier.wait_for(link.Closed)
    assert opened.tls == done.tls == "TLSv1.3"
    assert done.reply.code == 250
    assert heard(server.commands)[:3] == ["EHLO", "STARTTLS", "EHLO"]
    assert len(server.messages) == 1


async def test_never_means_never(courier, authority):
    async with SmtpServer(tls=authority.server_context("mx0.example"), ehlo=OFFER) as server:
        courier.open(1, server.port, tls=TlsPolicy.NEVER)
        assert (await courier.wait_for(link.Opened)).tls == ""
    assert "STARTTLS" not in server.commands


async def test_opportunistic_goes_plain_where_tls_is_not_offered(courier):
    async with SmtpServer(ehlo=NO_OFFER) as server:
        courier.open(1, server.port, tls=TlsPolicy.OPPORTUNISTIC)
        assert (await courier.wait_for(link.Opened)).tls == ""
    assert len(server.visits) == 1


BROKEN = [
    {"starttls": "454 4.7.0 not now"},
    {"starttls": DROP},
    {"starttls": b"220 go\r\nthis is no handshake\r\n"},
    {"starttls": b"220 go\r\n220 injected\r\n"},
]


@pytest.mark.parametrize("answers", BROKEN, ids=str)
async def test_opportunistic_reconnects_in_plain_when_tls_fails_and_remembers(courier, answers):
    async with SmtpServer(ehlo=OFFER, **answers) as server:
        courier.open(1, server.port, tls=TlsPolicy.OPPORTUNISTIC)
        assert (await courier.wait_for(link.Opened)).tls == ""
        assert [("STARTTLS" in visit.commands) for visit in server.visits] == [True, False]
        courier.open(2, server.port, tls=TlsPolicy.OPPORTUNISTIC)
        await courier.wait_for(link.Opened, lambda opened: opened.connection == 2)
        assert "STARTTLS" not in server.visits[2].commands


async def test_a_handshake_that_never_ends_is_given_up(courier):
    async with SmtpServer(ehlo=OFFER, starttls=b"220 go\r\n") as server:
        courier.open(1, server.port, tls=TlsPolicy.OPPORTUNISTIC)
        assert (await courier.wait_for(link.Opened)).tls == ""


REQUIRED = [
    ({"ehlo": NO_OFFER}, "4.7.4"),
    ({"ehlo": OFFER, "starttls": DROP}, ""),
    ({"ehlo": OFFER, "starttls": b"220 go\r\n220 injected\r\n"}, "4.7.5"),
    ({"ehlo": OFFER, "starttls": "454 4.7.0 not now"}, "4.7.0"),
]


@pytest.mark.parametrize("policy", [TlsPolicy.REQUIRED, TlsPolicy.REQUIRED_VERIFIED])
@pytest.mark.parametrize(("answers", "enhanced"), REQUIRED)
async def test_required_tls_fails_softly_and_never_goes_plain(courier, policy, answers, enhanced):
    async with SmtpServer(**answers) as server:
        courier.open(1, server.port, tls=policy)
        failed = await courier.wait_for(link.OpenFailed)
    assert failed.verdict.type is BounceType.SOFT
    assert failed.reply.stage == "tls"
    assert not enhanced or failed.reply.enhanced == enhanced
    assert "MAIL" not in heard(server.commands)


async def test_verified_tls_refuses_another_hosts_certificate(courier, authority):
    async with SmtpServer(tls=authority.server_context("other.example"), ehlo=OFFER) as server:
        courier.open(1, server.port, tls=TlsPolicy.REQUIRED_VERIFIED)
        failed = await courier.wait_for(link.OpenFailed)
        assert (failed.reply.enhanced, failed.reply.stage) == ("4.7.5", "tls")
        courier.open(2, server.port, tls=TlsPolicy.REQUIRED)
        await courier.wait_for(link.Opened)


async def test_verified_tls_refuses_an_unknown_authority(tmp_path, authority):
    server = SmtpServer(tls=authority.server_context("mx0.example"), ehlo=OFFER)
    async with CourierProcess(tmp_path / "slots", "--timeouts", WAITS) as courier, server:
        courier.open(1, server.port, tls=TlsPolicy.REQUIRED_VERIFIED)
        failed = await courier.wait_for(link.OpenFailed)
    assert failed.reply.enhanced == "4.7.5"


LOGINS = [
    (OFFER, "AUTH PLAIN " + b64encode(b"\0me\0secret").decode()),
    (LOGIN_ONLY, b64encode(b"secret").decode()),
]


@pytest.mark.parametrize(("ehlo", "heard_command"), LOGINS)
async def test_a_smart_host_is_given_the_password_under_tls(courier, authority, ehlo, heard_command):
    async with SmtpServer(tls=authority.server_context("mx0.example"), ehlo=ehlo) as server:
        courier.open(1, server.port, tls=TlsPolicy.REQUIRED, username="me", password="secret")
        await courier.wait_for(link.Opened)
    assert heard_command in server.commands


async def test_a_password_is_never_sent_in_plain(courier):
    async with SmtpServer(ehlo="250-mx\r\n250 AUTH PLAIN LOGIN") as server:
        courier.open(1, server.port, tls=TlsPolicy.OPPORTUNISTIC, username="me", password="secret")
        failed = await courier.wait_for(link.OpenFailed)
    assert failed.reply.local
    assert "AUTH" not in heard(server.commands)


async def test_a_wrong_password_is_the_servers_reply(courier, authority):
    server = SmtpServer(tls=authority.server_context("mx0.example"), ehlo=OFFER, auth="535 5.7.8 no")
    async with server:
        courier.open(1, server.port, tls=TlsPolicy.REQUIRED, username="me", password="secret")
        failed = await courier.wait_for(link.OpenFailed)
    assert (failed.reply.code, failed.reply.enhanced) == (535, "5.7.8")


@pytest.mark.parametrize(("answers", "outcome"), [({"dot": DROP}, "doubtful"), ({"mail": HANG}, "replied")])
async def test_losses_under_tls_are_told_like_any_other(tmp_path, authority, answers, outcome):
    server = SmtpServer(tls=authority.server_context("mx0.example"), ehlo=OFFER, **answers)
    options = ("--timeouts", "mail=0.3,quit=0.5")
    async with CourierProcess(tmp_path / "slots", *options) as courier, server:
        courier.open(1, server.port, tls=TlsPolicy.REQUIRED)
        done = await one_message(courier)
        await courier.wait_for(link.Closed)
    assert done.outcome == outcome


class Keeper:
    """An aiosmtpd handler that keeps what it gets."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        return "250 2.0.0 kept"


async def test_aiosmtpd_receives_under_tls_with_a_password(courier, authority):
    keeper = Keeper()
    controller = Controller(
        keeper, hostname="127.0.0.1", port=0, tls_context=authority.server_context("mx0.example"),
        require_starttls=True, auth_required=True, enable_SMTPUTF8=True,
        authenticator=lambda *_: AuthResult(success=True),
    )  # fmt: skip
    port = await asyncio.to_thread(_start, controller)
    try:
        courier.open(1, port, tls=TlsPolicy.REQUIRED_VERIFIED, username="me", password="secret")
        done = await one_message(courier)
        courier.send(link.Close(1))
        await courier.wait_for(link.Closed)
    finally:
        await asyncio.to_thread(controller.stop)
    assert (done.reply.code, done.reply.text) == (250, "kept")
    [envelope] = keeper.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("t@sender.example", ["reader@mx.example"])


def _start(controller: Controller) -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        controller.port = probe.getsockname()[1]
    controller.start()
    return int(controller.port)
