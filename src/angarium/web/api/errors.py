"""How refusals look: `{"error": "…", "fields": {"exponent": "…"}, "uses": ["…"]}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS
from django.core.exceptions import ValidationError as ModelProblem
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI, Schema
from ninja.errors import HttpError, Throttled
from ninja.errors import ValidationError as ParameterProblem

from angarium.errors import AngariumError, InvalidInput
from angarium.web.api.parsing import UNREADABLE
from angarium.web.sending.usage import InUse

WRONG_FIELDS = "Some fields are wrong."


class Problem(Schema):
    """Any answer that is not a success."""

    error: str
    fields: dict[str, str] = {}
    uses: list[str] = []


class Invalid(InvalidInput):
    """What the caller sent is wrong, field by field."""

    def __init__(self, fields: Mapping[str, str], error: str = WRONG_FIELDS) -> None:
        super().__init__(error)
        self.fields = dict(fields)


def answer(
    request: HttpRequest, api: NinjaAPI, status: int, error: str, fields: Mapping[str, str] | None = None,
    uses: Sequence[str] = (),
) -> HttpResponse:  # fmt: skip
    body = {"error": error, "fields": dict(fields or {}), "uses": list(uses)}
    return api.create_response(request, body, status=status)


def model_fields(problem: ModelProblem) -> dict[str, str]:
    """Field → message, from what Django says about a row; what concerns the whole row is under `name`."""
    if not hasattr(problem, "error_dict"):
        return {}
    return {
        "name" if field == NON_FIELD_ERRORS else field: " ".join(messages)
        for field, messages in problem.message_dict.items()
    }


def parameter_fields(problem: ParameterProblem) -> dict[str, str]:
    """Field → message, the place named without its source: `limits.0.days`."""
    found: dict[str, str] = {}
    for item in problem.errors:
        place = [str(part) for part in item["loc"]][2 if item["loc"][0] in ("body", "form") else 1 :]
        found.setdefault(".".join(place) or str(item["loc"][-1]), _plain(item))
    return found


def _plain(item: Mapping[str, Any]) -> str:
    if item["type"] == "extra_forbidden":
        return "There is no such field."
    if item["type"] == "missing":
        return "This is needed."
    return str(item["msg"]).removeprefix("Value error, ")


def register(api: NinjaAPI) -> None:
    """Teaches the API these answers."""

    @api.exception_handler(Invalid)
    def invalid(request: HttpRequest, problem: Invalid) -> HttpResponse:
        return answer(request, api, 422, str(problem), problem.fields)

    @api.exception_handler(InUse)
    def in_use(request: HttpRequest, problem: InUse) -> HttpResponse:
        return answer(request, api, 409, str(problem), uses=problem.uses)

    @api.exception_handler(InvalidInput)
    def invalid_input(request: HttpRequest, problem: InvalidInput) -> HttpResponse:
        return answer(request, api, 422, str(problem))

    @api.exception_handler(AngariumError)
    def unavailable(request: HttpRequest, problem: AngariumError) -> HttpResponse:
        return answer(request, api, 503, str(problem))

    @api.exception_handler(ParameterProblem)
    def parameters(request: HttpRequest, problem: ParameterProblem) -> HttpResponse:
        return answer(request, api, 422, WRONG_FIELDS, parameter_fields(problem))

    @api.exception_handler(ModelProblem)
    def model(request: HttpRequest, problem: ModelProblem) -> HttpResponse:
        return answer(request, api, 422, WRONG_FIELDS, model_fields(problem))

    @api.exception_handler(IntegrityError)
    def conflict(request: HttpRequest, problem: IntegrityError) -> HttpResponse:
        return answer(request, api, 409, "Somebody else changed this at the same moment; try again.")

    @api.exception_handler(Http404)
    def not_found(request: HttpRequest, problem: Http404) -> HttpResponse:
        return answer(request, api, 404, "There is no such thing here.")

    @api.exception_handler(Throttled)
    def throttled(request: HttpRequest, problem: Throttled) -> HttpResponse:
        response = answer(request, api, 429, "Too many failed attempts; wait.")
        response["Retry-After"] = str(problem.wait)
        return response

    @api.exception_handler(HttpError)
    def refused(request: HttpRequest, problem: HttpError) -> HttpResponse:
        unread = problem.status_code == 400 and str(problem) == "Cannot parse request body"
        return answer(request, api, problem.status_code, UNREADABLE if unread else str(problem))
