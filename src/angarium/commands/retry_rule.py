"""`angarium retry-rule …`: what happens after a temporary failure."""

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
    opened,
    shaped,
    show_all,
    show_one,
)  # fmt: skip
from angarium.domain.duration import in_words
from angarium.errors import InvalidInput

app = typer.Typer(no_args_is_help=True, help="What happens after a temporary failure.")


class Mode(StrEnum):
    SAME_IP = "same-ip"
    OTHER_IP = "other-ip"
    OTHER_NODE = "other-node"


class Type(StrEnum):
    FIXED = "fixed"
    GEOMETRIC = "geometric"
    RANDOM = "random"


Name = Annotated[str | None, typer.Option(help="The more telling, the easier to choose.")]
ModeOption = Annotated[Mode | None, typer.Option(help="Where the retry leaves from.")]
Retries = Annotated[int | None, typer.Option(help="Attempts after the first; 0: none.")]
Interval = Annotated[float | None, typer.Option(help="Minutes, from the end of the failed attempt.")]
TypeOption = Annotated[Type | None, typer.Option(help="How the delay develops.")]
Exponent = Annotated[
    float | None, typer.Option(help="Geometric: the interval × exponent^(n−1) before retry n.")
]
Modifier = Annotated[float | None, typer.Option(help="Random: at most the interval × (1 + modifier).")]
COLUMNS = ("id", "name", "mode", "retries", "interval", "type", "exponent", "modifier", "default")


@app.command("list")
def list_rules(as_json: AsJson = False) -> None:
    """Show all retry rules."""
    opened()
    from angarium.web.api.retry_rules import RetryRuleOut
    from angarium.web.sending.models import RetryRule

    rows = [shaped(RetryRuleOut, row) for row in RetryRule.objects.order_by("pk")]
    show_all(rows, COLUMNS, as_json)


@app.command()
def create(
    name: Annotated[str, typer.Option(help="The more telling, the easier to choose.")],
    mode: ModeOption = None, retries: Retries = None, interval_min: Interval = None, type: TypeOption = None,  # noqa: A002
    exponent: Exponent = None, modifier: Modifier = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Add a retry rule. What is left out is as in the panel's empty form."""
    opened()
    from angarium.web.sending.models import RetryRule

    fields = _fields(name, mode, retries, interval_min, type, exponent, modifier)
    show_one(_saved(RetryRule(), fields), as_json)


@app.command()
def show(rule: Wanted, as_json: AsJson = False) -> None:
    """Show a retry rule."""
    opened()
    from angarium.web.api.retry_rules import RetryRuleOut

    show_one(shaped(RetryRuleOut, _find(rule)), as_json)


@app.command()
def edit(
    rule: Wanted, name: Name = None, mode: ModeOption = None, retries: Retries = None,
    interval_min: Interval = None, type: TypeOption = None, exponent: Exponent = None,  # noqa: A002
    modifier: Modifier = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Change a retry rule. What is left out stays as it is."""
    opened()
    fields = _fields(name, mode, retries, interval_min, type, exponent, modifier)
    show_one(_saved(_find(rule), fields), as_json)


@app.command("delete")
def delete_rule(rule: Wanted, as_json: AsJson = False) -> None:
    """Delete a retry rule that nothing uses."""
    opened()
    delete(_find(rule), as_json)


@app.command()
def preview(
    rule: Annotated[str | None, typer.Argument(metavar="NAME|ID", show_default=False)] = None,
    mode: ModeOption = None, retries: Retries = None, interval_min: Interval = None, type: TypeOption = None,  # noqa: A002
    exponent: Exponent = None, modifier: Modifier = None,
    life_h: Annotated[float | None, typer.Option(help="Hours a message lives.")] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show when a rule would try again: one that is there, perhaps with other values, or one not made yet."""
    opened()
    times = _times(rule, _fields(None, mode, retries, interval_min, type, exponent, modifier), life_h)
    rows = [
        {"retry": n, "earliest": earliest, "latest": latest, "after": _range(earliest, latest)}
        for n, (earliest, latest) in enumerate(times, 1)
    ]
    show_all([_without(row, "after") for row in rows] if as_json else rows, ("retry", "after"), as_json)


def _times(rule: str | None, fields: dict[str, Any], life_h: float | None) -> list[tuple[float, float]]:
    from django.forms.models import model_to_dict

    from angarium.domain import retry, sending
    from angarium.web.sending.models import RetryRule

    row = _find(rule) if rule else RetryRule(name="preview")
    values = {name: value for name, value in model_to_dict(row).items() if name != "id"} | fields
    if found := retry.problems(values):
        raise InvalidInput("\n  ".join(f"--{name}: {text}" for name, text in found.items()))
    record = sending.RetryRule(
        id=0, mode=sending.RetryMode(values.pop("mode")), type=sending.RetryType(values.pop("type")), **values
    )
    return retry.attempt_times(record, *([life_h * 3600] if life_h is not None else []))


def _fields(
    name: str | None, mode: Mode | None, retries: int | None, interval: float | None, type_: Type | None,
    exponent: float | None, modifier: float | None,
) -> dict[str, Any]:  # fmt: skip
    return named(
        name=name,
        mode=mode,
        retries=retries,
        interval=interval,
        type=type_,
        exponent=exponent,
        modifier=modifier,
    )


def _find(wanted: str) -> Any:
    from angarium.web.sending.models import RetryRule

    return find(RetryRule, wanted)


def _saved(row: Any, fields: dict[str, Any]) -> dict[str, Any]:
    from angarium.web.api.bodies import save
    from angarium.web.api.retry_rules import RetryRuleOut

    with changing():
        save(row, fields)
    return shaped(RetryRuleOut, row)


def _without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


def _range(earliest: float, latest: float) -> str:
    return in_words(earliest) if earliest == latest else f"{in_words(earliest)} – {in_words(latest)}"
