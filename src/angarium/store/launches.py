"""Launches as panel, API and command line ask for them. All functions take the account."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from django.db import transaction
from django.db.models.functions import Now

from angarium.domain import filters
from angarium.domain.contact import email_address
from angarium.errors import InvalidInput
from angarium.mailing import render
from angarium.mailing.checks import REASONS
from angarium.mailing.port import Candidate, LogLine, Plan
from angarium.store import audience, mailing_log, plans
from angarium.web.directory.models import ListEntry
from angarium.web.mailings.models import Launch, LaunchState, Mailing

UNFINISHED: Final = (LaunchState.WAITING, LaunchState.PREPARING, LaunchState.STOPPING)
RESUMABLE: Final = (LaunchState.STOPPED, LaunchState.PAUSED, LaunchState.FAILED)
PREVIEW_LINK: Final = "https://unsubscribe.example/preview"
"""Stands in previews for the one-click link, which belongs to one message."""


class HeldBack(msgspec.Struct, frozen=True):
    """How many a check of the launch held back."""

    check: str
    reason: str
    count: int


class Progress(msgspec.Struct, frozen=True):
    """How far the preparing of a launch is. audience = handled + those still to come."""

    launch: int
    mailing: int
    state: str
    audience: int
    handled: int
    published: int
    errors: int
    held_back: tuple[HeldBack, ...]
    created: datetime
    started: datetime | None
    finished: datetime | None
    test_address: str = ""

    @property
    def is_over(self) -> bool:
        return self.state not in UNFINISHED


class Preview(msgspec.Struct, frozen=True):
    subject: str
    html: str
    text: str
    to_name: str
    address: str
    profile: int
    from_address: str
    from_name: str


@transaction.atomic
def request(account: int, mailing_id: int, user_id: int | None = None) -> int:
    """Asks for a launch; its id. Raises `InvalidInput` saying why it is refused."""
    mailing = ready(account, mailing_id)
    size = ListEntry.objects.filter(list_id=mailing.audience_id).count()
    if not size:
        raise InvalidInput(f"the list {mailing.audience.name!r} is empty")
    return Launch.objects.create(account_id=account, mailing=mailing, audience=size, created_by_id=user_id).pk


def ready(account: int, mailing_id: int) -> Mailing:
    """The mailing, locked, when it may be launched now. Raises `InvalidInput`."""
    mailing = _locked(account, mailing_id)
    _refuse_broken(mailing)
    if running := mailing.launches.filter(state__in=UNFINISHED, test_address="").first():
        raise InvalidInput(f"the mailing is already being launched (launch {running.pk})")
    return mailing


@transaction.atomic
def request_test(
    account: int, mailing_id: int, address: str, profile_id: int | None = None, user_id: int | None = None
) -> int:
    """Asks for one message to one address, with a profile's fields; the launch id. Raises `InvalidInput`."""
    mailing = _locked(account, mailing_id)
    _refuse_broken(mailing)
    if profile_id is not None and not mailing.account.profiles.filter(pk=profile_id).exists():
        raise InvalidInput(f"there is no profile {profile_id}")
    return Launch.objects.create(
        account_id=account,
        mailing=mailing,
        audience=1,
        created_by_id=user_id,
        test_address=email_address(address).address,
        test_profile=profile_id,
    ).pk


@transaction.atomic
def stop(account: int, launch_id: int) -> None:
    """Nothing more is prepared; what is queued stays queued. Raises `InvalidInput` when it is over."""
    row = _launch(account, launch_id)
    if row.state == LaunchState.WAITING:
        row.state, row.finished = LaunchState.STOPPED, Now()
        mailing_log.write_for(row, [LogLine("info", "Stopped by a person before it began", "end")])
    elif row.state == LaunchState.PREPARING:
        row.state = LaunchState.STOPPING
    elif row.state != LaunchState.STOPPING:
        raise InvalidInput(f"the launch is not running: {row.get_state_display().lower()}")
    row.save(update_fields=["state", "finished"])


