"""Forms of single rows, judged by the rules that the API applies too; and fields of several lines."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError

from angarium.web.sending import validation
from angarium.web.widgets import Area


class RowForm(forms.ModelForm):  # type: ignore[type-arg]
    """Puts what `validation` finds at the fields."""

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        try:
            validation.check(self.instance)
        except ValidationError as error:
            for name, found in error.message_dict.items():
                if name in self.errors:
                    continue
                if name in self.fields:
                    self.add_error(name, found)
                elif name == NON_FIELD_ERRORS and not self.errors:
                    self.add_error(None, found)


class Lines(forms.CharField):
    """A list of texts, one a line."""

    def __init__(self, **options: Any) -> None:
        rows = options.pop("rows", 5)
        super().__init__(required=False, widget=Area(attrs={"rows": rows}), **options)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list | tuple) else value

    def clean(self, value: Any) -> Any:
        return list(dict.fromkeys(line.strip() for line in super().clean(value).splitlines() if line.strip()))

    def has_changed(self, initial: Any, data: Any) -> bool:
        return list(initial or []) != [line.strip() for line in (data or "").splitlines() if line.strip()]


class HeaderLines(Lines):
    """Header fields, one a line: `Name: value`."""

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return "\n".join(f"{name}: {text}" for name, text in value)
        return value

    def clean(self, value: Any) -> Any:
        pairs = [line.partition(":") for line in super().clean(value)]
        if any(not colon for _, colon, _ in pairs):
            raise ValidationError("Write each as Name: value.")
        return [[name.strip(), text.strip()] for name, _, text in pairs]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.prepare_value(initial or []) != (data or "").replace("\r\n", "\n").strip())
