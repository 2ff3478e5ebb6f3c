"""What is done to a mailing's HTML before it is sent: the preheader, inlined styles, a text version."""

from __future__ import annotations

import re
from typing import Final

import css_inline
from inscriptis import get_text
from inscriptis.model.config import ParserConfig

from angarium.mailing.pieces import through

_BODY: Final = re.compile(r"<body\b[^>]*>", re.IGNORECASE)
_STYLE: Final = re.compile(r"<style\b", re.IGNORECASE)
_LINK: Final = re.compile(r"\[([^\]\n]*)\]\(([^)\n]*)\)")
_BLANK: Final = re.compile(r"\n\s*\n\s*\n+")
_TABLE: Final = re.compile(r"<(/?)(table|thead|tbody|tfoot|tr|caption|td|th)\b[^>]*>", re.IGNORECASE)
_TAG: Final = re.compile(
    r"<!--.*?-->|<(style|script)\b.*?</\1\s*>|<(/?[a-zA-Z][a-zA-Z0-9:-]*)[^>]*>", re.DOTALL | re.I
)
_IMPLIED: Final = frozenset(
    ["html", "head", "body", "tbody", "colgroup", "/html", "/head", "/body", "/tbody", "/colgroup", "/p",
     "/li", "/tr", "/td", "/th", "/thead", "/tfoot", "/dt", "/dd", "/option"]
)  # fmt: skip
"""Tags an HTML parser adds where the author left them out."""
_HIDDEN: Final = (
    "display:none!important;visibility:hidden;mso-hide:all;font-size:1px;line-height:1px;"
    "max-height:0;max-width:0;opacity:0;overflow:hidden"
)
# At-rules stay, they are what makes a design fit a phone. Nothing is ever fetched.
_INLINER: Final = css_inline.CSSInliner(
    keep_at_rules=True, keep_link_tags=True, load_remote_stylesheets=False
)
_AS_TEXT: Final = ParserConfig(display_links=True)


def with_preheader(html: str, preheader: str) -> str:
    """The preheader as hidden text, the first thing of the body."""
    if not preheader:
        return html
    hidden = f'<div style="{_HIDDEN}">{preheader}</div>'
    body = _BODY.search(html)
    return hidden + html if body is None else html[: body.end()] + hidden + html[body.end() :]


def has_styles(html: str) -> bool:
    return _STYLE.search(html) is not None


def inline_styles(html: str) -> str:
    """Style rules moved to the elements they apply to: many mail programs read nothing else."""
    return _INLINER.inline(html)


def inlined_template(template: str) -> str | None:
    """The template with its styles inlined; None where only rendered HTML can be inlined safely."""

    def work(html: str) -> str | None:
        inlined = inline_styles(html)
        return inlined if same_structure(html, inlined) else None

    return through(template, work, comments=True)


def text_template(template: str) -> str | None:
    """A template of the text version; None where only rendered HTML can be turned into text."""
    return through(template, as_text, comments=False)


def same_structure(before: str, after: str) -> bool:
    """Whether a parser took the HTML as it was written, adding nothing but tags it may imply."""
    expected = iter(_tags(before))
    tag = next(expected, None)
    for found in _tags(after):
        if found == tag:
            tag = next(expected, None)
        elif found not in _IMPLIED:
            return False
    return tag is None


def _tags(html: str) -> list[str]:
    return [tag[2].lower() for tag in _TAG.finditer(html) if tag[2]]


def as_text(html: str) -> str:
    """A plain-text reading of the HTML, tables row by row; links show where they lead."""
    text = get_text(_TABLE.sub(_linear, html), _AS_TEXT)
    lines = (line.rstrip() for line in _LINK.sub(_shown, text).splitlines())
    return _BLANK.sub("\n\n", "\n".join(lines)).strip() + "\n"


def _linear(tag: re.Match[str]) -> str:
    if tag[2].lower() in ("td", "th"):
        return "</span> " if tag[1] else "<span>"
    return f"<{tag[1]}div>"


def _shown(link: re.Match[str]) -> str:
    words, target = link[1].strip(), link[2].strip()
    if not target or target.startswith("#") or words in (target, target.removeprefix("mailto:")):
        return words
    return f"{words} ({target})" if words else target
