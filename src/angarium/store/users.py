"""People who may log in."""

from __future__ import annotations

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from angarium.errors import InvalidInput
from angarium.web.access.models import Role, User


def create(username: str, password: str, role: str, email: str = "") -> None:
    """Adds a person. Raises `InvalidInput` for a name that is taken or a password that is too weak."""
    if role not in Role.values:
        raise InvalidInput(f"no role is called {role!r}; there are {', '.join(Role.values)}")
    if User.objects.filter(username=username).exists():
        raise InvalidInput(f"there is a user {username!r} already")
    platform = role == Role.ADMINISTRATOR
    user = User(username=username, email=email, role=role, is_staff=True, is_superuser=platform)
    _strong(password, user)
    user.set_password(password)
    user.save()


def set_password(username: str, password: str) -> None:
    """Raises `InvalidInput` when nobody is called so, or the password is too weak."""
    user = User.objects.filter(username=username).first()
    if user is None:
        raise InvalidInput(f"nobody is called {username!r}")
    _strong(password, user)
    user.set_password(password)
    user.save()


def names() -> list[tuple[str, str, bool]]:
    """Name, role and whether the person may log in."""
    return list(User.objects.order_by("username").values_list("username", "role", "is_active"))


def _strong(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise InvalidInput(" ".join(error.messages)) from error
