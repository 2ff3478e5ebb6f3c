"""`angarium up`."""

from __future__ import annotations

import sys

import typer

app = typer.Typer()


@app.command()
def up() -> None:
    """Start everything on this machine; Ctrl-C stops it in order, a second Ctrl-C at once."""
    from angarium import config, logs, supervisor

    settings = config.current()
    if sys.stdout.isatty() and "format" not in settings.log.model_fields_set:
        log = settings.log.model_copy(update={"format": "console"})
        settings = settings.model_copy(update={"log": log})
    logs.configure(settings.log, "up")
    supervisor.up(settings)
