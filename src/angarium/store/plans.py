"""A launch's row and its mailing, read as the launcher's plan."""

from __future__ import annotations

from typing import Any

from angarium.domain import filters
from angarium.domain.email import Attachment, MailContent
from angarium.domain.policy import Limit, PolicyScope, in_force
from angarium.errors import InvalidInput
from angarium.mailing.port import Plan, TestSend
from angarium.mailing.render import one_line, parse
from angarium.web.directory.models import SendingPolicy, SuppressionList
from angarium.web.mailings.models import Launch, LaunchState, Mailing
from angarium.web.sending.models import IspDomain, MtaSender


def of_launch(launch: Launch) -> Plan:
    """Raises `InvalidInput` saying what keeps the launch from being run."""
    mailing = launch.mailing
    refuse_unready(mailing)
    return Plan(
        launch=launch.pk,
        test=TestSend(launch.test_address, launch.test_profile) if launch.test_address else None,
        started=launch.started is not None,
        stopping=launch.state == LaunchState.STOPPING,
        cursor=launch.cursor,
        counts={str(key): int(value) for key, value in launch.counts.items()},
        isps=dict(IspDomain.objects.values_list("domain", "isp_id")),
        **_of_mailing(mailing, launch.recipients_id),
    )


def of_mailing(mailing: Mailing) -> Plan:
    """The plan of a launch that is not there yet, for previews. Raises `InvalidInput`."""
    return Plan(launch=0, **_of_mailing(mailing))


def _of_mailing(mailing: Mailing, recipients: int | None = None) -> dict[str, Any]:
    """`recipients`: a list that takes the place of the mailing's."""
    sender = MtaSender.objects.get(pk=mailing.sender_id)
    options = mailing.options or {}
    return {
        "account": mailing.account_id,
        "mailing": mailing.pk,
        "name": mailing.name,
        "resource": mailing.resource_id,
        "audience": recipients or mailing.audience_id,
        "sender": mailing.sender_id,
        "channel": mailing.channel,
        "urgent": mailing.urgent,
        "template": parse(mailing.template.content),
        "content": _content(mailing, options, sender.bounce_domain),
        "to_name": str(options.get("to_name", "")),
        "conditions": filters.parse(mailing.filters or []),
        "suppression_lists": _suppression_lists(mailing),
        "limits": _limits(mailing),
        "counts_use": SendingPolicy.objects.filter(account_id=mailing.account_id).exists(),
        "launch_limit": mailing.launch_limit,
        "life": float(mailing.life or sender.life),
        "not_after": mailing.not_after.timestamp() if mailing.not_after else None,
    }


def refuse_unready(mailing: Mailing) -> None:
    """Raises `InvalidInput` when the mailing, its account or its sender is not in use."""
    if not mailing.active:
        raise InvalidInput(f"the mailing {mailing.name!r} is not active")
    if not mailing.account.active:
        raise InvalidInput(f"the account {mailing.account.name!r} is not active")
    sender = mailing.sender
    if not sender.active:
        raise InvalidInput(f"the sender {sender.name!r} is not active")
    if not sender.accounts.filter(pk=mailing.account_id).exists():
        raise InvalidInput(f"the account {mailing.account.name!r} may not use the sender {sender.name!r}")
    if sender.channel != mailing.channel:
        raise InvalidInput(f"the sender {sender.name!r} does not carry {mailing.channel}")
    if not MtaSender.objects.filter(pk=sender.pk, addresses__isnull=False).exists():
        raise InvalidInput(f"the sender {sender.name!r} has no IP address to send from")


def _content(mailing: Mailing, options: dict[str, Any], bounce_domain: str) -> MailContent:
    headers = options.get("headers") or {}
    pairs = headers.items() if isinstance(headers, dict) else headers
    return MailContent(
        from_address=str(options.get("from_address", "")).strip(),
        from_name=one_line(str(options.get("from_name", ""))),
        reply_to=str(options.get("reply_to", "")).strip(),
        headers=tuple((str(name).strip(), one_line(str(value))) for name, value in pairs),
        attachments=_files(mailing),
        has_html=bool(mailing.template.content.get("html")),
        bounce_domain=bounce_domain,
    )


def _files(mailing: Mailing) -> tuple[Attachment, ...]:
    rows = mailing.template.files.order_by("pk").values_list(
        "blob_id", "filename", "content_type", "blob__size", "content_id"
    )
    return tuple(Attachment(*row) for row in rows)


def _suppression_lists(mailing: Mailing) -> tuple[int, ...]:
    general = SuppressionList.objects.filter(account_id=mailing.account_id, general=True)
    own = mailing.suppression_lists.all()
    return tuple(sorted({*general.values_list("pk", flat=True), *own.values_list("pk", flat=True)}))


def _limits(mailing: Mailing) -> tuple[Limit, ...]:
    policy = in_force(mailing.account.policy, mailing.resource.policy, mailing.policy)
    if policy is None:
        return ()
    return tuple(
        Limit(PolicyScope(row.scope), row.messages, row.days) for row in policy.limits.order_by("pk")
    )
