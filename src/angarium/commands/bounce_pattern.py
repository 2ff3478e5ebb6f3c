"""`angarium bounce-pattern …`: how SMTP replies are read."""

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
    number,
    opened,
    shaped,
    show_all,
    show_one,
)  # fmt: skip
from angarium.errors import InvalidInput

app = typer.Typer(no_args_is_help=True, help="How SMTP replies are read: hard, soft or block.")


class Type(StrEnum):
    HARD = "hard"
    SOFT = "soft"
    BLOCK = "block"


TypeOption = Annotated[Type | None, typer.Option()]
IspOption = Annotated[str | None, typer.Option(help="Name or id; left out: all ISPs.")]
Pattern = Annotated[str | None, typer.Option(help='Expression (RE2) over "code enhanced-code text".')]
Category = Annotated[str | None, typer.Option()]
Message = Annotated[str | None, typer.Option(help="In plain words, for reports.")]
Position = Annotated[int | None, typer.Option(help="The smaller is tried first.")]
Active = Annotated[bool | None, typer.Option("--active/--inactive")]


@app.command("list")
def list_patterns(
    own: Annotated[bool, typer.Option("--own", help="Only those that do not ship with the product.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the bounce patterns."""
    opened()
    from angarium.web.sending.models import BouncePattern

    rows = BouncePattern.objects.select_related("isp")
    shown = [_shown(row) for row in (rows.filter(builtin=False) if own else rows)]
    show_all(shown, ("id", "name", "type", "isp", "category", "position", "builtin", "active"), as_json)


@app.command()
def create(
    name: Annotated[str, typer.Option()], type: Annotated[Type, typer.Option()],  # noqa: A002
    pattern: Annotated[str, typer.Option(help='Expression (RE2) over "code enhanced-code text".')],
    isp: IspOption = None, category: Category = None, message: Message = None, position: Position = None,
    active: Active = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Add a bounce pattern of your own."""
    opened()
    from angarium.web.sending.models import BouncePattern

    fields = _fields(name, type, pattern, isp, category, message, position, active)
    show_one(_saved(BouncePattern(), fields), as_json)


@app.command()
def show(pattern: Wanted, as_json: AsJson = False) -> None:
    """Show a bounce pattern."""
    opened()
    show_one(_shown(_find(pattern)), as_json)


@app.command()
def edit(
    wanted: Wanted, name: Annotated[str | None, typer.Option()] = None, type: TypeOption = None,  # noqa: A002
    pattern: Pattern = None, isp: IspOption = None, category: Category = None, message: Message = None,
    position: Position = None, active: Active = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Change a bounce pattern."""
    opened()
    fields = _fields(name, type, pattern, isp, category, message, position, active)
    show_one(_saved(_find(wanted), fields), as_json)


@app.command()
def reset(pattern: Wanted, as_json: AsJson = False) -> None:
    """Undo the changes of a built-in pattern."""
    opened()
    from angarium.store.seed import reset_pattern

    row = _find(pattern)
    if not row.builtin:
        raise InvalidInput("only built-in patterns can be reset")
    reset_pattern(row)
    row.refresh_from_db()
    show_one(_shown(row), as_json)


@app.command("delete")
def delete_pattern(pattern: Wanted, as_json: AsJson = False) -> None:
    """Delete a bounce pattern of your own."""
    opened()
    delete(_find(pattern), as_json)


def _fields(
    name: str | None, type_: Type | None, pattern: str | None, isp: str | None, category: str | None,
    message: str | None, position: int | None, active: bool | None,
) -> dict[str, Any]:  # fmt: skip
    from angarium.web.sending.models import Isp

    return named(
        name=name, type=type_, pattern=pattern, isp=number(Isp, isp), category=category, message=message,
        position=position, active=active,
    )  # fmt: skip


def _find(wanted: str) -> Any:
    from angarium.web.sending.models import BouncePattern

    return find(BouncePattern, wanted)


def _shown(row: Any) -> dict[str, Any]:
    from angarium.web.api.bounce_patterns import PatternOut

    return shaped(PatternOut, row)


def _saved(row: Any, fields: dict[str, Any]) -> dict[str, Any]:
    from angarium.web.api.bodies import save

    with changing():
        save(row, fields)
    return _shown(row)
