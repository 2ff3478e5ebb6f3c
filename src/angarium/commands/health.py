"""`angarium health`."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer

from angarium.errors import ConfigurationError
from angarium.services import BY_NAME

app = typer.Typer()


@app.command()
def health(
    service: Annotated[str, typer.Argument(help="One service; default: all.", show_default=False)] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Ask the services of this machine how they are. Exit status 1: one does not answer, or is not well."""
    if service and service not in BY_NAME:
        raise ConfigurationError(f"no service is called {service!r}; there are {', '.join(BY_NAME)}")
    reports = asyncio.run(_ask([service] if service else _expected()))
    if as_json:
        typer.echo(json.dumps(list(reports.values())))
    else:
        for name, report in reports.items():
            typer.echo(f"{name:<10} {'; '.join(report['problems'].values()) or 'well'}")
    if not all(report["healthy"] for report in reports.values()):
        raise typer.Exit(1)


def _expected() -> list[str]:
    from angarium import config

    return [name for name in BY_NAME if name != "broker" or config.current().embedded_broker]


async def _ask(names: list[str]) -> dict[str, dict[str, Any]]:
    from angarium import config, metrics

    found = {}
    for name in names:
        silent = {"service": name, "healthy": False, "problems": {"process": "does not answer"}}
        found[name] = await metrics.ask(config.current(), name) or silent
    return found
