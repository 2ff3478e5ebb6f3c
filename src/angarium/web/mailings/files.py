"""Files of templates: attachments, and pictures that the HTML shows."""

from __future__ import annotations

import mimetypes
import re
from typing import Final

from angarium.store import blobs
from angarium.web.mailings.models import Template, TemplateFile

MOST_BYTES: Final = 10_000_000
_TYPE: Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+")


def attach(template: Template, name: str, content_type: str, content: bytes) -> TemplateFile:
    """Keeps the bytes; a file of the same name is replaced. The name's own type goes before the one given."""
    name = re.sub(r"[\x00-\x1f/\\\"]", "_", name)[:200]
    given = content_type if _TYPE.fullmatch(content_type) else ""
    template.files.filter(filename=name).delete()
    row = TemplateFile.objects.create(
        template=template,
        blob_id=blobs.put(content),
        filename=name,
        content_type=(mimetypes.guess_type(name)[0] or given or "application/octet-stream")[:100],
    )
    place(row, (template.content or {}).get("html", ""))
    return row


def place(row: TemplateFile, html: str) -> None:
    """A picture the HTML names gets that name as its content id."""
    inline = row.content_type.startswith("image/") and f"cid:{row.filename}" in html
    content_id = row.filename[:100] if inline else ""
    if row.content_id != content_id:
        row.content_id = content_id
        row.save(update_fields=["content_id"])
