"""`angarium bounce`: what SMTP replies mean."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Final

import msgspec
import typer

from angarium.domain.bounce import builtin_isps, default_classifier
from angarium.domain.email import Reply
from angarium.errors import InvalidInput

app = typer.Typer(help="Read SMTP replies: hard, soft or block.", no_args_is_help=True)
BAD_INPUT: Final = 2


class ReplyLine(msgspec.Struct):
    """One line of input."""

    code: Annotated[int, msgspec.Meta(ge=100, le=599)]
    text: str
    enhanced: str | None = None
    isp: str | None = None
    """Name of a built-in ISP."""


_decoder = msgspec.json.Decoder(ReplyLine)


@app.callback()
def bounce() -> None:
    """Read SMTP replies: hard, soft or block."""


@app.command()
def classify() -> None:
    """Say what each reply on standard input means.

    In, one JSON object a line: {"code": 550, "enhanced": "5.1.1" or null, "text": "..."}, and "isp" if known.
    Out, one for each: {"bounce": "hard" | "soft" | "block", "category": "...", "pattern": "..." or null}.
    A line that cannot be read is answered by {"error": "..."}, told on standard error, and makes the
    exit status 2 after the last line.
    """
    failed = False
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            answer = verdict(line)
        except InvalidInput as error:
            failed = True
            answer = {"error": str(error)}
            sys.stderr.write(f"line {number}: {error}\n")
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()
    if failed:
        raise typer.Exit(BAD_INPUT)


def verdict(line: bytes) -> dict[str, Any]:
    """What the reply in a line of JSON means. Raises `InvalidInput`."""
    try:
        given = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInput(f"not a reply: {error}") from error
    reply = Reply(given.code, given.enhanced or "", given.text, "rcpt")
    found = default_classifier().classify(reply, _isp_number(given.isp))
    return {
        "bounce": str(found.bounce),
        "category": found.category,
        "pattern": found.name or None,
        "message": found.message,
    }


def _isp_number(name: str | None) -> int:
    if not name:
        return 0
    for isp in builtin_isps():
        if isp.name.casefold() == name.casefold():
            return isp.id
    raise InvalidInput(f"there is no built-in ISP named {name}")
