"""`angarium check-config`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from angarium import config
from angarium.config import Settings

app = typer.Typer()
MASK = "***"
HEADING = """# Angarium's settings, each with its default. Remove the # in front of what you change.
# Durations carry units ("90 s", "15 min", "24 h", "7 days"), sizes too ("500 MB").
# An environment variable wins over this file: mta.node is ANGARIUM_MTA__NODE, and
# ANGARIUM_DATABASE_URL_FILE names a file that holds database_url.
"""


@app.command()
def check_config(
    sample: Annotated[
        bool, typer.Option("--sample", help="Print a commented settings file instead.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Show the settings in force and where each comes from. Secrets are masked."""
    if sample:
        typer.echo(sample_file(), nl=False)
        return
    settings, origins = config.load(), config.origins()
    rows = [(key, shown(value), origin(key, origins)) for key, value in leaves(settings)]
    if as_json:
        typer.echo(json.dumps({key: {"value": value, "from": source} for key, value, source in rows}))
        return
    width = max(len(key) for key, _, _ in rows)
    for key, value, source in rows:
        typer.echo(f"{key:<{width}} = {toml(value):<40} {source}")


def origin(key: str, origins: dict[str, str]) -> str:
    """Tables such as `metrics.ports` come from wherever one of their keys does."""
    found = {source for name, source in origins.items() if name == key or name.startswith(f"{key}.")}
    return ", ".join(sorted(found)) or "default"


def leaves(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every setting."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def shown(value: Any) -> Any:
    """Plain data, without secrets."""
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    if isinstance(value, tuple):
        return list(value)
    return (
        value if isinstance(value, str | int | float | bool | dict) else "" if value is None else str(value)
    )


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }" if value else "{}"
        )
    return json.dumps(value)


def sample_file() -> str:
    """Every setting with its default and its meaning, commented out."""
    sections = [(name, field.default) for name, field in Settings.model_fields.items()]
    top = [line for name, default in sections if not isinstance(default, BaseModel)
           for line in _lines(name, Settings.model_fields[name])]  # fmt: skip
    parts = [HEADING + "\n" + "\n".join(top)]
    parts += [_section(name, default) for name, default in sections if isinstance(default, BaseModel)]
    return "\n".join(parts)


def _section(name: str, section: BaseModel) -> str:
    lines = [line for field, info in type(section).model_fields.items() for line in _lines(field, info)]
    return f"# {type(section).__doc__}\n[{name}]\n" + "\n".join(lines)


def _lines(name: str, field: FieldInfo) -> list[str]:
    comment = [f"# {' '.join(field.description.split())}"] if field.description else []
    value = "" if field.default is None else f" {toml(shown(field.default))}"
    return [*comment, f"# {name} ={value}", ""]
