"""`angarium mailing`: create, launch and follow mailings."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from angarium.domain.outcome import Reason
from angarium.errors import InvalidInput

app = typer.Typer(help="Create, launch and follow mailings.", no_args_is_help=True)
LOOK_EVERY: Final = 0.5

Which = Annotated[str, typer.Argument(metavar="MAILING", help="Name or number.")]
AccountOption = Annotated[
    str | None, typer.Option(help="Account: name or number; not needed when there is one.")
]
Json = Annotated[bool, typer.Option("--json", help="The answer as JSON.")]
Watch = Annotated[bool, typer.Option("--watch", help="Stay and show progress until it is prepared.")]
LaunchOption = Annotated[int | None, typer.Option("--launch", help="Launch number (default: the latest).")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Of the new mailing.")],
    subject: Annotated[str, typer.Option(help="May contain fields: {{ first_name }}.")],
    audience: Annotated[str, typer.Option("--list", help="List it goes to.")],
    resource: Annotated[str, typer.Option(help="Whose subscribers it is for.")],
    from_address: Annotated[str, typer.Option("--from", help="From address.")],
    html: Annotated[Path | None, typer.Option(help="File with the HTML template.")] = None,
    text: Annotated[
        Path | None, typer.Option(help="File with the text template (default: from HTML).")
    ] = None,
    preheader: Annotated[str, typer.Option(help="Shown next to the subject in mailboxes.")] = "",
    from_name: Annotated[str, typer.Option(help="Shown with the From address.")] = "",
    reply_to: Annotated[str, typer.Option(help="Where replies go.")] = "",
    to_name: Annotated[str, typer.Option(help="Template of the recipient's name.")] = "",
    sender: Annotated[str | None, typer.Option(help="Not needed when the account may use one.")] = None,
    attach: Annotated[list[Path] | None, typer.Option(help="Attach a file; repeatable.")] = None,
    inline: Annotated[list[str] | None, typer.Option(metavar="CID=FILE", help="Picture for cid:CID.")] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="JSON", help='{"field": …, "operator": …, "value": …}.')
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many messages a launch.")] = None,
    urgent: Annotated[bool, typer.Option("--urgent", help="Overtakes other mail.")] = False,
    account: AccountOption = None,
    as_json: Json = False,
) -> None:
    """Make a mailing. Its template is checked; nothing is sent."""
    account_id = _open(account)
    from angarium.store import mailings, naming
    from angarium.web.directory.models import ProfileList, Resource

    draft = mailings.Draft(
        name=name,
        audience=naming.existing_or_new(ProfileList, account_id, audience),
        resource=naming.existing_or_new(Resource, account_id, resource),
        sender=naming.sender(account_id, sender),
        content={"subject": subject, "preheader": preheader, "html": _read(html), "text": _read(text)},
        options={
            "from_address": from_address, "from_name": from_name, "reply_to": reply_to, "to_name": to_name,
        },
        files=[mailings.File(path) for path in attach or ()] + [_inline(one) for one in inline or ()],
        filters=[_condition(one) for one in where or ()],
        urgent=urgent,
        launch_limit=limit,
    )  # fmt: skip
    number = mailings.create(account_id, draft)
    _say(
        {"mailing": number, "name": name},
        f"Mailing {number} is ready: angarium mailing launch {number}",
        as_json,
    )


@app.command("list")
def list_(account: AccountOption = None, as_json: Json = False) -> None:
    """Show the account's mailings."""
    account_id = _open(account)
    from angarium.store import mailings

    rows = mailings.listing(account_id)
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        _print_table(rows)


@app.command()
def launch(
    mailing: Which, account: AccountOption = None, watch: Watch = False, as_json: Json = False
) -> None:
    """Send a mailing to its list."""
    account_id = _open(account)
    from angarium.store import launches, naming

    number = launches.request(account_id, naming.mailing(account_id, mailing))
    if watch:
        _watch(account_id, number, as_json)
    else:
        _say({"launch": number}, f"Launch {number} is asked for", as_json)


