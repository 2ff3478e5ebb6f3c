"""Messages as a standard parser reads them."""

from __future__ import annotations

import email
import re
from email.message import EmailMessage
from email.policy import default

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from angarium.domain.email import Attachment, MailBody, MailContent
from angarium.domain.sending import Isp
from angarium.errors import InvalidInput
from angarium.mta import header, transfer
from angarium.mta.address import return_path, wire_address
from angarium.mta.mime import Message, Template

TO = wire_address("reader@example.org")
DATE = b"Mon, 01 Jan 2024 00:00:00 +0000"
PICTURE = b"\x89PNG" + bytes(range(256)) * 20
ENCODINGS = ["auto", "quoted-printable", "base64", "8bit"]

TELLING = ["\n", "\r\n", "\r", ".", "\n.", "\nFrom ", " \n", "\t", "=", "=_", "--", "x" * 80, "x" * 1_100]
alphabet = st.one_of(st.sampled_from([*TELLING, "я", "Ж" * 600, "😀", "\x00"]), st.characters(codec="utf-8"))
texts = st.lists(alphabet, max_size=40).map("".join)


def build(
    body: MailBody, content: MailContent | None = None, isp: Isp | None = None, eight_bit: bool = True
) -> Message:
    template = Template(content or MailContent("news@example.com"), isp, {"p": PICTURE, "f": b"%PDF"})
    return template.build(body, TO, "token", DATE, eight_bit)


def parsed(message: Message) -> EmailMessage:
    wire = b"".join([*message.headers, b"\r\n", *message.body])
    found = email.message_from_bytes(wire, policy=default)
    assert isinstance(found, EmailMessage)
    assert [part.defects for part in found.walk() if part.defects] == []
    return found


def unstuffed(message: Message) -> bytes:
    """As the receiver has it after RFC 5321 section 4.5.2."""
    return re.sub(rb"(?m)^\.(?=\.)", b"", b"".join(message.wire()))


