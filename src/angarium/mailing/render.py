"""From an e-mail template and a profile to subject, HTML and text.

Templates are minijinja: sandboxed, given plain data only. A profile's attributes are top-level names and
stand under `profile`; `email` is the recipient's address, `unsubscribe_url` the one-click link. An undefined
attribute is an error unless the template handles it (`default`, `is defined`). HTML is escaped, subject and
text are not.

What can be done once a launch is done on the template: styles inlined, the text version derived. Where that
would not be safe it is done on each rendered message, which costs milliseconds instead of microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import minijinja
import msgspec

from angarium.errors import InvalidInput, TemplateError
from angarium.mailing import html as markup
from angarium.mailing.port import EmailTemplate

FUEL: Final = 2_000_000
"""Instructions a template may use for one part of one message; ends endless loops."""
TRIALS: Final = 3
"""First messages whose derived text is compared with the text of their rendered HTML."""
RESERVED: Final = ("profile", "email", "unsubscribe_url")
_ALWAYS_WRONG: Final = frozenset(
    {"SyntaxError", "UnknownFilter", "UnknownTest", "UnknownFunction", "TemplateNotFound"}
)
_PARTS: Final = ("subject", "preheader", "html", "text")


class Rendered(NamedTuple):
    subject: str
    html: str
    text: str
    to_name: str


class Renderer:
    """A template compiled for a launch. Raises `TemplateError` when it does not compile."""

    def __init__(self, template: EmailTemplate, to_name: str = "") -> None:
        self._template = template
        self._to_name = to_name
        self._trials = TRIALS
        html = markup.with_preheader(template.html, template.preheader)
        styled = markup.inlined_template(html) if markup.has_styles(html) else html
        self._inline_each = styled is None
        derived = None if template.text or not template.html else markup.text_template(template.html)
        self._text_each = not template.text and bool(template.html) and derived is None
        self._derived = derived is not None
        self._environment = _environment(
            {
                "subject": template.subject,
                "html": html if styled is None else styled,
                "text": template.text or derived or "",
                "to_name": to_name,
            }
        )
        self._environment.debug = False

    def render(self, attributes: Mapping[str, Any], email: str, unsubscribe_url: str) -> Rendered:
        """Raises `TemplateError` naming the part, the line and what is wrong for this recipient."""
        values = context(attributes, email, unsubscribe_url)
        try:
            return self._render(values)
        except minijinja.TemplateError as error:
            raise self._explained(values, error) from error
        except Exception as error:  # whatever a library makes of one recipient's data concerns only them
            raise TemplateError(f"the message cannot be rendered: {error}") from error

    def _render(self, values: dict[str, Any]) -> Rendered:
        render = self._environment.render_template
        subject = one_line(render("subject", **values))
        html = render("html", **values) if self._template.html else ""
        if self._inline_each and html:
            html = markup.inline_styles(html)
        to_name = one_line(render("to_name", **values)) if self._to_name else ""
        return Rendered(subject, html, self._text(values), to_name)

    def _text(self, values: dict[str, Any]) -> str:
        if not self._text_each:
            text = self._environment.render_template("text", **values)
            if not self._derived or not self._trials or self._proves_right(text, values):
                return text
        return markup.as_text(self._bare_html(values))

    def _proves_right(self, text: str, values: dict[str, Any]) -> bool:
        """Whether the derived template says what the rendered HTML says; if not, it is never used again."""
        self._trials -= 1
        same = text.split() == markup.as_text(self._bare_html(values)).split()
        self._text_each = not same
        return same

    def _bare_html(self, values: dict[str, Any]) -> str:
        """The HTML without preheader and inlined styles."""
        return self._environment.render_str(self._template.html, "html", **values)

    def _explained(self, values: dict[str, Any], error: minijinja.TemplateError) -> TemplateError:
        """The error as the template's author sees it: in their sources, not in what was made of them."""
        for part, source in _sources(self._template, self._to_name):
            try:
                _environment({}).render_str(source, part, **values)
            except minijinja.TemplateError as original:
                return TemplateError(_words(part, original))
        return TemplateError(_words(error.name or "template", error))


def context(attributes: Mapping[str, Any], email: str, unsubscribe_url: str) -> dict[str, Any]:
    """What a template sees; reserved names win over attributes, which stay reachable under `profile`."""
    return {
        **attributes,
        "profile": attributes,
        "email": email,
        "unsubscribe_url": minijinja.safe(unsubscribe_url),
    }


def parse(content: Mapping[str, object]) -> EmailTemplate:
    """The stored content of a template. Raises `InvalidInput` when it cannot be read."""
    try:
        return msgspec.convert(dict(content), EmailTemplate)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"the template's content cannot be read: {error}") from error


def problems(content: Mapping[str, object], to_name: str = "") -> list[str]:
    """What is wrong with a template, for whoever saves it; empty when nothing is."""
    try:
        template = parse(content)
    except InvalidInput as error:
        return [str(error)]
    found = [f"there is no part {key!r}" for key in sorted(set(content) - set(_PARTS))]
    if not template.subject.strip():
        found.append("the subject is empty")
    if not template.html.strip() and not template.text.strip():
        found.append("there is neither HTML nor text")
    return found + [
        problem for part, source in _sources(template, to_name) if (problem := _syntax(part, source))
    ]


def preview(
    template: EmailTemplate,
    attributes: Mapping[str, Any],
    email: str,
    unsubscribe_url: str,
    to_name: str = "",
) -> Rendered:
    """The message as this profile would get it. Raises `TemplateError`."""
    return Renderer(template, to_name).render(attributes, email, unsubscribe_url)


def one_line(text: str) -> str:
    """Line breaks removed: a header field is one line."""
    return (
        " ".join(text.split("\n")).replace("\r", " ").strip()
        if "\n" in text or "\r" in text
        else text.strip()
    )


def _sources(template: EmailTemplate, to_name: str) -> Iterator[tuple[str, str]]:
    for part in _PARTS:
        if source := getattr(template, part):
            yield part, source
    if to_name:
        yield "to_name", to_name


def _syntax(part: str, source: str) -> str:
    """What would fail for every recipient, whoever it is."""
    try:
        environment = _environment({part: source})
    except TemplateError as error:
        return str(error)
    environment.undefined_behavior = "chainable"
    try:
        environment.render_template(part)
    except minijinja.TemplateError as error:
        return _words(part, error) if error.kind in _ALWAYS_WRONG else ""
    return ""


def _words(part: str, error: minijinja.TemplateError) -> str:
    detail = getattr(error, "detail", None) or error.message
    if error.kind == "OutOfFuel":
        detail = f"it takes more than {FUEL:,} steps"
    line = getattr(error, "line", None)
    return f"{part}, line {line}: {detail}" if line else f"{part}: {detail}"


def _environment(templates: dict[str, str]) -> minijinja.Environment:
    try:
        return minijinja.Environment(
            templates=templates,
            undefined_behavior="strict",
            fuel=FUEL,
            keep_trailing_newline=True,
            auto_escape_callback=lambda name: "html" if name in ("html", "preheader") else None,
        )
    except minijinja.TemplateError as error:
        raise TemplateError(_words(error.name or "template", error)) from error
