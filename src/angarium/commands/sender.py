"""`angarium sender …`: what carries the messages of a channel."""

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
    numbers,
    opened,
    shaped,
    show_all,
    show_one,
)  # fmt: skip

app = typer.Typer(no_args_is_help=True, help="What carries the messages of a channel.")


class Doubt(StrEnum):
    RETRY = "retry"
    ASSUME_DELIVERED = "assume-delivered"


class Tls(StrEnum):
    OPPORTUNISTIC = "opportunistic"
    REQUIRED = "required"
    REQUIRED_VERIFIED = "required-verified"
    NEVER = "never"


Accounts = Annotated[list[str] | None, typer.Option("--account", help="Who may use it; may be repeated.")]
Addresses = Annotated[list[str] | None, typer.Option("--ip", help="An IP it sends from; may be repeated.")]
StrategyOption = Annotated[str | None, typer.Option(help="Name or id.")]
RuleOption = Annotated[str | None, typer.Option(help="Name or id.")]
Keys = Annotated[list[str] | None, typer.Option("--dkim-key", help="Id of a DKIM key; may be repeated.")]
DoubtOption = Annotated[Doubt | None, typer.Option(help="Of messages sent without a known answer.")]
Life = Annotated[int | None, typer.Option(help="Seconds a message is tried for.")]
BounceDomain = Annotated[str | None, typer.Option(help="Of the envelope sender.")]
TlsOption = Annotated[Tls | None, typer.Option()]
Active = Annotated[bool | None, typer.Option("--active/--inactive")]


@app.command("list")
def list_senders(as_json: AsJson = False) -> None:
    """Show all senders."""
    opened()
    from angarium.web.sending.models import Sender

    rows = [_shown(row) for row in Sender.objects.order_by("pk")]
    show_all(rows, ("id", "name", "channel", "kind", "active", "accounts"), as_json)


@app.command()
def create(
    name: Annotated[str, typer.Option()], account: Accounts = None, ip: Addresses = None,
    strategy: StrategyOption = None, retry_rule: RuleOption = None, dkim_key: Keys = None,
    doubt: DoubtOption = None, life: Life = None, bounce_domain: BounceDomain = None, tls: TlsOption = None,
    active: Active = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Add a sender."""
    opened()
    from angarium.web.sending.models import Sender

    links = _links(account, ip, strategy, retry_rule, dkim_key)
    plain = named(name=name, doubt=doubt, life=life, bounce_domain=bounce_domain, tls=tls, active=active)
    show_one(_written(Sender(), {**links, **plain}), as_json)


@app.command()
def show(sender: Wanted, as_json: AsJson = False) -> None:
    """Show a sender."""
    opened()
    show_one(_shown(_find(sender)), as_json)


@app.command()
def edit(
    sender: Wanted, name: Annotated[str | None, typer.Option()] = None, account: Accounts = None,
    ip: Addresses = None, strategy: StrategyOption = None, retry_rule: RuleOption = None,
    dkim_key: Keys = None, doubt: DoubtOption = None, life: Life = None, bounce_domain: BounceDomain = None,
    tls: TlsOption = None, active: Active = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Change a sender. Repeated options replace all that was there."""
    opened()
    links = _links(account, ip, strategy, retry_rule, dkim_key)
    plain = named(name=name, doubt=doubt, life=life, bounce_domain=bounce_domain, tls=tls, active=active)
    show_one(_written(_find(sender), {**links, **plain}), as_json)


@app.command("delete")
def delete_sender(sender: Wanted, as_json: AsJson = False) -> None:
    """Delete a sender that no mailing names."""
    opened()
    delete(_find(sender), as_json)


def _links(
    accounts: list[str] | None, addresses: list[str] | None, strategy: str | None, rule: str | None,
    keys: list[str] | None,
) -> dict[str, Any]:  # fmt: skip
    from angarium.web.access.models import Account
    from angarium.web.sending.models import DkimKey, IpAddress, RetryRule, Strategy

    return named(
        accounts=numbers(Account, accounts),
        addresses=numbers(IpAddress, addresses, "address"),
        strategy=number(Strategy, strategy),
        retry_rule=number(RetryRule, rule),
        dkim_keys=numbers(DkimKey, keys, "domain"),
    )


def _find(wanted: str) -> Any:
    from angarium.web.sending.models import Sender

    return find(Sender, wanted)


def _written(row: Any, fields: dict[str, Any]) -> dict[str, Any]:
    from angarium.web.sending import senders

    with changing({"addresses": "ip", "accounts": "account", "dkim_keys": "dkim-key"}):
        return _shown(senders.write(row, fields))


def _shown(row: Any) -> dict[str, Any]:
    from angarium.web.api.senders import MtaOut

    plain = {name: getattr(row, name) for name in ("id", "name", "channel", "kind", "active")}
    accounts = [account.pk for account in row.accounts.all()]
    mta = getattr(row, "mta", None)
    return {**plain, "accounts": accounts, "mta": shaped(MtaOut, mta) if mta else None}
