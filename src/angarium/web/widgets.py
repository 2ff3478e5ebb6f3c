"""Form widgets in unfold's clothes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms

if TYPE_CHECKING:
    Text = forms.TextInput
    Number = forms.NumberInput
    Choice = forms.Select
    Choices = forms.CheckboxSelectMultiple
    Area = forms.Textarea
    File = forms.FileInput
    Switch = forms.CheckboxInput
    Password = forms.PasswordInput
else:
    from unfold.widgets import (
        UnfoldAdminCheckboxSelectMultipleWidget as Choices,
    )
    from unfold.widgets import (
        UnfoldAdminIntegerFieldWidget as Number,
    )
    from unfold.widgets import (
        UnfoldAdminPasswordWidget as Password,
    )
    from unfold.widgets import (
        UnfoldAdminSelectWidget as Choice,
    )
    from unfold.widgets import (
        UnfoldAdminTextareaWidget as Area,
    )
    from unfold.widgets import (
        UnfoldAdminTextInputWidget as Text,
    )
    from unfold.widgets import (
        UnfoldBooleanSwitchWidget as Switch,
    )

__all__ = [
    "Area",
    "Choice",
    "Choices",
    "Code",
    "FileChoices",
    "ManyFiles",
    "Number",
    "OneFile",
    "Secret",
    "Switch",
    "Text",
]


class Code(Area):
    """A monospaced text area."""

    def __init__(self, rows: int = 10) -> None:
        super().__init__(attrs={"rows": rows, "spellcheck": "false"})
        self.attrs["class"] = f"{self.attrs.get('class', '')} a-code"


class OneFile(forms.FileInput):
    """A file to upload; what it once was is not shown."""

    template_name = "panel/file.html"

    def __init__(self, **attributes: Any) -> None:
        super().__init__(attrs={"class": "a-files", **attributes})


class ManyFiles(OneFile):
    """Several files at once."""

    allow_multiple_selected = True

    def __init__(self) -> None:
        super().__init__(multiple=True)

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        return files.getlist(name)

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return name not in files


class FileChoices(Choices):
    """Tick boxes, one a line."""


class Secret(Password):
    """Never shows what is kept."""

    def __init__(self) -> None:
        super().__init__(attrs={"autocomplete": "new-password"})
