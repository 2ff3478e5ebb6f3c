"""The panel's name, colours and menu, as unfold wants them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def _sees_platform(request: HttpRequest) -> bool:
    from angarium.web.access.permissions import may_see_platform

    return may_see_platform(request.user)


def _administers(request: HttpRequest) -> bool:
    from angarium.web.access.permissions import may_administer

    return may_administer(request.user)


def _has_accounts(request: HttpRequest) -> bool:
    from angarium.web.access.current import accounts

    return bool(accounts(request))


def _sees_queue(request: HttpRequest) -> bool:
    return _has_accounts(request) or _sees_platform(request)


def _reads_journal(request: HttpRequest) -> bool:
    from angarium.web.access.permissions import accounts_editable, may_administer

    return may_administer(request.user) or accounts_editable(request.user).exists()


def _account_name(request: HttpRequest) -> str:
    from angarium.web.access.current import accounts, current

    if not request.user.is_authenticated or not accounts(request):
        return ""
    account = current(request)
    return account.name if account else "All accounts"


def _account_choices(request: HttpRequest) -> list[dict[str, Any]]:
    """The account switcher; nothing to switch with one account."""
    from angarium.web.access.current import accounts, current

    if not request.user.is_authenticated or len(accounts(request)) < 2:
        return []
    chosen = current(request)
    entries = [(0, "All accounts"), *((account.pk, account.name) for account in accounts(request))]
    return [
        {
            "title": name,
            "icon": "check" if number == (chosen.pk if chosen else 0) else "domain",
            "link": f"/account/{number}/?next={request.path if request.path.count('/') == 3 else '/'}",
        }
        for number, name in entries
    ]


def _item(title: str, icon: str, page: str, permission: Callable[[HttpRequest], bool]) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{page}"), "permission": permission}


_GROUPS: list[tuple[str, Callable[[HttpRequest], bool], list[tuple[str, str, str]]]] = [
    (
        "Mailings",
        _has_accounts,
        [
            ("Mailings", "campaign", "mailings_mailing_changelist"),
            ("Templates", "draft", "mailings_template_changelist"),
        ],
    ),
    (
        "Audience",
        _has_accounts,
        [
            ("Profiles", "person", "directory_profile_changelist"),
            ("Lists", "list_alt", "directory_profilelist_changelist"),
            ("Imports", "upload_file", "directory_importrun_changelist"),
            ("Resources", "hub", "directory_resource_changelist"),
            ("Sending policies", "policy", "directory_sendingpolicy_changelist"),
            ("Suppression lists", "block", "directory_suppressionlist_changelist"),
        ],
    ),
    ("Reports", _has_accounts, [("Messages", "mark_email_read", "reports_messages")]),
    (
        "Settings – MTA",
        _sees_platform,
        [
            ("Senders", "outgoing_mail", "sending_sender_changelist"),
            ("Retry rules", "replay", "sending_retryrule_changelist"),
            ("Default rules", "rule", "sending_defaultrule_changelist"),
            ("Strategies", "speed", "sending_strategy_changelist"),
            ("Bounce patterns", "troubleshoot", "sending_bouncepattern_changelist"),
            ("ISPs", "alternate_email", "sending_isp_changelist"),
            ("Nodes", "dns", "sending_node_changelist"),
            ("IP addresses", "lan", "sending_ipaddress_changelist"),
            ("DKIM keys", "key", "sending_dkimkey_changelist"),
            ("Routes", "route", "sending_route_changelist"),
        ],
    ),
]


_ADMINISTRATION: list[tuple[str, str, str, Callable[[HttpRequest], bool]]] = [
    ("Global stop list", "front_hand", "directory_stopentry_changelist", _administers),
    ("People", "group", "access_user_changelist", _administers),
    ("Accounts", "domain", "access_account_changelist", _administers),
    ("API tokens", "vpn_key", "access_apitoken_changelist", lambda request: True),
    ("Audit journal", "history", "auditlog_logentry_changelist", _reads_journal),
]


def _menu() -> list[dict[str, Any]]:
    groups = [
        {"title": title, "items": [_item(*entry, permission) for entry in entries]}
        for title, permission, entries in _GROUPS
    ]
    first = {
        "items": [
            _item("Dashboard", "dashboard", "index", lambda request: True),
            _item("Sender queue", "schedule_send", "queue", _sees_queue),
        ]
    }
    last = {"title": "Administration", "items": [_item(*entry) for entry in _ADMINISTRATION]}
    return [first, *groups, last]


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Angarium",
    "SITE_HEADER": "Angarium",
    "SITE_SUBHEADER": _account_name,
    "SITE_DROPDOWN": _account_choices,
    "SITE_URL": None,
    "SITE_ICON": lambda request: static("angarium/mark.svg"),
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("angarium/mark.svg")}
    ],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "ACCOUNT": {
        "navigation": [
            {"title": "Change password", "link": reverse_lazy("admin:password_change")},
            {"title": "Second factor", "link": reverse_lazy("admin:second_factor")},
        ]
    },
    "LOGIN": {"form": "angarium.web.access.login.LoginForm"},
    "STYLES": [lambda request: static("angarium/panel.css")],
    "SCRIPTS": [lambda request: static("angarium/panel.js")],
    "BORDER_RADIUS": "4px",
    "COLORS": {
        "primary": {
            "50": "oklch(97.5% .012 250)",
            "100": "oklch(94% .028 250)",
            "200": "oklch(88.5% .055 250)",
            "300": "oklch(80% .09 250)",
            "400": "oklch(70% .125 252)",
            "500": "oklch(60.5% .145 254)",
            "600": "oklch(51% .145 256)",
            "700": "oklch(44.5% .13 257)",
            "800": "oklch(38% .105 257)",
            "900": "oklch(32.5% .08 257)",
            "950": "oklch(24% .055 257)",
        },
    },
    "SIDEBAR": {"show_search": False, "navigation": _menu()},
}
