"""`angarium import`."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from angarium.store import imports

app = typer.Typer()


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV file; - reads standard input.")],
    account: Annotated[str | None, typer.Option(help="Name or number; not needed when there is one.")] = None,
    new_account: Annotated[
        bool, typer.Option("--new-account", help="Make the account if it is new.")
    ] = False,
    resource: Annotated[str | None, typer.Option(help="Subscribe to this resource; made if new.")] = None,
    into: Annotated[str | None, typer.Option("--list", help="Put on this list; made if new.")] = None,
    key: Annotated[str | None, typer.Option(help="Column with your own id (default: the address).")] = None,
    status: Annotated[str | None, typer.Option(help="Column with subscription statuses.")] = None,
    encoding: Annotated[str | None, typer.Option(help="utf-8 or cp1251 (default: recognised).")] = None,
    delimiter: Annotated[str | None, typer.Option(help="One character (default: recognised).")] = None,
    rejected: Annotated[Path | None, typer.Option(help="Write rejected lines to this CSV file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The outcome as one line of JSON.")] = False,
) -> None:
    """Import profiles from a CSV file. The same file again changes nothing."""
    from angarium.store import database

    database.setup()
    from angarium.store import imports, naming
    from angarium.web.directory.models import ProfileList, Resource

    account_id = naming.new_account(account) if account and new_account else naming.account(account)
    with contextlib.ExitStack() as stack:
        source: Path | BinaryIO = sys.stdin.buffer if str(file) == "-" else file
        tell = stack.enter_context(_bar(hidden=as_json))
        outcome = imports.run(
            account_id,
            source,
            resource=naming.existing_or_new(Resource, account_id, resource) if resource else None,
            into=naming.existing_or_new(ProfileList, account_id, into) if into else None,
            filename=file.name,
            key=key,
            status=status,
            encoding=encoding,
            delimiter=delimiter,
            report=stack.enter_context(rejected.open("w", newline="")) if rejected else None,
            progress=tell,
        )
    _say(outcome, as_json)
    if outcome.state != "finished":
        raise typer.Exit(1)


@contextlib.contextmanager
def _bar(hidden: bool) -> Iterator[Callable[[imports.Progress], None]]:
    columns = (TextColumn("Importing"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=hidden) as shown:
        task = shown.add_task("import", total=None)

        def tell(now: imports.Progress) -> None:
            shown.update(task, completed=now.bytes_read, total=now.bytes_total or None)

        yield tell


def _say(outcome: imports.Progress, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(outcome)))
        return
    typer.echo(
        f"{outcome.lines:,} lines: {outcome.created:,} new profiles, {outcome.updated:,} updated, "
        f"{outcome.unchanged:,} unchanged, {outcome.subscribed:,} new subscriptions"
    )
    if outcome.rejected:
        typer.echo(
            f"{outcome.rejected:,} lines were rejected; the import {outcome.run} keeps the first of them:"
        )
        for line in _rejections(outcome.run)[:5]:
            typer.echo(f"  line {line['line']}: {line['reason']}")
    if outcome.error:
        typer.echo(f"Stopped: {outcome.error}", err=True)


def _rejections(run: int) -> list[dict[str, str]]:
    from angarium.web.directory.models import ImportRun

    found: list[dict[str, str]] = ImportRun.objects.get(pk=run).rejections
    return found
