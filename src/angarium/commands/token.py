"""`angarium token …`: keys to the API."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Annotated, Any

import typer

from angarium.commands.settings_rows import AsJson, changing, find, opened, show_all
from angarium.errors import InvalidInput

app = typer.Typer(no_args_is_help=True, help="Keys to the API.")


@app.command()
def create(
    user: Annotated[str, typer.Argument(help="Whose rights it gives.", show_default=False)],
    name: Annotated[str, typer.Option(help="What it is for.")],
    account: Annotated[str | None, typer.Option(help="Good for this account only; name or id.")] = None,
    expires: Annotated[str | None, typer.Option(help='For example "90 days"; left out: never.')] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token. It is shown once and not kept."""
    opened()
    from angarium.web.access import tokens
    from angarium.web.access.models import Account, User

    owner, end = find(User, user, "username"), _end(expires)
    with changing():
        row, secret = tokens.create(owner, name, find(Account, account) if account else None, end)
    typer.echo(json.dumps({"id": row.pk, "name": name, "token": secret}) if as_json else secret)


@app.command("list")
def list_tokens(as_json: AsJson = False) -> None:
    """Show all tokens by their first characters."""
    opened()
    from angarium.web.access.models import ApiToken

    rows = [_shown(row) for row in ApiToken.objects.select_related("user", "account").order_by("pk")]
    show_all(rows, ("id", "name", "prefix", "user", "account", "created", "expires", "used"), as_json)


@app.command()
def revoke(
    token: Annotated[str, typer.Argument(metavar="ID|PREFIX", show_default=False)], as_json: AsJson = False
) -> None:
    """Make a token worthless from this moment."""
    opened()
    from angarium.web.access.models import ApiToken

    row = find(ApiToken, token, "prefix")
    number, name = row.pk, row.name
    with changing():
        row.delete()
    typer.echo(json.dumps({"revoked": number, "name": name}) if as_json else f"Revoked: {name}")


def _end(expires: str | None) -> Any:
    from django.utils import timezone

    from angarium.config import parse_duration

    if expires is None:
        return None
    try:
        return timezone.now() + timedelta(seconds=parse_duration(expires))
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"--expires: {error}") from None


def _shown(row: Any) -> dict[str, Any]:
    times = {name: getattr(row, name) for name in ("created", "expires", "used")}
    return {
        "id": row.pk, "name": row.name, "prefix": row.prefix, "user": row.user.username,
        "account": row.account.name if row.account else None,
        **{name: time.isoformat(timespec="seconds") if time else None for name, time in times.items()},
    }  # fmt: skip
