"""Senders: our own SMTP with its addresses, speed, retries and keys."""

from __future__ import annotations

import json
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest

from angarium.domain.sending import RetryMode
from angarium.web.access.models import Account
from angarium.web.access.pages import PlatformAdmin
from angarium.web.sending import senders
from angarium.web.sending.models import DkimKey, IpAddress, Isp, MtaSender, RetryRule, Sender, Strategy
from angarium.web.sending.pages.retry_rules import plain
from angarium.web.sending.validation import check
from angarium.web.widgets import Choice, Choices, Number, Text

_MTA: Final = ("strategy", "retry_rule", "doubt", "life", "bounce_domain", "tls")
_LINKED: Final = ("addresses", "dkim_keys", "accounts")


def _choices(name: str) -> Any:
    field: Any = MtaSender._meta.get_field(name)
    return field.choices


class OverridesWidget(forms.Widget):
    """Rows of IP, ISP and strategy; posted as JSON."""

    template_name = "sending/overrides.html"

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        context["widget"] |= {
            "rows": value if isinstance(value, str) else json.dumps(value or []),
            "addresses": IpAddress.objects.select_related("node").order_by("node", "address"),
            "isps": Isp.objects.order_by("name"),
            "strategies": Strategy.objects.order_by("name"),
        }
        return context


class OverridesField(forms.Field):
    widget = OverridesWidget

    def clean(self, value: Any) -> list[dict[str, int | None]]:
        try:
            rows = json.loads(value or "[]")
            return [_override(row) for row in rows if row.get("strategy")]
        except (ValueError, TypeError, AttributeError) as error:
            raise ValidationError("The overrides cannot be read.") from error

    def has_changed(self, initial: Any, data: Any) -> bool:
        return True


def _override(row: dict[str, Any]) -> dict[str, int | None]:
    return {name: int(row[name]) if row.get(name) else None for name in ("strategy", "address", "isp")}


class SenderForm(forms.ModelForm):  # type: ignore[type-arg]
    accounts = forms.ModelMultipleChoiceField(
        Account.objects.all(), required=False, widget=Choices, help_text="Who may use it."
    )
    addresses = forms.ModelMultipleChoiceField(
        IpAddress.objects.select_related("node").order_by("node", "address"),
        widget=Choices,
        label="IP addresses",
    )
    strategy = forms.ModelChoiceField(
        Strategy.objects.order_by("name"), required=False, widget=Choice, empty_label="The default strategy"
    )
    overrides = OverridesField(
        required=False,
        help_text="The most specific wins: IP and ISP, then IP, then ISP, then the sender's strategy.",
    )
    retry_rule = forms.ModelChoiceField(
        RetryRule.objects.order_by("name"),
        required=False,
        widget=Choice,
        empty_label="The default rules decide",
    )
    dkim_keys = forms.ModelMultipleChoiceField(
        DkimKey.objects.order_by("domain", "selector"), required=False, widget=Choices, label="DKIM keys"
    )
    doubt = forms.ChoiceField(
        choices=_choices("doubt"), widget=Choice, label="Doubtful deliveries",
        help_text="Sent, but because of a crash or a lost connection no answer is known.",
    )  # fmt: skip
    life = forms.FloatField(widget=Number, label="Message life (h)", help_text="Counts from publishing.")
    bounce_domain = forms.CharField(
        max_length=253, required=False, widget=Text,
        help_text="Domain of the envelope sender; empty: the From domain.",
    )  # fmt: skip
    tls = forms.ChoiceField(choices=_choices("tls"), widget=Choice, label="TLS")

    class Meta:
        model = Sender
        fields = ("name", "active")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        mta = MtaSender.objects.filter(pk=self.instance.pk).first() or MtaSender()
        for name in _MTA:
            self.initial[name] = getattr(mta, f"{name}_id" if name in ("strategy", "retry_rule") else name)
        self.initial["life"] = plain(round(mta.life / 3600, 4))
        if mta.pk:
            self.initial |= {name: getattr(mta, name).all() for name in ("addresses", "dkim_keys")}  # type: ignore[operator]
            self.initial["accounts"] = self.instance.accounts.all()
            self.initial["overrides"] = list(mta.overrides.values("strategy", "address", "isp"))

    def clean_life(self) -> int:
        hours: float = self.cleaned_data["life"]
        return round(hours * 3600)

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        mta = MtaSender(sender=self.instance, **{name: values[name] for name in _MTA if name in values})
        try:
            check(mta)
        except ValidationError as error:
            for name, found in error.message_dict.items():
                if name == "life":
                    found = ["Give hours, from 0.02 (a minute) to 720 (30 days)."]
                if name in self.fields and name not in self.errors:
                    self.add_error(name, found)
        return values

    def values(self) -> dict[str, Any]:
        """As `senders.write` takes them."""
        values = dict(self.cleaned_data)
        for name in _LINKED:
            values[name] = [row.pk for row in values[name]]
        for name in ("strategy", "retry_rule"):
            values[name] = values[name].pk if values[name] else None
        return values


