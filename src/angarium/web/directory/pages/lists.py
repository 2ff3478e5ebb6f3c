"""Lists, resources and sending policies."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from angarium.web.access import permissions
from angarium.web.access.pages import AccountAdmin, Rows
from angarium.web.directory.models import PolicyLimit, ProfileList, Resource, SendingPolicy


class NamedForm(forms.ModelForm):  # type: ignore[type-arg]
    """A row whose name is unique within the account, which is not a field of the form."""

    row_account: int | None = None

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        model: Any = self._meta.model
        if model.objects.filter(account=self.row_account, name=name).exclude(pk=self.instance.pk).exists():
            raise ValidationError(f"There is a {model._meta.verbose_name} of this name already.")
        return name


class NamedAdmin(AccountAdmin):
    form = NamedForm
    search_fields = ("name",)
    ordering = ("name",)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        made = super().get_form(request, obj, change, **kwargs)
        return type(made.__name__, (made,), {"row_account": self._account_for(request, obj)})


@admin.register(ProfileList)
class ListAdmin(NamedAdmin):
    list_display = ("name", "size", "used_by", "created", "fill")
    fields = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.annotate(entry_count=Count("entries"))  # type: ignore[no-any-return]

    @admin.display(description="Profiles")
    def size(self, obj: Any) -> str:
        return f"{obj.entry_count:,}".replace(",", "\u202f")

    @admin.display(description="Mailings")
    def used_by(self, obj: ProfileList) -> str:
        return ", ".join(obj.mailings.values_list("name", flat=True)[:3]) or "–"

    @admin.display(description="Fill")
    def fill(self, obj: ProfileList) -> SafeString:
        address = reverse("admin:directory_importrun_add")
        return format_html(
            '<a class="a-link" href="{}?into={}&account={}">Import</a>', address, obj.pk, obj.account_id
        )


@admin.register(Resource)
class ResourceAdmin(NamedAdmin):
    list_display = ("name", "policy", "size")
    fields = ("name", "policy")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.annotate(subscription_count=Count("subscriptions"))  # type: ignore[no-any-return]

    @admin.display(description="Subscriptions")
    def size(self, obj: Any) -> str:
        return f"{obj.subscription_count:,}".replace(",", "\u202f")


class LimitRows(Rows):
    model = PolicyLimit
    fields = ("scope", "messages", "days")
    max_num = 4

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None or permissions.may_edit(request.user, obj.account_id)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_add_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_add_permission(request, obj)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True


@admin.register(SendingPolicy)
class PolicyAdmin(NamedAdmin):
    list_display = ("name", "limits_in_words")
    fields = ("name",)
    inlines = (LimitRows,)

    @admin.display(description="At most")
    def limits_in_words(self, obj: SendingPolicy) -> str:
        return "; ".join(str(limit) for limit in obj.limits.all()) or "No limits"