def lines(text: str) -> str:
    """With LF, as parsers hand it out."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


@given(texts, texts, st.sampled_from(ENCODINGS), st.booleans())
@example("<p>.</p>\n.\n..\n", "я\n.", "8bit", True)
@example("From me\nFrom you\n", "From ", "auto", False)
@settings(deadline=None)
def test_both_bodies_come_back_as_they_were(html, text, encoding, eight_bit):
    html, text = f"<{html}", f"!{text}"
    message = build(
        MailBody("s", html, text),
        isp=Isp(1, "", html_encoding=encoding, text_encoding=encoding),
        eight_bit=eight_bit,
    )
    found = parsed(message)
    for kind, sent in (("html", html), ("plain", text)):
        part = found.get_body((kind,))
        assert part is not None
        assert part.get_payload(decode=True).decode().replace("\r\n", "\n") == lines(sent)


@given(texts, texts, st.sampled_from(ENCODINGS), st.booleans())
@settings(deadline=None)
def test_lines_are_short_and_ends_are_crlf(html, text, encoding, eight_bit):
    message = build(
        MailBody("s", html, text),
        isp=Isp(1, "", html_encoding=encoding, text_encoding=encoding),
        eight_bit=eight_bit,
    )
    wire = b"".join(message.wire())
    assert wire.endswith(b"\r\n")
    assert b"\r" not in wire.replace(b"\r\n", b"")
    assert b"\n" not in wire.replace(b"\r\n", b"")
    assert b"\0" not in wire
    assert max(map(len, wire.split(b"\r\n"))) <= 999  # a stuffed dot may be the 999th
    assert not any(line.startswith(b".") and not line.startswith(b"..") for line in wire.split(b"\r\n"))
    assert unstuffed(message) == b"".join([*message.headers, b"\r\n", *message.body])
    assert message.eight_bit or wire.isascii()
    assert eight_bit or wire.isascii()


@given(texts, texts, texts)
@settings(deadline=None)
def test_no_value_can_inject_a_field(subject, name, url):
    message = build(
        MailBody(subject, "", "x", name, f"https://x.example/{url}"), MailContent("news@example.com", name)
    )
    names = [field.partition(b":")[0] for field in message.headers]
    allowed = [
        b"From",
        b"To",
        b"Subject",
        b"Date",
        b"Message-ID",
        b"List-Unsubscribe",
        b"List-Unsubscribe-Post",
    ]
    assert set(names) <= {*allowed, b"MIME-Version", b"Content-Type", b"Content-Transfer-Encoding"}
    assert len(set(names)) == len(names)
    block = b"".join(message.headers)
    assert b"\r\n\r\n" not in block
    assert max(map(len, block.split(b"\r\n"))) <= 998
    assert all(re.match(rb"[!-9;-~]+:|[ \t]+\S", line) for line in block.split(b"\r\n")[:-1])


@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Zl", "Zp", "Zs", "Cn", "Co")),
        max_size=300,
    )
)
@example("Привет, мир! 😀 " * 12)
@example("plain ascii words " * 20)
@example("=?utf-8?b?aGk=?=")
@example("x" * 1_500)
@settings(deadline=None)
def test_the_subject_comes_back(subject):
    assert parsed(build(MailBody(subject, "", "x")))["subject"] == subject.strip()


NAMES = [
    "Ivan",
    "Иван Иванов",
    'Quote " and \\ slash',
    "Comma, Inc.",
    "dot. dot",
    "😀" * 40,
    "O'Brien (sales)",
    "a@b",
    "=?x?=",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_sender_and_recipient_come_back(name):
    found = parsed(build(MailBody("s", "", "x", name), MailContent("news@example.com", name)))
    for field in (found["to"], found["from"]):
        # Long names are several encoded words, between which this parser leaves a space.
        assert field.addresses[0].display_name.replace("😀 ", "😀") == name
    assert found["to"].addresses[0].addr_spec == "reader@example.org"


STRUCTURES = [
    (MailBody("s", "<p>", "t"), False, "multipart/alternative", ["text/plain", "text/html"]),
    (MailBody("s", "", "t"), False, "text/plain", []),
    (MailBody("s", "<p>", ""), False, "text/html", []),
    (MailBody("s", "", ""), False, "text/plain", []),
    (MailBody("s", "<p>", "t"), True, "multipart/mixed",
     ["multipart/related", "multipart/alternative", "text/plain", "text/html", "image/png",
      "application/pdf"]),
    (MailBody("s", "", "t"), True, "multipart/mixed", ["text/plain", "application/pdf"]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "attached", "root", "parts"), STRUCTURES)
def test_the_structure_fits_what_there_is(body, attached, root, parts):
    files = (
        Attachment("p", "картинка.png", "image/png", len(PICTURE), "pic1"),
        Attachment("f", "отчёт.pdf", "application/pdf", 4),
    )
    found = parsed(build(body, MailContent("news@example.com", attachments=files if attached else ())))
    assert found.get_content_type() == root
    assert [part.get_content_type() for part in found.walk()][1:] == parts
    if attached:
        [pdf] = [part for part in found.walk() if part.get_content_type() == "application/pdf"]
        assert (pdf.get_filename(), pdf.get_content()) == ("отчёт.pdf", b"%PDF")
    if "image/png" in parts:
        [picture] = [part for part in found.walk() if part.get_content_type() == "image/png"]
        assert (picture["content-id"], picture.get_content()) == ("<pic1>", PICTURE)


def test_fields_of_mailing_and_isp_are_there_and_what_is_ours_cannot_be_set():
    content = MailContent(
        "news@пример.рф", "News", "answers@example.com",
        headers=(("X-Mailer", "Angarium"), ("Bcc", "evil@example.net"), ("From", "evil"), ("bad name", "x"),
                 ("X-A", "1\r\nX-B: 2")),
    )  # fmt: skip
    isp = Isp(
        1,
        "",
        add_headers=(("Feedback-ID", "7:mailing"),),
        remove_headers=("x-mailer", "List-Unsubscribe-Post"),
    )
    found = parsed(build(MailBody("s", "", "t", unsubscribe="https://x.example/u/1"), content, isp))
    assert found["from"] == "News <news@xn--e1afmkfd.xn--p1ai>"
    assert found["reply-to"] == "answers@example.com"
    assert found["feedback-id"] == "7:mailing"
    assert found["list-unsubscribe"] == "<https://x.example/u/1>"
    assert found["x-a"] == "1 X-B: 2"
    for absent in ("x-mailer", "bcc", "x-b", "bad name", "list-unsubscribe-post"):
        assert found[absent] is None
    assert found["message-id"] == "<token@xn--e1afmkfd.xn--p1ai>"


def test_one_click_unsubscribe_has_both_fields():
    found = parsed(build(MailBody("s", "", "t", unsubscribe="https://x.example/u/1")))
    assert found["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"


AUTO = [
    ("plain\n", b"7bit"),
    ("x" * 998, b"7bit"),
    ("x" * 999, b"quoted-printable"),
    ("From me\n", b"quoted-printable"),
    ("a\nFrom me\n", b"quoted-printable"),
    ("caught \x00", b"quoted-printable"),
    ("mostly ascii, é\n", b"quoted-printable"),
    ("По-русски\n", b"base64"),
]


@pytest.mark.parametrize(("text", "encoding"), AUTO)
def test_the_encoding_is_chosen_by_what_the_text_needs(text, encoding):
    assert transfer.encode(text, "auto", True, b"=_b")[0] == encoding


def test_eight_bit_is_sent_only_where_the_server_takes_it():
    assert transfer.encode("тест", "8bit", True, b"=_b")[0] == b"8bit"
    assert transfer.encode("тест", "8bit", False, b"=_b")[0] == b"quoted-printable"
    assert transfer.encode("test", "8bit", True, b"=_b")[0] == b"7bit"


def test_a_text_with_the_boundary_in_it_is_encoded():
    assert transfer.encode("--=_b--", "auto", True, b"=_b")[0] == b"quoted-printable"


@pytest.mark.parametrize(
    ("address", "wire", "utf8"),
    [
        ("user@Example.COM", "user@example.com", False),
        ("user@пример.рф", "user@xn--e1afmkfd.xn--p1ai", False),
        ("почта@example.com", "почта@example.com", True),
        ('"a b"@example.com', '"a b"@example.com', False),
        ("user@[192.0.2.1]", "user@[192.0.2.1]", False),
    ],
)
def test_addresses_for_the_wire(address, wire, utf8):
    found = wire_address(address)
    assert (found.text, found.utf8) == (wire, utf8)


BAD = [
    "",
    "a",
    "@b",
    "a@",
    "a b@c",
    "a@b c",
    "a\n@b.c",
    "a@b\r\n",
    "<a@b.c>",
    "a@b@c",
    "x" * 65 + "@b.c",
    "a@-",
    "a@.b",
    "a,b@c",
]


@pytest.mark.parametrize("address", BAD)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(InvalidInput):
        wire_address(address)


@given(st.text(max_size=60))
def test_no_address_breaks_a_command_line(text):
    for candidate in (text, f"{text}@example.com", f"a@{text}"):
        try:
            found = wire_address(candidate).text
        except InvalidInput:
            continue
        assert not re.search(r"[\x00-\x1f\x7f<>]", found)


def test_the_return_path_is_the_token_at_the_bounce_domain():
    assert return_path(MailContent("a@example.com"), "tok") == "tok@example.com"
    assert (
        return_path(MailContent("a@example.com", bounce_domain="b.example.com"), "tok") == "tok@b.example.com"
    )


@given(st.text(st.characters(codec="ascii"), max_size=300))
def test_ascii_values_fold_within_78_where_a_space_allows_it(value):
    for line in header.unstructured("Subject", value).split(b"\r\n"):
        assert len(line) <= 78 or b" " not in line.removeprefix(b"Subject: ").strip()
