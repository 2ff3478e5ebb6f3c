"""The sender queue: its figures, what stops it, and the commands.

Whoever may change a mailing may freeze, unfreeze and clear it. Without a mailing a command concerns what
others share: it takes a postmaster or administrator, who sees the account where one is named.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Router, Schema
from ninja.errors import HttpError
from pydantic import Field

from angarium import config
from angarium.domain.gates import Scope
from angarium.domain.stall import Cause
from angarium.store import messages, queues
from angarium.store.messages import State
from angarium.store.queues import By
from angarium.store.stalls import stalls
from angarium.web.api.bodies import Body, Flag, RowId
from angarium.web.api.caller import Caller, caller
from angarium.web.api.errors import Invalid
from angarium.web.mailings.models import Mailing

router = Router(tags=["Sender queue"])
SCOPE: Final = ("account", "sender", "mailing", "isp")
DRY_RUN: Final = "Only say how many messages it would affect."


class Filters(Schema):
    """What is named narrows; what is left out is any."""

    account: int | None = None
    sender: int | None = None
    mailing: int | None = None
    isp: int | None = None


class MailingIn(Body):
    mailing: RowId
    dry_run: Flag = Field(False, description=DRY_RUN)


class ScopeIn(Body):
    account: RowId | None = None
    sender: RowId | None = None
    mailing: RowId | None = None
    isp: RowId | None = None
    dry_run: Flag = Field(False, description=DRY_RUN)


class QueueOut(Schema):
    """total = new + retries + sending + frozen; messages in the broker are new or frozen."""

    total: int
    new: int
    retries: int
    sending: int
    frozen: int
    at: datetime | None = Field(
        description="The oldest moment the figures are true for; null: no node said anything."
    )
    silent: list[str] = Field(
        description="Nodes without a sign of life: what they last said is in the figures."
    )


class RowOut(Schema):
    id: int = Field(description="0: the broker among nodes; domains of no ISP among ISPs.")
    name: str
    queue: QueueOut


class GateOut(Schema):
    """Nothing within it is sent. Null: any."""

    id: int
    account: int | None
    sender: int | None
    mailing: int | None
    isp: int | None
    since: datetime
    user: str


class OverviewOut(QueueOut):
    gates: list[GateOut] = Field(description="In force on any of it.")
    rows: list[RowOut] = Field(description="The figures' parts, the largest first; empty without `by`.")


class CommandOut(Schema):
    affected: int = Field(description="Messages counted when it was given; with `dry_run`: that would be.")
    changed: bool = Field(description="False: a dry run, or it was so already.")
    unconfirmed: list[str] = Field(description="Nodes that have not confirmed it yet.")
    preparing: list[int] = Field(description="Launches of the mailing that are not over.")


class StallOut(Schema):
    """A queue of which nothing has come to an end for `recorder.stall_after`."""

    account: int
    sender: int
    mailing: int
    isp: int
    cause: Cause = Field(description="The likely one.")
    waiting: int = Field(description="Messages.")
    waited: float = Field(description="Seconds since the oldest was launched, or the last gate on it opened.")
    words: str = Field(description="The cause, with what is known of it.")


class MessageOut(Schema):
    """One message and how it stands, as far as the control database knows."""

    message: str = Field(description="Its id, hexadecimal: `GET /messages/{message}` tells its story.")
    address: str
    state: State
    account: int
    mailing: int
    launch: int
    sender: int
    isp: int = Field(description="0: none of the listed ISPs.")
    published: datetime
    attempts: int
    at: datetime | None = Field(description="When the last thing happened to it.")
    reason: str
    answer: str = Field(description="The receiver's last.")
    next_attempt: datetime | None
    doubtful: bool = Field(description="An attempt ended without an answer: it may have been delivered.")


class MessagesOut(Schema):
    items: list[MessageOut]
    next: str | None = Field(
        description="`after` of the next page. A page may be short, or empty, and have one: so many messages"
        " were looked through. Null: this was the last."
    )


class SearchFilters(Filters):
    state: State | None = None
    recipient: str = Field("", max_length=320, description="A part of the address.")
    answer: str = Field(
        "", max_length=200, description="A part of the last answer, such as `5.7.1` or `full`."
    )
    doubtful: bool = Field(False, description="Only those that may have been delivered without an answer.")
    after: str = Field("", description="`next` of the page before.")
    limit: int = Field(50, ge=1, le=500)


@router.get("", response=OverviewOut, summary="Shows the figures of the sender queue")
def get_queue(request: HttpRequest, filters: Query[Filters], by: By | None = None) -> object:
    return overview(_readable(caller(request), filters), by)


@router.get("/gates", response=list[GateOut], summary="Lists what is frozen or held")
def list_gates(request: HttpRequest, filters: Query[Filters]) -> object:
    return _gates(_readable(caller(request), filters))


@router.get(
    "/stalls", response=list[StallOut], summary="Lists queues that do not shrink, with the likely cause"
)
def list_stalls(request: HttpRequest, filters: Query[Filters]) -> object:
    return stalled(_readable(caller(request), filters))


@router.get("/messages", response=MessagesOut, summary="Searches messages by recipient, state and answer")
def list_messages(request: HttpRequest, filters: Query[SearchFilters]) -> object:
    """The newest launches first, within a launch in the order of publishing. Only messages of the caller's
    accounts. A message on the wire is shown as new or retries: what it was before."""
    me = caller(request)
    scope = _named(filters)
    scope = _of_mailing(me, scope) if scope.mailing else scope
    if scope.account:
        get_object_or_404(me.accounts, pk=scope.account)
    wanted = messages.Search(
        scope, filters.state, filters.recipient, filters.answer, doubtful=filters.doubtful
    )
    after = messages.Place.read(filters.after) if filters.after else None
    return shown(
        messages.search(wanted, list(me.accounts.values_list("pk", flat=True)), after, filters.limit)
    )


@router.post("/freeze", response=CommandOut, summary="Freezes a mailing")
def freeze_queue(request: HttpRequest, body: MailingIn) -> object:
    """What is new or waits for a retry waits frozen; what is being sent is not affected."""
    return _given(request, body, queues.close)


@router.post("/unfreeze", response=CommandOut, summary="Lets a frozen mailing go on where it stood")
def unfreeze_queue(request: HttpRequest, body: MailingIn) -> object:
    """Other gates on its messages stay."""
    return _given(request, body, queues.open_again)


@router.post("/hold", response=CommandOut, summary="Holds all messages of a scope")
def hold_queue(request: HttpRequest, body: ScopeIn) -> object:
    return _given(request, body, queues.close)


@router.post("/release", response=CommandOut, summary="Lifts the hold of exactly this scope")
def release_queue(request: HttpRequest, body: ScopeIn) -> object:
    return _given(request, body, queues.open_again)


@router.post("/clear", response=CommandOut, summary="Removes all that waits in a scope")
def clear_queue(request: HttpRequest, body: ScopeIn) -> object:
    """For good: the messages end undelivered, removed from the queue by user. What is being sent is not
    affected. It lifts no gate, and ends no launch that still prepares (`POST /launches/…/stop` does)."""
    return _given(request, body, queues.clear)


def overview(scope: Scope, by: By | None) -> dict[str, Any]:
    """The answer's fields."""
    found = queues.queue(scope)
    rows = queues.breakdown(scope, by) if by else []
    return {
        **{name: getattr(found, name) for name in QueueOut.model_fields},
        "gates": _gates(scope),
        "rows": rows,
    }


