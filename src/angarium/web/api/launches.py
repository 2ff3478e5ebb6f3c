"""Launches: asking for one, following it, stopping and resuming it, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Header, Query, Router, Schema, Status
from ninja.errors import HttpError
from pydantic import Field

from angarium.domain.outcome import Reason
from angarium.errors import InvalidInput
from angarium.store import launches, reports, resends
from angarium.web.access.journal import record
from angarium.web.api.bodies import Body, Flag, Link, RowId
from angarium.web.api.caller import Caller, caller
from angarium.web.api.errors import Invalid
from angarium.web.api.mailings import to_change
from angarium.web.api.models import LaunchRequest
from angarium.web.api.paging import Page, Paging, page
from angarium.web.mailings.models import Launch, LaunchState, LogEntry, Mailing

router = Router(tags=["Launches"])
of_mailing = Router(tags=["Launches"])


class LaunchOut(Schema):
    id: int
    mailing: int
    state: LaunchState
    test_address: str = Field(description="A test send goes here and nowhere else.")
    created: datetime
    started: datetime | None
    finished: datetime | None


class HeldBackOut(Schema):
    check: str
    reason: str
    count: int


class ProgressOut(LaunchOut):
    audience: int
    handled: int
    published: int = Field(description="Messages handed to the broker.")
    errors: int = Field(description="Recipients for whom no message could be prepared.")
    held_back: list[HeldBackOut] = Field(description="How many each check held back.")
    is_over: bool


class Once(Schema):
    key: str = Field("", alias="Idempotency-Key", max_length=200, description="A word of your own choice.")


class ResendIn(Body):
    reasons: list[Reason] = Field(
        [], description="Why they were not reached; empty: whatever may be tried again."
    )
    dry_run: Flag = Field(False, description="Only say how many it would go to.")


class ResendOut(Schema):
    recipients: int = Field(description="Profiles it goes to, before the checks.")
    launch: int = Field(description="The new launch; 0: a dry run.")


class TestIn(Body):
    address: str
    profile: RowId | None = Field(None, description="Whose fields it shows; null: that of the address.")


class Report(Schema):
    """Where messages are: sent = delivered + hard bounces + blocked + undelivered + queue + deleting."""

    audience: int
    sent: int = Field(description="Messages the broker confirmed.")
    delivered: int
    hard_bounces: int
    blocked: int
    undelivered: int = Field(description="For other reasons than a hard bounce or a block.")
    reasons: dict[str, int] = Field(description="Of `undelivered`.")
    soft_bounces: int = Field(description="Attempts, not messages.")
    doubtful: int
    new: int
    retries: int
    sending: int
    frozen: int
    deleting: int = Field(description="Cleared, and not recorded as ended yet.")
    at: datetime | None = Field(
        description="What the queue's figures are true for; null: no node said anything."
    )


class AnswerOut(Schema):
    """What receivers said, alike ones together."""

    isp: int
    kind: str
    code: int
    enhanced: str
    text: str
    pattern: str
    count: int
    last: datetime


class Timeline(Schema):
    start: int = Field(description="Seconds since 1970, UTC: the beginning of the first point.")
    step: int = Field(description="Seconds a point stands for.")
    series: dict[str, list[int]] = Field(description="delivered, soft, hard, undelivered.")


class LogLine(Schema):
    id: int
    launch: Link | None
    time: datetime
    level: str
    state: str = Field(description="start, end, or empty.")
    message: str
    address: str
    profile: int | None
    value: int | None


@of_mailing.post(
    "/{int:number}/launch", response={201: ProgressOut, 200: ProgressOut}, summary="Launches a mailing"
)
def launch_mailing(
    request: HttpRequest, number: int,
    header: Header[Once],
) -> object:  # fmt: skip
    """With an `Idempotency-Key` that was used before for the mailing: the launch of then, and 200."""
    me = caller(request)
    row = to_change(me, number)
    found, new = _launched(request, me, row, header.key)
    return Status(201 if new else 200, _progress(row.account_id, found))


@of_mailing.post(
    "/{int:number}/test", response={201: ProgressOut}, summary="Sends one message to one address"
)
def test_mailing(request: HttpRequest, number: int, body: TestIn) -> object:
    me = caller(request)
    row = to_change(me, number)
    _refuse_unready(row)
    try:
        found = launches.request_test(row.account_id, row.pk, body.address, body.profile, me.user.pk)
    except InvalidInput as error:
        field = "profile" if "profile" in str(error) else "address"
        raise Invalid({field: str(error)}) from None
    record(request, row, "test send", launch=found, address=body.address)
    return Status(201, _progress(row.account_id, found))


@of_mailing.get("/{int:number}/report", response=Report, summary="Shows what came of a mailing")
def report_mailing(request: HttpRequest, number: int) -> object:
    """Of all its launches but test sends."""
    row = caller(request).find(Mailing.objects.all(), pk=number)
    return reports.mailing_report(row.account_id, row.pk)


@of_mailing.get("/{int:number}/answers", response=list[AnswerOut], summary="Shows why messages were refused")
def answers_mailing(request: HttpRequest, number: int) -> object:
    """The latest refusals, the most frequent first."""
    row = caller(request).find(Mailing.objects.all(), pk=number)
    return reports.last_answers(row.account_id, row.pk)


@of_mailing.get(
    "/{int:number}/log", response=Page[LogLine], summary="Shows the mailing log, the newest first"
)
def log_mailing(request: HttpRequest, number: int, paging: Query[Paging], level: str = "") -> object:
    row = caller(request).find(Mailing.objects.all(), pk=number)
    return _log(LogEntry.objects.filter(mailing=row), level, paging)


@router.get("", response=Page[LaunchOut], summary="Lists launches, the newest first")
def list_launches(
    request: HttpRequest, paging: Query[Paging], account: int | None = None, mailing: int | None = None,
    state: LaunchState | None = None, test: bool | None = None,
) -> object:  # fmt: skip
    rows = caller(request).own(Launch.objects.all(), account=account)
    wanted = {"mailing": mailing, "state": state}
    rows = rows.filter(**{key: value for key, value in wanted.items() if value is not None})
    if test is not None:
        rows = rows.exclude(test_address="") if test else rows.filter(test_address="")
    found = page(rows, paging, newest_first=True)
    return {**found, "items": [_shown(row) for row in found["items"]]}


@router.get("/{int:number}", response=ProgressOut, summary="Shows how far a launch is")
def get_launch(request: HttpRequest, number: int) -> object:
    row = _own(request, number)
    return _progress(row.account_id, row.pk)


@router.post("/{int:number}/stop", response=ProgressOut, summary="Stops preparing")
def stop_launch(request: HttpRequest, number: int) -> object:
    """What is queued stays queued."""
    return _command(request, number, launches.stop, "stopped")


@router.post("/{int:number}/resume", response=ProgressOut, summary="Goes on where the launch was")
def resume_launch(request: HttpRequest, number: int) -> object:
    return _command(request, number, launches.resume, "resumed")


@router.post("/{int:number}/resend", response=ResendOut, summary="Sends again to the undelivered")
def resend_launch(request: HttpRequest, number: int, body: ResendIn) -> object:
    """As a new launch of the mailing, to those whose message ended undelivered for one of the reasons. All
    checks are made again. Hard bounces are not tried again."""
    row = _own(request, number)
    me = caller(request)
    me.must_edit(row.account_id)
    made = resends.request(row.account_id, row.pk, body.reasons, me.user.pk, dry_run=body.dry_run)
    if made.launch:
        record(request, row.mailing, "resent", launch=made.launch, undelivered_of=row.pk)
    return made


@router.get("/{int:number}/report", response=Report, summary="Shows what came of a launch")
def report_launch(request: HttpRequest, number: int) -> object:
    """The queue's figures are those of the whole mailing."""
    row = _own(request, number)
    return reports.mailing_report(row.account_id, row.mailing_id, row.pk)