@transaction.atomic
def resume(account: int, launch_id: int) -> None:
    """Goes on where the launch was stopped, paused or failed. Raises `InvalidInput`."""
    row = _launch(account, launch_id)
    if row.state not in RESUMABLE:
        raise InvalidInput(f"the launch cannot be resumed: {row.get_state_display().lower()}")
    mailing = _locked(account, row.mailing_id)
    _refuse_broken(mailing)
    others = mailing.launches.filter(state__in=UNFINISHED, test_address="").exclude(pk=row.pk)
    if not row.test_address and others.exists():
        raise InvalidInput("another launch of the mailing is running")
    row.state, row.finished, row.owner, row.heartbeat = LaunchState.WAITING, None, "", None
    row.save(update_fields=["state", "finished", "owner", "heartbeat"])


def progress(account: int, launch_id: int) -> Progress:
    """Raises `InvalidInput` when there is no such launch."""
    return _progress(_one(Launch, account, launch_id, "launch"))


def recent(account: int, mailing_id: int, limit: int = 20) -> list[Progress]:
    """The mailing's launches, the newest first."""
    rows = Launch.objects.filter(account_id=account, mailing_id=mailing_id).order_by("-pk")[:limit]
    return [_progress(row) for row in rows]


def preview(account: int, mailing_id: int, profile_id: int | None = None) -> Preview:
    """The message as a profile (default: the first of the audience) would get it.

    Raises `InvalidInput`, among them `TemplateError` naming what is wrong for this profile.
    """
    mailing = _one(Mailing, account, mailing_id, "mailing")
    plan = plans.of_mailing(mailing)
    candidate = _shown(plan, profile_id)
    address = candidate.subscription.address if candidate.subscription else ""
    message = render.preview(plan.template, candidate.attributes, address, PREVIEW_LINK, plan.to_name)
    return Preview(*message, address, candidate.profile, plan.content.from_address, plan.content.from_name)


def validate(mailing: Mailing) -> list[str]:
    """What keeps the mailing from being launched, in words; empty when nothing does."""
    problems = [*_option_problems(mailing.options or {})]
    problems += render.problems(mailing.template.content, str((mailing.options or {}).get("to_name", "")))
    for check in (lambda: plans.refuse_unready(mailing), lambda: filters.parse(mailing.filters or [])):
        try:
            check()
        except InvalidInput as error:
            problems.append(str(error))
    return problems


def _option_problems(options: Mapping[str, Any]) -> list[str]:
    problems = []
    for key, needed in (("from_address", True), ("reply_to", False)):
        value = str(options.get(key) or "").strip()
        if not value and needed:
            problems.append("the mailing has no From address")
        elif value:
            try:
                email_address(value)
            except InvalidInput as error:
                problems.append(f"{key}: {error}")
    return problems


def _refuse_broken(mailing: Mailing) -> None:
    if problems := validate(mailing):
        raise InvalidInput("; ".join(problems))


def _shown(plan: Plan, profile_id: int | None) -> Candidate:
    candidate = (
        audience.sample(plan, "")
        if profile_id is None
        else audience.profiles(plan, [profile_id]).get(profile_id)
    )
    if candidate is None and profile_id is not None:
        raise InvalidInput(f"there is no profile {profile_id}")
    return candidate or Candidate(0, 0, {}, None)


def _progress(row: Launch) -> Progress:
    counts: dict[str, int] = row.counts
    return Progress(
        launch=row.pk,
        mailing=row.mailing_id,
        state=row.state,
        audience=max(row.audience, sum(counts.values())),
        handled=sum(counts.values()),
        published=counts.get("published", 0),
        errors=counts.get("errors", 0),
        held_back=tuple(
            HeldBack(name, reason, counts[name]) for name, reason in REASONS.items() if counts.get(name)
        ),
        created=row.created,
        started=row.started,
        finished=row.finished,
        test_address=row.test_address,
    )


def _launch(account: int, launch_id: int) -> Launch:
    row = Launch.objects.select_for_update(of=("self",)).filter(pk=launch_id, account_id=account).first()
    if row is None:
        raise InvalidInput(f"there is no launch {launch_id}")
    return row


def _locked(account: int, mailing_id: int) -> Mailing:
    """Locked, so that two people do not launch it at the same moment."""
    row = Mailing.objects.select_for_update(of=("self",)).filter(pk=mailing_id, account_id=account).first()
    if row is None:
        raise InvalidInput(f"there is no mailing {mailing_id}")
    return row


def _one(model: Any, account: int, key: int, word: str) -> Any:
    row = model.objects.filter(pk=key, account_id=account).first()
    if row is None:
        raise InvalidInput(f"there is no {word} {key}")
    return row