@app.command()
def resend(
    mailing: Which,
    account: AccountOption = None,
    number: LaunchOption = None,
    reason: Annotated[
        list[Reason] | None,
        typer.Option(help="Why they were not reached; may be repeated (default: all but hard bounces)."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many it would go to.")] = False,
    watch: Watch = False,
    as_json: Json = False,
) -> None:
    """Send a mailing again, as a new launch, to those whom a launch did not reach.

    All checks are made again.
    """
    account_id = _open(account)
    from angarium.store import resends

    made = resends.request(account_id, _launch(account_id, mailing, number), reason or (), dry_run=dry_run)
    if watch and made.launch:
        _watch(account_id, made.launch, as_json)
        return
    words = f"Launch {made.launch} is asked for, to" if made.launch else "It would go to"
    words = f"{words} {made.recipients:,} profiles, before the checks"
    _say({"recipients": made.recipients, "launch": made.launch}, words, as_json)


@app.command()
def status(
    mailing: Which, account: AccountOption = None, number: LaunchOption = None, watch: Watch = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Show how far a launch is and what became of its messages."""
    account_id = _open(account)
    found = _launch(account_id, mailing, number)
    if watch:
        _watch(account_id, found, as_json)
    elif as_json:
        typer.echo(json.dumps(_state(account_id, found)))
    else:
        Console().print(_table(_state(account_id, found)))


@app.command()
def log(
    mailing: Which,
    account: AccountOption = None,
    number: LaunchOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Latest lines.")] = 200,
    as_json: Json = False,
) -> None:
    """Show what happened while launches prepared messages."""
    account_id = _open(account)
    from angarium.store import mailing_log, naming

    for row in reversed(mailing_log.read(account_id, naming.mailing(account_id, mailing), number, limit)):
        line = {
            "time": row.time.isoformat(timespec="seconds"), "level": row.level, "launch": row.launch_id,
            "message": row.message, "address": row.address, "profile": row.profile, "value": row.value,
        }  # fmt: skip
        address = f"  {row.address}" if row.address else ""
        typer.echo(json.dumps(line) if as_json else f"{line['time']}  {row.level:7}  {row.message}{address}")


@app.command()
def stop(
    mailing: Which, account: AccountOption = None, number: LaunchOption = None, as_json: Json = False
) -> None:
    """Prepare nothing more of a launch; what is queued stays queued."""
    account_id = _open(account)
    from angarium.store import launches

    found = _launch(account_id, mailing, number)
    launches.stop(account_id, found)
    _say({"launch": found, "state": "stopping"}, f"Launch {found} is being stopped", as_json)


@app.command()
def resume(
    mailing: Which, account: AccountOption = None, number: LaunchOption = None, as_json: Json = False
) -> None:
    """Go on with a launch that was stopped, paused or failed."""
    account_id = _open(account)
    from angarium.store import launches

    found = _launch(account_id, mailing, number)
    launches.resume(account_id, found)
    _say({"launch": found, "state": "waiting"}, f"Launch {found} goes on", as_json)


@app.command("test")
def send_test(
    mailing: Which,
    address: Annotated[str, typer.Argument(help="Where the one message goes.")],
    profile: Annotated[int | None, typer.Option(help="Whose fields it shows.")] = None,
    account: AccountOption = None,
    as_json: Json = False,
) -> None:
    """Send one message to one address."""
    account_id = _open(account)
    from angarium.store import launches, naming

    number = launches.request_test(account_id, naming.mailing(account_id, mailing), address, profile)
    _say({"launch": number}, f"A test message to {address} is asked for (launch {number})", as_json)


@app.command()
def preview(
    mailing: Which,
    profile: Annotated[int | None, typer.Option(help="Whose fields it shows (default: the first).")] = None,
    html: Annotated[bool, typer.Option("--html", help="The HTML instead of the text.")] = False,
    account: AccountOption = None,
    as_json: Json = False,
) -> None:
    """Show the message as a profile would get it."""
    account_id = _open(account)
    from angarium.store import launches, naming

    shown = launches.preview(account_id, naming.mailing(account_id, mailing), profile)
    body = shown.html if html else shown.text
    _say(msgspec.to_builtins(shown), f"To: {shown.address}\nSubject: {shown.subject}\n\n{body}", as_json)


def _open(account: str | None) -> int:
    from angarium.store import database

    database.setup()
    from angarium.store import naming

    return naming.account(account)


def _launch(account_id: int, mailing: str, number: int | None) -> int:
    from angarium.store import launches, naming

    known = [one.launch for one in launches.recent(account_id, naming.mailing(account_id, mailing), 1_000)]
    if number is not None and number not in known:
        raise InvalidInput(f"the mailing {mailing!r} has no launch {number}")
    if not known:
        raise InvalidInput(f"the mailing {mailing!r} was never launched")
    return number or known[0]


def _state(account_id: int, launch: int) -> dict[str, Any]:
    from angarium.store import launches
    from angarium.web.reports import figures

    progress = launches.progress(account_id, launch)
    return {**msgspec.to_builtins(progress), "outcomes": figures.outcomes(figures.of_launch(launch))}


def _watch(account_id: int, launch: int, as_json: bool) -> None:
    from angarium.store.launches import UNFINISHED

    with Live(console=Console(stderr=as_json), transient=as_json, refresh_per_second=4) as live:
        while (state := _state(account_id, launch))["state"] in UNFINISHED:
            live.update(_table(state))
            time.sleep(LOOK_EVERY)
        live.update(_table(state))
    if as_json:
        typer.echo(json.dumps(state))


def _table(state: dict[str, Any]) -> Table:
    table = Table("Launch", str(state["launch"]), show_header=True)
    table.add_row("State", state["state"])
    table.add_row("Audience", f"{state['handled']:,} of {state['audience']:,} handled")
    for held in state["held_back"]:
        table.add_row(f"Not sent: {held['reason']}", f"{held['count']:,}")
    table.add_row("Mailing errors", f"{state['errors']:,}")
    table.add_row("Handed to the broker", f"{state['published']:,}")
    for name in ("delivered", "soft", "hard", "blocked", "undelivered"):
        table.add_row(_OUTCOMES[name], f"{state['outcomes'][name]:,}")
    return table


_OUTCOMES: Final = {
    "delivered": "Delivered", "soft": "Soft bounces", "hard": "Hard bounces", "blocked": "Blocked",
    "undelivered": "Undelivered for other reasons",
}  # fmt: skip


def _print_table(rows: list[dict[str, Any]]) -> None:
    if not rows:
        typer.echo("There is no mailing yet.")
        return
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    Console().print(table)


def _read(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from error


def _inline(text: str) -> Any:
    from angarium.store import mailings

    content_id, separator, path = text.partition("=")
    if not separator or not content_id:
        raise InvalidInput(f"--inline {text}: write CID=FILE")
    return mailings.File(Path(path), content_id)


def _condition(text: str) -> dict[str, Any]:
    try:
        condition = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"--where {text}: it is not JSON") from error
    if not isinstance(condition, dict):
        raise InvalidInput(f"--where {text}: write an object with field, operator and value")
    return condition


def _say(answer: dict[str, Any], words: str, as_json: bool) -> None:
    typer.echo(json.dumps(answer) if as_json else words)
