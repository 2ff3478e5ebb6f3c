"""Files' bytes, each once, by hash. Rows never change, so that reading needs no lock."""

from __future__ import annotations

import hashlib

from angarium.web.mailings.models import Blob


def read(sha256: str) -> bytes | None:
    """The bytes of this hash; None when there are none."""
    content = Blob.objects.filter(pk=sha256).values_list("content", flat=True).first()
    return None if content is None else bytes(content)


def put(content: bytes) -> str:
    """Keeps the bytes; their SHA-256 in hexadecimal."""
    sha256 = hashlib.sha256(content).hexdigest()
    Blob.objects.get_or_create(pk=sha256, defaults={"size": len(content), "content": content})
    return sha256
