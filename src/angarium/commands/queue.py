"""`angarium queue`: what waits to be sent. JSON has the shapes of the API."""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from angarium.commands.settings_rows import AsJson, changing, find, number, opened
from angarium.errors import InvalidInput

if TYPE_CHECKING:
    from angarium.domain.gates import Scope
    from angarium.store.messages import Place, Search
    from angarium.store.queues import Command

app = typer.Typer(no_args_is_help=True, help="Watch, freeze, hold and clear what waits to be sent.")
LOOK_EVERY: Final = 1.0
NOT_DONE: Final = 1
"""Exit status: not in force everywhere yet, or not confirmed by the person."""
STATES: Final = ("total", "new", "retries", "sending", "frozen")

By = Literal["mailing", "sender", "isp", "node"]
State = Literal["new", "retries", "frozen", "deleted", "delivered", "hard_bounce", "undelivered"]
MailingOption = Annotated[str | None, typer.Option("--mailing", help="Name or number.")]
Frozen = Annotated[str, typer.Option("--mailing", help="Name or number.")]
SenderOption = Annotated[str | None, typer.Option("--sender", help="Name or number.")]
AccountOption = Annotated[
    str | None,
    typer.Option("--account", help="Name or number; needed where several have a mailing of that name."),
]
IspOption = Annotated[str | None, typer.Option("--isp", help="Name or number.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say how many messages it would affect.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
ByOption = Annotated[By | None, typer.Option("--by", help="Part the figures: mailing, sender, isp or node.")]
StateOption = Annotated[
    State | None,
    typer.Option("--state", help="How it stands; one on the wire is shown as what it was before."),
]
RecipientOption = Annotated[str, typer.Option("--recipient", help="A part of the address.")]
AnswerOption = Annotated[str, typer.Option("--answer", help="A part of the last answer: 5.7.1, full …")]
DoubtfulOption = Annotated[
    bool, typer.Option("--doubtful", help="Only those that may have been delivered without an answer.")
]
AfterOption = Annotated[str, typer.Option("--after", help="Go on where a page ended: its `next`.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Messages to show.")]
Looks = Annotated[int | None, typer.Option(min=1, help="End after so many looks (default: never).")]


@app.command()
def show(
    mailing: MailingOption = None, sender: SenderOption = None, account: AccountOption = None,
    isp: IspOption = None, by: ByOption = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show how many messages wait, and what holds them."""
    scope = _scope(mailing, sender, account, isp)
    found = _overview(scope, by or (None if as_json else _usual(scope)))
    if as_json:
        typer.echo(json.dumps(found))
    else:
        Console().print(_view(found, _names()))


@app.command()
def watch(
    mailing: MailingOption = None, sender: SenderOption = None, account: AccountOption = None,
    isp: IspOption = None, by: ByOption = None, looks: Looks = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show the figures live, each second, until interrupted. With `--json`: a line a second."""
    scope = _scope(mailing, sender, account, isp)
    part = by or (None if as_json else _usual(scope))
    try:
        _look(scope, part, looks, as_json)
    except KeyboardInterrupt:
        raise typer.Exit from None


@app.command()
def stalls(
    mailing: MailingOption = None, sender: SenderOption = None, account: AccountOption = None,
    isp: IspOption = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show queues of which nothing has come to an end for `recorder.stall_after`, with the likely cause.

    Exit status 1: there are some.
    """
    scope = _scope(mailing, sender, account, isp)
    from angarium.web.api.queues import stalled

    found = [one.model_dump(mode="json") for one in stalled(scope)]
    if as_json:
        typer.echo(json.dumps(found))
    else:
        Console().print(_stalls_table(found) if found else "Every queue moves.")
    if found:
        raise typer.Exit(NOT_DONE)


def _stalls_table(found: list[dict[str, Any]]) -> Table:
    from angarium.web.mailings.models import Mailing
    from angarium.web.sending.models import Isp, Sender

    models = {"mailing": Mailing, "sender": Sender, "isp": Isp}
    names = {
        word: dict(
            model._default_manager.filter(pk__in=[one[word] for one in found]).values_list("pk", "name")
        )
        for word, model in models.items()
    }
    table = Table("Mailing", "Sender", "ISP", "Messages", "Likely cause", box=None, pad_edge=False)
    for one in found:
        named = [escape(str(names[word].get(one[word], one[word] or ""))) for word in models]
        table.add_row(*named, f"{one['waiting']:,}", escape(one["words"]))
    return table


@app.command()
def messages(
    mailing: MailingOption = None, sender: SenderOption = None, account: AccountOption = None,
    isp: IspOption = None, state: StateOption = None, recipient: RecipientOption = "",
    answer: AnswerOption = "", doubtful: DoubtfulOption = False, after: AfterOption = "",
    limit: LimitOption = 50, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Find messages: who they go to, how they stand, what the receiver said last, when they are tried next.

    For example: angarium queue messages --mailing News --state retries --answer full
    """
    scope = _scope(mailing, sender, account, isp)
    from angarium.store.messages import Place, Search
    from angarium.store.messages import State as Stored

    wanted = Search(scope, Stored(state) if state else None, recipient, answer, doubtful)
    page = _found(wanted, Place.read(after) if after else None, limit)
    if as_json:
        typer.echo(json.dumps(page))
        return
    Console().print(_messages_table(page["items"]))
    if page["next"]:
        typer.echo(f"More: --after {page['next']}", err=True)


@app.command()
def freeze(
    mailing: Frozen, account: AccountOption = None, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Start no attempt of a mailing any more. Exit status 1: a node has not confirmed it yet."""
    scope = _scope(mailing, None, account, None)
    from angarium.store import queues

    _tell(scope, queues.close, ("Frozen", "would be frozen", "It is frozen already"), dry_run, as_json)


@app.command()
def unfreeze(
    mailing: Frozen, account: AccountOption = None, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Let a frozen mailing go on where it stood. Exit status 1: a node has not confirmed it yet."""
    scope = _scope(mailing, None, account, None)
    from angarium.store import queues

    _tell(scope, queues.open_again, ("Unfrozen", "would be unfrozen", "It is not frozen"), dry_run, as_json)


@app.command()
def hold(
    mailing: MailingOption = None, sender: SenderOption = None, account: AccountOption = None,
    isp: IspOption = None, dry_run: DryRun = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Start no attempt within a scope any more. Exit status 1: a node has not confirmed it yet."""
    scope = _some(_scope(mailing, sender, account, isp))
    from angarium.store import queues

    _tell(scope, queues.close, ("Held", "would be held", "It is held already"), dry_run, as_json)


@app.command()
def release(
    mailing: MailingOption = None, sender: SenderOption = None, account: AccountOption = None,
    isp: IspOption = None, dry_run: DryRun = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Lift the hold of exactly this scope. Exit status 1: a node has not confirmed it yet."""
    scope = _some(_scope(mailing, sender, account, isp))
    from angarium.store import queues

    words = ("Released", "would be released", "Exactly this is not held; see angarium queue show")
    _tell(scope, queues.open_again, words, dry_run, as_json)


@app.command()
def clear(
    mailing: MailingOption = None, sender: SenderOption = None, account: AccountOption = None,
    isp: IspOption = None, dry_run: DryRun = False, yes: Yes = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Remove for good what waits within a scope. Exit status 1: a node has not confirmed it yet, or you did
    not."""
    scope = _some(_scope(mailing, sender, account, isp))
    from angarium.store import queues

    if not (dry_run or yes):
        count = queues.clear(scope, _user(), dry_run=True).affected
        if not typer.confirm(f"Remove {_messages(count)} for good?", err=True):
            typer.echo("Nothing was removed.", err=True)
            raise typer.Exit(NOT_DONE)
    _tell(scope, queues.clear, ("Removed", "would be removed", ""), dry_run, as_json)


def _scope(mailing: str | None, sender: str | None, account: str | None, isp: str | None) -> Scope:
    """The rows that the options name. Raises `InvalidInput`."""
    opened()
    from angarium.domain.gates import Scope
    from angarium.web.access.models import Account
    from angarium.web.sending.models import Isp, Sender

    owner = number(Account, account) or 0
    found = 0
    if mailing is not None:
        owner, found = _mailing(owner, mailing)
    return Scope(owner, number(Sender, sender) or 0, found, number(Isp, isp) or 0)


def _mailing(account: int, wanted: str) -> tuple[int, int]:
    """Its account and number; by name where only one account has one of that name."""
    from angarium.store import naming
    from angarium.web.mailings.models import Mailing

    if not account:
        owners = list(Mailing.objects.filter(name=wanted).values_list("account__name", flat=True))
        if len(owners) > 1:
            raise InvalidInput(f"say which account with --account: {', '.join(sorted(owners))}")
        account = find(Mailing, wanted).account_id
    return account, naming.mailing(account, wanted)


def _some(scope: Scope) -> Scope:
    if not any((scope.account, scope.sender, scope.mailing, scope.isp)):
        raise InvalidInput("name what it is about: --mailing, --sender, --account or --isp")
    return scope


def _user() -> str:
    return getpass.getuser()


def _tell(
    scope: Scope, command: Callable[..., Command], words: tuple[str, str, str], dry_run: bool, as_json: bool
) -> None:
    """Gives the command, and says what it did: done, would be done, changed nothing."""
    from angarium.web.api.queues import answered

    with changing():
        done = command(scope, _user(), dry_run=dry_run)
    answer = answered(scope, done)
    if as_json:
        typer.echo(json.dumps(answer.model_dump(mode="json")))
    elif dry_run:
        typer.echo(f"{_messages(done.affected)} {words[1]}.")
    else:
        typer.echo(f"{words[0]}: {_messages(done.affected)}." if answer.changed else f"{words[2]}.")
    for launch in answer.preparing if words[0] == "Removed" else ():
        typer.echo(f"Launch {launch} is not over; angarium mailing stop stops it.", err=True)
    if answer.unconfirmed:
        typer.echo(f"Not confirmed yet by {', '.join(answer.unconfirmed)}.", err=True)
        raise typer.Exit(NOT_DONE)


def _found(wanted: Search, after: Place | None, limit: int) -> dict[str, Any]:
    """As the API answers, however far one has to look for so many."""
    from angarium.store.messages import Page, search
    from angarium.web.api.queues import shown

    items: list[Any] = []
    while True:
        page = search(wanted, None, after, limit - len(items))
        items += page.messages
        after = page.next
        if after is None or len(items) == limit:
            return shown(Page(items, after)).model_dump(mode="json")


def _messages_table(found: list[dict[str, Any]]) -> Table:
    table = Table(
        "To", "State", "Attempts", "Next attempt", "Last answer", "Message", box=None, pad_edge=False
    )
    for message in found:
        table.add_row(
            escape(message["address"]),
            message["state"].replace("_", " ") + (" (doubtful)" if message["doubtful"] else ""),
            str(message["attempts"] or ""),
            _moment(message["next_attempt"]) if message["next_attempt"] else "",
            escape(message["answer"] or message["reason"]),
            message["message"],
        )
    return table


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count:,} messages"


def _usual(scope: Scope) -> By:
    return "node" if scope.mailing else "mailing"


def _overview(scope: Scope, by: By | None) -> dict[str, Any]:
    from angarium.web.api.queues import OverviewOut, overview

    return OverviewOut.model_validate(overview(scope, by)).model_dump(mode="json")


def _look(scope: Scope, by: By | None, looks: int | None, as_json: bool) -> None:
    if as_json:
        for _ in _seconds(looks):
            typer.echo(json.dumps(_overview(scope, by)))
        return
    with Live(refresh_per_second=4) as live:
        for _ in _seconds(looks):
            live.update(_view(_overview(scope, by), _names()))


def _seconds(looks: int | None) -> Any:
    """Once now, then once a second, so many times."""
    seen = 0
    while True:
        yield seen
        seen += 1
        if seen == looks:
            return
        time.sleep(LOOK_EVERY)


def _view(found: dict[str, Any], names: dict[tuple[str, int], str]) -> Group:
    table = Table("", box=None, pad_edge=False)
    for state in STATES:
        table.add_column(state.capitalize(), justify="right")
    table.add_row("All", *(f"{found[state]:,}" for state in STATES), style="bold")
    for row in found["rows"]:
        table.add_row(escape(row["name"]), *(f"{row['queue'][state]:,}" for state in STATES))
    lines = [f"As of {_moment(found['at'])}." if found["at"] else "No node has said anything."]
    lines += [f"No sign of life: {', '.join(found['silent'])}; as it last said."] if found["silent"] else []
    lines += [_gate(gate, names) for gate in found["gates"]]
    return Group(table, *(escape(line) for line in lines))


def _gate(gate: dict[str, Any], names: dict[tuple[str, int], str]) -> str:
    scope = [
        f"{word} {names.get((word, gate[word]), gate[word])}"
        for word in ("account", "mailing", "sender", "isp")
        if gate[word] and not (word == "account" and gate["mailing"])
    ]
    word = "Frozen" if gate["mailing"] else "Held"
    return f"{word}: {', '.join(scope) or 'everything'} since {_moment(gate['since'])} by {gate['user']}."


def _moment(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S} UTC"


def _names() -> dict[tuple[str, int], str]:
    """Of what gates are about."""
    from angarium.web.queues.models import Gate

    rows = Gate.objects.filter(until=None).select_related("account", "sender", "mailing", "isp")
    words = ("account", "sender", "mailing", "isp")
    found = ((word, getattr(row, word)) for row in rows for word in words)
    return {(word, one.pk): str(one) for word, one in found if one is not None}
