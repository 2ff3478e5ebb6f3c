"""What a command of the queue's page is about."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest

from angarium.domain.gates import Scope
from angarium.web.access import current
from angarium.web.access.models import Account
from angarium.web.sending.models import Isp, Sender
from angarium.web.widgets import Choice

ACTIONS = (("hold", "Hold"), ("release", "Release"), ("clear", "Clear"))


class ScopeForm(forms.Form):
    """For postmasters. An account is named only by those who may launch in it."""

    action = forms.ChoiceField(choices=ACTIONS, initial="hold", label="What to do", widget=Choice)
    account = forms.ModelChoiceField(
        Account.objects.none(), required=False, empty_label="any account", widget=Choice
    )
    sender = forms.ModelChoiceField(
        Sender.objects.order_by("name"), required=False, empty_label="any sender", widget=Choice
    )
    isp = forms.ModelChoiceField(
        Isp.objects.order_by("name"), required=False, empty_label="any ISP", label="ISP", widget=Choice
    )

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        account: Any = self.fields["account"]
        account.queryset = current.editable(request).order_by("name")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors and self.scope() == Scope():
            raise forms.ValidationError("Choose an account, a sender or an ISP.")
        return cleaned

    def scope(self) -> Scope:
        chosen = {name: self.cleaned_data.get(name) for name in ("account", "sender", "isp")}
        return Scope(**{name: row.pk for name, row in chosen.items() if row is not None})
