"""The panel's site: Django's admin in unfold's clothes, with our roles and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin.apps import AdminConfig
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import URLPattern, URLResolver, path
from django.utils.http import url_has_allowed_host_and_scheme

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
else:
    from unfold.sites import UnfoldAdminSite as AdminSite


class PanelConfig(AdminConfig):
    default_site = "angarium.web.site.PanelSite"


class PanelSite(AdminSite):
    """Every page hangs on it; whoever is known to the platform may enter."""

    index_title = "Dashboard"
    enable_nav_sidebar = True

    def has_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_authenticated and request.user.is_active)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        return [
            path("account/<int:account>/", self.admin_view(self.choose_account), name="choose_account"),
            path("dashboard/moving/", self.admin_view(self.moving), name="dashboard_moving"),
            path("second-factor/", self.admin_view(self.second_factor), name="second_factor"),
            path("reports/messages/", self.admin_view(self.messages), name="reports_messages"),
            *self._queue_urls(),
            *super().get_urls(),
        ]

    def _queue_urls(self) -> list[URLPattern]:
        from angarium.web.queues.pages import overview

        return [
            path("sender-queue/", self.admin_view(overview.overview), name="queue"),
            path("sender-queue/stream/", self.admin_view(overview.live), name="queue_stream"),
            path("sender-queue/command/", self.admin_view(overview.command), name="queue_command"),
        ]

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        from angarium.web.reports.dashboard import dashboard

        return dashboard(request, self)

    def second_factor(self, request: HttpRequest) -> HttpResponse:
        from angarium.web.access.second_factor import page

        return page(request)

    def moving(self, request: HttpRequest) -> HttpResponse:
        from angarium.web.reports.dashboard import moving

        return moving(request)

    def messages(self, request: HttpRequest) -> HttpResponse:
        from angarium.web.access.current import accounts
        from angarium.web.reports.search import messages

        if not accounts(request):
            raise Http404
        return messages(request)

    def app_index(
        self, request: HttpRequest, app_label: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        return HttpResponseRedirect("/")

    def choose_account(self, request: HttpRequest, account: int) -> HttpResponse:
        """Remembers which account's objects the lists show; 0: all that the person sees."""
        from angarium.web.access.current import choose

        if not choose(request, account):
            raise Http404
        back = request.GET.get("next", "/")
        safe = url_has_allowed_host_and_scheme(back, {request.get_host()}, request.is_secure())
        return redirect(back if safe else "/")
