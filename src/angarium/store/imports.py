"""Audience files into profiles, subscriptions and list entries.

A batch of lines is one transaction: what was imported before a crash or an unreadable point stays, and the
same file imported again changes nothing. Nobody who unsubscribed, complained or bounced is subscribed again.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO

import msgspec
from django.db import connection, transaction
from django.utils import timezone

from angarium.errors import InvalidInput
from angarium.mailing.csv_rows import CsvFile, Rejected, Row
from angarium.mailing.import_rows import Columns, Person, person
from angarium.store import import_batch
from angarium.web.access.models import Account
from angarium.web.directory.models import ImportRun, ProfileList, Resource

BATCH: Final = 1_000
REJECTIONS_KEPT: Final = 1_000
TEXT_KEPT: Final = 200


class Progress(msgspec.Struct):
    """How far an import is. Profiles: created + updated + unchanged = lines − rejected."""

    run: int
    bytes_read: int = 0
    bytes_total: int = 0
    """0: not known."""
    lines: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    subscribed: int = 0
    """Subscriptions that were not there before."""
    state: str = "running"
    error: str = ""


def run(
    account: int,
    source: Path | BinaryIO,
    *,
    resource: int | None = None,
    into: int | None = None,
    filename: str = "",
    key: str | None = None,
    status: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    report: TextIO | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Progress:
    """Imports a CSV file and returns the outcome, which its `ImportRun` keeps too.

    `resource`: subscribe the addresses to it. `into`: list to put the profiles on. `key`: column with your
    own id (default: the e-mail address). `status`: column with subscription statuses. `report`: rejected
    lines are written there as CSV. Raises `InvalidInput` when nothing can be read from the file.
    """
    if isinstance(source, Path):
        return _run_path(
            account, source, resource=resource, into=into, filename=filename or source.name, key=key,
            status=status, encoding=encoding, delimiter=delimiter, report=report, progress=progress,
        )  # fmt: skip
    _refuse_foreign(account, resource, into)
    row = ImportRun.objects.create(
        account_id=account, resource_id=resource, profile_list_id=into, filename=filename[:255]
    )
    target = import_batch.Target(account, resource, into)
    work = _Import(row, target, report, progress or (lambda _: None), _size(source))
    with work.ending():
        file = CsvFile(source, encoding, delimiter)
        work.read(file, Columns.of(file.columns, key, status))
    return work.progress


def _run_path(account: int, path: Path, **options: Any) -> Progress:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    with stream:
        return run(account, stream, **options)


def _refuse_foreign(account: int, resource: int | None, into: int | None) -> None:
    if not Account.objects.filter(pk=account).exists():
        raise InvalidInput(f"there is no account {account}")
    if resource is not None and not Resource.objects.filter(pk=resource, account_id=account).exists():
        raise InvalidInput(f"there is no resource {resource} in this account")
    if into is not None and not ProfileList.objects.filter(pk=into, account_id=account).exists():
        raise InvalidInput(f"there is no list {into} in this account")


def _size(stream: BinaryIO) -> int:
    if not stream.seekable():
        return 0
    here = stream.tell()
    size = stream.seek(0, 2)
    stream.seek(here)
    return size


class _Import:
    """An import under way."""

    def __init__(
        self,
        row: ImportRun,
        target: import_batch.Target,
        report: TextIO | None,
        tell: Callable[[Progress], None],
        size: int,
    ) -> None:
        self.progress = Progress(row.pk, bytes_total=size)
        self._row = row
        self._target = target
        self._report = csv.writer(report) if report is not None else None
        self._tell = tell
        if self._report:
            self._report.writerow(("line", "reason", "text"))

    def read(self, file: CsvFile, columns: Columns) -> None:
        rows = iter(file)
        while batch := list(islice(rows, BATCH)):
            with transaction.atomic():
                self._take(batch, columns)
                self.progress.bytes_read = file.bytes_read
                self._save()
            self._tell(self.progress)

    def ending(self) -> _Ending:
        return _Ending(self)

    def end(self, error: BaseException | None) -> None:
        self.progress.state = "finished" if error is None else "failed"
        if error is not None:
            behind = (
                f" (after {self.progress.lines:,} lines, which are imported)" if self.progress.lines else ""
            )
            self.progress.error = f"{error}{behind}"
        self._row.finished = timezone.now()
        self._save()
        self._tell(self.progress)

    def _take(self, batch: list[Row | Rejected], columns: Columns) -> None:
        people = list(self._people(batch, columns))
        done = import_batch.store(self._target, people)
        self.progress.lines += len(batch)
        self.progress.created += done.created
        self.progress.updated += done.updated
        self.progress.unchanged += done.unchanged
        self.progress.subscribed += done.subscribed

    def _people(self, batch: Iterable[Row | Rejected], columns: Columns) -> Iterator[Person]:
        for row in batch:
            if isinstance(row, Rejected):
                self._reject(row)
                continue
            try:
                yield person(row, columns)
            except InvalidInput as error:
                self._reject(Rejected(row.line, str(error), row.text))

    def _reject(self, rejected: Rejected) -> None:
        self.progress.rejected += 1
        if self._report:
            self._report.writerow((rejected.line, rejected.reason, rejected.text))
        if len(self._row.rejections) < REJECTIONS_KEPT:
            text = rejected.text[:TEXT_KEPT].replace("\0", "\ufffd")
            self._row.rejections.append({"line": rejected.line, "reason": rejected.reason, "text": text})

    def _save(self) -> None:
        row, now = self._row, self.progress
        row.lines, row.rejected = now.lines, now.rejected
        row.created_profiles, row.updated_profiles = now.created, now.updated
        row.unchanged_profiles = now.unchanged
        row.state, row.error = now.state, now.error
        row.save()


class _Ending:
    """Writes down how the import ended. Only an import that took no line raises."""

    def __init__(self, work: _Import) -> None:
        self._work = work

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if connection.needs_rollback:
            return False
        self._work.end(error)
        return isinstance(error, InvalidInput) and self._work.progress.lines > 0