def warnings(sender: Sender) -> list[str]:
    """What will not work as its settings say."""
    mta = MtaSender.objects.select_related("retry_rule").filter(pk=sender.pk).first()
    if mta is None:
        return ["The sender has no settings."]
    addresses = list(mta.addresses.select_related("node"))
    found = []
    if not addresses:
        found.append("The sender has no IP address to send from.")
    if not sender.accounts.exists():
        found.append("No account may use the sender.")
    rule = mta.retry_rule or RetryRule.objects.filter(default=True).first()
    if rule and (lone := _without_other_ip(rule.mode, addresses)):
        found.append(
            f"The retry rule “{rule}” asks for another IP, but {lone}: retries leave from the same IP."
        )
    if stopped := sorted({address.node.name for address in addresses if not address.node.active}):
        found.append(f"Sending is stopped on {', '.join(stopped)}.")
    return found


def _without_other_ip(mode: str, addresses: list[IpAddress]) -> str:
    """Where the rule's mode finds no other address of the sender; empty: nowhere."""
    if mode == RetryMode.OTHER_NODE and len(addresses) == 1:
        return "the sender has only one"
    if mode != RetryMode.OTHER_IP:
        return ""
    per_node: dict[str, int] = {}
    for address in addresses:
        per_node[address.node.name] = per_node.get(address.node.name, 0) + 1
    lone = sorted(name for name, count in per_node.items() if count == 1)
    return f"the sender has only one on {', '.join(lone)}" if lone else ""


@admin.register(Sender)
class SenderAdmin(PlatformAdmin):
    form = SenderForm
    list_display = ("id", "name", "active", "ips", "strategy", "retry_rule", "used_by", "attention")
    list_display_links = ("id", "name")
    search_fields = ("name",)
    ordering = ("id",)
    fieldsets = (
        (None, {"fields": ("name", "active", "accounts", "addresses")}),
        ("Speed", {"fields": ("strategy", "overrides")}),
        ("Retries", {"fields": ("retry_rule", "life", "doubt")}),
        ("Message", {"fields": ("dkim_keys", "bounce_domain", "tls")}),
    )
    change_form_before_template = "sending/sender_warnings.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request).select_related("mta__strategy", "mta__retry_rule")
        return rows.prefetch_related("mta__addresses")

    @admin.display(description="IP addresses")
    def ips(self, obj: Sender) -> str:
        mta = getattr(obj, "mta", None)
        names = [address.address for address in mta.addresses.all()] if mta else []
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return (", ".join(names[:3]) + more) or "–"

    @admin.display(description="Strategy")
    def strategy(self, obj: Sender) -> str:
        mta = getattr(obj, "mta", None)
        return str(mta.strategy) if mta and mta.strategy else "Default"

    @admin.display(description="Retry rule")
    def retry_rule(self, obj: Sender) -> str:
        mta = getattr(obj, "mta", None)
        return str(mta.retry_rule) if mta and mta.retry_rule else "Default rules"

    @admin.display(description="Mailings")
    def used_by(self, obj: Sender) -> int:
        return obj.mailings.count()

    @admin.display(description="Attention")
    def attention(self, obj: Sender) -> str:
        return " ".join(warnings(obj)) or "–"

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        sender = self.get_object(request, object_id) if object_id else None
        context = {**(extra_context or {}), "warnings": warnings(sender) if sender else []}
        return super().changeform_view(request, object_id, form_url, context)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        senders.write(obj, form.values())
        for text in warnings(obj):
            messages.warning(request, text)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """`save_model` has written the links."""
