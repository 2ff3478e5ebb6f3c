"""`angarium run SERVICE`."""

from __future__ import annotations

from typing import Annotated

import typer

from angarium.errors import ConfigurationError
from angarium.services import BY_NAME, SERVICES

app = typer.Typer()
_NAMES = "\n\n".join(f"{service.name}: {service.duty}" for service in SERVICES)


@app.command(help=f"Run one service until SIGTERM.\n\n{_NAMES}")
def run(
    service: Annotated[str, typer.Argument()],
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    if service not in BY_NAME:
        raise ConfigurationError(f"no service is called {service!r}; there are {', '.join(BY_NAME)}")
    from angarium import config, runtime
    from angarium.supervisor import CONFIGURATION_EXIT

    try:
        runtime.run(service, config.current(), parent)
    except ConfigurationError as error:
        typer.echo(f"angarium run {service}: {error}", err=True)
        raise typer.Exit(CONFIGURATION_EXIT) from error
