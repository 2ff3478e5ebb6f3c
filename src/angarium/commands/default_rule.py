"""`angarium default-rule …`: what applies where a sender has no retry rule of its own."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from angarium.commands.settings_rows import (
    AsJson,
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

app = typer.Typer(no_args_is_help=True, help="What applies where a sender has no retry rule of its own.")


class Type(StrEnum):
    HARD = "hard"
    SOFT = "soft"
    BLOCK = "block"


@app.command("list")
def list_rules(as_json: AsJson = False) -> None:
    """Show the default rules in the order in which they are asked."""
    opened()
    from angarium.web.sending.models import DefaultRule

    rows = [_shown(row) for row in DefaultRule.objects.select_related("isp", "pattern", "retry_rule")]
    show_all(rows, ("id", "position", "isp", "bounce_type", "pattern", "retry_rule"), as_json)


@app.command()
def create(
    position: Annotated[int, typer.Option(help="The smaller is asked first.")] = 100,
    isp: Annotated[str | None, typer.Option(help="Name or id; left out: all.")] = None,
    bounce_type: Annotated[Type | None, typer.Option(help="Left out: all.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Bounce pattern, name or id; left out: any.")] = None,
    retry_rule: Annotated[str | None, typer.Option(help="Name or id; left out: undelivered at once.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add a default rule."""
    opened()
    from angarium.web.api.bodies import save
    from angarium.web.sending.models import BouncePattern, DefaultRule, Isp, RetryRule

    fields = named(
        position=position, isp=number(Isp, isp), bounce_type=bounce_type,
        pattern=number(BouncePattern, pattern), retry_rule=number(RetryRule, retry_rule),
    )  # fmt: skip
    with changing():
        save(row := DefaultRule(), fields)
    show_one(_shown(row), as_json)


@app.command("delete")
def delete_rule(
    rule: Annotated[int, typer.Argument(metavar="ID", show_default=False)], as_json: AsJson = False
) -> None:
    """Delete a default rule."""
    opened()
    from angarium.web.sending.models import DefaultRule

    delete(find(DefaultRule, str(rule), "pk"), as_json)


def _shown(row: Any) -> dict[str, Any]:
    from angarium.web.api.default_rules import DefaultRuleOut

    return shaped(DefaultRuleOut, row)
