"""What the commands for settings share: opening the database, finding rows, changing them, showing them.

JSON has the shapes of the API.
"""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from angarium.errors import InvalidInput

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]
Wanted = Annotated[str, typer.Argument(metavar="NAME|ID", show_default=False)]
PIPED_WIDTH = 200
OPTION_OF = {"interval": "interval-min", "isp": "isp", "into": "list"}


def opened() -> None:
    """The control database, ready. Raises `ConfigurationError` when its schema is of another version."""
    from angarium.store import database

    database.setup()
    database.require_migrated()


def find(model: Any, wanted: str, field: str = "name") -> Any:
    """The row of this id or name. Raises `InvalidInput` naming those that are there."""
    row = model.objects.filter(**{field: wanted}).first()
    if row is None and wanted.isdecimal() and int(wanted) < 2**63:
        row = model.objects.filter(pk=int(wanted)).first()
    if row is None:
        known = [str(name) for name in model.objects.values_list(field, flat=True)[:10]]
        there = f"there are: {', '.join(known)}" if known else "there is none yet"
        raise InvalidInput(f"there is no {model._meta.verbose_name} {wanted!r}; {there}")
    return row


def number(model: Any, wanted: str | None, field: str = "name") -> int | None:
    """The id of a row that an option names; None where the option was left out."""
    return None if wanted is None else int(find(model, wanted, field).pk)


def numbers(model: Any, wanted: Sequence[str] | None, field: str = "name") -> list[int] | None:
    return None if wanted is None else [int(find(model, one, field).pk) for one in wanted]


def named(**values: Any) -> dict[str, Any]:
    """The options that were given; choices as the database writes them."""
    return {
        name: value.value.replace("-", "_") if isinstance(value, Enum) else value
        for name, value in values.items()
        if value is not None
    }


@contextmanager
def changing(options: Mapping[str, str] = OPTION_OF) -> Iterator[None]:
    """One transaction, in the journal as the operating system's user; what is wrong is told by option."""
    from auditlog.context import set_extra_data
    from django.core.exceptions import ValidationError
    from django.db import transaction

    try:
        with set_extra_data({"additional_data": {"command": getpass.getuser()}}), transaction.atomic():
            yield
    except ValidationError as error:
        found = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        lines = [f"{_option(field, options)}{' '.join(messages)}" for field, messages in found.items()]
        raise InvalidInput("\n  ".join(lines)) from None


def _option(field: str, options: Mapping[str, str]) -> str:
    if not field or field == "__all__":
        return ""
    return f"--{options.get(field, field.replace('_', '-'))}: "


def delete(row: Any, as_json: bool) -> None:
    """Deletes a row that nothing uses, and says so. Raises `InUse`."""
    from angarium.web.sending import usage

    told = {"deleted": row.pk, "name": str(row)}
    with changing():
        usage.delete(row)
    typer.echo(json.dumps(told)) if as_json else typer.echo(f"Deleted: {told['name']}")


def shaped(schema: Any, row: Any) -> dict[str, Any]:
    """A row as the API shows it."""
    found: dict[str, Any] = schema.from_orm(row).model_dump(mode="json")
    return found


def show_all(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    """A table for people, a JSON array for machines."""
    if as_json:
        typer.echo(json.dumps(list(rows), ensure_ascii=False, indent=2))
        return
    table = Table(*(column.replace("_", " ") for column in columns), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(escape(_text(row[column])) for column in columns))
    Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table if rows else "None.")


def show_one(row: Mapping[str, Any], as_json: bool) -> None:
    """A line a field for people, a JSON object for machines."""
    if as_json:
        typer.echo(json.dumps(row, ensure_ascii=False, indent=2))
        return
    width = max(len(name) for name in row)
    for name, value in row.items():
        typer.echo(f"{name.replace('_', ' '):<{width}}  {_text(value)}")


def _text(value: Any) -> str:
    if value is None or value == "" or value == []:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_text(item)}" for name, item in value.items())
    return str(value)
