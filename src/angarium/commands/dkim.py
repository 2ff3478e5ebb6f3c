"""`angarium dkim …`: signing keys."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from angarium.commands.settings_rows import AsJson, changing, delete, opened, shaped, show_all, show_one
from angarium.errors import InvalidInput

app = typer.Typer(no_args_is_help=True, help="Signing keys and the DNS records to publish.")
Key = Annotated[str, typer.Argument(metavar="DOMAIN|SELECTOR._domainkey.DOMAIN|ID", show_default=False)]


class Algorithm(StrEnum):
    RSA = "rsa"
    ED25519 = "ed25519"


@app.command()
def create(
    domain: Annotated[str, typer.Argument(show_default=False)],
    selector: Annotated[str, typer.Option()],
    algorithm: Annotated[Algorithm, typer.Option(help="RSA-2048 or Ed25519.")] = Algorithm.RSA,
    as_json: AsJson = False,
) -> None:
    """Make a key and show the DNS record to publish. The private half is kept and never shown."""
    opened()
    from angarium.web.sending import dkim

    try:
        row = dkim.new_key(domain, selector, algorithm.value)
    except ValueError as error:
        raise InvalidInput(str(error)) from None
    with changing():
        row.full_clean()
        row.save()
    show_one(_shown(row), True) if as_json else typer.echo(dkim.dns_record(row).zone)


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """Show all keys."""
    opened()
    from angarium.web.sending.models import DkimKey

    rows = [_shown(row) for row in DkimKey.objects.order_by("pk")]
    show_all(rows, ("id", "domain", "selector", "algorithm", "created"), as_json)


@app.command()
def record(key: Key, as_json: AsJson = False) -> None:
    """Show the DNS record to publish."""
    opened()
    row = _find(key)
    if as_json:
        show_one(_shown(row)["record"], True)
        return
    typer.echo(_shown(row)["record"]["zone"])


@app.command("delete")
def delete_key(key: Key, as_json: AsJson = False) -> None:
    """Delete a key that no sender uses."""
    opened()
    delete(_find(key), as_json)


def _find(wanted: str) -> Any:
    from angarium.web.sending.models import DkimKey

    selector, sign, domain = wanted.lower().partition("._domainkey.")
    if wanted.isdecimal():
        named = {"pk": wanted}
    else:
        named = {"domain": domain, "selector": selector} if sign else {"domain": wanted.lower()}
    found = list(DkimKey.objects.filter(**named)[:2])
    if len(found) != 1:
        several = "several keys are" if found else "no key is"
        raise InvalidInput(f"{several} called {wanted!r}; see `angarium dkim list`")
    return found[0]


def _shown(row: Any) -> dict[str, Any]:
    from angarium.web.api.dkim_keys import KeyOut

    return shaped(KeyOut, row)
