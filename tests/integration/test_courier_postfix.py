"""What Postfix and smtp-sink receive from the courier, read by Python's parser and a DKIM verifier."""

from __future__ import annotations

import asyncio
import email
import os
import shutil
import socket
import subprocess
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import dkim as checker
import pytest
from tests.support.certificates import Authority
from tests.support.courier import CourierProcess, until
from tests.support.postfix import Postfix
from tests.support.smtp_server import SmtpServer

from angarium.domain.email import Attachment, MailBody, MailContent
from angarium.domain.sending import DkimKey, Isp, Sender, SendingSettings, TlsPolicy
from angarium.mta import dkim, link

KEYS = {
    1: DkimKey(1, "sender.example", "r1", "rsa", dkim.generate("rsa")),
    2: DkimKey(2, "sender.example", "e1", "ed25519", dkim.generate("ed25519")),
}
SENDER = Sender(1, "s", "email", "mta", dkim_keys=(1, 2))
ISPS = {n: Isp(n, name, html_encoding=name, text_encoding=name) for n, name in
        enumerate(("auto", "quoted-printable", "base64", "8bit"))}  # fmt: skip
SETTINGS = SendingSettings(2, senders={1: SENDER}, dkim_keys=KEYS, isps=ISPS)
PICTURE = bytes(range(256)) * 40
CONTENT = MailContent(
    "news@sender.example", "Новости «Ангар»", "answers@sender.example",
    attachments=(Attachment("p", "картинка.png", "image/png", len(PICTURE), "pic"),),
)  # fmt: skip
BODIES = [
    MailBody("Plain", "<p>plain</p>\n", "plain\n", "Ivan", "https://x.example/u/0", "t0"),
    MailBody("Привет, 😀", "<p>Привет 😀</p>\n" * 30, "Привет 😀\n", "Иван Иванов", "", "t1"),
    MailBody("Long lines", "<p>" + "x" * 998 + "</p>\n", "y" * 998 + "\n" + "z" * 5_000 + "\n", "", "", "t2"),
    MailBody("Dots", ".\n..\n.dot\n<p>.</p>\n.", "\n.\n\n.\n.end\nFrom me\n", "", "", "t3"),
    MailBody("Spaces", "a  \n\tb\t\n \n\n\n", "trailing \n\n\n", "", "", "t4"),
]


def same(one: str, other: str) -> bool:
    return one.replace("\r\n", "\n").rstrip("\n") == other.rstrip("\n")


def verified(wire: bytes) -> list[bool]:
    records = dict(dkim.dns_record(key) for key in KEYS.values())

    def txt(name: bytes, timeout: int = 5) -> bytes:
        return "".join(records[name.decode().rstrip(".")].strip('"').split('" "')).encode()

    return [checker.DKIM(wire).verify(idx=index, dnsfunc=txt) for index in range(2)]


def check(wire: bytes, body: MailBody) -> None:
    message = email.message_from_bytes(wire, policy=default)
    assert isinstance(message, EmailMessage)
    assert message["subject"] == body.subject
    assert message["from"].addresses[0].display_name == CONTENT.from_name
    html, text = message.get_body(("html",)), message.get_body(("plain",))
    assert html is not None
    assert text is not None
    assert same(html.get_content(), body.html)
    assert same(text.get_content(), body.text)
    [picture] = [part for part in message.walk() if part.get_content_type() == "image/png"]
    assert picture.get_content() == PICTURE
    assert verified(wire) == [True, True]


async def deliver(courier: CourierProcess, port: int, address: str, **options: object) -> list[link.Done]:
    """Every body under every ISP's encodings."""
    courier.send(link.Configure(SETTINGS))
    frames = courier.content(BODIES, CONTENT, blobs={"p": PICTURE})
    courier.open(1, port, **options)
    seqs = [
        courier.message(1, frame, address, index, isp=isp)
        for isp in ISPS
        for index, frame in enumerate(frames)
    ]
    done = [await courier.done(seq) for seq in seqs]
    courier.send(link.Close(1))
    await courier.wait_for(link.Closed)
    return done


@pytest.mark.parametrize("tls", [TlsPolicy.NEVER, TlsPolicy.REQUIRED_VERIFIED])
async def test_postfix_receives_every_message_whole_and_signed(tmp_path: Path, tls: TlsPolicy):
    authority = Authority(tmp_path)
    pem = str(authority.issue("mx0.example"))
    settings = {"smtpd_tls_security_level": "may", "smtpd_tls_chain_files": pem}
    with Postfix(tmp_path / "postfix", **settings) as postfix:
        options = ("--authorities", str(authority.path))
        async with CourierProcess(tmp_path / "slots", *options) as courier:
            done = await deliver(courier, postfix.port, "reader@mx.example", tls=tls)
            assert {report.reply.code for report in done} == {250}
            assert {bool(report.tls) for report in done} == {tls is not TlsPolicy.NEVER}
        files = await asyncio.to_thread(postfix.received, len(done))
    by_subject = {body.subject: body for body in BODIES}
    for file in files:
        wire = b"DKIM-Signature:" + file.replace(b"\n", b"\r\n").partition(b"DKIM-Signature:")[2]
        check(wire, by_subject[str(email.message_from_bytes(file, policy=default)["subject"])])
    assert len(files) == len(BODIES) * len(ISPS)


async def test_postfix_takes_an_internationalized_address(tmp_path: Path):
    with Postfix(tmp_path / "postfix") as postfix:
        async with CourierProcess(tmp_path / "slots") as courier:
            done = await deliver(courier, postfix.port, "почта@пример.рф")
            assert {report.reply.code for report in done} == {250}
        [file, *_] = await asyncio.to_thread(postfix.received, len(done))
    assert "To: почта@xn--e1afmkfd.xn--p1ai".encode() in file


async def test_smtp_sink_receives_every_message_whole_and_signed(tmp_path: Path):
    sink = shutil.which("smtp-sink", path="/usr/sbin:/usr/bin")
    assert sink, "smtp-sink is not installed: apt-get install postfix (no service needs to run)"
    async with SmtpServer() as probe:
        port = probe.port
    (tmp_path / "mail").mkdir(mode=0o777)
    (tmp_path / "mail").chmod(0o777)
    tmp_path.chmod(0o755)
    tmp_path.parent.chmod(0o755)
    tmp_path.parent.parent.chmod(0o755)
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen(  # noqa: ASYNC220
        [sink, *user, "-d", str(tmp_path / "mail" / "%M."), f"127.0.0.1:{port}", "100"]
    )
    try:
        async with CourierProcess(tmp_path / "slots") as courier:
            await until(lambda: _listens(port))
            done = await deliver(courier, port, "reader@mx.example")
            assert {report.reply.code for report in done} == {250}
    finally:
        process.terminate()
        process.wait()
    files = [path.read_bytes() for path in (tmp_path / "mail").iterdir()]
    by_subject = {body.subject: body for body in BODIES}
    for file in files:
        wire = b"DKIM-Signature:" + file.replace(b"\n", b"\r\n").partition(b"DKIM-Signature:")[2]
        check(wire, by_subject[str(email.message_from_bytes(file, policy=default)["subject"])])
    assert len(files) == len(BODIES) * len(ISPS)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
