"""What all pages for rows of a table share: whose rows they show, and who may change them.

`PlatformAdmin` is for the postmasters' tables, `AdministratorAdmin` for people and accounts,
`AccountAdmin` for rows of accounts. A row that is not the person's does not exist for them: 404.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin.utils import quote
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from angarium.web.access import current, permissions
from angarium.web.sending import usage
from angarium.web.widgets import Choices

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, TabularInline

    Page = ModelAdmin[Any]
    TableRows = TabularInline[Any, Any]
else:
    from unfold.admin import ModelAdmin as Page
    from unfold.admin import TabularInline as TableRows

__all__ = ["AccountAdmin", "AdministratorAdmin", "PanelAdmin", "PlatformAdmin", "Rows", "page_context"]


def page_context(request: HttpRequest, title: str, **values: Any) -> dict[str, Any]:
    """What templates of pages of our own need."""
    from django.contrib import admin

    return {**admin.site.each_context(request), "title": title, **values}


class Rows(TableRows):
    """Rows of another table on a row's page."""

    extra = 0
    hide_title = True

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        return without_windows(super().formfield_for_dbfield(db_field, request, **kwargs))


def without_windows(field: Any) -> Any:
    """A choice without the buttons that open other rows in a window."""
    if field is not None and hasattr(field.widget, "can_add_related"):
        field.widget = field.widget.widget
    return field


class PanelAdmin(Page):
    """Lists without checkboxes; edit and delete on the right; undeletable rows say who uses them."""

    actions = None
    list_per_page = 50
    list_filter_submit = True
    warn_unsaved_form = True
    request: HttpRequest

    def may_see(self, request: HttpRequest) -> bool:
        raise NotImplementedError

    def may_change(self, request: HttpRequest, obj: Any = None) -> bool:
        raise NotImplementedError

    def is_fixed(self, obj: Any) -> bool:
        """Whether the row ships with the product and cannot be deleted."""
        return bool(getattr(obj, "default", False) or getattr(obj, "builtin", False))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.may_see(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_see(request)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_change(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_change(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_change(request, obj) and not (obj is not None and self.is_fixed(obj))

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        return without_windows(super().formfield_for_dbfield(db_field, request, **kwargs))

    def get_list_display(self, request: HttpRequest) -> Any:
        return [*super().get_list_display(request), "tools"] if self.may_see(request) else []

    def tools(self, obj: Any) -> SafeString:
        may_change = self.has_change_permission(self.request, obj)
        links = [(self._address("change", obj), "", "Edit" if may_change else "View")]
        if self.has_delete_permission(self.request, obj):
            links.append((self._address("delete", obj), "a-danger", "Delete"))
        shown = format_html_join("", '<a href="{}" class="{}">{}</a>', links)
        return format_html('<span class="a-tools">{}</span>', shown)

    tools.short_description = ""  # type: ignore[attr-defined]

    def _address(self, what: str, obj: Model) -> str:
        options = self.opts
        return reverse(f"admin:{options.app_label}_{options.model_name}_{what}", args=[quote(obj.pk)])

    def _get_obj_does_not_exist_redirect(
        self, request: HttpRequest, opts: Any, object_id: Any
    ) -> HttpResponse:
        raise Http404(f"no {opts.verbose_name} {object_id}")

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        obj = self.get_object(request, object_id)
        if obj is None:
            raise Http404
        if self.may_change(request, obj) and (reason := usage.refusal(obj)):
            messages.error(request, str(reason))
            return redirect(self._address("change", obj))
        return super().delete_view(request, object_id, extra_context)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        raise Http404("the audit journal is the history")

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """The audit journal has it."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """The audit journal has it."""

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """The audit journal has it."""


class PlatformAdmin(PanelAdmin):
    """Administrators and postmasters."""

    def may_see(self, request: HttpRequest) -> bool:
        return permissions.may_see_platform(request.user)

    def may_change(self, request: HttpRequest, obj: Any = None) -> bool:
        return permissions.may_edit_platform(request.user)


class AdministratorAdmin(PanelAdmin):
    """Administrators alone."""

    def may_see(self, request: HttpRequest) -> bool:
        return permissions.may_administer(request.user)

    def may_change(self, request: HttpRequest, obj: Any = None) -> bool:
        return permissions.may_administer(request.user)


class AccountAdmin(PanelAdmin):
    """Rows of accounts. `account_path` leads from the row to its account."""

    account_path = "account"
    exclude = ("account",)

    def may_see(self, request: HttpRequest) -> bool:
        return bool(current.accounts(request))

    def may_change(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is None:
            return current.editable(request).exists()
        return permissions.may_edit(request.user, self.account_of(obj))

    def account_of(self, obj: Any) -> int:
        for step in f"{self.account_path}_id".split("__"):
            obj = getattr(obj, step)
        return int(obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """A list shows the chosen account; an address works for every account the person sees."""
        one = request.resolver_match and "object_id" in request.resolver_match.kwargs
        accounts = [account.pk for account in current.accounts(request)] if one else current.shown(request)
        return super().get_queryset(request).filter(**{f"{self.account_path}__in": accounts})

    def get_list_display(self, request: HttpRequest) -> Any:
        columns = list(super().get_list_display(request))
        if current.current(request) is None and self.account_path == "account":
            columns.insert(-1, "account")
        return columns

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if self.may_change(request) and current.new_object_account(request) is None:
            title = f"New {self.opts.verbose_name}: which account?"
            values = page_context(request, title, choices=current.editable(request))
            return TemplateResponse(request, "panel/choose_account.html", values)
        return super().add_view(request, form_url, extra_context)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change and self.account_path == "account":
            obj.account = current.new_object_account(request)
        super().save_model(request, obj, form, change)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        request._row_account = self._account_for(request, obj)  # type: ignore[attr-defined]
        return super().get_form(request, obj, change, **kwargs)

    def _account_for(self, request: HttpRequest, obj: Any) -> int | None:
        if obj is not None:
            return self.account_of(obj)
        account = current.new_object_account(request)
        return account.pk if account else None

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        _narrow(db_field, request, kwargs)
        field: Any = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if field is not None and field.required and len(only := list(field.queryset[:2])) == 1:
            field.initial = only[0]
        return field

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        _narrow(db_field, request, kwargs)
        kwargs.setdefault("widget", Choices())
        return super().formfield_for_manytomany(db_field, request, **kwargs)


def _narrow(db_field: Any, request: HttpRequest, kwargs: dict[str, Any]) -> None:
    """Offers only rows of the account the object belongs to."""
    related = db_field.remote_field.model
    account = getattr(request, "_row_account", None)
    names = {field.name for field in related._meta.get_fields()}
    if "account" in names:
        kwargs.setdefault("queryset", related._default_manager.filter(account=account))
    elif "accounts" in names:
        kwargs.setdefault("queryset", related._default_manager.filter(accounts=account))
