"""`angarium migrate`."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def migrate(
    restored: Annotated[
        bool,
        typer.Option("--restored", help="The database was restored from a backup: see docs/howto/backup.md."),
    ] = False,
) -> None:
    """Bring the database to this version: schema, default rules, built-in patterns. Harmless to repeat."""
    from angarium.store import database

    database.setup()
    database.migrate()
    if restored:
        from angarium.store.restored import skip_used_numbers

        skip_used_numbers()
        typer.echo("Numbers that may have been used since the backup are skipped.")
    typer.echo("The database is up to date.")