def stalled(scope: Scope) -> list[StallOut]:
    """The answer's items."""
    found = stalls(scope, config.current().recorder.stall_after, time.time())
    return [
        StallOut(
            cause=one.cause, waiting=one.waiting, waited=one.waited, words=one.words,
            account=one.scope.account, sender=one.scope.sender, mailing=one.scope.mailing, isp=one.scope.isp,
        )
        for one in found
    ]  # fmt: skip


def shown(page: messages.Page) -> MessagesOut:
    """The answer's fields."""
    return MessagesOut(
        items=[_message(found) for found in page.messages], next=str(page.next) if page.next else None
    )


def _message(found: messages.Found) -> MessageOut:
    same = ("address", "state", "launch", "attempts", "published", "reason", "answer", "doubtful")
    return MessageOut.model_validate(
        {
            "message": found.message.hex(),
            "at": found.at or None,
            "next_attempt": found.next_attempt or None,
            **{name: getattr(found, name) for name in same},
            **{name: getattr(found.scope, name) for name in SCOPE},
        }
    )


def _gates(scope: Scope) -> list[dict[str, Any]]:
    return [
        {
            "id": gate.id,
            **{name: getattr(gate.scope, name) or None for name in SCOPE},
            "since": gate.since,
            "user": gate.user,
        }
        for gate in queues.gates(scope)
    ]


def _given(request: HttpRequest, body: Any, command: Callable[..., queues.Command]) -> CommandOut:
    me = caller(request)
    scope = _commandable(me, body)
    done = command(scope, me.user.username, dry_run=body.dry_run)
    return answered(scope, done)


def answered(scope: Scope, done: queues.Command) -> CommandOut:
    """Waits a little for the nodes."""
    return CommandOut(
        affected=done.affected,
        changed=done.version > 0,
        unconfirmed=queues.confirm(done.version) if done.version else [],
        preparing=queues.preparing(scope) if scope.mailing else [],
    )


def _readable(me: Caller, wanted: Filters) -> Scope:
    """Whoever sees no platform looks at one account at a time."""
    scope = _named(wanted)
    if wanted.mailing is not None:
        return _of_mailing(me, scope)
    if wanted.account is not None:
        get_object_or_404(me.accounts, pk=wanted.account)
    elif not me.sees_platform:
        accounts = list(me.accounts[:2])
        if not accounts:
            raise Http404
        if len(accounts) > 1:
            raise Invalid({"account": "Say which account: you may look at several."})
        return _within(scope, accounts[0].pk)
    return scope


def _commandable(me: Caller, body: Any) -> Scope:
    scope = _named(body)
    if scope == Scope():
        raise Invalid({"account": "Name an account, a sender, a mailing or an ISP."})
    if scope.mailing:
        scope = _of_mailing(me, scope)
        me.must_edit(scope.account)
    elif scope.account:
        me.must_edit(scope.account)
        if not me.sees_platform:
            raise HttpError(403, "This takes a postmaster or administrator; you may freeze mailings.")
    else:
        me.must_edit_platform()
    return scope


def _of_mailing(me: Caller, scope: Scope) -> Scope:
    row = me.find(Mailing.objects.all(), pk=scope.mailing)
    if scope.account not in (0, row.account_id):
        raise Http404
    return _within(scope, row.account_id)


def _within(scope: Scope, account: int) -> Scope:
    return Scope(account, scope.sender, scope.mailing, scope.isp)


def _named(wanted: Any) -> Scope:
    return Scope(*(getattr(wanted, name, None) or 0 for name in SCOPE))
