"""Imports of uploaded files: each on a thread of its own, so that the answer need not wait for a long one.

An import that dies with the process stays as far as it was, as `running`; the same file uploaded again
changes nothing of what is there.
"""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
from typing import IO, Any, BinaryIO, cast

from django.db import connection

from angarium.store import imports


def start(account: int, source: IO[bytes], filename: str, **options: Any) -> int:
    """Begins the import; the id of its `ImportRun`. Raises `InvalidInput` when nothing can be read.

    `options` are those of `store.imports.run`.
    """
    copy = tempfile.TemporaryFile()  # noqa: SIM115 – the thread closes it
    shutil.copyfileobj(source, copy)
    copy.seek(0)
    begun: queue.SimpleQueue[int | BaseException] = queue.SimpleQueue()
    arguments = (account, copy, filename, options, begun)
    threading.Thread(target=_import, args=arguments, name="import", daemon=True).start()
    found = begun.get()
    if isinstance(found, BaseException):
        raise found
    return found


def _import(
    account: int, source: IO[bytes], filename: str, options: dict[str, Any], begun: queue.SimpleQueue[Any]
) -> None:
    try:
        with source:
            outcome = imports.run(
                account,
                cast(BinaryIO, source),
                filename=filename,
                progress=lambda now: begun.put(now.run) if now.state != "failed" or now.lines else None,
                **options,
            )
        begun.put(outcome.run)
    except BaseException as error:
        begun.put(error)
    finally:
        connection.close()
