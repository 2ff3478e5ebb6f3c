"""`angarium isp …`: mailbox providers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from angarium.commands.settings_rows import (
    AsJson,
    Wanted,
    changing,
    delete,
    find,
    named,
    opened,
    shaped,
    show_all,
    show_one,
)  # fmt: skip

app = typer.Typer(no_args_is_help=True, help="Mailbox providers, each a named set of recipient domains.")
Domains = Annotated[list[str] | None, typer.Option("--domain", help="A recipient domain; may be repeated.")]
Suffixes = Annotated[
    list[str] | None, typer.Option("--mx-suffix", help="An MX host suffix; may be repeated.")
]


@app.command("list")
def list_isps(as_json: AsJson = False) -> None:
    """Show all ISPs."""
    opened()
    from angarium.web.sending.models import Isp

    rows = [_shown(row) for row in Isp.objects.prefetch_related("domains")]
    show_all(rows, ("id", "name", "domains", "mx_suffixes", "builtin", "edited"), as_json)


@app.command()
def create(
    name: Annotated[str, typer.Option()],
    domain: Domains = None,
    mx_suffix: Suffixes = None,
    as_json: AsJson = False,
) -> None:
    """Add an ISP."""
    opened()
    from angarium.web.sending.models import Isp

    show_one(_written(Isp(), named(name=name, domains=domain, mx_suffixes=mx_suffix)), as_json)


@app.command()
def show(isp: Wanted, as_json: AsJson = False) -> None:
    """Show an ISP."""
    opened()
    show_one(_shown(_find(isp)), as_json)


@app.command()
def edit(
    isp: Wanted, name: Annotated[str | None, typer.Option()] = None, domain: Domains = None,
    mx_suffix: Suffixes = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Change an ISP. Repeated options replace all that was there."""
    opened()
    show_one(_written(_find(isp), named(name=name, domains=domain, mx_suffixes=mx_suffix)), as_json)


@app.command("delete")
def delete_isp(isp: Wanted, as_json: AsJson = False) -> None:
    """Delete an ISP that nothing uses."""
    opened()
    delete(_find(isp), as_json)


def _find(wanted: str) -> Any:
    from angarium.web.sending.models import Isp

    return find(Isp, wanted)


def _shown(row: Any) -> dict[str, Any]:
    from angarium.web.api.isps import IspOut

    return shaped(IspOut, row)


def _written(row: Any, fields: dict[str, Any]) -> dict[str, Any]:
    from angarium.web.api.isps import write

    with changing({"domains": "domain", "mx_suffixes": "mx-suffix"}):
        return _shown(write(row, fields))
