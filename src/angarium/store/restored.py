"""After a restore: numbers given out between the backup and the loss must not be given out again.

Spools remember finished packets by number, and message ids begin with the launch's number; a second
packet or launch of the same number would be taken for the first.
"""

from __future__ import annotations

from typing import Final

from django.db import connection, transaction

SKIPPED: Final = 100_000_000
"""More than any installation uses between two backups."""
TABLES: Final = ("packet", "launch")


@transaction.atomic
def skip_used_numbers() -> None:
    """The next packet and the next launch are numbered far above all earlier ones."""
    with connection.cursor() as cursor:
        for table in TABLES:
            if connection.vendor == "postgresql":
                sequence = f"pg_get_serial_sequence('{table}', 'id')"
                cursor.execute(f"SELECT setval({sequence}, nextval({sequence}) + %s)", [SKIPPED])
                continue
            cursor.execute("UPDATE sqlite_sequence SET seq = seq + %s WHERE name = %s", [SKIPPED, table])
            if not cursor.rowcount:
                cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table, SKIPPED])
