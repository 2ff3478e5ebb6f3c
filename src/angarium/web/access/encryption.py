"""Secrets at rest: encrypted with a key derived from the installation's secret key."""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import models

from angarium.errors import ConfigurationError


@lru_cache(maxsize=4)
def _cipher(secret: str) -> Fernet:
    key = HKDF(SHA256(), length=32, salt=None, info=b"angarium secrets at rest").derive(secret.encode())
    return Fernet(base64.urlsafe_b64encode(key))


if TYPE_CHECKING:
    _Text = models.TextField[str, str]
else:
    _Text = models.TextField


class EncryptedTextField(_Text):
    """Plain text to Python, ciphertext to the database."""

    def get_prep_value(self, value: Any) -> Any:
        return _cipher(settings.SECRET_KEY).encrypt(str(value).encode()).decode() if value else ""

    def from_db_value(self, value: Any, *_: Any) -> str:
        if not value:
            return ""
        try:
            return _cipher(settings.SECRET_KEY).decrypt(value.encode()).decode()
        except InvalidToken as error:
            raise ConfigurationError(
                "a secret in the database was encrypted with another secret key; restore that key"
            ) from error
