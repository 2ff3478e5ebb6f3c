"""People, accounts, and who is a member of which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django_otp.plugins.otp_totp.models import TOTPDevice

from angarium.web.access import permissions, second_factor
from angarium.web.access.models import Account, Membership, Role, User
from angarium.web.access.pages import AdministratorAdmin, Rows
from angarium.web.directory.models import SendingPolicy

if TYPE_CHECKING:
    from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
    from django.contrib.auth.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

    UserPage = BaseUserAdmin[User]
else:
    from django.contrib.auth.admin import UserAdmin as UserPage
    from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm


class MembershipRows(Rows):
    model = Membership

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return permissions.may_administer(request.user)

    has_change_permission = has_delete_permission = has_view_permission = has_add_permission


class MembersOfAccount(MembershipRows):
    fields = ("user", "right")
    verbose_name_plural = "Members"


class AccountsOfUser(MembershipRows):
    fields = ("account", "right")
    verbose_name_plural = "Accounts"


@admin.register(Account)
class AccountPage(AdministratorAdmin):
    list_display = ("id", "name", "active", "members", "created")
    list_display_links = ("id", "name")
    search_fields = ("name",)
    ordering = ("name",)
    fields = ("name", "active", "policy")
    inlines = (MembersOfAccount,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.annotate(member_count=Count("memberships"))  # type: ignore[no-any-return]

    @admin.display(description="Members")
    def members(self, obj: Any) -> int:
        return int(obj.member_count)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A new account has no sending policies yet."""
        return self.fields if obj else ("name", "active")

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "policy":
            match = request.resolver_match
            number = int(match.kwargs.get("object_id", 0)) if match else 0
            kwargs["queryset"] = SendingPolicy.objects.filter(account=number)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Accounts with mailings are kept: make them inactive."""
        return super().has_delete_permission(request, obj) and (obj is None or not obj.mailings.exists())


@admin.register(User)
class UserAdmin(AdministratorAdmin, UserPage):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "full_name", "email", "role", "is_active", "last_login")
    list_filter = ("role", "is_active")
    search_fields = ("username", "first_name", "last_name", "email")
    ordering = ("username",)
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password", "role", "is_active")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
    )
    add_fieldsets = (
        (
            None,
            {"fields": ("username", "password1", "password2", "role", "first_name", "last_name", "email")},
        ),
    )
    inlines = (AccountsOfUser,)
    change_form_before_template = "access/user_factor.html"

    @admin.display(description="Name")
    def full_name(self, obj: User) -> str:
        return obj.get_full_name() or "–"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and obj != request.user

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.remove_factor)
        return [path("<int:object_id>/factor/", view, name="access_user_factor"), *super().get_urls()]

    def remove_factor(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """For who lost it."""
        user = self.get_object(request, str(object_id))
        if request.method != "POST" or not self.may_change(request) or user is None:
            raise Http404
        second_factor.remove(request, user)
        messages.success(request, f"{user} logs in with the password alone.")
        return redirect("admin:access_user_change", user.pk)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        number = int(object_id) if object_id.isdecimal() else 0
        context = {**(extra_context or {}), "second_factor": second_factor.device(number)}
        return super().change_view(request, object_id, form_url, context)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        return type(form.__name__, (_KeepsAnAdministrator, form), {})


class _KeepsAnAdministrator:
    """There is always somebody who may administer."""

    def clean(self: Any) -> Any:
        values = super().clean()  # type: ignore[misc]
        leaves = values.get("role") != Role.ADMINISTRATOR or not values.get("is_active", True)
        others = User.objects.filter(role=Role.ADMINISTRATOR, is_active=True).exclude(pk=self.instance.pk)
        was = self.instance.pk and User.objects.filter(pk=self.instance.pk, role=Role.ADMINISTRATOR).exists()
        if was and leaves and not others.exists():
            self.add_error("role", "This is the last active administrator.")
        return values


for unused in (Group, Session, TOTPDevice):
    if admin.site.is_registered(unused):
        admin.site.unregister(unused)
