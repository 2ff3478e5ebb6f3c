"""`angarium account …`: tenants, and who may work in them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from angarium.commands.settings_rows import AsJson, Wanted, changing, find, named, opened, show_all, show_one

app = typer.Typer(no_args_is_help=True, help="Tenants, and who may work in them.")
User = Annotated[str, typer.Argument(show_default=False)]


class Right(StrEnum):
    EDIT = "edit"
    VIEW = "view"


@app.command("list")
def list_accounts(as_json: AsJson = False) -> None:
    """Show all accounts and their people."""
    opened()
    from angarium.web.access.models import Account

    rows = [_shown(row) for row in Account.objects.prefetch_related("memberships__user")]
    show_all(rows, ("id", "name", "active", "people"), as_json)


@app.command()
def create(name: Annotated[str, typer.Option()], as_json: AsJson = False) -> None:
    """Add an account."""
    opened()
    from angarium.web.access.models import Account

    show_one(_saved(Account(), {"name": name}), as_json)


@app.command()
def edit(
    account: Wanted, name: Annotated[str | None, typer.Option()] = None,
    active: Annotated[bool | None, typer.Option("--active/--inactive")] = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Rename or close an account."""
    opened()
    from angarium.web.access.models import Account

    show_one(_saved(find(Account, account), named(name=name, active=active)), as_json)


@app.command()
def grant(
    account: Wanted, user: User, right: Annotated[Right, typer.Option()] = Right.EDIT, as_json: AsJson = False
) -> None:
    """Let a person work in an account, or only look."""
    opened()
    from angarium.web.access import models

    row, person = find(models.Account, account), find(models.User, user, "username")
    with changing():
        models.Membership.objects.update_or_create(user=person, account=row, defaults={"right": right.value})
    show_one(_shown(row), as_json)


@app.command()
def revoke(account: Wanted, user: User, as_json: AsJson = False) -> None:
    """Take a person out of an account."""
    opened()
    from angarium.web.access import models

    row, person = find(models.Account, account), find(models.User, user, "username")
    with changing():
        for membership in models.Membership.objects.filter(user=person, account=row):
            membership.delete()
    show_one(_shown(row), as_json)


def _saved(row: Any, fields: dict[str, Any]) -> dict[str, Any]:
    from angarium.web.api.bodies import save

    with changing():
        save(row, fields)
    return _shown(row)


def _shown(row: Any) -> dict[str, Any]:
    people = [{"user": one.user.username, "right": one.right} for one in row.memberships.all()]
    return {"id": row.pk, "name": row.name, "active": row.active, "people": people}
