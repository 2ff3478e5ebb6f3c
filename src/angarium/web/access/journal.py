"""The audit journal: every change of settings and mailings, and what people did besides.

`auditlog` notes the changes of registered tables. Launches, test sends, imports and logins are noted by
`record`. Each entry keeps its account, so that an account's editors can read what happened in it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

from auditlog.models import LogEntry
from auditlog.registry import auditlog
from auditlog.signals import pre_log
from django.apps import apps
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db.models import Model
from django.db.models.signals import post_save
from django.http import HttpRequest

ACCOUNT: Final = "account"
EVENT: Final = "event"
_NOT_KEPT: Final = {
    "sending": {"SettingsVersion"},
    "directory": {"ListEntry", "SuppressionEntry", "Profile", "Subscription", "ImportRun", "StopEntry"},
    "mailings": {"Blob", "Launch", "Packet", "PolicyUse", "LogEntry"},
    "access": {"LoginFailure"},
}
"""Written by the services, or in bulk by imports, which are noted as a whole."""
_MASKED: Final = {
    "DkimKey": ["private_key"],
    "Route": ["password"],
    "User": ["password"],
    "ApiToken": ["digest"],
}
_UNWATCHED: Final = {
    "User": ["last_login"], "ApiToken": ["used"], "Node": ["seen", "version", "notice"],
    "Mailing": ["updated"], "Template": ["updated"],
}  # fmt: skip
_PATHS: Final = ("account_id", "policy.account_id", "template.account_id", "list.account_id")
"""Ways from a row to the account it belongs to."""
_row: ContextVar[Model | None] = ContextVar("journal_row", default=None)
"""The row of the entry being made: a deleted one can no longer be read."""


def watch() -> None:
    """Has every kept table's changes noted."""
    for label, left_out in _NOT_KEPT.items():
        for model in apps.get_app_config(label).get_models():
            if model.__name__ not in left_out:
                _register(model)
    pre_log.connect(_remember_row, dispatch_uid="journal row")
    post_save.connect(_note_account, sender=LogEntry, dispatch_uid="journal account")
    user_logged_in.connect(_logged_in, dispatch_uid="journal login")
    user_logged_out.connect(_logged_out, dispatch_uid="journal logout")


def _register(model: Any) -> None:
    if auditlog.contains(model):
        return
    auditlog.register(
        model,
        mask_fields=list(_MASKED.get(model.__name__, [])),
        mask_callable=f"{__name__}.hidden",
        exclude_fields=list(_UNWATCHED.get(model.__name__, [])),
        m2m_fields={
            field.name for field in model._meta.many_to_many if field.remote_field.through._meta.auto_created
        },
    )


def hidden(value: str) -> str:
    """What the journal says of a secret: that it changed, and nothing of it."""
    return "(hidden)" if value and value != "None" else value


def record(request: HttpRequest, obj: Model, event: str, **details: Any) -> None:
    """Notes that the person did something with the object that is not a change of its row."""
    whose = {"actor": _person(request), "remote_addr": request.META.get("REMOTE_ADDR")}
    _note(obj, event, whose, details)


def note(obj: Model, event: str, **details: Any) -> None:
    """The same where no request is at hand: who is behind it is whom the context names, if any."""
    _note(obj, event, {}, details)


def _note(obj: Model, event: str, whose: dict[str, Any], details: dict[str, Any]) -> None:
    _row.set(obj)
    entry = LogEntry.objects.log_create(
        obj,
        force_log=True,
        action=LogEntry.Action.ACCESS,
        changes={name: [None, str(value)] for name, value in details.items()},
        **whose,
    )
    _add(entry, EVENT, event)


def _person(request: HttpRequest) -> Any:
    """Who is logged in; None leaves it to the middleware, which knows who came with a token."""
    user = getattr(request, "user", None)
    return user if user is not None and user.is_authenticated else None


def _add(entry: LogEntry, name: str, value: Any) -> None:
    """After the entry was saved: the middleware sets additional data of its own while it is."""
    entry.additional_data = {**(entry.additional_data or {}), name: value}
    LogEntry.objects.filter(pk=entry.pk).update(additional_data=entry.additional_data)


def _remember_row(sender: type[Model], instance: Model, **_: Any) -> None:
    _row.set(instance)


def _note_account(sender: type[Model], instance: LogEntry, created: bool, **_: Any) -> None:
    if created and (account := _account_of(instance)) is not None:
        _add(instance, ACCOUNT, account)


def _account_of(entry: LogEntry) -> int | None:
    """The account of the row an entry speaks of; None: it belongs to the platform."""
    model: Any = entry.content_type.model_class()
    if model is None or entry.content_type.app_label not in ("directory", "mailings", "queues"):
        return None
    row = _row.get()
    if not isinstance(row, model) or str(row.pk) != str(entry.object_pk):
        row = model._default_manager.filter(pk=entry.object_pk).first()
    found = (_follow(row, path) for path in _PATHS)
    return next((int(account) for account in found if account is not None), None)


def _follow(row: Any, path: str) -> Any:
    for step in path.split("."):
        row = getattr(row, step, None)
    return row


def _logged_in(sender: Any, request: HttpRequest, user: Any, **_: Any) -> None:
    record(request, user, "logged in")


def _logged_out(sender: Any, request: HttpRequest, user: Any, **_: Any) -> None:
    if user is not None:
        record(request, user, "logged out")
