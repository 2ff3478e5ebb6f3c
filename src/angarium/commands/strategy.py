"""`angarium strategy …`: sending speed."""

from __future__ import annotations

from enum import StrEnum
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

app = typer.Typer(no_args_is_help=True, help="Sending speed of one sender from one IP to one ISP.")


class Helo(StrEnum):
    PTR = "ptr"
    FROM_DOMAIN = "from-domain"
    IP = "ip"


Connections = Annotated[int | None, typer.Option(help="Concurrent connections.")]
PerConnection = Annotated[int | None, typer.Option(help="Messages per connection.")]
Attempts = Annotated[int | None, typer.Option(help="Connection attempts per interval.")]
Interval = Annotated[int | None, typer.Option(help="Seconds.")]
HeloOption = Annotated[Helo | None, typer.Option(help="The name to greet with.")]
TryTls = Annotated[bool | None, typer.Option("--try-tls/--no-try-tls", help="Try TLS first.")]
Drop = Annotated[bool | None, typer.Option("--drop/--no-drop", help="Take and discard.")]


@app.command("list")
def list_strategies(as_json: AsJson = False) -> None:
    """Show all strategies and the speed they amount to."""
    opened()
    from angarium.web.api.strategies import StrategyOut
    from angarium.web.sending.models import Strategy

    rows = [shaped(StrategyOut, row) for row in Strategy.objects.order_by("pk")]
    columns = (
        "id",
        "name",
        "connections",
        "messages_per_connection",
        "attempts",
        "interval",
        "speed",
        "default",
    )
    show_all(rows, columns, as_json)


@app.command()
def create(
    name: Annotated[str, typer.Option()], connections: Connections = None,
    messages_per_connection: PerConnection = None, attempts: Attempts = None, interval: Interval = None,
    helo: HeloOption = None, try_tls: TryTls = None, drop: Drop = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Add a strategy."""
    opened()
    from angarium.web.sending.models import Strategy

    fields = named(
        name=name, connections=connections, messages_per_connection=messages_per_connection,
        attempts=attempts, interval=interval, helo=helo, try_tls=try_tls, drop=drop,
    )  # fmt: skip
    show_one(_saved(Strategy(), fields), as_json)


@app.command()
def show(strategy: Wanted, as_json: AsJson = False) -> None:
    """Show a strategy and its speed."""
    opened()
    from angarium.web.api.strategies import StrategyOut

    show_one(shaped(StrategyOut, _find(strategy)), as_json)


@app.command()
def edit(
    strategy: Wanted, name: Annotated[str | None, typer.Option()] = None, connections: Connections = None,
    messages_per_connection: PerConnection = None, attempts: Attempts = None, interval: Interval = None,
    helo: HeloOption = None, try_tls: TryTls = None, drop: Drop = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Change a strategy. What is left out stays as it is."""
    opened()
    fields = named(
        name=name, connections=connections, messages_per_connection=messages_per_connection,
        attempts=attempts, interval=interval, helo=helo, try_tls=try_tls, drop=drop,
    )  # fmt: skip
    show_one(_saved(_find(strategy), fields), as_json)


@app.command("delete")
def delete_strategy(strategy: Wanted, as_json: AsJson = False) -> None:
    """Delete a strategy that nothing uses."""
    opened()
    delete(_find(strategy), as_json)


def _find(wanted: str) -> Any:
    from angarium.web.sending.models import Strategy

    return find(Strategy, wanted)


def _saved(row: Any, fields: dict[str, Any]) -> dict[str, Any]:
    from angarium.web.api.bodies import save
    from angarium.web.api.strategies import StrategyOut

    with changing({}):
        save(row, fields)
    return shaped(StrategyOut, row)
