"""`angarium node …`: the sending servers."""

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

app = typer.Typer(no_args_is_help=True, help="The sending servers.")
Active = Annotated[bool | None, typer.Option("--active/--inactive", help="Inactive: it sends nothing.")]


@app.command("list")
def list_nodes(as_json: AsJson = False) -> None:
    """Show all nodes, their IP addresses and their state."""
    opened()
    from angarium.web.sending.models import Node

    rows = [_shown(row) for row in Node.objects.order_by("pk")]
    table = (
        rows if as_json else [{**row, "addresses": [a["address"] for a in row["addresses"]]} for row in rows]
    )
    show_all(table, ("id", "name", "active", "addresses", "seen", "version", "notice"), as_json)


@app.command()
def create(name: Annotated[str, typer.Option()], active: Active = None, as_json: AsJson = False) -> None:
    """Add a node, before it runs for the first time."""
    opened()
    from angarium.web.sending.models import Node

    show_one(_saved(Node(), named(name=name, active=active)), as_json)


@app.command()
def show(node: Wanted, as_json: AsJson = False) -> None:
    """Show a node and its state."""
    opened()
    show_one(_shown(_find(node)), as_json)


@app.command()
def edit(
    node: Wanted,
    name: Annotated[str | None, typer.Option()] = None,
    active: Active = None,
    as_json: AsJson = False,
) -> None:
    """Rename a node, stop or start its sending."""
    opened()
    show_one(_saved(_find(node), named(name=name, active=active)), as_json)


@app.command("delete")
def delete_node(node: Wanted, as_json: AsJson = False) -> None:
    """Delete a node without IP addresses."""
    opened()
    delete(_find(node), as_json)


def _find(wanted: str) -> Any:
    from angarium.web.sending.models import Node

    return find(Node, wanted)


def _shown(row: Any) -> dict[str, Any]:
    from angarium.web.api.nodes import NodeOut

    return shaped(NodeOut, row)


def _saved(row: Any, fields: dict[str, Any]) -> dict[str, Any]:
    from angarium.web.api.bodies import save

    with changing():
        save(row, fields)
    return _shown(row)
