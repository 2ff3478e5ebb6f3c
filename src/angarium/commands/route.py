"""`angarium route …`: where mail for a domain goes instead of its MX."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from angarium.commands.settings_rows import (
    AsJson,
    changing,
    delete,
    find,
    named,
    number,
    opened,
    shaped,
    show_all,
    show_one,
)  # fmt: skip
from angarium.errors import InvalidInput

app = typer.Typer(no_args_is_help=True, help="Where mail for a domain goes instead of its MX.")
Wanted = Annotated[str, typer.Argument(metavar="DOMAIN|ID", show_default=False)]


class Tls(StrEnum):
    OPPORTUNISTIC = "opportunistic"
    REQUIRED = "required"
    REQUIRED_VERIFIED = "required-verified"
    NEVER = "never"


@app.command("list")
def list_routes(as_json: AsJson = False) -> None:
    """Show all routes."""
    opened()
    from angarium.web.sending.models import Route

    rows = [_shown(row) for row in Route.objects.select_related("sender").order_by("pk")]
    show_all(rows, ("id", "domain", "sender", "host", "port", "tls", "username"), as_json)


@app.command()
def create(
    domain: Annotated[str, typer.Argument(help="A recipient domain, or * for all.", show_default=False)],
    host: Annotated[str, typer.Option(help="A name or an IP address.")],
    port: Annotated[int, typer.Option()] = 25,
    sender: Annotated[str | None, typer.Option(help="Name or id; left out: every sender.")] = None,
    tls: Annotated[Tls | None, typer.Option()] = None,
    username: Annotated[str | None, typer.Option()] = None,
    password_file: Annotated[Path | None, typer.Option(help="File that holds the password.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add a route."""
    opened()
    from angarium.web.api.bodies import save
    from angarium.web.sending.models import Route, Sender

    fields = named(
        domain=domain, host=host, port=port, sender=number(Sender, sender), tls=tls, username=username,
        password=_password(password_file),
    )  # fmt: skip
    with changing():
        save(row := Route(), fields)
    show_one(_shown(row), as_json)


@app.command("delete")
def delete_route(route: Wanted, as_json: AsJson = False) -> None:
    """Delete a route."""
    opened()
    from angarium.web.sending.models import Route

    delete(find(Route, route, "domain"), as_json)


def _password(file: Path | None) -> str | None:
    try:
        return None if file is None else file.read_text().strip()
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from error


def _shown(row: Any) -> dict[str, Any]:
    from angarium.web.api.routes import RouteOut

    return shaped(RouteOut, row)
