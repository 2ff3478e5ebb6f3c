"""What people see who follow a link: small pages of their own, with nothing from elsewhere."""

from __future__ import annotations

from typing import Final

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title}</title><style>
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 0; min-height: 100vh; display: grid;
  place-items: center; background: Canvas; color: CanvasText }}
main {{ max-width: 26rem; padding: 1.5rem; text-align: center }}
h1 {{ font-size: 1.4rem; line-height: 1.25 }}
button {{ font: inherit; padding: .75rem 1.5rem; border: 0; border-radius: .5rem; min-height: 3rem;
  background: #1d4ed8; color: #fff; cursor: pointer }}
button:focus-visible {{ outline: 3px solid CanvasText; outline-offset: 2px }}
</style></head><body><main><h1>{title}</h1>{body}</main></body></html>
"""


def _page(title: str, body: str) -> str:
    return _PAGE.format(title=title, body=body)


ASK: Final = _page(
    "Unsubscribe",
    "<p>Press the button and you will get no more of these messages.</p>"
    '<form method="post"><button name="List-Unsubscribe" value="One-Click">Unsubscribe</button></form>',
)
DONE: Final = _page("You are unsubscribed", "<p>No more of these messages will be prepared for you.</p>")
UNKNOWN: Final = _page(
    "This link does not work",
    "<p>It is not complete, or too old. Take the link from your latest message, whole.</p>",
)
TRY_AGAIN: Final = _page(
    "That did not work", "<p>Your wish could not be noted just now. Please try again in a minute.</p>"
)
TOO_LARGE: Final = _page("That was too much", "<p>The request was larger than such requests are.</p>")
