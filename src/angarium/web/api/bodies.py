"""What request bodies share: unknown fields are refused, numbers are numbers, changes name what changes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from django.db.models import ForeignKey, Manager, Model
from ninja import Schema
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticUndefined

from angarium.web.sending import validation


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Whole = Annotated[int, Field(strict=True, ge=-(2**63), le=2**63 - 1)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]
Moment = Annotated[datetime, AfterValidator(_aware)]
RowId = Annotated[int, Field(strict=True, ge=1, le=2**63 - 1)]


def _number(row: Any) -> Any:
    return row.pk if isinstance(row, Model) else row


def _numbers(rows: Any) -> Any:
    """Of links to many: a manager's rows, already fetched where the query said so."""
    return [_number(row) for row in (rows.all() if isinstance(rows, Manager) else rows)]


Link = Annotated[int, BeforeValidator(_number)]
"""Another row's number, read from the row."""
Links = Annotated[list[int], BeforeValidator(_numbers)]


class Body(Schema):
    model_config = ConfigDict(extra="forbid")


class Answer(Schema):
    """Mixed into a body, it makes what is read from a row."""

    model_config = ConfigDict(extra="ignore")


class Partial(Schema):
    """Mixed into a body, it makes every field one that may be left out: then it stays as it is."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for field in cls.model_fields.values():
            field.default, field.default_factory = PydanticUndefined, _left_out
        cls.model_rebuild(force=True)


def _left_out() -> None:
    return None


def given(body: Schema) -> dict[str, Any]:
    """The fields the caller named."""
    return body.dict(exclude_unset=True)


def save(row: Model, values: dict[str, Any]) -> None:
    """Puts the values in, foreign keys by number, and saves the row. Raises `ValidationError` by fields."""
    for name, value in values.items():
        field = row._meta.get_field(name)
        setattr(row, field.attname if isinstance(field, ForeignKey) else name, value)
    validation.check(row)
    row.save()
