"""Reading CSV files as people really have them: streaming, forgiving where that is safe, exact in complaints.

UTF-8 with or without a byte-order mark, or Windows-1251; commas, semicolons or tabs. A line that cannot be
read is rejected with its number, the reason and its text, and reading goes on with the next line: a quotation
mark that is never closed costs one line, not the rest of the file.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

import msgspec

from angarium.errors import InvalidInput

ENCODINGS: Final = {"utf-8": "UTF-8", "cp1251": "Windows-1251"}
DELIMITERS: Final = ",;\t"
LINE_BYTES: Final = 1_000_000
_SAMPLE: Final = 65_536
_BOM: Final = b"\xef\xbb\xbf"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


class Row(msgspec.Struct, frozen=True):
    line: int
    """Number of its first line in the file; the header is line 1."""
    fields: list[str]
    text: str


class Rejected(msgspec.Struct, frozen=True):
    line: int
    reason: str
    text: str


class CsvFile:
    """A file being read. Raises `InvalidInput` at once when there is no usable header."""

    def __init__(self, stream: BinaryIO, encoding: str | None = None, delimiter: str | None = None) -> None:
        start = stream.read(_SAMPLE)
        self.encoding = _encoding(stream, start) if encoding is None else _known(encoding)
        self._lines = _Lines(stream, start.removeprefix(_BOM), self.encoding)
        self.bytes_read = 0
        header = self._lines.first()
        self.delimiter = delimiter or max(DELIMITERS, key=_outside_quotes(header).count)
        self._reader = csv.reader(self._lines, delimiter=self.delimiter, strict=True)
        self.columns = self._header()

    def __iter__(self) -> Iterator[Row | Rejected]:
        """Blank lines are passed over. Raises `InvalidInput` at a point behind which nothing can be read."""
        while True:
            try:
                fields = next(self._reader, None)
                fault = "" if fields is None else self._fault(fields)
            except csv.Error as error:
                fields, fault = [], _words(error)
            lines, first = self._lines.taken()
            self.bytes_read = self._lines.bytes_read
            if fields is None:
                return
            if fault:
                self._lines.put_back_rest()
                yield Rejected(first, fault, lines[0].rstrip("\r\n"))
            elif fields:
                yield Row(first, fields, "".join(lines).rstrip("\r\n"))

    def _fault(self, fields: list[str]) -> str:
        if not fields:
            return ""
        if column := self._lines.undecodable:
            return f"not {ENCODINGS.get(self.encoding, self.encoding)}: the byte at position {column}"
        if len(fields) != len(self.columns):
            return f"it has {len(fields)} fields, the header has {len(self.columns)}"
        return "it contains a NUL byte" if any("\0" in field for field in fields) else ""

    def _header(self) -> list[str]:
        try:
            names = [name.strip() for name in next(self._reader, [])]
        except csv.Error as error:
            raise InvalidInput(f"the header (line 1) cannot be read: {_words(error)}") from error
        self._lines.taken()
        if any("\0" in name for name in names):
            raise InvalidInput("the file is not text; save it as CSV in UTF-8")
        if not any(names):
            raise InvalidInput("the file is empty: its first line must name the columns")
        if twice := {name for name in names if name and names.count(name) > 1}:
            raise InvalidInput(f"the header names a column twice: {', '.join(sorted(twice))}")
        return names


class _Line(NamedTuple):
    text: str
    undecodable: int = 0


class _Lines:
    """Decoded lines for the CSV reader, which remembers what the record under way is made of."""

    def __init__(self, stream: BinaryIO, start: bytes, encoding: str) -> None:
        self._source = _byte_lines(stream, start)
        self._encoding = encoding
        self._returned: deque[_Line] = deque()
        self._taken: list[_Line] = []
        self._next = 1
        self.bytes_read = 0

    def first(self) -> str:
        """The first line, still to be read."""
        line = next(self, "")
        self._returned.extend(self._taken)
        self._taken.clear()
        return line

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else self._decoded(next(self._source))
        self._taken.append(line)
        return line.text

    def _decoded(self, raw: bytes) -> _Line:
        self.bytes_read += len(raw)
        try:
            return _Line(raw.decode(self._encoding))
        except UnicodeDecodeError as error:
            return _Line(raw.decode(self._encoding, "replace"), error.start + 1)

    @property
    def undecodable(self) -> int:
        """Position, from 1, of a byte of the record that the encoding does not have; 0: none."""
        return next((line.undecodable for line in self._taken if line.undecodable), 0)

    def taken(self) -> tuple[list[str], int]:
        """The lines of the record, and the number of the first; a new record begins."""
        self._last, first = self._taken, self._next
        self._taken, self._next = [], first + len(self._last)
        return [line.text for line in self._last], first

    def put_back_rest(self) -> None:
        """All lines of the last record but its first are to be read again."""
        rest = self._last[1:]
        self._returned.extendleft(reversed(rest))
        self._next -= len(rest)


def _byte_lines(stream: BinaryIO, start: bytes) -> Iterator[bytes]:
    rest = start
    while True:
        *whole, rest = rest.split(b"\n")
        for line in whole:
            yield line + b"\n"
        if len(rest) > LINE_BYTES:
            raise InvalidInput(f"a line is longer than {LINE_BYTES:,} bytes; is this a CSV file?")
        more = stream.read(_SAMPLE)
        if not more:
            break
        rest += more
    if rest:
        yield rest


def _encoding(stream: BinaryIO, start: bytes) -> str:
    if start.startswith(_BOM):
        return "utf-8"
    if start.startswith(_UTF16) or start.count(b"\0") * 4 > len(start):
        raise InvalidInput("the file is UTF-16 or not text; save it as CSV in UTF-8")
    sample = start
    while sample.isascii() and stream.seekable():
        sample = stream.read(_SAMPLE)
        if not sample:
            break
    if stream.seekable():
        stream.seek(len(start))
    return "utf-8" if _reads_as_utf8(sample) else "cp1251"


def _reads_as_utf8(sample: bytes) -> bool:
    """Whether more of the characters beyond ASCII are right in UTF-8 than wrong: a few may be damaged."""
    text = sample.decode(errors="replace")
    wrong = text.count("\ufffd")
    return sum(not character.isascii() for character in text) - wrong >= wrong


def _known(encoding: str) -> str:
    name = encoding.lower().replace("windows-", "cp").replace("utf8", "utf-8").removesuffix("-sig")
    if name not in ENCODINGS:
        raise InvalidInput(f"there is no encoding {encoding!r} here; there are {', '.join(ENCODINGS)}")
    return name


def _outside_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])


def _words(error: csv.Error) -> str:
    text = str(error)
    if "expected after" in text:
        return "text follows a closing quotation mark"
    if "unexpected end of data" in text or "field larger" in text:
        return "a quotation mark is opened and not closed"
    return f"it cannot be read: {text}"
