"""Bounce patterns: how SMTP replies are read."""

from __future__ import annotations

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Schema, Status
from pydantic import Field

from angarium.domain.bounce import CATEGORIES, Classifier
from angarium.domain.email import Reply
from angarium.domain.outcome import BounceType
from angarium.store.seed import reset_pattern
from angarium.store.settings import patterns
from angarium.web.api.bodies import Answer, Body, Flag, Link, Partial, RowId, Whole, given, save
from angarium.web.api.caller import caller
from angarium.web.api.errors import Invalid
from angarium.web.api.paging import Page, Paging, page
from angarium.web.api.transactions import rows_router
from angarium.web.sending import usage
from angarium.web.sending.models import BouncePattern

router = rows_router("Bounce patterns")


class PatternIn(Body):
    name: str
    type: BounceType = Field(
        description="Hard: the address is dead. Soft: try again. Block: refused for good."
    )
    isp: RowId | None = Field(None, description="Null: all ISPs.")
    pattern: str = Field(description='Regular expression (RE2) over "code enhanced-code text".')
    category: str = Field("other", description=f"One of: {', '.join(CATEGORIES)}.")
    message: str = Field("", description="In plain words, for reports.")
    position: Whole = Field(1000, description="The smaller is tried first.")
    active: Flag = True


class PatternChanges(PatternIn, Partial):
    """Only what changes."""


class PatternOut(PatternIn, Answer):
    id: int
    isp: Link | None = None
    builtin: bool
    edited: bool


class Wanted(Schema):
    name: str = Field("", description="Contains.")
    type: BounceType | None = None
    isp: int | None = None
    builtin: bool | None = None


class ReplyIn(Body):
    code: Whole = Field(ge=100, le=599)
    enhanced: str | None = None
    text: str = ""
    isp: int = Field(0, description="Whose server said it; 0: unknown.")


class VerdictOut(Schema):
    bounce: BounceType
    category: str
    pattern: int | None = Field(description="Which pattern decided; null: the code did.")
    name: str = ""
    message: str = ""


@router.get("", response=Page[PatternOut], summary="Lists bounce patterns")
def list_bounce_patterns(request: HttpRequest, paging: Query[Paging], wanted: Query[Wanted]) -> object:
    caller(request).must_see_platform()
    named = wanted.dict(exclude_none=True, exclude={"name"})
    rows = BouncePattern.objects.filter(name__icontains=wanted.name, **named)
    return page(rows.select_related("isp"), paging)


@router.post("", response={201: PatternOut}, summary="Creates a bounce pattern")
def create_bounce_pattern(request: HttpRequest, body: PatternIn) -> object:
    caller(request).must_edit_platform()
    save(row := BouncePattern(), body.dict())
    return Status(201, row)


@router.post("/classify", response=list[VerdictOut], summary="Classifies replies by the patterns in force")
def classify_replies(request: HttpRequest, body: list[ReplyIn]) -> object:
    """The answers are aligned with the replies."""
    caller(request).must_see_platform()
    if len(body) > 1_000:
        raise Invalid({"body": "At most 1,000 replies at a time."})
    classifier = Classifier(patterns())
    return [_verdict(classifier, reply) for reply in body]


def _verdict(classifier: Classifier, reply: ReplyIn) -> VerdictOut:
    verdict = classifier.classify(Reply(reply.code, reply.enhanced or "", reply.text, "dot"), reply.isp)
    return VerdictOut(
        bounce=verdict.bounce,
        category=verdict.category,
        pattern=verdict.pattern or None,
        name=verdict.name,
        message=verdict.message,
    )


@router.get("/{int:pattern}", response=PatternOut, summary="Shows a bounce pattern")
def get_bounce_pattern(request: HttpRequest, pattern: int) -> object:
    caller(request).must_see_platform()
    return get_object_or_404(BouncePattern, pk=pattern)


@router.patch("/{int:pattern}", response=PatternOut, summary="Changes a bounce pattern")
def update_bounce_pattern(request: HttpRequest, pattern: int, body: PatternChanges) -> object:
    caller(request).must_edit_platform()
    save(row := get_object_or_404(BouncePattern, pk=pattern), given(body))
    return row


@router.post("/{int:pattern}/reset", response=PatternOut, summary="Undoes the changes of a built-in pattern")
def reset_bounce_pattern(request: HttpRequest, pattern: int) -> object:
    caller(request).must_edit_platform()
    row = get_object_or_404(BouncePattern, pk=pattern)
    if not row.builtin:
        raise Invalid({}, "Only built-in patterns can be reset.")
    reset_pattern(row)
    row.refresh_from_db()
    return row


@router.delete("/{int:pattern}", response={204: None}, summary="Deletes a pattern of one's own")
def delete_bounce_pattern(request: HttpRequest, pattern: int) -> object:
    """409 for a built-in one, and for one that a default rule names."""
    caller(request).must_edit_platform()
    usage.delete(get_object_or_404(BouncePattern, pk=pattern))
    return Status(204, None)
