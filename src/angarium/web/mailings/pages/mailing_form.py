"""The form of a mailing: the mailing and the content of its template in one."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError

from angarium.domain.contact import email_address
from angarium.errors import InvalidInput
from angarium.web.directory.models import Profile
from angarium.web.mailings.models import Mailing, Template
from angarium.web.mailings.pages.content import ContentForm
from angarium.web.mailings.pages.filters import FiltersField
from angarium.web.sending.pages.retry_rules import plain
from angarium.web.widgets import Number, Text

OPTIONS: Final = ("from_address", "from_name", "reply_to", "to_name")
SHORTEST_LIFE, LONGEST_LIFE = 60, 30 * 86_400
SAMPLED_PROFILES: Final = 50


class MailingForm(ContentForm):
    """`row_account` is set by the page before the form is made."""

    from_name = forms.CharField(max_length=200, required=False, widget=Text)
    from_address = forms.CharField(max_length=320, widget=Text)
    reply_to = forms.CharField(max_length=320, required=False, label="Reply-To", widget=Text)
    to_name = forms.CharField(
        max_length=200, required=False, label="Recipient's name", widget=Text,
        help_text="For the To header, for example {{ name }}.",
    )  # fmt: skip
    filters = FiltersField(
        required=False, help_text="A message goes only to profiles for which all conditions hold."
    )
    life = forms.FloatField(
        required=False, label="Message life (h)", widget=Number,
        help_text="How long a message is tried for; empty: as the sender says.",
    )  # fmt: skip

    row_account: int | None = None

    class Meta:
        model = Mailing
        fields = (
            "name", "active", "template", "audience", "resource", "sender", "urgent", "filters",
            "suppression_lists", "policy", "launch_limit", "life", "not_after",
        )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "template" in self.fields:
            self.fields["template"].required = False
            self.fields[
                "template"
            ].help_text = "Empty: a new one. A chosen one is shared: changes below change it."
            self.fields["template"].widget.attrs["data-reload"] = "template"
        mailing: Mailing = self.instance
        self.initial |= {name: (mailing.options or {}).get(name, "") for name in OPTIONS}
        if mailing.life:
            self.initial["life"] = plain(round(mailing.life / 3600, 4))
        self.load_content(self._chosen_template())
        self.fields["filters"].widget.known_fields = known_fields(self.row_account)

    def _chosen_template(self) -> Template:
        mailing: Mailing = self.instance
        if mailing.template_id:
            return mailing.template
        named = str((self.data if self.is_bound else self.initial).get("template") or "")
        chosen = (
            Template.objects.filter(account=self.row_account, pk=named).first() if named.isdecimal() else None
        )
        return chosen or Template()

    def clean_from_address(self) -> str:
        return _address(self.cleaned_data["from_address"])

    def clean_reply_to(self) -> str:
        value = self.cleaned_data["reply_to"]
        return _address(value) if value else ""

    def clean_life(self) -> int | None:
        hours: float | None = self.cleaned_data["life"]
        if hours is None:
            return None
        seconds = round(hours * 3600)
        if not SHORTEST_LIFE <= seconds <= LONGEST_LIFE:
            raise ValidationError("Give hours: at least 0.02 (a minute), at most 720 (30 days).")
        return seconds

    def clean_name(self) -> str:
        """Unique within the account, which is not a field of the form."""
        name: str = self.cleaned_data["name"]
        others = Mailing.objects.filter(account=self.row_account, name=name).exclude(pk=self.instance.pk)
        if others.exists():
            raise ValidationError("There is a mailing of this name already.")
        return name

    def clean(self) -> dict[str, Any]:
        values = super().clean()
        if not values.get("template"):
            values["template"] = self.template if self.template.pk else None
        return values

    def _get_validation_exclusions(self) -> set[str]:
        found: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return found | {"template", "account"}

    def _post_clean(self) -> None:
        """A template that is still to be made cannot be assigned yet."""
        template = self.cleaned_data.pop("template", None)
        super()._post_clean()  # type: ignore[misc]
        if template is not None:
            self.template = template
            self.instance.template = template

    def store(self, mailing: Mailing) -> None:
        """Saves content and mailing."""
        if not self.template.pk:
            self.template.account_id = mailing.account_id
            self.template.name = _free_name(mailing)
        mailing.template = self.save_content()
        options = {name: self.cleaned_data.get(name) or "" for name in OPTIONS}
        kept = {key: value for key, value in (mailing.options or {}).items() if key not in OPTIONS}
        mailing.options = kept | {key: value for key, value in options.items() if value}
        mailing.save()


def _address(text: str) -> str:
    try:
        return email_address(text).address
    except InvalidInput as error:
        raise ValidationError(f"{str(error).capitalize()}.") from error


def _free_name(mailing: Mailing) -> str:
    """The mailing's name, numbered where another template has it."""
    taken = set(Template.objects.filter(account=mailing.account_id).values_list("name", flat=True))
    base = mailing.name[:110]
    return next(
        name for name in (base, *(f"{base} {number}" for number in range(2, 10_000))) if name not in taken
    )


def known_fields(account: int | None) -> tuple[str, ...]:
    """Field names seen on a sample of the account's profiles, for the editor to offer."""
    sample = Profile.objects.filter(account=account).order_by("-pk").values_list("attributes", flat=True)
    names = {name for attributes in sample[:SAMPLED_PROFILES] for name in attributes}
    return (*sorted(names), "subscription.category", "subscription.provider")
