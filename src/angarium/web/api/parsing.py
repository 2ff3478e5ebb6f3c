"""Reading requests: what no database could keep is refused before anything looks at it."""

from __future__ import annotations

import json
import math
from typing import Any

from django.http import HttpRequest, QueryDict
from django.utils.datastructures import MultiValueDict
from ninja.errors import HttpError
from ninja.parser import Parser

UNREADABLE = (
    "The body cannot be read: it must be JSON, its texts without NUL and lone surrogates, its numbers finite."
)


class StrictParser(Parser):
    """Raises `ValueError` for a body, 400 for a query, that PostgreSQL would choke on."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(request.body, parse_constant=_refuse)
        _check(found)
        return found

    def parse_querydict(
        self, data: MultiValueDict[str, Any], list_fields: list[str], request: HttpRequest
    ) -> dict[str, Any]:
        if isinstance(data, QueryDict) and any(
            "\0" in value for values in data.lists() for value in values[1]
        ):
            raise HttpError(400, "A text contains NUL.")
        found: dict[str, Any] = super().parse_querydict(data, list_fields, request)
        return found


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number of JSON")


def _check(value: Any) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("a text contains NUL")
        value.encode()  # raises UnicodeEncodeError, a ValueError, for lone surrogates
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is too large")
    elif isinstance(value, list):
        for item in value:
            _check(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check(key)
            _check(item)
