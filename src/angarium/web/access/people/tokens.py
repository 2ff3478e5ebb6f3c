"""API tokens: shown once, kept as digests."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from angarium.web.access import current, permissions, tokens
from angarium.web.access.models import ApiToken
from angarium.web.access.pages import PanelAdmin, page_context


@admin.register(ApiToken)
class TokenAdmin(PanelAdmin):
    """Everybody keeps their own; administrators see all and may delete them."""

    list_display = ("name", "prefix", "user", "account", "created", "expires", "used")
    list_display_links = None
    list_select_related = ("user", "account")
    search_fields = ("name", "prefix", "user__username")
    ordering = ("-pk",)
    fields = ("name", "account", "expires")

    def may_see(self, request: HttpRequest) -> bool:
        return bool(request.user.is_authenticated and request.user.is_active)

    def may_change(self, request: HttpRequest, obj: Any = None) -> bool:
        own = obj is None or obj.user_id == request.user.pk
        return self.may_see(request) and (own or permissions.may_administer(request.user))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows if permissions.may_administer(request.user) else rows.filter(user=request.user.pk)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "account":
            numbers = [account.pk for account in current.accounts(request)]
            kwargs["queryset"] = db_field.remote_field.model.objects.filter(pk__in=numbers)
            kwargs["empty_label"] = "All that I see"
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        row, secret = tokens.create(request.user, obj.name, obj.account, obj.expires)  # type: ignore[arg-type]
        obj.pk, obj.prefix, obj.user = row.pk, row.prefix, row.user
        request._secret = secret  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> HttpResponse:
        secret: str = request._secret  # type: ignore[attr-defined]
        context = page_context(request, "Your new token", token=obj, secret=secret)
        response = TemplateResponse(request, "access/token.html", context)
        response["Cache-Control"] = "no-store"
        return response
