"""Templates, and the files of their messages."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from angarium.web.access import current
from angarium.web.access.pages import AccountAdmin
from angarium.web.mailings.models import Template
from angarium.web.mailings.pages.content import ContentForm
from angarium.web.mailings.pages.preview import preview


class TemplateForm(ContentForm):
    row_account: int | None = None

    class Meta:
        model = Template
        fields = ("name",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.load_content(self.instance)

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        others = Template.objects.filter(account=self.row_account, name=name).exclude(pk=self.instance.pk)
        if others.exists():
            raise ValidationError("There is a template of this name already.")
        return name


class EditorAdmin(AccountAdmin):
    """A page with the content editor and the preview beside it."""

    compressed_fields = False
    change_form_template = "mailings/change_form.html"

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        made = super().get_form(request, obj, change, **kwargs)
        return type(made.__name__, (made,), {"row_account": self._account_for(request, obj)})

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        query = f"?{request.GET.urlencode()}" if request.GET else ""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_preview"
        address = reverse(name, args=[object_id or 0]) + query
        obj = self.get_object(request, object_id) if object_id else None
        context = {**(extra_context or {}), "preview_address": address}
        if obj is not None and not self.may_change(request, obj):
            context["shown"] = self.preview_values(obj)
        return super().changeform_view(request, object_id, form_url, context)

    def preview_values(self, obj: Any) -> dict[str, str]:
        """What the form's fields would tell the preview, for those who see no form."""
        template = self.template_of(obj)
        return {part: str(value) for part, value in ((template.content or {}) if template else {}).items()}

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_preview"
        view = self.admin_site.admin_view(self.preview_view)
        return [path("<int:object_id>/preview/", view, name=name), *super().get_urls()]

    def preview_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        obj = None
        if object_id:
            obj = self.get_object(request, str(object_id))
            if obj is None:
                raise Http404
        elif not self.may_change(request):
            raise Http404
        return preview(request, self._account_for(request, obj), self.template_of(obj))

    def template_of(self, obj: Any) -> Template | None:
        raise NotImplementedError

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Who may only look is not offered files to add or remove."""
        shown = super().get_fieldsets(request, obj)
        if self.may_change(request, obj):
            return shown
        return [(title, {"fields": _without_files(options["fields"])}) for title, options in shown]

    def _part(self, obj: Any, name: str) -> str:
        template = self.template_of(obj)
        return str((template.content or {}).get(name, "")) if template else ""

    @admin.display(description="Subject")
    def subject(self, obj: Any) -> str:
        return self._part(obj, "subject")

    @admin.display(description="Preheader")
    def preheader(self, obj: Any) -> str:
        return self._part(obj, "preheader")

    @admin.display(description="HTML")
    def html(self, obj: Any) -> SafeString:
        return format_html('<pre class="a-code">{}</pre>', self._part(obj, "html"))

    @admin.display(description="Text")
    def text(self, obj: Any) -> SafeString:
        return format_html('<pre class="a-code">{}</pre>', self._part(obj, "text"))


def _without_files(fields: Any) -> tuple[Any, ...]:
    return tuple(field for field in fields if field not in ("new_files", "remove_files"))


@admin.register(Template)
class TemplateAdmin(EditorAdmin):
    form = TemplateForm
    list_display = ("name", "subject", "used_by", "updated")
    search_fields = ("name",)
    ordering = ("name",)
    fieldsets = (
        (None, {"fields": ("name",)}),
        ("Message", {"fields": ("subject", "preheader", "html", "text", "new_files", "remove_files")}),
    )

    @admin.display(description="Mailings")
    def used_by(self, obj: Template) -> str:
        return ", ".join(obj.mailings.values_list("name", flat=True)[:3]) or "–"

    def template_of(self, obj: Any) -> Template | None:
        return obj if isinstance(obj, Template) else None

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.account = current.new_object_account(request)
        form.save_content()
