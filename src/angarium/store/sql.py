"""The few places where the two databases are asked differently."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.db import connection


def insert(table: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]], conflict: str) -> None:
    """Inserts many rows. `columns`: name → PostgreSQL's type, in the order of a row's values.

    PostgreSQL gets an array a column: a statement a row, or a place holder a value, is ten times slower.
    """
    if not rows:
        return
    into = f"INSERT INTO {table} ({', '.join(columns)})"
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            places = ", ".join(["%s"] * len(columns))
            cursor.executemany(f"{into} VALUES ({places}) ON CONFLICT {conflict}", rows)
        else:
            arrays = ", ".join(f"%s::{kind}[]" for kind in columns.values())
            parameters = [list(column) for column in zip(*rows, strict=True)]
            sql = f"{into} SELECT * FROM unnest({arrays}) ON CONFLICT {conflict}"  # noqa: S608 – names are ours
            cursor.execute(sql, parameters)


def within(column: str, values: Collection[int] | Collection[str]) -> tuple[str, list[Any]]:
    """The condition that a column has one of many values, and its one parameter."""
    if connection.vendor == "sqlite":
        condition = f"{column} IN (SELECT value FROM json_each(%s))"  # noqa: S608 – columns are ours
        return condition, [json.dumps(list(values))]
    return f"{column} = ANY(%s)", [list(values)]
