"""Audience files as people have them."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angarium.errors import InvalidInput
from angarium.mailing.csv_rows import CsvFile, Rejected, Row
from angarium.mailing.import_rows import LASTING, STATUSES, merged_status, typed


def read(content: bytes) -> tuple[list[Row], list[Rejected]]:
    found = list(CsvFile(io.BytesIO(content)))
    return [one for one in found if isinstance(one, Row)], [one for one in found if isinstance(one, Rejected)]


def test_a_quotation_mark_never_closed_costs_one_line() -> None:
    rows, rejected = read(b'email,n\na@x,1\nb@x,"open\nc@x,3\nd@x,4\n')
    assert [row.fields[0] for row in rows] == ["a@x", "c@x", "d@x"]
    assert [(one.line, one.reason) for one in rejected] == [(3, "a quotation mark is opened and not closed")]


def test_line_numbers_stay_right_behind_fields_of_several_lines() -> None:
    rows, rejected = read(b'email,n\na@x,"two\nlines"\n\nb@x\nc@x,3\n')
    assert [(row.line, row.fields) for row in rows] == [(2, ["a@x", "two\nlines"]), (6, ["c@x", "3"])]
    assert [(one.line, one.text) for one in rejected] == [(5, "b@x")]


def test_a_byte_that_is_no_utf8_costs_its_line() -> None:
    _, rejected = read("email,n\nüö@x,1\n".encode() + b"a@x,\xff\n")
    assert [(one.line, one.reason) for one in rejected] == [(3, "not UTF-8: the byte at position 5")]


@pytest.mark.parametrize("place", [10, 65_530, 65_536, 70_000, 200_000])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1251"])
def test_the_encoding_is_recognised_wherever_the_first_letter_beyond_ascii_stands(
    place: int, encoding: str
) -> None:
    lines = "email,n\n" + "a@x,1\n" * (place // 6)
    file = CsvFile(io.BytesIO((lines + "b@x,Юлия\n").encode(encoding)))
    assert file.encoding == encoding
    *_, last = file
    assert isinstance(last, Row)
    assert last.fields == ["b@x", "Юлия"]


FIELDS = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]))


@given(
    st.lists(
        st.lists(
            st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"])),
            min_size=2,
            max_size=2,
        )
    ),
    st.sampled_from(",;\t"),
)
def test_what_a_csv_writer_wrote_is_read_back(table: list[list[str]], delimiter: str) -> None:
    table = [row for row in table if any(row)]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([["email", "n"], *table])
    rows, rejected = read(text.getvalue().encode("utf-8-sig"))
    assert not rejected
    assert [row.fields for row in rows] == table


@given(st.binary(max_size=400))
def test_no_bytes_make_the_reader_fail_otherwise_than_in_words(content: bytes) -> None:
    try:
        rows, rejected = read(b"email,n\n" + content)
    except InvalidInput:
        return
    lines = [one.line for one in [*rows, *rejected]]
    assert len(set(lines)) == len(lines), "every line is told about once"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", 42), ("-7", -7), ("0", 0), ("1.5", 1.5), ("-0.25", -0.25), ("true", True), ("false", False),
        ("007", "007"), ("+7", "+7"), ("1e5", "1e5"), ("1.50", "1.50"), ("1,5", "1,5"), ("True", "True"),
        ("", ""), (" 1", " 1"), ("nan", "nan"), ("inf", "inf"), ("1_000", "1_000"), ("١", "١"),
        ("1234567890123456", "1234567890123456"), ("-0", "-0"), ("2024-01-01", "2024-01-01"),
    ],
)  # fmt: skip
def test_only_unambiguous_numbers_become_numbers(text: str, value: object) -> None:
    assert typed(text) == value
    assert type(typed(text)) is type(value)


@given(st.text(max_size=20))
def test_a_typed_value_is_written_as_it_was_read(text: str) -> None:
    value = typed(text)
    assert (str(value).lower() if isinstance(value, bool) else str(value)) == text


@pytest.mark.parametrize("known", STATUSES)
@pytest.mark.parametrize("wanted", [None, *STATUSES])
def test_nobody_who_left_comes_back_by_an_import(known: str, wanted: str | None) -> None:
    status = merged_status(known, wanted)
    if known in LASTING:
        assert status in LASTING
    else:
        assert status == (known if wanted is None else wanted)
