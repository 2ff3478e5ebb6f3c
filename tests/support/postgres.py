"""A private PostgreSQL server: its own folder and Unix socket, no TCP port."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path

INSTALL = "PostgreSQL is not installed: apt-get install postgresql (no service needs to run)"
NOT_ROOT = ("postgres", "nobody")
"""Whom the server runs as when the tests run as root, which it refuses."""
FAST = (
    "-c", "fsync=off", "-c", "listen_addresses=", "-c", "shared_buffers=64MB", "-c", "max_connections=60",
)  # fmt: skip


class Postgres:
    """Start it with `start`; `kill` and `start` again keep its data. `stop` when done.

    The folder must be reachable for others: the server does not run as root.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self._bin = _programs()
        self._folder = folder
        self._options = options or FAST
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._owner = _owner()
        if self._owner:
            shutil.chown(folder, self._owner)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://angarium@/{database}?host={self._folder}"

    def start(self, timeout: float = 60) -> None:
        """Returns when it answers."""
        data = self._folder / "data"
        if not data.exists():
            initdb = ("initdb", "-D", str(data), "-U", "angarium", "-A", "trust", "-N", "-E", "UTF8")
            subprocess.run(self._command(*initdb, "--locale=C"), check=True, stdout=subprocess.DEVNULL)
        server = ("postgres", "-D", str(data), "-k", str(self._folder), *self._options)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command(*server), stdout=log, stderr=log)
        deadline = time.monotonic() + timeout
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        command = [str(self._bin / "pg_isready"), "-q", "-h", str(self._folder), "-U", "angarium"]
        return subprocess.run(command, check=False).returncode == 0

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What `psql` prints."""
        command = [str(self._bin / "psql"), "-h", str(self._folder), "-U", "angarium", "-d", database]
        done = subprocess.run([*command, "-qtAc", statement], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def stop(self, mode: str = "fast") -> None:
        """`immediate` is a crash; the data stay."""
        if self._process is None or self._process.poll() is not None:
            return
        stop = ("pg_ctl", "stop", "-D", str(self._folder / "data"), "-m", mode, "-s")
        subprocess.run(self._command(*stop), check=True)
        self._process.wait(timeout=60)

    def _command(self, program: str, *arguments: str) -> list[str]:
        command = [str(self._bin / program), *arguments]
        if self._owner:
            return [
                "setpriv",
                f"--reuid={self._owner}",
                f"--regid={_group(self._owner)}",
                "--clear-groups",
                *command,
            ]
        return command


def _programs() -> Path:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    found = [str(path) for path in reversed(versions)] + [shutil.which("postgres") or ""]
    if not found[0]:
        raise RuntimeError(INSTALL)
    return Path(found[0]).resolve().parent


def _owner() -> str:
    """Empty: the server runs as we do."""
    if os.geteuid() != 0:
        return ""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in NOT_ROOT if name in names)


def _group(user: str) -> str:
    return str(pwd.getpwnam(user).pw_gid)
