"""Opening a session: banner, EHLO, STARTTLS (RFC 3207), AUTH (RFC 4954)."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Sequence

from angarium.mta.reply import ProtocolError, RawReply, Stage, local_reply
from angarium.mta.smtp import RefusedError, Session

OK = range(200, 300)
CHALLENGE = range(334, 335)


async def greeting(session: Session) -> None:
    """Reads the banner. Raises `RefusedError`."""
    _wanted(await session.read("banner"), "banner", OK)


async def hello(session: Session, name: str) -> None:
    """EHLO, or HELO where a server does not know that. Raises `RefusedError`."""
    answer = await session.ask(f"EHLO {name}", "ehlo")
    if answer.code >= 500:
        session.extensions = {}
        await _command(session, f"HELO {name}", "ehlo")
    else:
        session.extensions = extensions(_wanted(answer, "ehlo", OK).lines)


def extensions(lines: Sequence[bytes]) -> dict[str, str]:
    """What an EHLO reply offers: upper-case keyword → parameters."""
    offers = {}
    for line in lines[1:]:
        keyword, _, parameters = line.decode("ascii", "replace").strip().replace("=", " ", 1).partition(" ")
        offers[keyword.upper()] = parameters.strip()
    return offers


async def start_tls(session: Session, context: ssl.SSLContext, host: str) -> None:
    """STARTTLS and the handshake; EHLO must follow. Raises `RefusedError`."""
    await _command(session, "STARTTLS", "tls")
    session.patience("tls")
    try:
        if session.overheard:
            raise ProtocolError("plain text behind the reply to STARTTLS")
        await session.stream.start_tls(context, host)
    except (ssl.SSLError, ssl.CertificateError, ConnectionError, ProtocolError, ValueError) as error:
        session.abort()
        raise RefusedError(local_reply(451, "4.7.5", f"TLS with {host} failed: {error}", "tls")) from error
    session.extensions = {}


async def login(session: Session, username: str, password: str) -> None:
    """AUTH PLAIN or LOGIN, under TLS only. Raises `RefusedError`."""
    offered = session.extensions.get("AUTH", "").upper().split()
    if not session.stream.tls:
        raise RefusedError(local_reply(451, "4.7.11", "the password is sent under TLS only", "ehlo"))
    if "PLAIN" in offered:
        await _command(session, f"AUTH PLAIN {_base64(chr(0) + username + chr(0) + password)}", "ehlo")
    elif "LOGIN" in offered:
        await _login_in_steps(session, username, password)
    else:
        raise RefusedError(
            local_reply(451, "4.7.4", "the server offers neither AUTH PLAIN nor LOGIN", "ehlo")
        )


async def _login_in_steps(session: Session, username: str, password: str) -> None:
    question = await _command(session, "AUTH LOGIN", "ehlo", CHALLENGE)
    password_first = b"UGFzc3dvcmQ" in question.lines[0]
    first, second = (password, username) if password_first else (username, password)
    await _command(session, _base64(first), "ehlo", CHALLENGE)
    await _command(session, _base64(second), "ehlo")


async def _command(session: Session, line: str, stage: Stage, codes: range = OK) -> RawReply:
    return _wanted(await session.ask(line, stage), stage, codes)


def _wanted(answer: RawReply, stage: Stage, codes: range) -> RawReply:
    if answer.code not in codes:
        raise RefusedError(answer.reply(stage))
    return answer


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
