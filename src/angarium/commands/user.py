"""`angarium user …`."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from angarium.errors import InvalidInput

app = typer.Typer(no_args_is_help=True, help="People who may log in.")
PasswordFile = Annotated[Path | None, typer.Option(help="File that holds the password.", show_default=False)]
Generate = Annotated[bool, typer.Option("--generate", help="Make up a password and print it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]


@app.command()
def create(
    username: Annotated[str, typer.Argument()] = "admin",
    role: Annotated[str, typer.Option(help="administrator, postmaster or member.")] = "administrator",
    email: Annotated[str, typer.Option()] = "",
    password_file: PasswordFile = None,
    generate: Generate = False,
    as_json: AsJson = False,
) -> None:
    """Add a person. Without an option the password is asked for."""
    password = _password(password_file, generate)
    users = _users()
    users.create(username, password, role, email)
    _tell(username, password if generate else "", as_json)


@app.command()
def password(
    username: Annotated[str, typer.Argument()],
    password_file: PasswordFile = None,
    generate: Generate = False,
    as_json: AsJson = False,
) -> None:
    """Change a person's password."""
    new = _password(password_file, generate)
    _users().set_password(username, new)
    _tell(username, new if generate else "", as_json)


@app.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """Show who may log in."""
    rows = _users().names()
    if as_json:
        typer.echo(json.dumps([{"username": n, "role": r, "active": a} for n, r, a in rows]))
        return
    for name, role, active in rows:
        typer.echo(f"{name:<30} {role}{'' if active else ' (may not log in)'}")


def _users() -> ModuleType:
    from angarium.store import database

    database.setup()
    from angarium.store import users

    return users


def _password(file: Path | None, generate: bool) -> str:
    if generate:
        return secrets.token_urlsafe(15)
    if file is None:
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    try:
        return file.read_text().strip()
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from error


def _tell(username: str, password: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"username": username, "password": password or None}))
    else:
        typer.echo(f"{username} may log in." + (f" Password: {password}" if password else ""))
