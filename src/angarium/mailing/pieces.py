"""The expressions and statements of a template, taken out of its HTML and put back.

HTML tools know nothing of `{{ … }}` and `{% … %}`: they would move or mangle them. So each is replaced by
a mark the tool keeps in place, and put back afterwards. Whether all of them survived, in their order, can
be asked; where they did not, the work must be done on the rendered HTML instead, message by message.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

_PIECE: Final = re.compile(
    r"""\{\{(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^"'])*?\}\}"""
    r"""|\{%(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^"'])*?%\}"""
    r"""|\{\#.*?\#\}""",
    re.DOTALL,
)
_OPEN, _CLOSE = "\ue0f0", "\ue0f1"
_MARK: Final = re.compile(rf"(?:<!--)?{_OPEN}(\d+){_CLOSE}(?:-->)?")
_MARKUP: Final = re.compile(
    r"<!--.*?-->|<(?P<raw>style|script|title|textarea)\b.*?</(?P=raw)\s*>|<[^>]*>",
    re.DOTALL | re.IGNORECASE,
)
_VALUE: Final = re.compile(r"""=\s*(?:"[^"]*"|'[^']*')""")


class Marked(msgspec.Struct):
    """HTML with marks in place of its pieces."""

    html: str
    pieces: list[str]
    statements: list[int]
    """Numbers of the pieces that are statements."""
    plain: bool
    """No statement stands inside a tag, a comment, a style or a title."""

    def restore(self, text: str) -> str:
        return _MARK.sub(lambda mark: self.pieces[int(mark[1])], text)

    def survived(self, text: str) -> bool:
        """Whether each statement is there once, in its order."""
        statements = set(self.statements)
        found = [number for mark in _MARK.finditer(text) if (number := int(mark[1])) in statements]
        return found == self.statements


def mark(html: str, *, comments: bool) -> Marked:
    """Takes the pieces out. With `comments`, those between tags become HTML comments."""
    pieces: list[str] = []
    bare = _PIECE.sub(lambda piece: _put(pieces, piece[0]), html)
    statements = [number for number, piece in enumerate(pieces) if piece.startswith("{%")]
    inside: set[int] = set()
    parts, end = [], 0
    for markup in _MARKUP.finditer(bare):
        parts += [_between(bare[end : markup.start()], comments), markup[0]]
        inside.update(_numbers(markup[0] if markup["raw"] else _VALUE.sub("", markup[0])))
        inside.update(number for number in _numbers(markup[0]) if number in statements)
        end = markup.end()
    parts.append(_between(bare[end:], comments))
    return Marked("".join(parts), pieces, statements, inside.isdisjoint(statements) and not _unsafe(pieces))


def _put(pieces: list[str], piece: str) -> str:
    pieces.append("" if piece.startswith("{#") else piece)
    return f"{_OPEN}{len(pieces) - 1}{_CLOSE}"


def _numbers(text: str) -> list[int]:
    return [int(found[1]) for found in _MARK.finditer(text)]


def _between(text: str, comments: bool) -> str:
    return _MARK.sub(lambda found: f"<!--{found[0]}-->", text) if comments else text


_ESCAPING: Final = re.compile(
    r"\b(?:safe|autoescape|escape|raw|macro|call|filter|import|include|extends)\b|\|\s*e\b"
)


def _unsafe(pieces: list[str]) -> bool:
    return any(_ESCAPING.search(piece) for piece in pieces)


def through(html: str, work: Callable[[str], str | None], *, comments: bool) -> str | None:
    """The template after `work` on its HTML; None where `work` gives up or the pieces do not survive it."""
    marked = mark(html, comments=comments)
    worked = work(marked.html) if marked.plain else None
    return marked.restore(worked) if worked is not None and marked.survived(worked) else None
