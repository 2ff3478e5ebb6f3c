"""The rows of the benchmark's installation; a program of its own, as Django knows one database a process."""

from __future__ import annotations

import sys
from pathlib import Path

from angarium.store import database


def prepare(relay_to: int, dkim_key: Path | None) -> list[int]:
    """Account, mailing, launch, sender and ISPs of an installation that relays all mail to a port."""
    database.migrate()
    from angarium.web.access.models import Account

    account = Account.objects.create(name="Bench")
    sender = _sender(account.pk, dkim_key)
    _route(relay_to)
    mailing, launch = _launch(account.pk, sender)
    isps = _isps()
    _changed()
    return [account.pk, mailing, launch, sender, *isps]


def _sender(account: int, dkim_key: Path | None) -> int:
    from angarium.web.sending import models
    from bench.ours import CONNECTIONS, FROM_DOMAIN, NODE

    strategy = models.Strategy.objects.create(
        name="wide open", connections=CONNECTIONS, messages_per_connection=10_000, attempts=10_000,
        interval=1, try_tls=False,
    )  # fmt: skip
    node = models.Node.objects.create(name=NODE)
    address = models.IpAddress.objects.create(node=node, address="127.0.0.1", hostname=f"relay.{FROM_DOMAIN}")
    sender = models.Sender.objects.create(name="Bench")
    sender.accounts.set([account])
    mta = models.MtaSender.objects.create(sender=sender, strategy=strategy, tls="never")
    mta.addresses.set([address])
    if dkim_key:
        mta.dkim_keys.set(
            [
                models.DkimKey.objects.create(
                    domain=FROM_DOMAIN, selector="bench", algorithm="rsa", private_key=dkim_key.read_text()
                )
            ]
        )
    return int(sender.pk)


def _route(port: int) -> None:
    from angarium.web.sending.models import Route

    Route.objects.create(domain="*", host="127.0.0.1", port=port, tls="never")


def _launch(account: int, sender: int) -> tuple[int, int]:
    from angarium.web.directory.models import ProfileList, Resource
    from angarium.web.mailings.models import Launch, Mailing, Template

    own = {"account_id": account, "name": "Bench"}
    mailing = Mailing.objects.create(
        **own, sender_id=sender, template=Template.objects.create(**own),
        audience=ProfileList.objects.create(**own), resource=Resource.objects.create(**own),
    )  # fmt: skip
    launch = Launch.objects.create(account_id=account, mailing=mailing, state="prepared")
    return int(mailing.pk), int(launch.pk)


def _isps() -> list[int]:
    from angarium.web.sending.models import Isp, IspDomain
    from bench.corpus import DOMAINS
    from bench.ours import isp_names

    rows = [Isp.objects.create(name=name) for name in isp_names()]
    for row, domain in zip(rows, DOMAINS, strict=True):
        IspDomain.objects.create(isp=row, domain=domain)
    return [int(row.pk) for row in rows]


def _changed() -> None:
    from angarium.web.sending.changes import bump

    bump()


def _main(arguments: list[str]) -> None:
    database.setup()
    port, *key = arguments
    print(*prepare(int(port), Path(key[0]) if key else None))


if __name__ == "__main__":
    _main(sys.argv[1:])
