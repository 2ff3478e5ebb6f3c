"""`angarium ip …`: the addresses that mail leaves from."""

from __future__ import annotations

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

app = typer.Typer(no_args_is_help=True, help="The IP addresses that mail leaves from.")
Address = Annotated[str, typer.Argument(metavar="ADDRESS|ID", show_default=False)]
NodeOption = Annotated[str | None, typer.Option(help="Name or id of the node it belongs to.")]
Hostname = Annotated[str | None, typer.Option(help="The name to greet with; empty: its reverse name.")]


@app.command("list")
def list_addresses(as_json: AsJson = False) -> None:
    """Show all IP addresses."""
    opened()
    from angarium.web.api.nodes import AddressOut
    from angarium.web.sending.models import IpAddress

    rows = [shaped(AddressOut, row) for row in IpAddress.objects.select_related("node").order_by("pk")]
    show_all(rows, ("id", "address", "node", "hostname"), as_json)


@app.command()
def create(
    address: Annotated[str, typer.Argument(show_default=False)],
    node: Annotated[str, typer.Option(help="Name or id of the node it belongs to.")],
    hostname: Hostname = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Give a node an IP address."""
    opened()
    from angarium.web.sending.models import IpAddress, Node

    fields = named(address=address, node=number(Node, node), hostname=hostname)
    show_one(_saved(IpAddress(), fields), as_json)


@app.command()
def edit(
    address: Address, node: NodeOption = None, hostname: Hostname = None, as_json: AsJson = False
) -> None:
    """Change an IP address's node or name."""
    opened()
    from angarium.web.sending.models import IpAddress, Node

    fields = named(node=number(Node, node), hostname=hostname)
    show_one(_saved(find(IpAddress, address, "address"), fields), as_json)


@app.command("delete")
def delete_address(address: Address, as_json: AsJson = False) -> None:
    """Delete an IP address that no sender uses."""
    opened()
    from angarium.web.sending.models import IpAddress

    delete(find(IpAddress, address, "address"), as_json)


def _saved(row: Any, fields: dict[str, Any]) -> dict[str, Any]:
    from angarium.web.api.bodies import save
    from angarium.web.api.nodes import AddressOut

    with changing():
        save(row, fields)
    return shaped(AddressOut, row)