@router.get("/{int:number}/answers", response=list[AnswerOut], summary="Shows why messages were refused")
def answers_launch(request: HttpRequest, number: int) -> object:
    """The latest refusals, the most frequent first."""
    row = _own(request, number)
    return reports.last_answers(row.account_id, row.mailing_id, row.pk)


@router.get("/{int:number}/timeline", response=Timeline, summary="Shows outcomes over time")
def timeline_launch(request: HttpRequest, number: int) -> object:
    row = _own(request, number)
    return reports.timeline(row.account_id, row.mailing_id, row.pk)


@router.get("/{int:number}/log", response=Page[LogLine], summary="Shows a launch's log, the newest first")
def log_launch(request: HttpRequest, number: int, paging: Query[Paging], level: str = "") -> object:
    """`level`: debug, info, warning or error; mailing errors are errors that name an address."""
    return _log(LogEntry.objects.filter(launch=_own(request, number)), level, paging)


def _own(request: HttpRequest, number: int) -> Launch:
    return caller(request).find(Launch.objects.select_related("mailing"), pk=number)


@transaction.atomic
def _launched(request: HttpRequest, me: Caller, row: Mailing, key: str) -> tuple[int, bool]:
    """The launch's number and whether it is new. The key is kept with the launch or not at all."""
    asked = None
    if key:
        asked, new = LaunchRequest.objects.get_or_create(mailing=row, key=key)
        if not new and asked.launch_id is not None:
            return asked.launch_id, False
    _refuse_unready(row)
    try:
        number = launches.request(row.account_id, row.pk, me.user.pk)
    except InvalidInput as error:
        raise HttpError(409, str(error)) from None
    if asked is not None:
        LaunchRequest.objects.filter(pk=asked.pk).update(launch=number)
    record(request, row, "launched", launch=number)
    return number, True


def _refuse_unready(row: Mailing) -> None:
    if problems := launches.validate(row):
        raise Invalid({}, "; ".join(problems))


def _command(
    request: HttpRequest, number: int, command: Callable[[int, int], None], word: str
) -> ProgressOut:
    row = _own(request, number)
    caller(request).must_edit(row.account_id)
    try:
        command(row.account_id, row.pk)
    except InvalidInput as error:
        raise HttpError(409, str(error)) from None
    record(request, row.mailing, word, launch=row.pk)
    return _progress(row.account_id, row.pk)


def _progress(account: int, number: int) -> ProgressOut:
    found = launches.progress(account, number)
    names = [name for name in ProgressOut.model_fields if name not in ("id", "held_back")]
    return ProgressOut(
        id=found.launch,
        held_back=[
            HeldBackOut(check=held.check, reason=held.reason, count=held.count) for held in found.held_back
        ],
        **{name: getattr(found, name) for name in names},
    )


def _log(rows: QuerySet[LogEntry], level: str, paging: Paging) -> dict[str, Any]:
    rows = rows.select_related("launch")
    return page(rows.filter(level=level) if level else rows, paging, newest_first=True)


def _shown(row: Launch) -> dict[str, Any]:
    names = ("state", "test_address", "created", "started", "finished")
    return {"id": row.pk, "mailing": row.mailing_id, **{name: getattr(row, name) for name in names}}
