"""What follows from a change of a sending table: the settings version grows; defaults stay."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models import F, Model
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete

from angarium.errors import InvalidInput


def bump() -> None:
    """For bulk changes, which send no signals."""
    from angarium.web.sending.models import SettingsVersion

    if not SettingsVersion.objects.filter(pk=1).update(version=F("version") + 1):
        SettingsVersion.objects.get_or_create(pk=1)


def watch(app: AppConfig) -> None:
    """Bumps the version whenever a row of the app's tables is saved, deleted or linked."""
    for model in app.get_models():
        if model.__name__ == "SettingsVersion":
            continue
        post_save.connect(_changed, sender=model)
        post_delete.connect(_changed, sender=model)
        for field in model._meta.many_to_many:
            m2m_changed.connect(_linked, sender=getattr(model, field.name).through)


def protect_defaults(app: AppConfig) -> None:
    """The default strategy and the default retry rule can be edited, not deleted."""
    for name in ("Strategy", "RetryRule"):
        pre_delete.connect(_refuse_default, sender=app.get_model(name))


def _refuse_default(sender: type[Model], instance: Any, **_: Any) -> None:
    if instance.default:
        raise InvalidInput(f"The default {sender._meta.verbose_name} can be edited, not deleted.")


def _changed(sender: type[Model], raw: bool = False, **_: Any) -> None:
    if not raw:
        bump()


def _linked(sender: type[Model], action: str, **_: Any) -> None:
    if action.startswith("post_"):
        bump()
