"""Try a reply: what it means, which pattern says so, and which would if that one were not there."""

from __future__ import annotations

import re
from typing import Any, Final

from django import forms
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from angarium.domain.bounce import CATEGORIES, Classifier
from angarium.domain.email import Reply
from angarium.domain.sending import BouncePattern
from angarium.store.settings import patterns
from angarium.web.access.pages import page_context
from angarium.web.sending.models import Isp
from angarium.web.widgets import Choice, Code

_LINE: Final = re.compile(r"\s*([245]\d\d)(?:[ -]+|$)(?:#?([245]\.\d{1,3}\.\d{1,3})(?:[ :-]+|$))?(.*)")
EXAMPLE: Final = "550-5.1.1 The email account that you tried to reach does not exist."


class ReplyForm(forms.Form):
    reply = forms.CharField(
        max_length=10_000, label="Reply of the server", widget=Code(rows=5),
        help_text=f"As it stands in a log, for example: {EXAMPLE}",
    )  # fmt: skip
    isp = forms.ModelChoiceField(
        Isp.objects.all(), required=False, label="Said by", empty_label="any server", widget=Choice
    )

    def clean_reply(self) -> Reply:
        reply = read_reply(self.cleaned_data["reply"])
        if reply is None:
            raise forms.ValidationError("A reply begins with three digits, the first of them 2, 4 or 5.")
        return reply


def read_reply(text: str) -> Reply | None:
    """A reply of one or several lines (RFC 5321 section 4.2); None when it has no code."""
    code, enhanced, words = 0, "", []
    for line in text.splitlines():
        match = _LINE.match(line)
        if match and (not code or int(match[1]) == code):
            code, enhanced = int(match[1]), enhanced or match[2] or ""
            words.append(match[3].strip())
        elif line.strip():
            words.append(line.strip())
    return Reply(code, enhanced, " ".join(words), "dot") if code else None


def tester(request: HttpRequest) -> HttpResponse:
    form = ReplyForm(request.GET if "reply" in request.GET else None)
    values: dict[str, Any] = {}
    if form.is_valid():
        isp = form.cleaned_data["isp"]
        values = _answer(form.cleaned_data["reply"], isp.pk if isp else 0)
    context = page_context(request, "Try a reply", form=form, **values)
    return TemplateResponse(request, "sending/tester.html", context)


def _answer(reply: Reply, isp: int) -> dict[str, Any]:
    known = patterns()
    verdict = Classifier(known).classify(reply, isp)
    matching = [pattern for pattern in known if pattern.isp in (0, isp) and _matches(pattern, reply)]
    return {
        "read": reply,
        "verdict": verdict,
        "words": CATEGORIES.get(verdict.category, ""),
        "candidates": [pattern for pattern in matching if pattern.id != verdict.pattern],
    }


def _matches(pattern: BouncePattern, reply: Reply) -> bool:
    return Classifier((pattern,)).classify(reply, pattern.isp).pattern == pattern.id
