"""Profiles with their attributes, subscriptions and messages."""

from __future__ import annotations

import json
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest

from angarium.domain.contact import email_address
from angarium.errors import InvalidInput
from angarium.mailing.import_rows import typed
from angarium.web.access import current, permissions
from angarium.web.access.pages import AccountAdmin, Rows
from angarium.web.directory.models import Profile, Resource, Subscription
from angarium.web.reports import stories

STORIES_SHOWN: Final = 30


class AttributesWidget(forms.Widget):
    """Rows of name and value; posted as JSON."""

    template_name = "directory/attributes.html"

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        rows = value if isinstance(value, str) else json.dumps(_rows(value or {}), ensure_ascii=False)
        context["widget"]["rows"] = rows
        return context


def _rows(attributes: dict[str, Any]) -> list[dict[str, str]]:
    """Texts stay as they are; everything else is shown as JSON."""
    return [
        {"name": name, "value": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}
        for name, value in attributes.items()
    ]


class AttributesField(forms.Field):
    """A dictionary. Values read as an import reads them: numbers, truth values, else text."""

    widget = AttributesWidget

    def clean(self, value: Any) -> dict[str, Any]:
        try:
            rows = [(str(row["name"]).strip(), str(row["value"])) for row in json.loads(value or "[]")]
        except (ValueError, TypeError, KeyError) as error:
            raise ValidationError("The attributes cannot be read.") from error
        names = [name for name, _ in rows if name]
        if len(set(names)) < len(names):
            raise ValidationError("Two attributes have the same name.")
        return {name: _value(text) for name, text in rows if name}

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.clean(data) != (initial or {}))
        except ValidationError:
            return True


def _value(text: str) -> Any:
    if text[:1] in ("[", "{") or text == "null":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return typed(text)


class ProfileForm(forms.ModelForm):  # type: ignore[type-arg]
    attributes = AttributesField(required=False, help_text="Fields for personalisation and filters.")

    class Meta:
        model = Profile
        fields = ("key", "attributes")

    row_account: int | None = None

    def clean_key(self) -> str:
        key: str = self.cleaned_data["key"]
        if Profile.objects.filter(account=self.row_account, key=key).exclude(pk=self.instance.pk).exists():
            raise ValidationError("There is a profile with this key already.")
        return key


class SubscriptionForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Subscription
        fields = ("resource", "address", "status", "category", "provider", "priority")

    def clean_address(self) -> str:
        try:
            address = email_address(self.cleaned_data["address"])
        except InvalidInput as error:
            raise ValidationError(f"{str(error).capitalize()}.") from error
        self.instance.contact = address.contact
        return address.address

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        row = self.instance
        same = Subscription.objects.filter(
            resource=values.get("resource"), channel="email", profile=row.profile_id, contact=row.contact
        )
        if row.profile_id and row.contact and same.exclude(pk=row.pk).exists():
            self.add_error("address", "The profile has this subscription already.")
        return values


class SubscriptionRows(Rows):
    model = Subscription
    form = SubscriptionForm
    fields = ("resource", "address", "status", "category", "provider", "priority")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        account = obj.account_id if obj is not None else None
        return account is None or permissions.may_edit(request.user, account)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "resource":
            account = getattr(request, "_row_account", None)
            kwargs["queryset"] = Resource.objects.filter(account=account)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


@admin.register(Profile)
class ProfileAdmin(AccountAdmin):
    form = ProfileForm
    list_display = ("key", "subscribed", "some_attributes", "updated")
    list_display_links = ("key",)
    search_fields = ("^key", "^subscriptions__contact")
    search_help_text = "Address or key, from its beginning"
    show_full_result_count = False
    ordering = ("-pk",)
    fields = ("key", "attributes")
    inlines = (SubscriptionRows,)
    change_form_outer_after_template = "directory/profile_stories.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.prefetch_related("subscriptions")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        made = super().get_form(request, obj, change, **kwargs)
        return type(made.__name__, (made,), {"row_account": self._account_for(request, obj)})

    @admin.display(description="Subscriptions")
    def subscribed(self, obj: Profile) -> str:
        rows = [f"{row.address}: {row.get_status_display()}" for row in obj.subscriptions.all()]
        return "; ".join(rows[:3]) or "–"

    @admin.display(description="Attributes")
    def some_attributes(self, obj: Profile) -> str:
        text = ", ".join(f"{name}: {value}" for name, value in list(obj.attributes.items())[:4])
        return text[:120] or "–"

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        profile = self.get_object(request, object_id) if object_id else None
        found = stories.of_subscriptions(list(profile.subscriptions.all())) if profile else []
        context = {**(extra_context or {}), "stories": found[:STORIES_SHOWN]}
        return super().changeform_view(request, object_id, form_url, context)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        for row in formset.save(commit=False):
            row.account_id, row.channel = form.instance.account_id, "email"
            row.save()
        for row in formset.deleted_objects:
            row.delete()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.account = current.new_object_account(request)
        obj.save()
