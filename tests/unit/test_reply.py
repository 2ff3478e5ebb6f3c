"""Reading SMTP replies."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from angarium.mta.reply import LINE_LIMIT, RawReply, ReplyParser

REPLIES = [
    (b"250 2.1.5 ok\r\n", (250, "2.1.5", "ok")),
    (b"250\r\n", (250, "", "")),
    (b"250 ok\n", (250, "", "ok")),
    (b"550-5.1.1 no such\r\n550 5.1.1 user\r\n", (550, "5.1.1", "no such user")),
    (b"550-5.1.1 no\r\n550-\r\n550 user\r\n", (550, "5.1.1", "no user")),
    (b"550 2.1.1 a code of another class\r\n", (550, "", "2.1.1 a code of another class")),
    (b"452  4.2.2  full \r\n", (452, "4.2.2", "full")),
    (b"550 5.7.1: listed\r\n", (550, "5.7.1", ": listed")),
    (b"421 \xff\xfe\x00\r\n", (421, "", "��")),
    ("550 5.1.1 нет такого\r\n".encode(), (550, "5.1.1", "нет такого")),
    (b"250 " + b"x" * 5_000 + b"\r\n", (250, "", "x" * 1_000)),
]


@pytest.mark.parametrize(("wire", "expected"), REPLIES)
def test_a_reply_is_read(wire, expected):
    [raw] = ReplyParser().feed(wire)
    reply = raw.reply("dot")
    assert (reply.code, reply.enhanced, reply.text.strip()) == expected
    assert not reply.local


GARBAGE = [
    b"hello\r\n", b"25 ok\r\n", b"150 no\r\n", b"600 no\r\n", b"\r\n", b"250x\r\n", b"\xb2\xb2\xb2 ok\r\n",
    b"250-a\r\n251 b\r\n", b"250-more\r\n" * 20_000, b"2" * 300_000, b"HTTP/1.1 200 OK\r\n",
]  # fmt: skip


@pytest.mark.parametrize("wire", GARBAGE, ids=lambda wire: repr(wire[:20]))
def test_what_is_no_reply_is_refused(wire):
    parser = ReplyParser()
    assert parser.feed(wire) == []
    assert parser.error is not None


def test_a_reply_before_garbage_counts():
    parser = ReplyParser()
    assert [raw.code for raw in parser.feed(b"250 queued\r\ngarbage\r\n250 no\r\n")] == [250]
    assert parser.error is not None
    assert parser.feed(b"250 late\r\n") == []


lines = st.lists(
    st.tuples(
        st.integers(200, 599),
        st.lists(st.binary(max_size=30).filter(lambda b: b"\n" not in b), min_size=1, max_size=3),
    ),
    max_size=5,
)


@given(lines, st.lists(st.integers(0, 400), max_size=30))
@example([(250, [b"a\r", b"\r\r"])], [1, 2, 3])
def test_replies_are_the_same_however_the_stream_was_cut(replies, cuts):
    wire = b"".join(_wire(code, texts) for code, texts in replies)
    places = sorted({min(cut, len(wire)) for cut in cuts} | {0, len(wire)})
    parser, found = ReplyParser(), []
    for start, end in zip(places, places[1:], strict=False):
        found += parser.feed(wire[start:end])
    assert found == ReplyParser().feed(wire)
    assert [raw.code for raw in found] == [code for code, _ in replies]
    assert not parser.pending


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_anything_at_all_is_read_without_an_exception(chunks):
    parser = ReplyParser()
    for chunk in chunks:
        for raw in parser.feed(chunk):
            assert isinstance(raw, RawReply)
            assert len(raw.reply("dot").text) <= 1_000


def test_memory_is_bounded_while_a_line_has_no_end():
    parser = ReplyParser()
    for _ in range(200):
        parser.feed(b"250 " + b"x" * 1_000)
        assert len(parser._partial) <= LINE_LIMIT
    parser.feed(b"x" * 200_000)
    assert parser.error is not None


def _wire(code: int, texts: list[bytes]) -> bytes:
    last = len(texts) - 1
    return b"".join(b"%d%s%s\r\n" % (code, b" " if n == last else b"-", text) for n, text in enumerate(texts))
