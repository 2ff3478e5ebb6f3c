"""The demo's message: personalised, in the reader's language."""

from __future__ import annotations

from pathlib import Path
from typing import Final

SUBJECT: Final = (
    "{% if language == 'ru' %}{{ first_name }}, новости недели 🐎"
    "{% elif language == 'de' %}{{ first_name }}, die Nachrichten der Woche 🐎"
    "{% elif language == 'es' %}{{ first_name }}, las noticias de la semana 🐎"
    "{% else %}{{ first_name }}, the news of the week 🐎{% endif %}"
)
PREHEADER: Final = "{{ points }} points are waiting in {{ city }}"
HTML: Final = Path(__file__).with_name("message.html").read_text(encoding="utf-8")


def content() -> dict[str, str]:
    """As a template row keeps it; the text part is made from the HTML."""
    return {"subject": SUBJECT, "preheader": PREHEADER, "html": HTML, "text": ""}
