"""Templates: what recipients get, what authors are told."""

from __future__ import annotations

from typing import Any

import pytest

from angarium.errors import TemplateError
from angarium.mailing import html as markup
from angarium.mailing.port import EmailTemplate
from angarium.mailing.render import Rendered, Renderer, preview, problems

ANNA = {"first_name": "Anna", "city": "Йошкар-Ола", "items": ["one", "two"], "vip": True, "First Name": "A."}
LOOP = "{% for number in range(99999) %}"
URL = "https://u.example/u/abc"


def rendered(html: str = "", attributes: dict[str, Any] | None = None, **parts: str) -> Rendered:
    template = EmailTemplate(**{"subject": "S", "html": html, **parts})
    return preview(template, ANNA if attributes is None else attributes, "anna@example.com", URL)


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("Hi {{ first_name }}", "Hi Anna"),
        ("{{ profile.city }}", "Йошкар-Ола"),
        ('{{ profile["First Name"] }}', "A."),
        ("{{ email }}", "anna@example.com"),
        ("{{ missing|default('you') }}", "you"),
        ("{% if missing is defined %}a{% else %}b{% endif %}", "b"),
        ("{% if vip %}VIP{% endif %}", "VIP"),
        ("{% for item in items %}{{ loop.index }}{{ item }} {% endfor %}", "1one 2two"),
        ("a\r\nBcc: x@y.example", "a  Bcc: x@y.example"),
        ("{{ '<b>' }}", "<b>"),
        ("🐎 {{ first_name|upper }}", "🐎 ANNA"),
    ],
)
def test_subjects_are_one_line_without_escaping(source: str, result: str) -> None:
    assert rendered(subject=source, text="t").subject == result


def test_html_is_escaped_and_text_is_not() -> None:
    shown = rendered("<p>{{ x }}</p>", {"x": "<script>&"})
    assert "&lt;script&gt;&amp;" in shown.html
    assert shown.text == "<script>&\n"


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"subject": "{{ nobody }}"}, "subject, line 1: `nobody` is undefined"),
        ({"html": "<p>\n{{ profile.nobody }}</p>"}, "html, line 2: `profile.nobody` is undefined"),
        ({"preheader": "{{ nobody }}", "html": "<style>p{color:red}</style><p>x</p>"}, "preheader, line 1"),
        ({"text": "{{ 1 / 0 }}"}, "text, line 1: unable to calculate"),
        (
            {"text": "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}"},
            "steps",
        ),
        ({"text": "{{ first_name.__class__ }}"}, "undefined"),
        ({"text": "{% include '/etc/passwd' %}"}, "non-existing template"),
    ],
)
def test_errors_name_the_part_the_line_and_the_attribute(part: dict[str, str], words: str) -> None:
    parts = {"html": "", "text": "", **part}
    with pytest.raises(TemplateError, match=words):
        rendered(parts.pop("html"), **parts)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"subject": "S", "text": "t"}, []),
        ({"subject": "S", "html": "<p>{{ anything }}</p>"}, []),
        ({"subject": " ", "text": "t"}, ["the subject is empty"]),
        ({"subject": "S"}, ["there is neither HTML nor text"]),
        ({"subject": "{% if %}", "text": "t"}, ["subject, line 1: "]),
        ({"subject": "S", "html": "a\nb {{ x|nope }}"}, ["html, line 2: filter nope is unknown"]),
        ({"subject": "S", "text": "t", "sms": "x"}, ["there is no part 'sms'"]),
        ({"subject": 5, "text": "t"}, ["the template's content cannot be read"]),
    ],
)
def test_problems_are_found_when_a_template_is_saved(content: dict[str, Any], found: list[str]) -> None:
    reported = problems(content)
    assert len(reported) == len(found)
    assert all(words in line for words, line in zip(found, reported, strict=True))


def test_the_preheader_is_the_first_thing_of_the_body_and_not_in_the_text() -> None:
    shown = rendered('<html><body class="x"><p>Hello</p></body></html>', preheader="For {{ first_name }}")
    assert shown.html.index('<body class="x"><div style="display:none') > 0
    assert ">For Anna</div><p>Hello" in shown.html
    assert shown.text == "Hello\n"


def test_styles_are_inlined_and_media_queries_kept() -> None:
    style = "<style>p { color: red } @media (max-width: 600px) { p { color: blue } }</style>"
    shown = rendered(f"<html><head>{style}</head><body><p>{{{{ first_name }}}}</p></body></html>")
    assert '<p style="color: red;">Anna</p>' in shown.html
    assert "@media" in shown.html


TABLE = (
    "<table>{% for item in items %}<tr><td class='c'>{{ item }}</td><td>fixed</td></tr>{% endfor %}</table>"
    "<p {% if vip %}class='v'{% endif %}>{{ first_name }}</p>"
)


def test_where_a_template_cannot_be_prepared_each_message_is_with_the_same_result() -> None:
    shown = rendered(f"<style>.c {{ color: red }} .v {{ color: gold }}</style>{TABLE}")
    assert shown.html.count('style="color: red;"') == 2
    assert 'style="color: gold;"' in shown.html
    assert shown.text.split() == ["one", "fixed", "two", "fixed", "Anna"]


@pytest.mark.parametrize(
    "html",
    [
        "<p>Dear {{ first_name }},</p><p>see <a href='{{ unsubscribe_url }}'>here</a>.</p>",
        "<ul>{% for item in items %}<li>{{ item }}</li>{% endfor %}</ul>",
        TABLE,
        "{% if vip %}<h1>VIP</h1>{% else %}<h2>no</h2>{% endif %}<p>a &amp; b</p>",
        "{% if vip %}<table class='a'>{% else %}<table>{% endif %}<tr><td>x</td></tr></table>",
        "<p>{{ '<b>bold</b>'|safe }}</p>",
        "{# a note #}<p>{{ first_name|default('}}') }}</p>",
        "{% raw %}<p>{{ raw }}</p>{% endraw %}",
        "<p>{% set x = first_name %}{{ x }}</p>",
    ],
)
def test_the_derived_text_says_what_the_html_says(html: str) -> None:
    shown = rendered(html)
    assert shown.text.split() == markup.as_text(shown.html).split()


def test_a_derived_text_that_says_something_else_is_given_up() -> None:
    renderer = Renderer(EmailTemplate("S", html="<p>{{ x }}</p>"))
    renderer._environment.add_template("text", "something else")
    texts = [renderer.render({"x": str(number)}, "", "").text for number in range(5)]
    assert texts == [f"{number}\n" for number in range(5)]


def test_links_in_the_text_show_where_they_lead() -> None:
    html = "<p><a href='https://shop.example/?a=1&amp;b=2'>Shop</a> <a href='https://x.example'>https://x.example</a></p>"
    assert rendered(html).text == "Shop (https://shop.example/?a=1&b=2) https://x.example\n"


def test_stylesheets_from_elsewhere_are_never_read(tmp_path: Any) -> None:
    (tmp_path / "evil.css").write_text("p { color: green }")
    link = f"<link rel='stylesheet' href='{tmp_path}/evil.css'><link rel='stylesheet' href='file://{tmp_path}/evil.css'>"
    assert "green" not in rendered(f"<head>{link}<style>b{{color:red}}</style></head><p>x</p>").html


def test_text_that_is_no_unicode_does_no_harm() -> None:
    assert "\ufffd" in rendered("<p>{{ x }}</p>", {"x": "\ud800"}).html
